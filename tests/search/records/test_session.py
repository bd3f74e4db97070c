"""What happens is in the ledger, and in the record, before anybody hears of it."""

import pytest

from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.records.record import SearchRecord, load_record, replay
from search.records.session import Session

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
