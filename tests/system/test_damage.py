"""Every file that a search leaves, cut, emptied or flipped before it goes on: made anew, or told in a line."""

import csv
import random
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from house_rules import by_size
from other_layouts import write_table
from safetensors.torch import save_file
from same_search import describe
from whole_commands import call, start

from fashion_core.models.backbones import build_backbone
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.tune.watch import ANSWERS_LOST

pytestmark = [pytest.mark.usefixtures("shared_ray"), pytest.mark.slow]
# Probe epochs have features, a table without splits has splits dealt; slow enough to be stopped between two states.
SPACE = """
trials: 3
fixed: {image_size: 32, backbone: test_resnet, weights: WEIGHTS, batch_size: 16, probe_epochs: 1, precision: fp32}
search: {probe_lr: {loguniform: [1e-4, 1e-1]}, fc_layers: {choice: [0, 1]}}
scheduler: {type: asha, max_epochs: 3, grace_epochs: 1, reduction_factor: 2}
"""
WAYS = ("cut", "emptied", "flipped")
NOTE = re.compile(r" \(the state after epoch .*\)$")
ANSWERS = f" ({ANSWERS_LOST})"
KIND = re.compile(r"[0-9a-f]{8,}|\d+")  # files whose names differ by this alone are of one kind
# What a report writes of the ledger, and reads at most to write it again.
REPORTED = {"audit.json", "confusion.json", "curves.parquet", "label_errors.csv", "label_errors.json", "report.html"}
REPORTED |= {"trials.csv", "trials.parquet"}
MODELS_TOLD, TRACKING_TOLD = "a kept model must be", "does not take the search"


@pytest.fixture(scope="module")
def ended(tmp_path_factory, sample_folder):
    """The folder of a search that ended, and its data set beside it."""
    folder = tmp_path_factory.mktemp("ended")
    table = write_table(sample_folder, folder / "data")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "split" not in rows[0]
    weights = folder / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    (folder / "made").mkdir()
    (folder / "made" / "tiny.yaml").write_text(SPACE.replace("WEIGHTS", str(weights)))
    given = ("--data", table, "--space", "tiny.yaml", "--name", "one", "--concurrent", 1)
    done = call(folder / "made", "run.py", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "made"


def list_files(folder):
    """All files of its results, relative, that hold anything."""
    found = (path for path in (folder / "results").rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(str(path.relative_to(folder)) for path in found)


def damage(path, way, draws):
    content = path.read_bytes()
    place = draws.randrange(len(content))
    flipped = content[:place] + bytes([content[place] ^ 1 << draws.randrange(8)]) + content[place + 1 :]
    path.write_bytes({"cut": content[:place], "emptied": b"", "flipped": flipped}[way])


def go_on(begun, copy, names, way, draws):
    """Copy a search, damage files of it, and go on; gives the exit status and what was told."""
    shutil.copytree(begun, copy)
    for name in names:
        damage(copy / name, way, draws)
    done = call(copy, "run.py", "--resume", "one")
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown, (names, way, shown)
    return done.returncode, done.stderr.strip(), " ".join(shown.split())


def compare(twin, copy, told):
    """In what a search differs from its twin, but for what it has told."""
    wanted, found = describe(SearchLayout(twin / "results", "one")), {}
    with suppress(Exception):  # a database that was damaged
        found = describe(SearchLayout(copy / "results", "one"))
        # a trial says of which state it could not go on
        ends = {
            number: (status, NOTE.sub("", reason), *rest) for number, (status, reason, *rest) in found["ends"].items()
        }
        found["ends"] = {
            number: end if ANSWERS not in end[1] else (end[0], end[1].replace(ANSWERS, ""), *end[2:-1], twins[-1])
            for (number, end), twins in zip(ends.items(), wanted["ends"].values(), strict=True)
        }
    forgiven = {"models", "kept"} if MODELS_TOLD in told else set()
    forgiven |= {"points", "runs", "kept"} if TRACKING_TOLD in told else set()
    if TRACKING_TOLD in told and not found:
        return []
    return [part for part in wanted if part not in forgiven and found.get(part) != wanted[part]]


def choose(files, draws):
    """(files, way): all that is written of a ledger or that only people read at once, else one file of every kind, in
    one way drawn; in a run of all tests, every file by itself, in all ways.
    """
    if by_size(False, True):
        return [([name], way) for name in files for way in WAYS]
    kinds = {}
    for name in files:
        is_read = "mlartifacts" in name or Path(name).suffix in (".png", ".md") or Path(name).name in REPORTED
        kinds.setdefault("people" if is_read else KIND.sub("#", name), []).append(name)
    return [(names if kind == "people" else names[-1:], draws.choice(WAYS)) for kind, names in kinds.items()]


def test_of_a_search_that_ended_every_file_is_made_anew_or_told(ended, tmp_path):
    draws = random.Random(0)
    files = list_files(ended)
    assert {Path(name).suffix for name in files} >= {
        ".jsonl",
        ".json",
        ".yaml",
        ".md",
        ".arrow",
        ".sums",
        ".npz",
        ".db",
    }
    assert any("features-" in name for name in files) and any(".splits" in name for name in files)
    for number, (names, way) in enumerate(choose(files, draws)):
        copy = tmp_path / str(number)
        status, error, told = go_on(ended, copy, names, way, draws)
        if status == 0:
            assert compare(ended, copy, told) == [], (names, way, told)
        else:
            is_line = error.startswith("error: ") and "\n" not in error and "; " in error
            assert status == 2 and is_line, (names, way, told)
        shutil.rmtree(copy)


@pytest.mark.long
def test_of_a_search_that_was_killed_every_state_may_be_damaged(ended, tmp_path):
    """It goes on from the state before, or from the beginning, to the same numbers."""
    begun, draws = tmp_path / "begun", random.Random(1)
    shutil.copytree(ended, begun)
    shutil.rmtree(begun / "results" / "one")
    given = (*read_given(ended), "--name", "one", "--concurrent", 1)
    process = start(begun, "run.py", *given)
    states = begun / "results" / "one" / "states"
    while process.poll() is None and not list(states.glob("*/epoch-*")):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    files = [name for name in list_files(begun) if "/states/" in name]
    ways = WAYS if by_size(False, True) else [draws.choice(WAYS)]
    assert files
    for number, way in enumerate(ways):
        copy = tmp_path / str(number)
        shutil.copytree(begun, copy)
        for name in files:
            damage(copy / name, way, draws)
        done = call(copy, "run.py", "--resume", "one")
        told = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 0 and "Traceback" not in told, told
        assert [part for part in compare(ended, copy, told) if part not in ("ends", "points", "runs")] == []
        assert len(read_events(SearchLayout(copy / "results", "one").ledger)) > 5


def read_given(ended):
    return ("--data", ended.parent / "data" / "labels.csv", "--space", "tiny.yaml")
