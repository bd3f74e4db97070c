"""Which attempt a command goes on with, and whose report and model stand for the search."""

import pytest

from fashion_core.errors import SearchError
from search.promotion.attempt_state import PROMOTED, REFUSED, open_attempt, read_states
from search.records.layout import SearchLayout


@pytest.fixture
def layout(tmp_path):
    return SearchLayout(tmp_path, "mine")


def begin(layout, key="a", model="m", now=1.0):
    return open_attempt(layout, key, model, now)


def test_one_that_was_cut_off_goes_on_and_one_that_ended_does_not(layout):
    first = begin(layout)
    assert (first.number, begin(layout, now=2.0)) == (1, first)
    first.end(3.0, PROMOTED, version=7)
    second = begin(layout, now=4.0)
    assert second.number == 2 and second.state.began == 4.0 and begin(layout) == second
    assert [(each.outcome, each.ended, each.version) for each in read_states(layout)] == [
        ("promoted", 3.0, 7), (None, None, None)
    ]  # fmt: skip


def test_other_options_or_another_model_are_another_attempt(layout):
    numbers = [begin(layout, *given).number for given in (("a",), ("b",), ("a", "other"), ("a",), ("b",))]
    assert numbers == [1, 2, 3, 1, 2]


def test_what_was_promoted_stands_until_another_is(layout):
    first = begin(layout)
    assert first.takes_place(passed=False, ships=True) and first.takes_place(passed=False, ships=False)
    layout.final.folder.mkdir()
    assert not first.takes_place(passed=False, ships=False)  # a report alone, beside the model of another
    first.end(1.0, REFUSED)
    second = begin(layout)
    assert second.promoted is None and second.takes_place(passed=False, ships=True)
    second.end(2.0, PROMOTED)
    third = begin(layout)
    assert third.promoted == 2 and not third.takes_place(passed=False, ships=True)
    assert third.takes_place(passed=True, ships=True)


def test_one_cut_off_that_goes_on_after_another_was_promoted_leaves_that(layout):
    begin(layout)
    begin(layout, "b").end(2.0, PROMOTED)
    again = begin(layout)
    assert (again.number, again.promoted) == (1, 2) and not again.takes_place(passed=False, ships=True)


def test_results_of_a_version_that_kept_no_attempts_count_as_the_first_and_stay(layout):
    layout.folder.mkdir()
    layout.promotion_report.write_text("# Promotion of `mine`\n")
    own = begin(layout)
    assert own.number == 2 and own.promoted == 1 and not own.takes_place(passed=False, ships=True)
    own.end(1.0, REFUSED)
    assert begin(layout).promoted == 1
    begin(layout).end(2.0, PROMOTED)
    assert begin(layout).promoted == 3


def test_a_state_that_cannot_be_read_is_told(layout):
    path = layout.attempt(begin(layout).number).state
    path.write_text("{}")
    with pytest.raises(SearchError, match=r"attempt\.json must tell of an attempt .*; restore it from a backup, or"):
        begin(layout)
