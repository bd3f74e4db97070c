"""Effects against references of their own: differences of means, least squares by hand, scipy's tau."""

import numpy as np
import pytest
from effects_simulation import measure
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import kendalltau

from search.statistics.effects import Design, Effects, Rung, compute_kendall, count_wanted, estimate_effects


def build_choice(is_other):
    """The design of one choice between two, and beside it a number that nothing depends on."""
    count = len(is_other)
    number = np.random.default_rng(5).normal(size=count)
    matrix = np.stack([np.ones(count), is_other, number], 1)
    effects = [("net", "r → s", np.array([0.0, 1, 0])), ("dull", "0 → 1", np.array([0.0, 0, 1]))]
    return Design(matrix, {"net": [1], "dull": [2]}, effects)


def test_without_other_parameters_an_effect_is_a_difference_of_means():
    rng = np.random.default_rng(1)
    is_other = np.repeat([0.0, 1.0], [20, 30])
    design = Design(np.stack([np.ones(50), is_other], 1), {"net": [1]}, [("net", "", np.array([0, 1.0]))])
    correct = rng.random((50, 60, 2)) < 0.6 + 0.2 * is_other[:, None, None]
    effects = estimate_effects(design, correct)
    by_image = correct[20:].mean(0) - correct[:20].mean(0)  # [N, K]
    assert effects.values[0] == pytest.approx([by_image.mean(), *by_image.mean(0)])
    scores = correct.mean((1, 2))
    within = ((scores[:20] - scores[:20].mean()) ** 2).sum() + ((scores[20:] - scores[20:].mean()) ** 2).sum()
    assert effects.trial_errors[0, 0] == pytest.approx(np.sqrt(within / 48 * (1 / 20 + 1 / 30)))
    # over images: their spread, less what chance answers alone give it
    rest = correct.mean(2) - np.repeat([correct[:20].mean((0, 2)), correct[20:].mean((0, 2))], [20, 30], axis=0)
    rest = ((rest - rest.mean(1, keepdims=True)) ** 2).sum() / (48 * 59)
    spread = by_image.mean(1).var(ddof=1) - rest * (1 / 20 + 1 / 30)
    assert effects.image_errors[0, 0] == pytest.approx(np.sqrt(max(spread, 0) / 60))
    assert effects.shares["net"] + effects.noise == pytest.approx(1)


def test_what_answers_depend_on_has_the_variance():
    rng = np.random.default_rng(2)
    is_other = rng.integers(2, size=120).astype(float)
    design = build_choice(is_other)
    correct = rng.random((120, 100, 3)) < np.where(is_other, 0.8, 0.6)[:, None, None]
    effects = estimate_effects(design, correct)
    assert effects.values.shape == effects.errors.shape == (2, 4)
    distance = np.abs(effects.values - [[0.2] * 4, [0.0] * 4]) / effects.errors
    assert distance.max() < 4
    assert effects.shares["net"] > 0.8 and abs(effects.shares["dull"]) < 0.02 and effects.noise < 0.2
    assert sum(effects.shares.values()) + effects.noise == pytest.approx(1, abs=0.05)


def test_the_mean_is_the_mean_of_the_categories():
    rng = np.random.default_rng(3)
    design = build_choice(rng.integers(2, size=40).astype(float))
    effects = estimate_effects(design, rng.random((40, 30, 3)) < 0.5)
    assert effects.values[:, 0] == pytest.approx(effects.values[:, 1:].mean(1))


def test_both_errors_add_up():
    errors = [np.array([[error]]) for error in (0.3, 0.4, 10.0)]
    effects = Effects(np.zeros((1, 1)), *errors, {}, 0.0)
    assert effects.errors == pytest.approx(np.array([[0.5]]))
    assert effects.halves == pytest.approx(0.5 * stats.t.ppf(0.975, 10))


def test_without_other_parameters_intervals_are_those_of_least_squares():
    """Two groups with the same images right or wrong alike: Student's pooled t test."""
    rng = np.random.default_rng(1)
    is_other = np.repeat([0.0, 1.0], [8, 9])
    design = Design(np.stack([np.ones(17), is_other], 1), {"net": [1]}, [("net", "", np.array([0, 1.0]))])
    correct = np.repeat(rng.random((17, 1, 1)), 40, axis=1)  # an image is like any other
    effects = estimate_effects(design, correct)
    scores = correct[:, 0, 0]
    wanted = stats.ttest_ind(scores[8:], scores[:8]).confidence_interval()
    value, half = effects.values[0, 0], effects.halves[0, 0]
    assert (value - half, value + half) == pytest.approx(tuple(wanted))
    assert effects.image_errors == pytest.approx(np.zeros((1, 2))) and effects.df == pytest.approx(
        np.full((1, 2), 15.0)
    )


