"""The gate: what passes, what blocks, by how much."""

import numpy as np
import pytest
from scipy import stats

from search.statistics.gate import compare_answers, judge
from search.statistics.intervals import (
    compare,
    estimate_answers,
    estimate_seed_noise,
)
from search.statistics.spending import spend_error

NAMES = ("a", "b", "c", "d", "e", "f")


def draw_answers(rng, scores, seeds=3, images=400):
    """[C] answers [S, N, 6]: every category of a candidate at the given score; images differ in difficulty."""
    difficulty = rng.uniform(-0.1, 0.1, (images, 1))
    return [(rng.random((seeds, images, 6)) < np.broadcast_to(score, 6) + difficulty).astype(float) for score in scores]


def test_a_better_candidate_passes():
    answers, opponent = draw_answers(np.random.default_rng(8), [0.84, 0.78])
    verdict = judge(answers, opponent, [answers, opponent], NAMES)
    assert verdict.passed and verdict.difference.mean.p_value < 0.001
    assert verdict.reasons[0].startswith("better: +") and "p <= 0.01" in verdict.reasons[0]
    assert "try 1 on these images: it must be better with p <= 0.01" in verdict.reasons[0]
    assert verdict.reasons[-2].startswith(f"a gain of {100 * verdict.detectable:.2f} points")
    assert len(verdict.reasons) == 4


