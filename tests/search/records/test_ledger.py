"""The ledger survives a kill at any byte, is written by one process at a time, and adds up to the same record again."""

import base64
import errno
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_core.errors import SearchError
from search.records.events import EpochEnded, SearchEnded, SearchResumed, SearchStarted, TrialEnded, TrialStarted
from search.records.ledger import Ledger, pack_correct, read_events, unpack_correct
from search.records.record import replay


def write_trial(ledger, number, scores, status=None):
    ledger.append(TrialStarted(trial=number, trial_id=f"id{number}", params={"lr": 0.1 * number}, enqueued=False))
    for epoch, score in enumerate(scores, 1):
        ledger.append(EpochEnded(trial=number, epoch=epoch, metrics={"val/accuracy": score}))
    if status is not None:
        ledger.append(TrialEnded(trial=number, status=status, reason="r", best=max(scores), best_epoch=1))


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_is_waited_for_and_leaves_no_half_a_line(room, tmp_path, monkeypatch):
    told, naps = [], []

    class Disk:
        """The ledger's file, on a disk with this much room until space is freed."""

        def __init__(self, file):
            self.file, self.room = file, room

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            count = self.file.write(bytes(content[: self.room]))
            self.room -= count
            return count

    with Ledger(tmp_path / "l.jsonl", told.append) as ledger:
        ledger.append(SearchStarted(name="s"))
        before = (tmp_path / "l.jsonl").read_bytes()
        ledger.file.file = disk = Disk(ledger.file.file)

        def wait(seconds):
            assert (tmp_path / "l.jsonl").read_bytes() == before  # valid while it waits
            naps.append(seconds)
            disk.room = 0 if len(naps) < 3 else 10**6

        monkeypatch.setattr("fashion_core.files.time.sleep", wait)
        write_trial(ledger, 0, [0.5], "finished")
    assert len(naps) == 3 and len(told) == 1 and "is full" in told[0] and "Ctrl-C" in told[0] and "\n" not in told[0]
    assert [event.kind for event in read_events(tmp_path / "l.jsonl")] == [
        "search_started", "trial_started", "epoch", "trial_ended"
    ]  # fmt: skip


def test_what_is_no_full_disk_is_an_error(tmp_path):
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.file.file.close()
    ledger.file.file = (tmp_path / "l.jsonl").open("rb", buffering=0)
    with pytest.raises(OSError, match="not open for writing"), ledger:
        ledger.append(SearchStarted(name="s"))


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_jumps_changes_no_duration(jump, tmp_path, monkeypatch):
    walls, seconds = iter([1e9, 1e9 + 1, 1e9 + 2 + jump, 1e9 + 3 + jump, 1e9 + 4 + jump]), iter(range(1, 20))
    monkeypatch.setattr("search.records.ledger.time.time", lambda: next(walls))
    monkeypatch.setattr("search.records.ledger.time.monotonic", lambda: float(next(seconds)))
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(SearchStarted(name="s"))
        write_trial(ledger, 0, [0.5], "finished")
    monkeypatch.undo()
    record = replay(read_events(tmp_path / "l.jsonl"))
    assert record.seconds == 3 and record.trials[0].seconds == 2
    assert record.trials[0].best == 0.5 and record.trials[0].status == "finished"


