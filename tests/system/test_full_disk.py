"""A whole search, by its command, whose disk becomes full on the way."""

import threading
import time

import pytest
from same_search import find_differences
from small_disk import mount_disk
from whole_commands import call, start

from search.commands.app import main
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

pytestmark = [pytest.mark.usefixtures("shared_ray"), pytest.mark.slow]
SPACE = """
trials: 3
fixed: {image_size: 32, backbone: test_efficientnet, weights: none, batch_size: 16, precision: fp32}
search: {lr: {loguniform: [1e-4, 1e-2]}, dropout: {uniform: [0, 0.3]}}
scheduler: {type: asha, max_epochs: 3, grace_epochs: 1, reduction_factor: 2}
"""
PATIENCE_S = 240  # for what a machine that rests does in ten


def wait_for(is_so, process):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_it_waits_says_so_and_equals_its_twin(tmp_path, sample_folder):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    given = ("--data", sample_folder, "--space", tmp_path / "tiny.yaml", "--concurrent", 1, "--name", "one")
    done = call(tmp_path, "run.py", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    with mount_disk(tmp_path / "small", 256) as disk:
        layout = SearchLayout(disk.folder / "results", "one")
        process = start(tmp_path, "run.py", *given, "--results", layout.results)
        try:
            wait_for(lambda: len(read_events(layout.ledger)) >= 5, process)
            disk.fill()
            told = ""
            while "waiting: the disk of" not in told:
                line = process.stdout.readline()
                assert line, told
                told += line
            before = layout.ledger.read_bytes()
            disk.free()
            told += process.stdout.read()
            assert process.wait() == 0 and "Traceback" not in told, told
        finally:
            process.kill()
            process.stdout.close()
        assert layout.ledger.read_bytes().startswith(before) and before.endswith(b"\n")
        assert find_differences(SearchLayout(tmp_path / "results", "one"), layout) == []
        assert not [path for path in layout.results.rglob("*") if ".tmp" in path.name or ".part" in path.name]
        assert "does not take the search" not in told


def keep_full(disk, is_enough):
    """Take what room there is, also what a search gives back."""
    while not is_enough.wait(0.05):
        disk.fill()


@pytest.mark.long
def test_one_that_waits_can_be_stopped_and_goes_on(tmp_path, sample_folder):
    (tmp_path / "tiny.yaml").write_text(SPACE.replace("max_epochs: 3", "max_epochs: 8"))
    with mount_disk(tmp_path / "small", 256) as disk:
        layout = SearchLayout(disk.folder / "results", "one")
        given = ("--data", sample_folder, "--space", tmp_path / "tiny.yaml", "--concurrent", 1, "--name", "one")
        process = start(tmp_path, "run.py", *given, "--results", layout.results)
        try:
            wait_for(lambda: len(read_events(layout.ledger)) >= 5, process)
            told, is_told = "", threading.Event()
            filling = threading.Thread(target=keep_full, args=(disk, is_told))
            filling.start()
            try:
                while "waiting: the disk of" not in told:
                    line = process.stdout.readline()
                    assert line, told
                    told += line
            finally:
                is_told.set()
                filling.join()
            with pytest.raises(SystemExit) as done:
                main(["stop", "one", "--results", str(layout.results)])
            assert not done.value.code
            told += process.stdout.read()
            assert process.wait() == 2 and "Traceback" not in told, told
        finally:
            process.kill()
            process.stdout.close()
        flat = " ".join(told.split())
        assert "one was asked to stop while it waits: the disk of" in flat, told
        assert "free 100 MB or more there, and go on with --resume one" in flat
        before = read_events(layout.ledger)
        assert replay(before).ended is None
        disk.free()
        done = call(tmp_path, "run.py", "--resume", "one", "--results", layout.results)
        assert done.returncode == 0, done.stdout + done.stderr
        events = read_events(layout.ledger)
        assert events[: len(before)] == before and replay(events).ended.reason == "all trials ended"
