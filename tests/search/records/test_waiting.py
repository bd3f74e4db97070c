"""A search that waits for room on a full disk hears what ends it, and says what to do; what it wrote before stands."""

import math
import time

import pytest
from small_disk import mount_disk

from search.records import waiting as waiting_module
from search.records.events import (
    EndReason,
    EpochEnded,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    StopAsked,
    StopMode,
    TrialEnded,
    TrialStarted,
)
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.records.limits import Limits
from search.records.record import SearchRecord, replay
from search.records.requests import ask_to_stop, read_request
from search.records.session import Session
from search.records.waiting import WaitEnded, Waiting

AT_ONCE = (StopMode.AT_EPOCH, StopMode.NOW)
START = TrialStarted(trial=0, trial_id="", params={}, enqueued=False)
EPOCH = EpochEnded(
    trial=0, epoch=1, metrics={"val/accuracy": 0.5, "filling": [0.5] * 2000}
)  # more than a page of a disk


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.setattr("fashion_core.files.RETRY_SECONDS", 0.01)
    monkeypatch.setattr(waiting_module, "PATIENCE_S", 0.05)
    with mount_disk(tmp_path / "small", 0.5) as found:
        yield found


@pytest.fixture
def build(disk):
    """A search on the small disk, whose command began so many seconds ago."""
    ledgers = []

    def build(limits=None, *, ago=0.0, gpus=0.0):
        layout, tell = SearchLayout(disk.folder, "mine"), disk.told.append
        layout.stop_request.parent.mkdir()
        layout.folder.mkdir()
        layout.options.touch()
        began = time.monotonic() - ago
        waiting = Waiting(layout, tell, SearchRecord(limits=limits or Limits()), began)
        ledger = Ledger(layout.ledger, tell, began, check=waiting.check)
        ledgers.append(ledger)
        session = Session(layout, ledger, SearchRecord())
        session.append(
            SearchStarted(name="mine", limits=(limits or Limits()).write(), settings={"gpus_per_trial": gpus})
        )
        waiting.follow(session)
        return waiting

    yield build
    for ledger in ledgers:
        ledger.close()


def ask_when_told(disk, layout, mode):
    """Another process asks for it once it reads that the search waits."""

    def tell(text):
        disk.told.append(text)
        ask_to_stop(layout, mode)

    return tell


@pytest.mark.parametrize("mode", AT_ONCE)
def test_a_ledger_that_waits_hears_a_request_and_loses_nothing(mode, disk, build):
    waiting = build()
    waiting.session.append(START)
    before = waiting.layout.ledger.read_bytes()
    waiting.session.ledger.tell = ask_when_told(disk, waiting.layout, mode)
    disk.fill()
    with pytest.raises(WaitEnded) as ended:
        waiting.session.append(EPOCH)
    told = str(ended.value)
    assert told.startswith(f"mine was asked to stop while it waits: the disk of {waiting.layout.folder} is full (0 MB")
    assert told.endswith("free 100 MB or more there, and go on with --resume mine") and "\n" not in told
    assert len(disk.told) == 1 and read_request(waiting.layout) is None
    assert waiting.layout.ledger.read_bytes() == before and waiting.record.trials[0].epochs == []
    disk.free()
    waiting.session.ledger.close()
    with Ledger(waiting.layout.ledger) as ledger:  # goes on
        ledger.append(SearchResumed(trials=1))
    assert [event.kind for event in read_events(waiting.layout.ledger)] == [
        "search_started", "trial_started", "search_resumed"
    ]  # fmt: skip


def test_one_that_is_to_let_its_trials_finish_waits_for_them_and_not_without(disk, build):
    waiting = build()
    waiting.session.append(START)
    ask_to_stop(waiting.layout, StopMode.AFTER_TRIALS)
    waiting.check("full", math.inf)
    waiting.session.append(TrialEnded(trial=0, status="finished", best=0.5, reason=""))
    with pytest.raises(WaitEnded, match="asked to stop"):
        waiting.check("full", 0.0)


def test_what_is_prepared_hears_a_request_too(disk, build):
    waiting = build()
    waiting.session, waiting.tell = None, ask_when_told(disk, waiting.layout, StopMode.AFTER_TRIALS)
    disk.fill()
    with pytest.raises(WaitEnded, match=f"the disk of {disk.folder} is full"):
        waiting.retry(lambda: (disk.folder / "prepared").write_bytes(bytes(4096)), disk.folder)


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (Limits(seconds=100.0), "time budget"),
        (Limits(gpu_hours=200 / 3600), "GPU budget"),
        (Limits(cost=200 / 3600, price_per_gpu_hour=1.0), "cost budget"),
    ],
)
def test_a_budget_that_is_spent_while_it_waits_ends_it(limits, word, disk, build, monkeypatch):
    waiting = build(limits, gpus=2)
    waiting.session.append(START)
    waiting.check("full", math.inf)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 101)
    disk.fill()
    with pytest.raises(WaitEnded, match=f"the {word} of mine is spent while it waits: .*, and go on with --resume"):
        waiting.session.append(EPOCH)
    monkeypatch.undo()


def test_without_a_reason_it_waits_for_room_as_ever(disk, build):
    waiting = build(Limits(seconds=1e9, gpu_hours=1e9, target=0.1))
    waiting.session.append(START)
    waiting.session.ledger.tell = disk.tell  # makes room
    disk.fill()
    waiting.session.append(EPOCH)
    assert len(disk.told) == 1 and len(waiting.record.trials[0].epochs) == 1


def test_time_before_the_first_line_counts(build):
    waiting = build(Limits(seconds=100.0), ago=99.0)
    waiting.session = None
    waiting.record = SearchRecord(limits=Limits(seconds=100.0))
    assert waiting.find_end(math.inf) is None
    waiting.began -= 1.5
    assert waiting.find_end(0.0) is None  # a moment to write that down
    assert waiting.find_end(math.inf) == "the time budget of mine is spent"


def test_what_an_earlier_command_was_asked_or_ran_is_over(build):
    waiting = build()
    waiting.session = None
    events = [SearchStarted(name="mine", elapsed=0.0), START, StopAsked(mode=StopMode.NOW)]
    waiting.go_on(replay(events))
    assert waiting.find_end(math.inf) is None and not waiting.record.running
    ask_to_stop(waiting.layout, StopMode.AFTER_TRIALS)
    assert waiting.find_end(0.0) == "mine was asked to stop"


@pytest.mark.parametrize(
    ("reason", "way"),
    [
        (EndReason.TIME_BUDGET, "write its report with `fashion-search report mine`"),
        (EndReason.STOPPED, "go on with --resume mine"),
    ],
)
def test_the_way_is_one_that_goes(reason, way, build):
    waiting = build()
    waiting.session.append(SearchEnded(reason=reason, seconds=0.0))
    assert waiting.tell_way() == way
    waiting.layout.options.unlink()
    waiting.record.ended = None
    assert waiting.tell_way() == "start it again"
