"""Prepared data: one decoding for all settings, right pixels, and no harm from a second process or a kill."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_core.data import prepared
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare, prepare_all
from fashion_core.data.rows import Annotations
from fashion_core.errors import DataError

SETTINGS = [
    PrepareSettings(48),
    PrepareSettings(32, "box_margin", 0.1),
    PrepareSettings(36, "box_square", 0.1),
    PrepareSettings(40, "whole"),
]
IMAGES = 192  # of the sample data

PREPARE = """
import os, signal, sys
from pathlib import Path
from fashion_core.data import prepared
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings

decoded, whole = [], prepared.open_image
prepared.open_image = lambda path, name: (decoded.append(path), whole(path, name))[1]
data, cache, sizes, dies = sys.argv[1:]
annotations = load_annotations(Path(data))
settings = [PrepareSettings(int(size)) for size in sizes.split(",")]
print("ready", flush=True)
sys.stdin.readline()
progress = (lambda done, count: os.kill(os.getpid(), signal.SIGKILL)) if dies == "dies" else None
prepared.prepare_all(annotations, settings, Path(cache), progress=progress)
print(len(decoded))
"""


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images decoded in this process, each as often as it was."""
    paths: list[Path] = []
    whole = prepared.open_image

    def open_image(path: Path, name: str) -> Image.Image:
        paths.append(path)
        return whole(path, name)

    monkeypatch.setattr(prepared, "open_image", open_image)
    return paths