def test_time_between_two_processes_does_not_count(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(SearchStarted(name="s"))
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(SearchResumed(trials=1))
    assert replay(read_events(ledger.path)).seconds == 0
    events = zip(read_events(ledger.path), (5.0, 99.0), strict=True)
    old = [replace(event, elapsed=None, time=time) for event, time in events]
    old.append(SearchEnded(reason="", seconds=0.0, time=90.0))  # of an older version, with a clock put back
    assert replay(old).seconds == 0


def test_what_is_written_is_read(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(SearchStarted(name="s", settings={"trials": 2}))
        write_trial(ledger, 0, [0.5, 0.7], "finished")
        write_trial(ledger, 1, [0.4])
        ledger.append(SearchEnded(reason="all trials ended", seconds=1.5))
    events = read_events(tmp_path / "l.jsonl")
    assert [event.seq for event in events] == list(range(len(events)))
    record = replay(events)
    assert record.name == "s" and record.ended.seconds == 1.5 and record.next_number == 2
    first, second = record.trials[0], record.trials[1]
    assert (first.status, first.best, [row.epoch for row in first.epochs]) == ("finished", 0.7, [1, 2])
    assert (second.status, second.best, second.end) == ("running", 0.4, None)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_kill_at_any_byte_leaves_a_ledger_that_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("ledger") / "l.jsonl"
    with Ledger(path) as ledger:
        ledger.append(SearchStarted(name="s", settings={}))
        write_trial(ledger, 0, [0.5, 0.6, 0.7], "finished")
        write_trial(ledger, 1, [0.2, 0.3])
    whole = read_events(path)
    content = path.read_bytes()
    path.write_bytes(content[: cut % (len(content) + 1)])
    left = read_events(path)
    assert left == whole[: len(left)]
    replay(left)
    with Ledger(path) as ledger:  # goes on behind the last whole line
        entry = ledger.append(SearchResumed(trials=2))
    assert read_events(path) == [*left, entry] and entry.seq == len(left)


def test_the_first_time_of_an_epoch_counts(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as ledger:
        write_trial(ledger, 0, [0.5, 0.6, 0.7])
        ledger.append(
            TrialStarted(trial=0, trial_id="new", params={"lr": 0.0}, enqueued=False)
        )  # went on after a restart
        ledger.append(EpochEnded(trial=0, epoch=2, metrics={"val/accuracy": 0.65}))
    rows = replay(read_events(tmp_path / "l.jsonl")).trials[0].epochs
    assert [(row.epoch, row.metrics["val/accuracy"]) for row in rows] == [(1, 0.5), (2, 0.6), (3, 0.7)]


def test_one_writer_at_a_time(tmp_path):
    with Ledger(tmp_path / "l.jsonl"), pytest.raises(SearchError, match="one process may write"):
        Ledger(tmp_path / "l.jsonl")
    Ledger(tmp_path / "l.jsonl").close()


def test_every_line_is_json_whatever_the_numbers(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as ledger:
        entry = ledger.append(EpochEnded(trial=0, epoch=1, metrics={"a": math.nan, "b": [math.inf, 1.5]}))
    assert entry.metrics == {"a": None, "b": [None, 1.5]}
    assert json.loads((tmp_path / "l.jsonl").read_text())["metrics"] == entry.metrics


def test_a_damaged_line_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as ledger:
        ledger.append(SearchResumed(trials=1))
        ledger.append(SearchResumed(trials=1))
    lines = path.read_text().splitlines()
    path.write_text("not json\n" + lines[1] + "\n")
    with pytest.raises(SearchError, match=r"l\.jsonl:1"):
        read_events(path)


def test_unknown_events_change_nothing(tmp_path):
    with Ledger(tmp_path / "l.jsonl") as ledger:
        write_trial(ledger, 0, [0.5])
        before = replay(read_events(ledger.path))
    with (tmp_path / "l.jsonl").open("a") as file:
        file.write('{"event": "from_a_later_version", "time": 1.0, "seq": 3, "anything": 1}\n')
    assert replay(read_events(tmp_path / "l.jsonl")) == before


@pytest.mark.parametrize("shape", [(1, 1), (3, 6), (500, 6), (7, 3)])
def test_answers_survive_packing(shape):
    correct = np.random.default_rng(0).random(shape) < 0.5
    assert np.array_equal(unpack_correct(pack_correct(correct), *shape), correct)


@pytest.mark.parametrize("shape", [(1, 2), (3, 6), (500, 6), (7, 3)])
def test_answers_with_missing_labels_survive_packing(shape):
    rng = np.random.default_rng(1)
    correct = np.where(rng.random(shape) < 0.4, np.nan, rng.random(shape) < 0.5)
    correct[0, 0] = np.nan
    text = pack_correct(correct)
    np.testing.assert_array_equal(unpack_correct(text, *shape), correct)
    # an older version reads the first bits alone: what is unlabelled is not right
    old = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=correct.size).reshape(shape)
    assert np.array_equal(old, correct == 1)


def test_with_all_labels_the_text_is_that_of_older_versions():
    correct = np.random.default_rng(2).random((9, 5)) < 0.5
    old = base64.b64encode(np.packbits(correct).tobytes()).decode()
    assert pack_correct(correct) == pack_correct(correct.astype(float)) == old
    assert unpack_correct(old, 9, 5).dtype == bool and np.array_equal(unpack_correct(old, 9, 5), correct)


@given(st.data())
def test_no_bit_of_a_line_changes_unseen(written, draw):
    """It is refused, or, in the name of the checksum, means the same."""
    content, folder = written
    events = read_events(folder / "l.jsonl")
    place, bit = draw.draw(st.integers(0, len(content) - 1)), draw.draw(st.integers(0, 7))
    changed = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
    (folder / "changed.jsonl").write_bytes(changed)
    try:
        found = read_events(folder / "changed.jsonl")
    except SearchError as error:
        assert "restore it from a backup" in str(error) and "\n" not in str(error)
    else:
        assert found == events[: len(found)] and len(found) >= len(events) - 1


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A ledger's content, and its folder."""
    folder = tmp_path_factory.mktemp("written")
    with Ledger(folder / "l.jsonl") as ledger:
        ledger.append(SearchStarted(name="é"))
        write_trial(ledger, 0, [0.5, 0.25], "finished")
    return (folder / "l.jsonl").read_bytes(), folder


def test_lines_without_a_checksum_are_those_of_an_older_version(written, tmp_path):
    content, folder = written
    lines = [json.loads(line) for line in content.splitlines()]
    assert all(list(line)[-1] == "crc32" for line in lines)
    plain = [json.dumps({key: value for key, value in line.items() if key != "crc32"}) for line in lines]
    (tmp_path / "l.jsonl").write_text("\n".join([*plain, ""]))
    assert read_events(tmp_path / "l.jsonl") == read_events(folder / "l.jsonl")
