"""Who is dropped where time is short."""

import pytest

from search.promotion.retraining import choose_losers


@pytest.mark.parametrize(
    "seconds_left, dropped",
    [(80, []), (79, ["c"]), (60, ["c"]), (59, ["c", "a"]), (0, ["c", "a"])],
)
def test_the_worst_go_first_where_time_is_short(seconds_left, dropped):
    """Four trainings of 10 s, two more rounds, one at a time: 80 s. The best and the baseline stay in any case."""
    means = {"a": 0.7, "b": 0.8, "c": 0.6, "baseline": 0.1}
    seconds = dict.fromkeys(means, 10.0)
    assert choose_losers(means, seconds, 2, 1, seconds_left) == dropped
    # eight workers: a round takes as long as its longest training, however many are dropped
    assert choose_losers(means, seconds, 2, 8, 20) == [] and choose_losers(means, seconds, 2, 8, 19) == ["c", "a"]