def start_process(data: Path, cache: Path, sizes: str, *, dies: bool = False) -> subprocess.Popen:
    """A process that prepares once it is told to."""
    command = [sys.executable, "-c", PREPARE, str(data), str(cache), sizes, "dies" if dies else "lives"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def list_files(annotations: Annotations, settings: list[PrepareSettings], cache: Path) -> list[Path]:
    """The prepared files, one a setting."""
    return [data.path for data in prepare_all(annotations, settings, cache).values()]


@pytest.mark.slow
def test_an_image_is_decoded_once_for_all_settings(sample_folder, tmp_path, decoded):
    annotations = load_annotations(sample_folder)
    seen = []
    prepared = prepare_all(annotations, SETTINGS, tmp_path / "a", progress=lambda *numbers: seen.append(numbers))
    assert len(decoded) == len(set(decoded)) == IMAGES and seen == [(IMAGES, IMAGES)]
    together = [data.path for data in prepared.values()]
    alone = [prepare(annotations, settings, tmp_path / "b").path for settings in SETTINGS]
    assert [path.name for path in together] == [path.name for path in alone]
    assert [path.read_bytes() for path in together] == [path.read_bytes() for path in alone]
    assert list(prepared) == [data.settings for data in prepared.values()] == SETTINGS


def test_pixels_are_those_of_pillow(sample_folder, tmp_path):
    data = prepare_all(load_annotations(sample_folder), SETTINGS[::-1], tmp_path)[SETTINGS[1]]
    x1, y1, x2, y2 = data.boxes[7].tolist()
    with Image.open(sample_folder / data.names[7]) as image:
        dx, dy = round(0.1 * (x2 - x1)), round(0.1 * (y2 - y1))
        margin = (max(x1 - dx, 0), max(y1 - dy, 0), min(x2 + dx, image.width), min(y2 + dy, image.height))
        wanted = image.crop(margin).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(data.gather(np.array([7]))[0], np.asarray(wanted))


@pytest.mark.slow
def test_what_is_there_is_not_decoded_again(sample_folder, tmp_path, decoded):
    annotations = load_annotations(sample_folder)
    first = list_files(annotations, SETTINGS[:2], tmp_path)
    decoded.clear()
    assert list_files(annotations, [*SETTINGS[:2], SETTINGS[0]], tmp_path) == first and not decoded
    copy = shutil.copytree(sample_folder, tmp_path / "copy")  # other paths and times, the same images
    assert list_files(load_annotations(copy), SETTINGS[:2], tmp_path) == first and not decoded
    before = [path.stat().st_mtime_ns for path in first]
    assert list_files(annotations, SETTINGS, tmp_path)[:2] == first and len(decoded) == IMAGES
    assert [path.stat().st_mtime_ns for path in first] == before


@pytest.mark.slow
def test_a_file_that_is_lost_or_cut_off_is_made_again(sample_folder, tmp_path):
    annotations = load_annotations(sample_folder)
    whole, lost, cut, *_ = made = list_files(annotations, SETTINGS, tmp_path)
    content, before = cut.read_bytes(), whole.stat().st_mtime_ns
    lost.unlink()
    cut.write_bytes(content[:-100])
    assert list_files(annotations, SETTINGS, tmp_path) == made
    assert lost.is_file() and cut.read_bytes() == content and whole.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_file_with_a_flipped_pixel_is_named_and_made_again(sample_folder, tmp_path):
    annotations, told = load_annotations(sample_folder), []
    (path,) = list_files(annotations, SETTINGS[:1], tmp_path)
    content = path.read_bytes()
    pixels = prepared.PreparedData.open(path).gather(np.array([3])).tobytes()
    path.write_bytes(content.replace(pixels, bytes([pixels[0] ^ 1]) + pixels[1:]))
    assert path.read_bytes() != content
    prepare_all(annotations, SETTINGS[:1], tmp_path, tell=told.append)
    assert path.read_bytes() == content
    assert len(told) == 1 and f"{path.name} is made anew" in told[0]
    path.with_suffix(".sums").unlink()  # as of a version that wrote none
    prepare_all(annotations, SETTINGS[:1], tmp_path, tell=told.append)
    assert path.read_bytes() == content and path.with_suffix(".sums").is_file() and len(told) == 2


@pytest.mark.slow
def test_another_image_of_the_same_name_size_and_time_is_noticed(sample_folder, tmp_path):
    data = shutil.copytree(sample_folder, tmp_path / "data")
    (first,) = list_files(load_annotations(data), SETTINGS[:1], tmp_path)
    image = data / load_annotations(data).table["image"][5].as_py()
    stat, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert image.stat().st_size == stat.st_size and image.stat().st_mtime_ns == stat.st_mtime_ns
    assert list_files(load_annotations(data), SETTINGS[:1], tmp_path) != [first]


@pytest.mark.slow
def test_two_processes_at_once_decode_once(sample_folder, tmp_path):
    """They name the same settings in opposite order, so each could hold what the other waits for."""
    processes = [start_process(sample_folder, tmp_path, sizes) for sizes in ("48,32", "32,48")]
    for process in processes:  # both wait at the same line
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sorted(counts) == [0, IMAGES]
    assert len(list(tmp_path.glob("prepared-*.arrow"))) == 2 and not list(tmp_path.glob("*.tmp"))


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_looks_whole(sample_folder, tmp_path, decoded):
    process = start_process(sample_folder, tmp_path, "48,32", dies=True)
    process.communicate("go\n", timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*.tmp"))) == 2 and not list(tmp_path.glob("*.arrow"))
    prepared = prepare_all(load_annotations(sample_folder), [PrepareSettings(48), PrepareSettings(32)], tmp_path)
    assert len(decoded) == IMAGES and [len(data) for data in prepared.values()] == [IMAGES, IMAGES]
    assert not list(tmp_path.glob("*.tmp"))


def test_images_that_do_not_decode_are_all_named(sample_folder, tmp_path):
    data = shutil.copytree(sample_folder, tmp_path / "data")
    annotations = load_annotations(data)
    names = annotations.table["image"].to_pylist()
    for name in (names[3], names[150]):
        os.truncate(data / name, 500)
    with pytest.raises(DataError) as raised:
        prepare_all(annotations, SETTINGS, tmp_path / "cache")
    assert [(fault.file, fault.line) for fault in raised.value.faults] == [
        ("split/train.txt", 4),
        ("split/val.txt", 31),
    ]
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_a_file_of_an_earlier_format_is_made_again_and_not_misread(sample_folder, tmp_path, monkeypatch):
    """That was decoded in another way, so its pixels may be others."""
    annotations = load_annotations(sample_folder)
    monkeypatch.setattr(prepared, "FORMAT", "fashion-prepared/1")
    (old,) = list_files(annotations, SETTINGS[:1], tmp_path)
    monkeypatch.undo()
    content = old.read_bytes()
    with pytest.raises(DataError, match=f"must have the format {prepared.FORMAT}, but has fashion-prepared/1; prepare"):
        prepared.PreparedData.open(old)
    (new,) = list_files(annotations, SETTINGS[:1], tmp_path)
    assert new != old and old.read_bytes() == content  # what an earlier version works with stays
    new.write_bytes(content)
    (again,) = list_files(annotations, SETTINGS[:1], tmp_path)
    assert again == new and new.read_bytes() != content


@pytest.mark.slow
def test_a_turned_photograph_is_prepared_as_the_upright_one(sample_folder, tmp_path):
    """Boxes are in the upright one's pixels, in the check as in the crop."""
    data = shutil.copytree(sample_folder, tmp_path / "data")
    wanted = prepare_all(load_annotations(data), SETTINGS, tmp_path / "cache")
    rows = (5, 130)
    for row in rows:
        path = data / load_annotations(data).table["image"][row].as_py()
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(path) as image:
            upright = np.asarray(image)
        Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(path, "PNG", exif=exif)
    found = prepare_all(load_annotations(data), SETTINGS, tmp_path / "cache")
    for settings in SETTINGS:
        assert found[settings].path != wanted[settings].path
        indices = np.arange(IMAGES)
        assert np.array_equal(found[settings].gather(indices), wanted[settings].gather(indices))
        assert np.array_equal(found[settings].thumbnails, wanted[settings].thumbnails)


def test_what_the_disk_cannot_hold_is_refused_at_once(sample_folder: Path, tmp_path: Path, monkeypatch) -> None:
    annotations = load_annotations(sample_folder)
    needed = len(annotations.table) * (48 * 48 * 3 + 16 * 16)
    room = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda path: room._replace(free=needed - 1))
    with pytest.raises(
        DataError, match=r"takes 0\.0 GB, but .* GB free; free some, name another disk with --cache-dir"
    ):
        prepare(annotations, PrepareSettings(48), tmp_path)
    assert not list(tmp_path.glob("*.arrow*"))
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda path: room._replace(free=needed))
    assert len(prepare(annotations, PrepareSettings(48), tmp_path)) == len(annotations.table)
