"""Effects against references of their own: differences of means, least squares by hand, scipy's tau."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from search.statistics.effects import Design, Effects, compute_kendall, compute_left, estimate_effects


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
    spread = np.array([by_image.mean(1).std(ddof=1), *by_image.std(0, ddof=1)])
    assert effects.image_errors[0] == pytest.approx(spread / np.sqrt(60))
    scores = correct.mean((1, 2))
    assert effects.trial_errors[0, 0] == pytest.approx(
        np.sqrt(scores[:20].var() / 20 + scores[20:].var() / 30), rel=0.1
    )
    within = ((scores[:20] - scores[:20].mean()) ** 2).sum() + ((scores[20:] - scores[20:].mean()) ** 2).sum()
    whole = ((scores - scores.mean()) ** 2).sum()
    assert effects.noise == pytest.approx(within / whole)
    assert effects.shares["net"] == pytest.approx((whole - within - within / 48) / whole)


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


def test_the_same_randomness_gives_the_same_effects():
    design = build_choice(np.repeat([0.0, 1.0], 15))
    correct = np.random.default_rng(4).random((30, 20, 2)) < 0.5
    one, other, third = (estimate_effects(design, correct, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one.trial_errors, other.trial_errors)
    assert not np.array_equal(one.trial_errors, third.trial_errors)
    assert third.trial_errors == pytest.approx(one.trial_errors, rel=0.15)


def test_both_errors_add_up():
    effects = Effects(np.zeros((1, 1)), np.array([[0.3]]), np.array([[0.4]]), {}, 0.0)
    assert effects.errors == pytest.approx(np.array([[0.5]]))


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=12))
def test_what_a_line_leaves_is_the_sum_of_squares_of_its_residuals(scores):
    scores, places = np.array(scores), np.arange(len(scores))
    assert compute_left(np.ones((len(scores), 1)), scores) == pytest.approx(
        ((scores - scores.mean()) ** 2).sum(), abs=1e-9
    )
    residuals = scores - np.polyval(np.polyfit(places, scores, 1), places)
    matrix = np.stack([np.ones(len(scores)), places], 1)
    assert compute_left(matrix, scores) == pytest.approx((residuals**2).sum(), abs=1e-9)
    doubled = np.concatenate([matrix, matrix], 1)  # columns that depend on each other change nothing
    assert compute_left(doubled, scores) == pytest.approx((residuals**2).sum(), abs=1e-9)


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
    """Of each category by itself; the mean's error against drawing images again."""
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
        assert effects.image_errors[0, 1 + k] == pytest.approx(own.std(ddof=1) / np.sqrt(len(own)))
    assert effects.values[0, 0] == pytest.approx(effects.values[0, 1:].mean())
    drawn = [np.nanmean(by_image[rng.integers(90, size=90)], 0).mean() for _ in range(1500)]
    assert effects.image_errors[0, 0] == pytest.approx(np.std(drawn), rel=0.1)
