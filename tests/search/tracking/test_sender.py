"""A tracker never holds up its search, whatever MLflow does, and says what is missing in the end."""

import re
import shlex
import shutil
import socket
import threading
import time

import pytest
from small_disk import mount_disk
from tracked_runs import STATUSES, look

from fashion_core.files import is_full
from search.records.events import SearchResumed
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.tracking import sender
from search.tracking.sender import Tracker
from search.tracking.writer import PARENT_TAG


@pytest.mark.slow
def test_a_server_that_is_away_does_not_hold_up_the_search(layout, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    with socket.socket() as probe:  # a port where nobody listens
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    events = read_events(layout.ledger)
    with Tracker(layout, f"http://127.0.0.1:{port}") as tracker:
        for event in events:
            tracker.send(event)
        missing = tracker.close(timeout_s=20)
    assert missing is not None and "python -m search.tracking search" in missing


@pytest.mark.slow
def test_the_tracker_catches_up(layout, monkeypatch):
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    events = read_events(layout.ledger)
    failures = iter([ConnectionError("away")] * 3)
    with Tracker(layout) as tracker:
        connect = tracker.writer.connect

        def flaky():  # the real store, which does not answer the first three times
            for failure in failures:
                raise failure
            return connect()

        monkeypatch.setattr(tracker.writer, "connect", flaky)
        for event in events:
            tracker.send(event)
            time.sleep(0.01)
        tracker.send_file(layout.ledger)
        assert tracker.close() is None
    sent = look(layout)
    assert {name: run[4]["status"] for name, run in sent.items() if name != "search"} == {
        f"trial-{number:04d}": status for number, status in enumerate(STATUSES)
    }
    assert all(len(run[5]["val/accuracy"]) == 2 for name, run in sent.items() if name != "search")


@pytest.mark.slow
@pytest.mark.parametrize("kept", [3, 4, 5, 9, 21, 22])
def test_what_a_ledger_lost_stands_in_mlflow_once(kept, layout, empty_database, tmp_path):
    """Its last lines were cut away, and the search went on: what came again has other times."""
    events = read_events(layout.ledger)
    with Tracker(layout) as tracker:
        for event in events:
            tracker.send(event)
        assert tracker.close() is None
    layout.ledger.write_bytes(b"".join(layout.ledger.read_bytes().splitlines(keepends=True)[:kept]))
    with Ledger(layout.ledger) as ledger, Tracker(layout) as tracker:
        for event in (SearchResumed(trials=5), *events[kept:]):
            ledger.append(event)
        for event in read_events(layout.ledger):
            tracker.send(event)
        assert tracker.close() is None
    other = SearchLayout(tmp_path / "other", "search")
    other.results.mkdir()
    shutil.copy(empty_database, other.tracking_db)
    with Tracker(other) as tracker:
        for event in read_events(layout.ledger):
            tracker.send(event)
        assert tracker.close() is None
    assert leave_ids_out(look(layout)) == leave_ids_out(look(other))


def leave_ids_out(runs):
    """What two stores have in common that hold the same."""
    return {
        name: (*values, {tag: value for tag, value in tags.items() if tag != PARENT_TAG}, points)
        for name, (_, *values, tags, points) in runs.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("room_kib", [0, 200, 700])
def test_a_full_disk_is_caught_up_with_once_there_is_room(room_kib, layout, tmp_path, monkeypatch):
    """The database is made in the room there is, or not even that; then it holds what it would have held."""
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    wanted = Tracker(layout)
    with wanted as tracker:
        for event in read_events(layout.ledger):
            tracker.send(event)
        assert tracker.close() is None
    with mount_disk(tmp_path / "small", 16) as disk:
        small = SearchLayout(disk.folder, layout.name)
        shutil.copytree(layout.folder, small.folder)
        events = read_events(small.ledger)
        disk.fill(but=room_kib << 10)
        with Tracker(small) as tracker:
            for event in events:
                tracker.send(event)
            deadline = time.monotonic() + 60
            while tracker.error is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert is_full(tracker.error)
            disk.free()
            tracker.send_file(small.ledger)
            assert tracker.close() is None
        assert leave_ids_out(look(small)) == leave_ids_out(look(layout))
        stored = list(small.artifacts.rglob(small.ledger.name))
        assert [path.read_bytes() for path in stored] == [small.ledger.read_bytes()]


@pytest.mark.slow
def test_of_a_damaged_database_it_is_said_what_helps(layout, monkeypatch):
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    layout.tracking_db.write_bytes(b"no database" * 1000)
    with Tracker(layout) as tracker:
        tracker.send(read_events(layout.ledger)[0])
        missing = tracker.close()
    assert f"restore {layout.tracking_db} from a backup, or move it away" in missing and "\n" not in missing


class Held:
    """A writer that notes what it is sent, once it may; or fails."""

    def __init__(self, tracker):
        self.batches, self.failures = [], []
        self.asked, self.go = threading.Event(), threading.Event()
        tracker.writer = self

    def send(self, events):
        self.asked.set()
        assert self.go.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(list(events))

    def send_file(self, path):
        self.send([path])

    def forget_runs(self):
        self.batches.append("forgot")


def test_what_gathers_while_mlflow_is_slow_goes_at_once_and_in_order(layout):
    """A file goes after the events before it: its run must be there."""
    events = read_events(layout.ledger)
    with Tracker(layout) as tracker:
        held = Held(tracker)
        tracker.send(events[0])
        assert held.asked.wait(60)  # it holds the first one
        for event in events[1:4]:
            tracker.send(event)
        tracker.send_file(layout.ledger)
        for event in events[4:]:
            tracker.send(event)
        assert not held.batches  # it returned at once
        held.go.set()
        assert tracker.close() is None
    assert held.batches[0] == events[:1]
    assert held.batches[1:] == [events[1:4], [layout.ledger], events[4:]]


def test_what_failed_is_sent_again_whole(layout, monkeypatch):
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.001,))
    events = read_events(layout.ledger)
    with Tracker(layout) as tracker:
        held = Held(tracker)
        held.failures = [ConnectionError("away"), OSError("still away")]
        tracker.send(events[0])
        held.go.set()
        assert tracker.close() is None
    assert held.batches == ["forgot", "forgot", events[:1]]  # what was made before an error is looked up again


