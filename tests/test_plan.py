"""What a dry run expects of ASHA."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.plan import compute_quantile, estimate_epochs

FULL, FACTOR = 9, 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_numpys(values, share):
    assert compute_quantile(sorted(values), share) == pytest.approx(np.quantile(values, share))


def expect(trials, rungs):
    scheduler = SimpleNamespace(max_epochs=FULL, reduction_factor=FACTOR)
    space = SimpleNamespace(scheduler=scheduler, rungs=lambda: rungs)
    plan = SimpleNamespace(space=space, trials=trials, full_epochs=trials * FULL)
    return estimate_epochs(plan, np.random.default_rng(0)) / trials


def test_of_many_trials_each_rung_lets_a_third_through():
    assert expect(10_000, []) == FULL
    assert expect(10_000, [1]) == pytest.approx(1 + (FULL - 1) / FACTOR, rel=0.02)
    assert pytest.approx(expect(10_000, [1, 3]), rel=0.02) == 1 + 2 / FACTOR + 6 / FACTOR**2


def test_the_first_trial_always_goes_to_the_end():
    assert expect(1, [1, 3]) == FULL
