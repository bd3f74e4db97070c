"""Events survive the disk as they were, old readers pass over new kinds, and what is no event is refused."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.errors import SearchError
from search.records.events import (
    ENDS,
    KINDS,
    MAX_SECONDS,
    EpochEnded,
    Event,
    SearchEnded,
    SearchStarted,
    TrialEnded,
    TrialStarted,
    TrialStatus,
    read_event,
    write_event,
)

MOMENTS, SCORES = st.floats(0, MAX_SECONDS), st.floats(0, 1)
NUMBERS, EPOCHS, WHOLE = st.floats(-1e38, 1e38), st.integers(1, 10_000), st.integers(1 - 2**63, 2**63 - 1)
SCALARS = st.none() | st.booleans() | WHOLE | NUMBERS | st.text(max_size=5)
OBJECTS = st.dictionaries(st.text(max_size=5), SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
# By the annotations of the fields.
VALUES = {
    "Moment": MOMENTS,
    "Whole": WHOLE,
    "Count": st.integers(0, 2**63 - 1),
    "TrialNumber": st.integers(0, 2**31 - 1),
    "Epoch": EPOCHS,
    "str": st.text(max_size=5),
    "FileName": st.text(st.characters(exclude_characters="/\0", codec="utf-8"), max_size=5),
    "bool": st.booleans(),
    "Annotated[dict[str, Any], check_part(Settings)]": OBJECTS,
    "Annotated[dict[str, Any], check_part(Data)]": OBJECTS,
    "Annotated[dict[str, Any], check_part(Selected)]": OBJECTS,
    "Annotated[dict[str, Any], check_part(TakenOver)]": OBJECTS,
    "list[PricedPart]": st.lists(
        st.fixed_dictionaries(
            {"architecture": st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)},
            optional={"parameters": st.integers(0, 2**63 - 1), "ms": st.floats(0, 1e9), "trials": st.lists(EPOCHS)},
        ),
        max_size=2,
    ),
    "Params": st.dictionaries(st.text(max_size=5), SCALARS, max_size=3),
    "dict[str, str]": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    "dict[FileName, str]": st.dictionaries(st.sampled_from(("model", "a b")), st.text(max_size=5), max_size=2),
    "Metrics": st.dictionaries(st.text(max_size=5), st.none() | NUMBERS, max_size=3),
    "Status": st.sampled_from(TrialStatus),
    "Moment | None": st.none() | MOMENTS,
    "Score | None": st.none() | SCORES,
    "Number | None": st.none() | NUMBERS,
    "Epoch | None": st.none() | EPOCHS,
    "dict[str, Number]": st.dictionaries(st.text(max_size=5), NUMBERS, max_size=2),
    "str | None": st.none() | st.text(max_size=5),
}
EVENTS = st.one_of(
    st.builds(kind, **{each.name: VALUES[str(each.type)] for each in fields(kind)}) for kind in KINDS.values()
)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written(event):
    line = json.dumps(write_event(event))
    assert read_event(json.loads(line)) == event
    assert list(json.loads(line))[:3] == ["event", "time", "seq"]


def test_every_kind_can_be_read():
    assert set(KINDS.values()) == set(Event.__subclasses__())
    assert all(KINDS[kind.kind] is kind for kind in Event.__subclasses__())


def test_what_a_trial_lacks_is_left_out_of_its_end():
    written = write_event(TrialEnded(trial=3, status="finished", best=None))
    assert not {"rung", "cutoff", "error", "correct"} & written.keys()
    assert written["best"] is None and written["checkpoint"] is None  # always told
    assert write_event(TrialEnded(trial=3, status="stopped", rung=2, cutoff=0.0))["cutoff"] == 0.0


def test_a_later_version_may_add_kinds_and_fields():
    assert read_event({"event": "from_a_later_version", "anything": 1}) is None
    ended = {"event": "search_ended", "reason": "out of coffee", "seconds": 1.5, "cups": 0}
    assert read_event(ended) == SearchEnded(reason="out of coffee", seconds=1.5)


def test_an_earlier_version_may_lack_what_need_not_be():
    assert read_event({"event": "search_started", "name": "s"}) == SearchStarted(name="s")
    ended = read_event({"event": "trial_ended", "trial": 0, "status": "failed"})
    assert ended == TrialEnded(trial=0, status=TrialStatus.FAILED) and isinstance(ended.status, TrialStatus)


@pytest.mark.parametrize("values", [None, 1, "epoch", [], ["event"], {}, {"event": None}, {"event": ["epoch"]}])
def test_what_is_no_event_is_refused(values):
    with pytest.raises(SearchError, match="must be a JSON object with its kind"):
        read_event(values)


@given(st.data())
def test_a_field_that_must_be_there_is_named(data):
    """Those that a class asks for are those that it cannot be made without."""
    event = data.draw(EVENTS)
    written = write_event(event)
    name = data.draw(st.sampled_from([key for key in written if key != "event"]))
    values = {key: value for key, value in written.items() if key != name}
    try:
        type(event)(**{key: value for key, value in values.items() if key != "event"})
    except TypeError:
        with pytest.raises(SearchError, match=rf"an event {event.kind} must have {name}, but lacks it"):
            read_event(values)
    else:
        assert read_event(values) is not None


def test_all_that_is_lacking_is_named_at_once():
    with pytest.raises(SearchError, match=r"an event epoch must have epoch, metrics, trial, but lacks it"):
        read_event({"event": "epoch"})


@pytest.mark.parametrize("status", ["asleep", None, 3, [], "FINISHED"])
def test_a_status_that_no_trial_has_is_refused(status):
    with pytest.raises(SearchError, match="an event trial_ended must be possible"):
        read_event({"event": "trial_ended", "trial": 0, "status": status})


def test_a_trial_that_runs_pauses_or_was_interrupted_may_go_on():
    assert {status for status in TrialStatus if not status.is_over} == {"running", "interrupted", "paused"}
    assert ENDS == ("finished", "stopped", "failed", "diverged", "interrupted", "paused")


def test_events_share_nothing_and_stay_as_they_are():
    one, other = SearchStarted(name="s"), SearchStarted(name="s")
    assert one.settings is not other.settings
    with pytest.raises(AttributeError):
        one.name = "other"


def test_categories_are_those_of_the_data():
    assert SearchStarted(name="s", data={"categories": {"fit": ["a", "b"]}}).categories == {"fit": ["a", "b"]}
    assert SearchStarted(name="s").categories == {}


def test_an_event_is_told_by_its_kind_on_the_disk():
    """Ledgers of searches that ran are read by these words."""
    assert sorted(KINDS) == [
        "costs_measured", "epoch", "epoch_again", "limit_reached", "search_broke", "search_ended", "search_resumed",
        "search_started", "stop_asked", "trial_ended", "trial_paused", "trial_proposed", "trial_retried", "trial_saved",
        "trial_started",
    ]  # fmt: skip
    started = TrialStarted(trial=1, trial_id="a", params={"lr": 0.1}, enqueued=True, time=2.0, seq=3)
    assert write_event(started) == {
        "event": "trial_started", "time": 2.0, "seq": 3,
        "trial": 1, "trial_id": "a", "params": {"lr": 0.1}, "enqueued": True,
    }  # fmt: skip
    epoch = EpochEnded(trial=1, epoch=2, metrics={"val/accuracy": None})
    assert write_event(epoch)["metrics"] == {"val/accuracy": None}


@given(st.none() | st.integers() | st.text() | st.lists(st.integers()))
def test_metrics_are_values_by_name(metrics):
    with pytest.raises(SearchError, match="`metrics`: input should be a valid dictionary"):
        read_event({"event": "epoch", "time": 1.0, "seq": 1, "trial": 0, "epoch": 1, "metrics": metrics})
