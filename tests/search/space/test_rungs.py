"""What a dry run expects of ASHA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.rungs import PROMOTION, Scheduler, compute_cutoff, expect_epochs

FULL, FACTOR = 9, 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(2, 6))
def test_cutoffs_are_numpys_percentiles_to_the_bit(values, factor):
    assert compute_cutoff(sorted(values), factor) == np.percentile(values, (1 - 1 / factor) * 100)


def test_the_first_at_a_rung_meets_no_cutoff():
    assert compute_cutoff([], FACTOR) is None


def expect(trials, rungs):
    return expect_epochs(trials, FULL, rungs, FACTOR, np.random.default_rng(0)) / trials


def test_of_many_trials_each_rung_lets_a_third_through():
    assert expect(10_000, []) == FULL
    assert expect(10_000, [1]) == pytest.approx(1 + (FULL - 1) / FACTOR, rel=0.02)
    assert pytest.approx(expect(10_000, [1, 3]), rel=0.02) == 1 + 2 / FACTOR + 6 / FACTOR**2


def test_the_first_trial_always_goes_to_the_end():
    assert expect(1, [1, 3]) == FULL


# ----------------------------------------------------------------------------------------------------- promotion


@pytest.mark.parametrize(
    ("max_epochs", "warmup_fraction", "probe_epochs", "rungs"),
    [
        (30, 0.15, 0, [5, 15]),  # the warm-up ends amid epoch 5
        (10, 0.2, 0, [3, 9]),  # it ends with epoch 2
        (20, 0.15, 0, [4, 12]),  # with epoch 3: 0.15 * 20 is a little more in floating point
        (9, 0.0, 0, [1, 3]),
        (20, 0.1, 10, [12]),  # a tenth of ten epochs, after ten of probing
        (4, 0.9, 0, []),  # nothing is left behind it: every trial trains to the end
        (2, 0.0, 5, []),
    ],
)
def test_the_first_rung_comes_after_the_warm_up(max_epochs, warmup_fraction, probe_epochs, rungs):
    scheduler = Scheduler("asha", max_epochs, None, FACTOR, PROMOTION)
    assert scheduler.place(warmup_fraction, probe_epochs).rungs() == rungs


def test_a_rung_that_is_given_stays():
    given = Scheduler("asha", 9, 2, FACTOR, PROMOTION)
    assert given.place(0.5, 3) == given and given.rungs() == [2, 6]


def expect_promoted(trials, rungs=(1, 3), factor=FACTOR):
    scheduler = Scheduler("asha", FULL, rungs[0], factor, PROMOTION)
    assert scheduler.rungs() == list(rungs)
    return scheduler.expect_epochs(trials, np.random.default_rng(0)) / trials


def test_of_many_promoted_trials_each_rung_lets_a_third_through():
    """And a few more: those that were among the best when they came (Li et al. 2020, section 3.3)."""
    ideal = 1 + 2 / FACTOR + 6 / FACTOR**2
    assert ideal < expect_promoted(2_000) < 1.1 * ideal


def test_a_few_trials_promote_one_to_the_end():
    assert expect_promoted(1) == FULL
    assert expect_promoted(2) == (FULL + 1) / 2


@pytest.mark.parametrize(("trials", "most"), [(60, 40), (9, 6), (2, 2), (1, 1)])
def test_so_many_can_be_paused_at_once(trials, most):
    assert Scheduler("asha", FULL, 1, FACTOR, PROMOTION).count_paused(trials) == most
    assert Scheduler("asha", FULL, 1, FACTOR).count_paused(trials) == 0
    assert Scheduler("none", FULL).count_paused(trials) == 0
