"""Error is spent over tries: never more than there is, however many come."""

from fractions import Fraction

import pytest

from search.statistics.spending import DELAY, ERROR, spend_error


def test_all_tries_together_spend_the_error_and_no_more():
    """Exactly: the first n leave 4 / (n + 4) of it to those that come, whose weights go on for ever."""
    spent = Fraction(0)
    for attempt in range(1, 2001):
        weight = Fraction(DELAY + 1, (attempt + DELAY) * (attempt + DELAY + 1))
        assert spend_error(attempt) == pytest.approx(ERROR * float(weight))
        spent += weight
        assert 1 - spent == Fraction(DELAY + 1, attempt + DELAY + 1)
    assert sum(map(spend_error, range(1, 200_000))) < 0.05


def test_every_try_is_left_something_and_the_first_not_all():
    asked = [spend_error(attempt) for attempt in (1, 2, 10, 20, 10**6)]
    assert asked == sorted(asked, reverse=True) and asked[-1] > 0
    assert asked[0] == pytest.approx(0.01) and asked[2] == pytest.approx(0.0011, rel=0.01)
    with pytest.raises(ValueError, match="counted from 1, but got 0; give"):
        spend_error(0)
