"""Files are whole or absent, locks keep others out, and what is read is checked."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel
from safetensors import safe_open

from fashion_core import files
from fashion_core.errors import CheckpointError, FashionError
from fashion_core.files import (
    check_sums,
    compute_sums,
    hold,
    lock,
    open_or_make,
    parse_json,
    read_arrays,
    read_json,
    read_plain,
    read_tensors,
    try_lock,
    whole,
    write_sums,
    write_tensors,
    write_whole,
)


def test_locks_are_taken_in_one_order(tmp_path, monkeypatch):
    taken = []
    take = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda file, kind: (taken.append(Path(file.name).name), take(file, kind)))
    for names in ("ab", "ba"):
        with lock([tmp_path / f"{name}.json" for name in names]):
            pass
    assert taken == ["a.lock", "b.lock", "a.lock", "b.lock"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_who_may_read_a_file_is_the_umasks_to_say(tmp_path, umask, mode):
    """A service that answers with a model runs as another user."""
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "text", "a")
        write_tensors(tmp_path / "tensors", {"a": torch.zeros(1)}, {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def run_elsewhere(code: str, *arguments: object) -> str:
    """What another process prints."""
    command = [
        sys.executable,
        "-c",
        "import os, sys\nfrom pathlib import Path\nfrom fashion_core.files import hold, whole\n" + code,
    ]
    command += map(str, arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


TRY = """
from fashion_core.errors import FashionError
try:
    with hold(Path(sys.argv[1]), FashionError("held")):
        print("free")
except FashionError as error:
    print(error)
"""


def test_what_is_held_is_refused_at_once_and_free_after(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with hold(path, FashionError("held by another")):
        assert run_elsewhere(TRY, path) == "held"
        with pytest.raises(FashionError, match="held by another"), hold(path, FashionError("held by another")):
            pass
    assert run_elsewhere(TRY, path) == "free" and path.read_bytes() == b"content"


def test_shared_locks_go_together_and_keep_writers_out(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as one, path.open("rb") as other, path.open("ab") as writer:
        assert try_lock(one, shared=True) and try_lock(other, shared=True) and not try_lock(writer)
        one.close()
        other.close()
        assert try_lock(writer)


def test_a_second_lock_waits_for_the_first(tmp_path):
    order = []

    def wait() -> None:
        with lock([tmp_path / "a"]):
            order.append("second")

    with lock([tmp_path / "a", tmp_path / "b"]):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file.json"
    write_whole(path, "ä")
    assert path.read_bytes() == "ä".encode()
    with pytest.raises(ZeroDivisionError), whole(path) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == tmp_path and path.read_bytes() == "ä".encode()
        _ = 1 / 0
    assert path.read_bytes() == "ä".encode() and list(tmp_path.iterdir()) == [path]
    write_whole(path, b"bytes")
    assert path.read_bytes() == b"bytes" and list(tmp_path.iterdir()) == [path]


def test_two_threads_write_beside_each_other(tmp_path):
    """Each into a temporary file of its own: the last one put in place stays, whole."""
    path, ready = tmp_path / "file", threading.Barrier(2)

    def write(content: bytes) -> None:
        with whole(path) as temporary:
            temporary.write_bytes(content)
            ready.wait(10)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (b"a" * 1000, b"b" * 1000)))
    assert path.read_bytes() in (b"a" * 1000, b"b" * 1000) and list(tmp_path.iterdir()) == [path]


def read_content(path: Path) -> str:
    """What a file holds, if that is whole: it then ends with a full stop."""
    if not path.is_file() or not path.read_text().endswith("."):
        raise FashionError("not whole")
    return path.read_text()


def test_only_what_is_not_whole_is_made(tmp_path):
    paths = [tmp_path / name for name in ("whole", "cut", "absent")]
    for path in paths[:2]:
        path.write_text("as it was.")
        write_sums(path)
    paths[1].write_text("as it")
    asked = []

    def make(missing: list[Path]) -> None:
        asked.append(missing)
        for path in missing:
            write_whole(path, f"{path.name} made.")

    for _ in range(2):
        assert open_or_make(paths, read_content, make) == ["as it was.", "cut made.", "absent made."]
    assert asked == [paths[1:]]


def damage(content: bytes) -> dict[str, bytes]:
    """A file's bytes, spoiled in ways that nothing but a checksum tells."""
    middle = len(content) // 2
    return {
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "first": bytes([content[0] ^ 128]) + content[1:],
        "last": content[:-1] + bytes([content[-1] ^ 1]),
        "cut": content[:-1],
        "longer": content + b".",
        "emptied": b"",
    }


@pytest.mark.parametrize("kind", damage(b"12"))
@pytest.mark.parametrize("suffix", ["", ".sums"])
def test_a_file_that_has_changed_is_named_and_made_anew(kind, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 1000)
    path, told = tmp_path / "file.bin", []

    def open_file() -> list[bytes]:
        def read(path: Path) -> bytes:
            return path.read_bytes()

        return open_or_make([path], read, lambda _: write_whole(path, bytes(range(250)) * 10), told.append)

    content = open_file()[0]
    assert open_file() == [content] and not told
    spoiled = path.with_suffix(suffix) if suffix else path
    spoiled.write_bytes(damage(spoiled.read_bytes())[kind])
    assert open_file() == [content] and path.read_bytes() == content
    assert len(told) == 1 and "file.bin is made anew" in told[0] and "\n" not in told[0]
    assert open_file() == [content] and len(told) == 1