def test_one_that_does_not_answer_is_left_after_a_while(layout):
    with Tracker(layout, "http://127.0.0.1:5000") as tracker:
        held = Held(tracker)
        tracker.send(read_events(layout.ledger)[0])
        missing = tracker.close(timeout_s=0.1)
        assert "(no answer yet)" in missing and "--tracking-uri http://127.0.0.1:5000" in missing
        assert f"search.tracking search --results {layout.results}" in missing
        held.go.set()


def test_one_that_only_fails_is_left_with_its_error(layout, monkeypatch):
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.001,))
    with Tracker(layout) as tracker:
        held = Held(tracker)
        held.failures = [PermissionError("not yours\nand more")] * 1_000_000
        held.go.set()
        tracker.send(read_events(layout.ledger)[0])
        missing = tracker.close()
        assert not tracker.thread.is_alive()
    assert "(PermissionError: not yours)" in missing


def test_closing_twice_or_with_nothing_sent_is_no_fault(layout):
    with Tracker(layout) as tracker:
        assert tracker.close() is None
        assert tracker.close() is None
    assert not tracker.thread.is_alive()


def test_how_to_send_it_later_can_be_copied_and_has_no_password(tmp_path):
    uri = "http://me:secret@127.0.0.1:1"
    tracker = Tracker(SearchLayout(tmp_path / "my results", "mine"), uri)
    tracker.unsent, tracker.error = [tmp_path], ConnectionError(f"no answer of {uri}")
    told = tracker.close()
    assert "secret" not in told and "no answer of http://me:***@127.0.0.1:1" in told
    command = shlex.split(re.search("`(.*)`", told)[1])
    assert command[3:] == ["mine", "--results", f"{tmp_path}/my results", "--tracking-uri", "http://me:***@127.0.0.1:1"]
