"""The gate: what passes, what blocks, by how much."""

import numpy as np
import pytest
from scipy import stats

from search.statistics.gate import compare_answers, judge
from search.statistics.intervals import (
    compare,
    estimate_seed_noise,
)

NAMES = ("a", "b", "c", "d", "e", "f")


def draw_answers(rng, scores, seeds=3, images=400):
    """[C] answers [S, N, 6]: every category of a candidate at the given score; images differ in difficulty."""
    difficulty = rng.uniform(-0.1, 0.1, (images, 1))
    return [(rng.random((seeds, images, 6)) < np.broadcast_to(score, 6) + difficulty).astype(float) for score in scores]


def test_a_better_candidate_passes():
    answers, opponent = draw_answers(np.random.default_rng(8), [0.84, 0.78])
    verdict = judge(answers, opponent, [answers, opponent], NAMES)
    assert verdict.passed and verdict.difference.mean.probability > 0.999
    assert verdict.reasons[0].startswith("better: +") and "0.95 is asked for" in verdict.reasons[0]
    assert verdict.reasons[-1].startswith(f"a gain of {100 * verdict.detectable:.2f} points")
    assert len(verdict.reasons) == 2


def test_an_equal_one_does_not():
    answers, opponent = draw_answers(np.random.default_rng(9), [0.8, 0.8])
    verdict = judge(answers, opponent, [answers, opponent], NAMES)
    assert not verdict.passed and verdict.reasons[0].startswith("not surely better: ")


def test_a_category_that_is_worse_for_certain_blocks():
    better = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.6])
    answers, opponent = draw_answers(np.random.default_rng(10), [better, 0.8])
    verdict = judge(answers, opponent, [answers, opponent], NAMES)
    assert verdict.difference.mean.probability > 0.99 and not verdict.passed
    (reason,) = (reason for reason in verdict.reasons if "worse for certain" in reason)
    assert reason.startswith("f is worse") and "-1 is allowed" in reason


@pytest.mark.parametrize("lost", [0, 5, 6, 14])
def test_a_category_blocks_by_its_upper_bound_over_all_categories(lost):
    """One seed: the bound is scipy's, one-sided, at 1 - 0.05 / 6."""
    images = 200
    opponent = np.zeros((1, images, 6))
    answers = np.zeros((1, images, 6))
    answers[0, :150, :5] = 1
    opponent[0, :lost, 5] = 1
    verdict = judge(answers, opponent, [], NAMES)
    difference = answers[0, :, 5] - opponent[0, :, 5]
    bound = difference.mean() + stats.t.ppf(1 - 0.05 / 6, images - 1) * stats.sem(difference)
    assert verdict.difference.category_level == pytest.approx(1 - 0.05 / 6)
    assert verdict.difference.categories[5].compute_upper(1 - 0.05 / 6) == pytest.approx(bound)
    assert verdict.passed == (bound >= -0.01) == (lost < 14)
    assert "nothing of other seeds" in verdict.reasons[1]


def test_categories_are_compared_one_by_one():
    pool = draw_answers(np.random.default_rng(11), [0.8, 0.7, 0.9])
    comparison = compare_answers(pool[0], pool[1], pool)
    for index, estimate in enumerate(comparison.categories):
        one = [answers[:, :, index] for answers in pool]
        assert estimate == compare(one[0], one[1], estimate_seed_noise(one))
    assert comparison.mean.value == pytest.approx(np.mean([estimate.value for estimate in comparison.categories]))