def test_checksums_are_those_of_each_block(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 1000)
    path, content = tmp_path / "file", os.urandom(2500)
    path.write_bytes(content)
    assert compute_sums(path).crc32 == [zlib.crc32(content[start : start + 1000]) for start in (0, 1000, 2000)]
    write_sums(path)
    check_sums(path)
    path.write_bytes(content[:1500] + bytes([content[1500] ^ 4]) + content[1501:])
    with pytest.raises(FashionError, match=r"bytes from 1,000 on have changed"):
        check_sums(path)


def test_what_is_made_in_vain_is_an_error(tmp_path):
    with pytest.raises(FashionError, match="not whole"):
        open_or_make([tmp_path / "file"], read_content, lambda missing: None)


def test_those_who_ask_at_once_wait_for_one_that_makes(tmp_path):
    path, asked = tmp_path / "file", []

    def make(missing: list[Path]) -> None:
        asked.extend(missing)
        time.sleep(0.05)  # the others ask meanwhile
        write_whole(path, "made.")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: open_or_make([path], read_content, make), range(4)))
    assert found == [["made."]] * 4 and asked == [path]


def test_leftovers_of_one_file_go_and_no_others(tmp_path):
    path = tmp_path / "file"
    killed = "with whole(Path(sys.argv[1])) as temporary:\n    temporary.touch()\n    os.kill(os.getpid(), 9)"
    with pytest.raises(subprocess.CalledProcessError):
        run_elsewhere(killed, path)
    other = tmp_path / "other.1.tmp"
    other.touch()
    assert len(os.listdir(tmp_path)) == 2
    open_or_make([path], read_content, lambda missing: write_whole(path, "made."))
    assert sorted(tmp_path.iterdir()) == [path, path.with_suffix(".lock"), path.with_suffix(".sums"), other]


# ------------------------------------------------------------------------------------------------------------- tensors


def test_memory_layout_does_not_change_values(tmp_path):
    weight = torch.randn(4, 3, 5, 5)
    write_tensors(tmp_path / "t.safetensors", {"w": weight.contiguous(memory_format=torch.channels_last)}, {})
    with safe_open(tmp_path / "t.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("w"), weight)


def test_failed_write_leaves_the_old_file(tmp_path):
    path = write_tensors(tmp_path / "t.safetensors", {"w": torch.zeros(2)}, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(path, {"w": torch.ones(2)}, {"a": object()})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_tensors_come_back_all_or_those_asked_for(tmp_path):
    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2)}
    path = write_tensors(tmp_path / "new" / "t.safetensors", tensors, {"format": "one/1", "more": [1]})
    found, description = read_tensors(path, "one/1", dict)
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert description == {"format": "one/1", "more": [1]}
    assert read_tensors(path, "one/1", dict, names=["b"])[0].keys() == {"b"}
    assert read_tensors(path, "one/1", dict, names=())[0] == {}
    with pytest.raises(CheckpointError, match="must have the format two/1, but has 'one/1'"):
        read_tensors(path, "two/1", dict)


# --------------------------------------------------------------------------------------------- what is read is checked


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("[" * 4000 + "]" * 4000, "nested too deep"),
        ("[" * 21 + "]" * 21, "nested too deep"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"b": {"a": 1, "c": 0, "a": 2}}', "'a' stands twice"),
        ("9" * 5000, "digits"),
        (b"\xff", "decode"),
    ],
)
def test_no_json_of_ours(text: str | bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_json(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_json_is_what_the_library_reads(values: object) -> None:
    assume("[" * 20 not in json.dumps(values).replace(", ", ""))
    assert parse_json(json.dumps(values)) == values


@pytest.mark.parametrize("values", [{"a": "1"}, {"a": True}, {"a": None}, {"b": 1}, [], 1, {"a": 1.5}, {"a\n": 1}])
def test_types_are_not_guessed(values: object, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"file\.json must hold counts, but: .*; count again$") as caught:
        read_json(path, Counts, "hold counts", "count again", CheckpointError)
    assert "\n" not in str(caught.value)


class Counts(BaseModel):
    """A form to read by."""

    a: int


def test_what_is_no_plain_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "large").write_bytes(bytes(11))
    for name, told in (("pipe", "not a plain file"), (".", "not a plain file"), ("large", "more than 10 bytes")):
        with pytest.raises(ValueError, match=told):
            read_plain(tmp_path / name, 10)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "none", 10)
    assert read_plain(tmp_path / "large", 11) == bytes(11)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize("kind", ["float32", "int64", "bool", "U5"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(shape: tuple[int, ...], kind: str, order: str, tmp_path: Path) -> None:
    wanted = np.asarray(np.random.default_rng(0).integers(0, 9, shape)).astype(kind, order=order)
    np.savez(tmp_path / "file.npz", one=wanted, two=wanted)
    found = read_arrays(tmp_path / "file.npz", {"one": (wanted.dtype.kind, len(shape))})
    assert found.keys() == {"one"} and found["one"].dtype == wanted.dtype and found["one"].flags.writeable
    assert np.array_equal(found["one"], wanted) and found["one"].shape == shape


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"two": np.zeros(3)}, "must have the arrays one"),
        ({"one": np.zeros((3, 1))}, "must have 1 dimensions of kind f, but has 2 of float64"),
        ({"one": np.zeros(3, int)}, "of kind f, but has 1 of int64"),
        ({"one": np.array([{}])}, "OBJECT array"),
    ],
)
def test_arrays_of_another_form(arrays: dict[str, np.ndarray], told: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ValueError, match=told):
        read_arrays(tmp_path / "file.npz", {"one": ("f", 1)})


def test_packed_arrays_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "file.npz", one=np.zeros(1 << 20))
    with pytest.raises(ValueError, match="compressed or overlap"):
        read_arrays(tmp_path / "file.npz", {"one": ("f", 1)})