def test_a_later_try_is_asked_for_more():
    """The same answers: let through at first, and no longer once so many have been tried that the error is spent."""
    answers, opponent = draw_answers(np.random.default_rng(14), [0.83, 0.79])
    first = judge(answers, opponent, [answers, opponent], NAMES)
    p_value = first.difference.mean.p_value
    last = max(number for number in range(1, 1000) if spend_error(number) >= p_value)
    assert first.passed and 1 < last < 999
    verdicts = [judge(answers, opponent, [answers, opponent], NAMES, attempt) for attempt in (last, last + 1)]
    assert [each.passed for each in verdicts] == [True, False]
    assert [each.difference for each in verdicts] == [first.difference] * 2
    assert verdicts[1].detectable > first.detectable
    assert (
        f"try {last + 1} on these images: it must be better with p <= {spend_error(last + 1):.3g}"
        in (verdicts[1].reasons[0])
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_loss_that_a_veto_would_find_is_told_and_is_found(seeds):
    """Of equal candidates, moved by what is told: blocked in eight cases of ten."""
    rng, blocked = np.random.default_rng([15, seeds]), []
    for _ in range(300):
        answers, opponent, third = draw_answers(rng, [0.85, 0.85, 0.85], seeds, images=300)
        verdict = judge(answers, opponent, [answers, opponent, third] if seeds > 1 else [], NAMES)
        loss, category = verdict.detectable_losses[2], verdict.difference.categories[2]
        blocked.append(category.compute_upper(verdict.difference.category_level) - loss < -0.01)
    assert f"where it is {100 * verdict.detectable_losses[0]:.1f} points in a, " in verdict.reasons[-1]
    assert np.mean(blocked) == pytest.approx(0.8, abs=0.07)


def test_an_equal_one_does_not():
    answers, opponent = draw_answers(np.random.default_rng(9), [0.8, 0.8])
    verdict = judge(answers, opponent, [answers, opponent], NAMES)
    assert not verdict.passed and verdict.reasons[0].startswith("not surely better: ")


def test_a_category_that_is_worse_for_certain_blocks():
    better = np.array([0.9, 0.9, 0.9, 0.9, 0.9, 0.6])
    answers, opponent = draw_answers(np.random.default_rng(10), [better, 0.8])
    verdict = judge(answers, opponent, [answers, opponent], NAMES)
    assert verdict.difference.mean.p_value < 0.01 and not verdict.passed
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
    assert "nothing of other seeds" in verdict.reasons[2]


def test_categories_are_compared_one_by_one():
    pool = draw_answers(np.random.default_rng(11), [0.8, 0.7, 0.9])
    comparison = compare_answers(pool[0], pool[1], pool)
    for index, estimate in enumerate(comparison.categories):
        one = [answers[:, :, index] for answers in pool]
        assert estimate == compare(one[0], one[1], estimate_seed_noise(one))
    assert comparison.mean.value == pytest.approx(np.mean([estimate.value for estimate in comparison.categories]))


# ------------------------------------------------------------------------------------------------------ missing labels

RATES = (0.6, 0.05, 0.3, 0.5, 0.2, 0.35)  # a third in all
CENTRES = np.array([1.4, 0.9, 0.3, 1.1, 0.6, 1.8])  # of the categories: some are harder


def draw_missing(rng, images, seeds, gain, seed_sd=0.03):
    """Answers [S, N, 6] of two candidates, and the true scores of both.

    An image is easy or hard in all its categories and in each by itself, alike for both candidates; seeds differ.
    """
    own = 0.5 * rng.standard_normal((images, 1)) + 0.7 * rng.standard_normal((images, 6))
    missing = rng.random((images, 6)) < np.array(RATES) + 0.05 * np.sign(rng.standard_normal((images, 1)))
    missing[missing.all(1), 1] = False
    answers, truths = [], []
    for shift in (0.0, gain):
        scale = np.sqrt(1 + 0.5**2 + 0.7**2 + seed_sd**2)
        truths.append(stats.norm.cdf((CENTRES + shift) / scale).mean())
        place = CENTRES + shift + seed_sd * rng.standard_normal((seeds, 1, 1))
        right = place + own + rng.standard_normal((seeds, images, 6)) > 0
        answers.append(np.where(missing, np.nan, right))
    return answers, truths


@pytest.mark.slow
@pytest.mark.parametrize(("images", "seeds"), [(150, 1), (300, 3)])
def test_intervals_hold_the_truth_where_labels_are_missing(images, seeds):
    """A third is missing, at another rate in each category: of the score, and of a difference."""
    rng, held, errors = np.random.default_rng([images, seeds]), [], []
    for _ in range(1000):
        answers, truths = draw_missing(rng, images, seeds, 0.1, seed_sd=0.06 if seeds > 1 else 0.0)
        pool = answers if seeds > 1 else []
        score, _ = estimate_answers(answers[0], pool)
        difference = compare_answers(answers[1], answers[0], pool)
        found = [(score, truths[0]), (difference.mean, truths[1] - truths[0])]
        held.append([low <= truth <= high for each, truth in found for low, high in [each.compute_interval()]])
        naive = np.nanmean(answers[0], 2).mean(0)  # an image by the share of its own labelled categories
        errors.append(naive.mean() - truths[0])
    assert np.all(np.abs(np.mean(held, 0) - 0.95) < 0.02), np.mean(held, 0)
    assert abs(np.mean(errors)) > 5 * np.std(errors) / np.sqrt(len(errors))  # that is another score


def test_categories_are_compared_on_their_labelled_images():
    answers, _ = draw_missing(np.random.default_rng(12), 200, 3, 0.2)
    difference = compare_answers(answers[1], answers[0], answers)
    for k, estimate in enumerate(difference.categories):
        one, other = (each[:, ~np.isnan(each[0, :, k]), k] for each in answers[::-1])
        assert estimate == compare(one, other, estimate_seed_noise([other, one]))
    assert difference.mean.value == pytest.approx(np.mean([each.value for each in difference.categories]))
    score, categories = estimate_answers(answers[0], answers)
    assert [each.value for each in categories] == pytest.approx(np.nanmean(answers[0], 1).mean(0).tolist())
    assert score.value == pytest.approx(np.mean([each.value for each in categories]))


def test_answers_are_to_be_on_the_same_labels():
    (one, other), _ = draw_missing(np.random.default_rng(13), 50, 2, 0.0)
    moved = other.copy()
    moved[:, 0, 1], moved[:, 1, 1] = np.nan, 1.0
    with pytest.raises(ValueError, match=r"on the same labels, but are on \[\[.*; score all on one set"):
        compare_answers(one, moved, [])
    with pytest.raises(ValueError, match=r"on the same labels"):
        compare_answers(one, other, [one, moved])
    moved = other.copy()
    moved[1, :5, 3] = np.nan
    with pytest.raises(ValueError, match="alike for all seeds"):
        compare_answers(moved, other, [])
    lonely = one.copy()
    lonely[:, 1:, 2] = np.nan
    with pytest.raises(ValueError, match=r"two labelled images or more, but they are \[.*, 1, .*\]; leave"):
        compare_answers(lonely, lonely, [])