def test_a_parameter_s_own_effect_is_never_shrunk():
    """Two uncorrelated parameters: whatever is made of the other one, an effect is the difference of means."""
    rng = np.random.default_rng(2)
    one, other = np.tile([0.0, 1.0], 20), np.repeat([0.0, 1.0], 20)
    matrix = np.stack([np.ones(40), one, other], 1)
    changes = [("one", "", np.array([0, 1.0, 0])), ("other", "", np.array([0, 0, 1.0]))]
    correct = rng.random((40, 200, 1)) < 0.5 + 0.1 * one[:, None, None]
    effects = estimate_effects(Design(matrix, {"one": [1], "other": [2]}, changes), correct)
    scores = correct.mean((1, 2))
    for place, values in enumerate((one, other)):
        assert effects.values[place, 0] == pytest.approx(scores[values == 1].mean() - scores[values == 0].mean())


def test_what_none_of_those_who_went_on_can_tell_is_not_told():
    rng = np.random.default_rng(3)
    net = np.repeat([0, 1, 2], 20)
    matrix = np.stack([np.ones(60), net == 1, net == 2], 1).astype(float)
    changes = [("net", "", np.array([0, 1.0, 0])), ("net", "", np.array([0, 0, 1.0]))]
    correct = rng.random((60, 50, 1)) < 0.6
    scores = np.repeat(correct.mean((1, 2))[:, None], 2, axis=1)
    went_on = np.flatnonzero(net < 2)
    rungs = [Rung(np.arange(60), scores), Rung(went_on, scores[went_on] + rng.normal(0, 0.01, (40, 1)))]
    effects = estimate_effects(Design(matrix, {"net": [1, 2]}, changes), correct, rungs)
    assert np.isfinite(effects.halves[0]).all() and np.isnan(effects.values[1]).all()


def test_too_few_trials_at_the_last_rung():
    design = build_choice(np.tile([0.0, 1.0], 10))
    assert count_wanted(design) == 3 + 10 and count_wanted(design, 1) == 14
    scores = np.zeros((20, 2))
    rungs = [Rung(np.arange(20), scores), Rung(np.arange(4), scores[:4])]
    with pytest.raises(ValueError, match=r"more trials than the 4 columns .* but 4 reached"):
        estimate_effects(design, np.zeros((20, 9, 1)), rungs)


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "rungs", "repetitions"), [(30, 1, 60), (60, 1, 40), (120, 2, 40)])
def test_planted_effects_are_held(trials, rungs, repetitions):
    """A part of the table of `effects_simulation.py`."""
    found = measure(trials, repetitions, rungs)
    assert 0.92 < found["holds"] < 0.985
    assert found["slope"] == pytest.approx(1, abs=0.08)
    if rungs == 1:
        assert 0.98 < found["half"] / found["oracle"] < 1.2
    else:
        assert found["alone_slope"] < 0.93 and found["told"] > 0.98  # those who went on alone: shrunk


@pytest.mark.parametrize("levels", [3, 100])
def test_kendall(levels):
    one, other = np.random.default_rng(levels).integers(0, levels, (2, 40)).astype(float)
    other += one
    assert compute_kendall(one, other) == pytest.approx(kendalltau(one, other).statistic)
    assert compute_kendall(one, one) == pytest.approx(1) and compute_kendall(one, one * 0) == 0


def test_kendall_within_groups():
    """Groups that rank alike, but stand the other way round: every pair of one group agrees, most others do not."""
    one, other = np.array([0, 1, 2, 10, 11, 12.0]), np.array([10, 11, 12, 0, 1, 2.0])
    groups = np.array(["a", "a", "a", "b", "b", "b"])
    assert compute_kendall(one, other) == pytest.approx((6 - 9) / 15)
    assert compute_kendall(one, other, groups) == pytest.approx(1)
    assert compute_kendall(one, other, np.arange(6)) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_tau_is_scipys_whatever_is_tied(pairs):
    one, other = np.array(pairs, float).T
    wanted = kendalltau(one, other).statistic
    assert compute_kendall(one, other) == pytest.approx(0.0 if np.isnan(wanted) else wanted)
    assert compute_kendall(one, -other) == pytest.approx(-compute_kendall(one, other))
    assert compute_kendall(one, other, np.zeros(len(one))) == compute_kendall(one, other) == compute_kendall(other, one)


def test_effects_are_over_labelled_images():
    """Of each category by itself."""
    rng = np.random.default_rng(6)
    is_other = np.repeat([0.0, 1.0], [20, 30])
    design = Design(np.stack([np.ones(50), is_other], 1), {"net": [1]}, [("net", "", np.array([0, 1.0]))])
    correct = (rng.random((50, 90, 3)) < 0.4 + 0.3 * is_other[:, None, None] * rng.random((90, 1))).astype(float)
    known = rng.random((90, 3)) > (0.7, 0.2, 0.4)
    correct[:, ~known] = np.nan
    effects = estimate_effects(design, correct)
    by_image = correct[20:].mean(0) - correct[:20].mean(0)  # [N, K]
    for k in range(3):
        own = by_image[known[:, k], k]
        assert effects.values[0, 1 + k] == pytest.approx(own.mean())
        assert effects.image_errors[0, 1 + k] < own.std(ddof=1) / np.sqrt(len(own))
    assert effects.values[0, 0] == pytest.approx(effects.values[0, 1:].mean())
