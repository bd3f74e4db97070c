"""The gate: what passes, what blocks, by how much."""

import numpy as np
import pytest
from scipy import stats

from fashion_core.metrics import Measure, Objective
from search.statistics.gate import can_be_sure, compare_answers, describe_scarce, judge, list_scarce
from search.statistics.intervals import (
    LESS,
    compare,
    compute_floor,
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


def find_plus_four_error(won, lost, images):
    """Of a difference of matched proportions, with half an image more of each of the four kinds: Agresti & Min 2005."""
    cells = np.array([won, lost, images - won - lost, 0]) + 0.5  # of the last two only the sum matters
    shares = cells / (images + 2)
    return np.sqrt((shares[0] + shares[1] - (shares[0] - shares[1]) ** 2) / (images + 2))


@pytest.mark.parametrize("lost", [0, 5, 6, 14])
def test_a_category_blocks_by_its_upper_bound_over_all_categories(lost):
    """One seed: the bound is scipy's, one-sided, at 1 - 0.05 / 6; or by Agresti's and Min's error."""
    images = 200
    opponent = np.zeros((1, images, 6))
    answers = np.zeros((1, images, 6))
    answers[0, :150, :5] = 1
    opponent[0, :lost, 5] = 1
    verdict = judge(answers, opponent, [], NAMES)
    difference = answers[0, :, 5] - opponent[0, :, 5]
    error = max(stats.sem(difference), find_plus_four_error(0, lost, images))
    bound = difference.mean() + stats.t.ppf(1 - 0.05 / 6, images - 1) * error
    assert verdict.difference.category_level == pytest.approx(1 - 0.05 / 6)
    assert verdict.difference.categories[5].compute_upper(1 - 0.05 / 6) == pytest.approx(bound)
    assert verdict.passed == (bound >= -0.01) == (lost < 14)
    assert "nothing of other seeds" in verdict.reasons[2]


def test_categories_are_compared_one_by_one():
    pool = draw_answers(np.random.default_rng(11), [0.8, 0.7, 0.9])
    comparison = compare_answers(pool[0], pool[1], pool)
    for index, estimate in enumerate(comparison.categories):
        one = [answers[:, :, index] for answers in pool]
        floor = compute_floor((one[0].mean(0) - one[1].mean(0))[:, None], LESS)
        assert estimate == compare(one[0], one[1], estimate_seed_noise(one), floor=floor)
    assert comparison.mean.value == pytest.approx(np.mean([estimate.value for estimate in comparison.categories]))


# ------------------------------------------------------------------------------------------------------- few images


@pytest.mark.parametrize(("won", "lost", "images"), [(0, 0, 40), (0, 3, 3), (2, 0, 500), (1, 2, 60), (9, 11, 200)])
def test_a_difference_is_never_surer_than_the_plus_four_estimate(won, lost, images):
    """Of one category, by the counts of the textbook; with many that differ it is the spread, as scipy has it."""
    one, other = np.zeros((1, images, 1)), np.zeros((1, images, 1))
    one[0, :won], other[0, won : won + lost] = 1, 1
    found = compare_answers(one, other, [])
    error = max(find_plus_four_error(won, lost, images), stats.sem((one - other)[0, :, 0]))
    assert found.categories[0].error == pytest.approx(error) and found.mean.error == pytest.approx(error)
    assert found.mean.df == images - 1


@pytest.mark.parametrize(("right", "images"), [(40, 40), (0, 7), (39, 40), (120, 200)])
def test_a_score_is_never_surer_than_the_plus_four_estimate(right, images):
    answers = np.zeros((1, images, 1))
    answers[0, :right] = 1
    share = (right + 2) / (images + 4)  # Agresti & Coull 1998
    error = max(np.sqrt(share * (1 - share) / (images + 4)), stats.sem(answers[0, :, 0]))
    score, (category,) = estimate_answers(answers, [])
    assert score.error == pytest.approx(error) and category.error == pytest.approx(error)


@pytest.mark.parametrize("images", [3, 10, 40])
def test_answers_that_are_all_alike_are_not_certain(images):
    """Six categories, on some of which few are labelled: the error of each is as of independent categories."""
    one = np.ones((3, images, 6))
    one[:, 2:, 5] = np.nan
    found = compare_answers(one, one, [one, one])
    counts = np.array([images] * 5 + [2])
    assert [each.error for each in found.categories] == pytest.approx((1 / (counts + 2)).tolist())
    assert found.mean.error == pytest.approx(np.sqrt((1 / (counts + 2) ** 2).sum()) / 6)
    assert found.mean.p_value == pytest.approx(0.5) and found.mean.compute_upper() > 0


def test_with_many_images_the_floor_is_no_more_than_the_spread():
    answers, opponent = draw_answers(np.random.default_rng(16), [0.84, 0.8], images=500)
    found = compare_answers(answers, opponent, [])
    plain = compare(answers.mean(2), opponent.mean(2), None)
    assert 1 <= found.mean.error / plain.error < 1.03


def test_few_images_hold_the_truth():
    """Of 20, on which two rarely differ: the spread alone holds it in half of all cases or less."""
    rng, held, plain = np.random.default_rng(17), [], []
    for _ in range(400):
        truth = rng.random((2, 20)) < np.array([[0.06], [0.02]])
        one, other = (row.astype(float)[None, :, None] for row in truth)
        found = compare_answers(one, other, []).mean
        naive = compare(one[:, :, 0], other[:, :, 0], None)
        held.append(found.compute_interval()[0] <= 0.04 <= found.compute_interval()[1])
        plain.append(naive.compute_interval()[0] <= 0.04 <= naive.compute_interval()[1])
    assert np.mean(held) >= 0.95 > 0.9 > np.mean(plain)


@pytest.mark.parametrize(("labelled", "blocks"), [(3, False), (6, False), (12, True), (29, True), (30, True)])
def test_a_category_on_few_images_blocks_where_they_can_be_sure_and_is_told_else(labelled, blocks):
    """All of them lost: on three nobody can tell, on a dozen a sign test is sure."""
    answers, opponent = np.ones((1, 200, 6)), np.zeros((1, 200, 6))
    opponent[0, :40, :5] = 1
    answers[:, :, 5], opponent[:, :, 5] = 0, 1
    for each in (answers, opponent):
        each[:, labelled:, 5] = np.nan
    verdict = judge(answers, opponent, [], NAMES)
    assert verdict.difference.mean.value > 0.4 and verdict.passed is not blocks
    assert any(reason.startswith("f is worse for certain") for reason in verdict.reasons) is blocks
    told = [
        reason for reason in verdict.reasons if f"f: cannot tell on {labelled} images whether it is worse" in reason
    ]
    assert len(told) == (not blocks)


def test_a_scarce_category_that_is_no_worse_is_told_too():
    answers, opponent = draw_answers(np.random.default_rng(18), [0.9, 0.6], seeds=1)
    for each in (answers, opponent):
        each[:, 20:, 2] = np.nan
    reasons = judge(answers, opponent, [], NAMES).reasons
    assert [reason.split(":")[0] for reason in reasons if "cannot tell" in reason] == ["c"]
    counts = [400, 400, 20, 30, 29, 400]
    assert list_scarce(NAMES, counts) == [("c", 20), ("e", 29)]
    assert describe_scarce(list_scarce(NAMES, counts)).endswith("too few to tell much: c on 20, e on 29.")
    assert describe_scarce([]) == ""


@pytest.mark.parametrize("images", range(1, 12))
def test_a_sign_test_says_what_few_images_can_be_sure_of(images):
    level = 1 - 0.05 / 6
    assert can_be_sure(images, level) == (stats.binomtest(0, images, alternative="less").pvalue <= 1 - level)


@pytest.mark.parametrize("images", [29, 30])
def test_the_gate_stays_shut_on_fewer_than_thirty_images(images):
    answers, opponent = np.ones((1, images, 6)), np.zeros((1, images, 6))
    verdict = judge(answers, opponent, [], NAMES)
    assert verdict.passed is (images == 30) and verdict.difference.mean.p_value < 0.01
    assert ("a promotion is judged on 30 labelled images or more, but these are 29" in verdict.reasons) is (
        images == 29
    )


@pytest.mark.parametrize(("labelled", "passes"), [(29, False), (30, True)])
def test_the_images_that_judge_are_those_of_the_objective(labelled, passes):
    answers, opponent = np.ones((1, 200, 2)), np.zeros((1, 200, 2))
    for each in (answers, opponent):
        each[:, labelled:, 1] = np.nan
    measure = Measure(Objective("val/accuracy/b"), np.where(np.isnan(answers[0]), -1, 0), ("a", "b"))
    assert judge(answers, opponent, [], ("a", "b"), measure=measure).passed is passes
    assert judge(answers, opponent, [], ("a", "b")).passed


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
        floor = compute_floor((answers[1].mean(0) - answers[0].mean(0))[:, [k]], LESS)
        assert estimate == compare(one, other, estimate_seed_noise([other, one]), floor=floor)
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
