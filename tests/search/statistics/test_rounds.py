"""Dropping between rounds: who leaves, how the error is shared out, and what a simulation says of it."""

import numpy as np
import pytest
from judging_simulation import Truth
from rounds_simulation import WAYS, measure_way

from search.statistics.crossfit import assign_folds
from search.statistics.intervals import compare, estimate_seed_noise
from search.statistics.rounds import count_looks, find_sure_losers, share_error

FOLDS = assign_folds(np.arange(300), 0)


def draw(scores, seeds=2, seed=0):
    return list(Truth(scores, 0.3).draw(np.random.default_rng(seed), seeds, 300).scores)


def test_the_error_is_shared_out_over_all_tests_there_may_be():
    assert share_error(0.06, candidates=4, seeds=4) == pytest.approx(0.06 / (3 * 2))
    assert [count_looks(seeds) for seeds in (1, 2, 3, 5)] == [0, 0, 1, 3]
    with pytest.raises(ValueError, match=r"between 0 and 1, but got 1\.5"):
        share_error(1.5, 4, 3)


def test_the_far_worse_leave_and_the_best_never_does():
    scores = draw([0.85, 0.6, 0.84, 0.55])
    assert find_sure_losers(scores, FOLDS, 0.01) == [1, 3]
    assert find_sure_losers([scores[0], scores[0]], FOLDS, 0.4) == []  # equals


def test_one_seed_each_tells_nothing_of_luck():
    assert find_sure_losers([each[:1] for each in draw([0.9, 0.5])], FOLDS, 0.05) == []


def test_a_candidate_stays_where_one_fold_alone_makes_it_lose():
    """On all images it is surely worse; without its worst fold it is not, and that fold must not choose."""
    best, other = np.random.default_rng(1).random((2, 2, 300)) * 0.1 + 0.5
    other = np.where(FOLDS == 3, other - 0.4, other)
    assert compare(best, other, estimate_seed_noise([best, other])).p_value < 0.01
    assert find_sure_losers([best, other], FOLDS, 0.01) == []


@pytest.mark.long
def test_a_part_of_the_table():
    """Dropped by rank after one seed, the best of equals is lost in half of all cases; by the test it is not."""
    ways = {way.words: way for way in WAYS}
    sure = measure_way(ways["sure losers leave, 6 seeds"], 0.0, 0.8, 60)
    half = measure_way(ways["half leave after one, 6 seeds"], 0.0, 0.8, 60)
    assert sure["dropped"] <= 0.1 < 0.3 < half["dropped"] and half["trainings"] == 14
    apart = measure_way(ways["sure losers leave, 6 seeds"], 2.0, 0.4, 25)
    assert apart["trainings"] < 20 and apart["lost"] < 0.1
