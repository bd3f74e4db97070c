"""What happens is in the ledger, and in the record, before anybody hears of it."""

import threading

import pytest

from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.records.locks import RUN
from search.records.record import SearchRecord, load_record, replay
from search.records.session import Session
from search.records.storage import open_storage

EVENTS = (
    SearchStarted(name="mine"),
    TrialStarted(trial=0, trial_id="a", params={"lr": 0.1}, enqueued=False),
    EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.5}),
    TrialEnded(trial=0, status="finished", best=0.5, best_epoch=1),
)


@pytest.fixture
def session(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    with Ledger(layout.ledger) as ledger:
        yield Session(layout, ledger, SearchRecord())


def test_listeners_hear_of_what_is_written_down_already(session):
    heard = []

    def listen(event):
        written = read_events(session.layout.ledger)
        assert written[-1] == event and replay(written) == session.record
        heard.append(event)

    session.listeners.append(listen)
    for event in EVENTS:
        session.append(event)
    assert heard == read_events(session.layout.ledger)
    assert [type(event) for event in heard] == [type(event) for event in EVENTS]
    assert [event.seq for event in heard] == [0, 1, 2, 3] and all(event.time > 0 for event in heard)
    assert load_record(session.layout) == session.record and session.record.trials[0].best == 0.5


def test_all_hear_in_turn_from_when_they_listen(session):
    heard = []
    session.append(EVENTS[0])
    session.listeners += [
        lambda event: heard.append(("one", event.kind)),
        lambda event: heard.append(("two", event.kind)),
    ]
    session.append(EVENTS[1])
    assert heard == [("one", "trial_started"), ("two", "trial_started")]


def test_what_a_listener_breaks_is_written_down(session):
    def fail(event):
        raise ConnectionError("no tracking server")

    session.listeners.append(fail)
    with pytest.raises(ConnectionError):
        session.append(EVENTS[0])
    assert load_record(session.layout) == session.record and session.record.name == "mine"


def test_listeners_hear_the_numbers_that_were_written(session):
    """A number that JSON has no word for is none for those who listen too."""
    heard = []
    for event in EVENTS[:2]:
        session.append(event)
    session.listeners.append(heard.append)
    session.append(EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.5, "val/loss": float("nan")}))
    assert heard[0].metrics == {"val/accuracy": 0.5, "val/loss": None} == session.record.trials[0].best_metrics


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_nobody_hears_of_what_the_storage_has_not(event, tmp_path):
    """It is away while the event is written: nothing is decided on it or sent anywhere until it stands there."""
    storage, heard, answers = open_storage(str(tmp_path / "storage" / "mine")), [], threading.Event()
    write_log, tried = storage.write_log, threading.Event()

    def write(lines, *, is_synced):
        tried.set()
        if not answers.is_set():
            raise ConnectionError("the storage does not answer")
        write_log(lines, is_synced=is_synced)

    layout = SearchLayout(tmp_path, "mine")
    with storage.hold(RUN), Ledger(layout.ledger, storage=storage) as ledger:
        session = Session(layout, ledger, SearchRecord(), [heard.append])
        for before in EVENTS[: EVENTS.index(event)]:
            session.append(before)
        known, record = len(heard), replay(heard)
        storage.write_log = write
        writer = threading.Thread(target=session.append, args=(event,))
        writer.start()
        assert tried.wait(20)
        assert len(heard) == known and session.record == record == replay(read_events(layout.ledger))
        answers.set()
        writer.join(20)
        assert len(heard) == known + 1 and storage.read_log() == layout.ledger.read_bytes()
        assert session.record == replay(read_events(layout.ledger)) != record
