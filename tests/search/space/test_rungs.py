"""What a dry run expects of ASHA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.rungs import compute_cutoff, expect_epochs

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
