"""A search on an object store goes on from that alone, on a machine that knows nothing of it."""

import os
import shutil
import signal
import time

import pytest
from house_rules import by_size
from local_s3 import Gate, join, serve_s3
from same_search import find_differences
from whole_commands import start

from search.records.events import EpochEnded
from search.records.layout import SearchLayout
from search.records.lease import LEASE_SECONDS
from search.records.ledger import read_events
from search.records.locks import RUN
from search.records.record import replay
from search.records.storage import open_storage

SPACE = """
trials: 4
fixed: {image_size: 32, weights: none, batch_size: 16, backbone: test_resnet}
search: {lr: {loguniform: [1e-4, 1]}, drop_path: {uniform: [0, 0.5]}}
scheduler: {type: asha, max_epochs: 4, grace_epochs: 1, reduction_factor: 2}
"""
LINES = 9  # of the ledger, when something happens to the search
AWAY_SECONDS = by_size(ci=7.0, whole=30.0)  # the lease is renewed in between


def finish(process):
    """A command's exit status, and what it printed."""
    output = process.communicate()[0]
    return process.returncode, output


def wait_for(process, layout, count, kind=object):
    """Until a search has written so many events of a kind, or ended."""
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if len([event for event in read_events(layout.ledger) if isinstance(event, kind)]) >= count:
            break
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_search_goes_on_from_its_storage_alone_and_waits_while_that_is_away(tmp_path, sample_folder):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    shutil.copytree(sample_folder, tmp_path / "photographs")
    given = ("--data", tmp_path / "photographs", "--space", tmp_path / "tiny.yaml", "--concurrent", 1, "--name", "mine")
    gone, layout = (SearchLayout(tmp_path / folder, "mine") for folder in ("gone", "elsewhere"))
    with serve_s3() as bucket:
        process = start(tmp_path, "run.py", *given, "--results", "gone", "--storage", bucket)
        wait_for(process, gone, LINES)
        os.killpg(process.pid, signal.SIGKILL)
        died = time.monotonic()
        status, output = finish(process)
        events = read_events(gone.ledger)
        assert replay(events).ended is None and len(events) >= LINES, output
        if by_size(ci=False, whole=True):  # while the lease runs out
            status, output = finish(start(tmp_path, "run.py", *given, "--results", "twin"))
            assert status == 0, output
        shutil.rmtree(gone.results)
        (tmp_path / "tiny.yaml").unlink()
        (tmp_path / "photographs").rename(tmp_path / "moved")
        gate = Gate(bucket)
        going_on = (
            "--resume",
            "mine",
            "--results",
            "elsewhere",
            "--storage",
            gate.bucket,
            "--data",
            tmp_path / "moved",
        )
        time.sleep(max(0, died + LEASE_SECONDS - time.monotonic()))
        process = start(tmp_path, "run.py", *going_on)
        epochs = len([event for event in events if isinstance(event, EpochEnded)])
        wait_for(process, layout, epochs + 1, EpochEnded)  # it trains again
        gate.shut()
        time.sleep(AWAY_SECONDS)
        gate.open()
        status, output = finish(process)
        words = " ".join(output.split())
        assert status == 0 and "waiting: the storage" in words and "answers again" in words, output
        gate.close()
        storage = open_storage(join(bucket, "mine"))
        assert storage.read_log() == layout.ledger.read_bytes()
        assert not [name for name in storage.list() if name.startswith("trial-")]  # no state is left
    record = replay(read_events(layout.ledger))
    assert [trial.status.is_over for trial in record.trials.values()] == [True] * 4
    if by_size(ci=False, whole=True):
        assert not find_differences(SearchLayout(tmp_path / "twin", "mine"), layout)


@pytest.mark.slow
@pytest.mark.long
def test_a_search_whose_storage_another_has_taken_ends_and_changes_nothing(tmp_path, sample_folder):
    """Its process was stopped for longer than its lease lasts, and wakes up when another holds it."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    given = ("--data", sample_folder, "--space", tmp_path / "tiny.yaml", "--concurrent", 1, "--name", "mine")
    layout = SearchLayout(tmp_path / "first", "mine")
    with serve_s3() as bucket:
        process = start(tmp_path, "run.py", *given, "--results", "first", "--storage", bucket)
        wait_for(process, layout, LINES)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 2)
        other = open_storage(join(bucket, "mine"))
        with other.hold(RUN):
            before = other.read_log()
            os.kill(process.pid, signal.SIGCONT)
            status, output = finish(process)
        words = " ".join(output.split())
        assert status == 2 and "another process has taken" in words and "Traceback" not in output, output
        assert other.read_log() == before and before.startswith(layout.ledger.read_bytes())


@pytest.mark.slow
@pytest.mark.long
def test_a_search_is_extended_and_promoted_from_its_storage_alone(tmp_path, sample_folder):
    """Each command on a machine that knows nothing of the search, and has the data elsewhere."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    one, other = (shutil.copytree(sample_folder, tmp_path / folder) for folder in ("photographs", "moved"))
    given = ("--space", tmp_path / "tiny.yaml", "--concurrent", 1, "--name", "mine", "--trials", 2)
    with serve_s3() as bucket:
        commands = [
            ("run.py", "--data", one, *given, "--results", "first", "--storage", bucket),
            ("extend", "mine", "--trials", 1, "--data", other, "--results", "second", "--storage", bucket),
            ("promote.py", "mine", "--data", other, "--results", "third", "--storage", bucket, "--seeds", 2),
        ]
        outputs = []
        for command in commands:
            status, output = finish(start(tmp_path, *command))
            assert status in (0, 3) and "Traceback" not in output, output
            outputs.append(output)
        layout = SearchLayout(tmp_path / "third", "mine")
        assert open_storage(join(bucket, "mine")).read_log() == layout.ledger.read_bytes()
    record = replay(read_events(layout.ledger))
    assert sorted(record.trials) == [0, 1, 2] and {trial.status for trial in record.trials.values()} <= {
        "finished",
        "stopped",
    }
    assert "champion" in outputs[2], outputs[2]
