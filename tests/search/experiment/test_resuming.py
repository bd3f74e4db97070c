"""When a search can go on: in its version, within its time, with its space."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_search import make_search
from packaging.version import Version

import fashion_core
from fashion_core.errors import SearchError
from search.experiment.identity import check_space
from search.experiment.resuming import (
    OLDEST,
    begun_by_older,
    check_extension,
    check_replaceable,
    check_resumable,
    follow_ledger,
)
from search.planning.options import SearchOptions
from search.records.events import EndReason, SearchResumed, SearchStarted
from search.records.layout import SearchLayout
from search.records.record import SearchRecord, load_record
from search.space.reading import parse_space

NUMBERS = st.integers(0, 30)


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", ".dev1", "rc2", "+local"]))
def test_versions_are_told_apart_by_their_first_two_numbers(major, minor, patch, suffix):
    found = f"{major}.{minor}.{patch}{suffix}"
    assert begun_by_older(found) == (Version(found).release[:2] < OLDEST)


def test_a_version_that_is_not_known_is_not_older():
    assert not any(map(begun_by_older, ("", "unknown", "1", "v0.1")))
    assert not begun_by_older(fashion_core.__version__)


def make(tmp_path, **changes):
    """A search's plan, as far as it is looked at, and its record."""
    ended = changes.pop("ended", EndReason.INTERRUPTED)
    layout = make_search(tmp_path, "mine", ended=ended)
    record = load_record(layout)
    record.search = replace(record.begun, space_hash="abc", **changes)
    options = SimpleNamespace(space="tiny.yaml")
    return SimpleNamespace(layout=layout, options=options, space=SimpleNamespace(hash="abc", text="")), record


@pytest.mark.parametrize("ended", [None, *(each for each in EndReason if not each.is_limit)])
def test_one_that_no_limit_has_ended_goes_on(ended, tmp_path):
    check_resumable(*make(tmp_path, ended=ended, provenance={"version": fashion_core.__version__}))


def test_one_that_did_not_tell_its_version_goes_on(tmp_path):
    check_resumable(*make(tmp_path))


@pytest.mark.parametrize("ended", [each for each in EndReason if each.is_limit])
def test_one_that_a_limit_has_ended_does_not(ended, tmp_path):
    """It is told how it gets more, by an option of its own kind."""
    with pytest.raises(SearchError, match=r"give it more with `fashion-search extend mine --\S+ \S+`") as caught:
        check_resumable(*make(tmp_path, ended=ended))
    assert f"({ended})" in str(caught.value) and "\n" not in str(caught.value)


def test_one_of_an_older_version_does_not(tmp_path):
    with pytest.raises(SearchError, match=r"mine was begun by an earlier version \(0\.1\.9, this is"):
        check_resumable(*make(tmp_path, provenance={"version": "0.1.9"}))


def test_one_whose_space_has_changed_does_not(tmp_path):
    plan, record = make(tmp_path)
    plan.space.hash = "abd"
    for check in (lambda: check_resumable(plan, record), lambda: check_space(plan, record.begun)):
        with pytest.raises(SearchError, match=r"tiny\.yaml has changed since") as caught:
            check()
        assert str(plan.layout.space_yaml) in str(caught.value)


LONGER = """
trials: 3
fixed: {{weights: none{fixed}}}
search: {{lr: {{loguniform: [1e-4, 1e-2]}}{search}}}
scheduler: {{type: none, max_epochs: {epochs}}}
"""
CONSTANT = ", schedule: constant, warmup_fraction: 0"


@pytest.mark.parametrize(
    ("fixed", "search", "epochs", "told"),
    [
        (CONSTANT, "", 3, None),
        (CONSTANT, "", 9, None),
        ("", "", 3, None),
        (CONSTANT, "", 2, "must be 3 or more"),
        ("", "", 4, "--max-epochs 4 --warm-start mine"),
        (", schedule: constant", "", 4, "warmup_fraction: 0"),
        (", warmup_fraction: 0", ", schedule: {choice: [constant, cosine]}", 4, "--warm-start mine"),
        (", schedule: constant", ", warmup_fraction: {choice: [0, 0.1]}", 4, "--warm-start mine"),
    ],
)
def test_only_what_trains_at_one_rate_trains_longer(fixed, search, epochs, told, tmp_path):
    plan, record = make(tmp_path, settings={"max_epochs": 3})
    plan.space = replace(parse_space(LONGER.format(fixed=fixed, search=search, epochs=epochs), "tiny"), hash="abc")
    if told is None:
        check_resumable(plan, record, extend=True)
    else:
        with pytest.raises(SearchError, match=told) as caught:
            check_resumable(plan, record, extend=True)
        assert "\n" not in str(caught.value)


GRID = """
sampler: grid
fixed: {weights: none}
search: {lr: {choice: [0.001, 0.01]}, fc_layers: {choice: [0, 2]}}
scheduler: {type: none, max_epochs: 3}
"""


def test_what_is_typed_to_extend_is_refused_for_its_true_reason(tmp_path):
    """Of a grid by what was typed, and not the sum; trials that cannot train longer before new ones are asked for."""
    _, record = make(tmp_path, settings={"max_epochs": 3}, space=GRID)
    left = 4 - record.next_number
    check_extension(record, left, None)
    with pytest.raises(SearchError, match=f"at most {left}, what the grid of mine has left, but got {left + 7}"):
        check_extension(record, left + 7, None)
    record.search = replace(record.begun, space=GRID.replace("0.001, 0.01", "0.01").replace("0, 2", "0"))
    with pytest.raises(SearchError, match="the grid of mine has no more"):
        check_extension(record, 1, None)
    record.search = replace(record.begun, space=LONGER.format(fixed="", search="", epochs=3))
    check_extension(record, 50, 3)
    with pytest.raises(SearchError, match="--max-epochs 5 --warm-start mine"):
        check_extension(record, None, 5)
    record.search = replace(record.begun, space="none: [any more")
    check_extension(record, 50, 5)


def test_what_a_search_was_given_later_is_read_from_its_ledger(tmp_path):
    """The file of its options may be of before: of another machine, or of a command that was killed."""
    begun = SearchOptions(data=".", space="demo", trials=3, target=0.9, time_budget_s=60.0)
    record = SearchRecord()
    record.apply(SearchStarted(name="mine", settings={"trials": 3, "max_epochs": 2}, limits=begun.limits.write()))
    assert follow_ledger(begun, record) is begun
    given = begun.model_copy(update={"target": None, "time_budget_s": 3600.0, "stop_after": 5, "without_gain": 0.01})
    resumed = SearchResumed(trials=53, extended=True, max_epochs=4, limits=given.limits.write())
    record.apply(resumed)
    found = follow_ledger(begun, record)
    assert (found.trials, found.max_epochs, found.limits) == (53, 4, given.limits)
    record.apply(SearchResumed(trials=53, limits=given.limits.write()))  # it goes on once more
    assert follow_ledger(begun, record) == found


def test_only_a_search_is_replaced(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    check_replaceable(layout)
    layout.folder.mkdir()
    check_replaceable(layout)  # of a search that was killed at once
    (layout.folder / "photographs").mkdir()
    with pytest.raises(SearchError, match=r"what is replaced must be a search, but .*mine holds none"):
        check_replaceable(layout)
    layout.options.touch()
    check_replaceable(layout)
    layout.ledger.write_bytes(b"no event\n")
    with pytest.raises(SearchError, match=r"that can be read, but .*ledger.jsonl:1 is not JSON.* delete mine"):
        check_replaceable(layout)
