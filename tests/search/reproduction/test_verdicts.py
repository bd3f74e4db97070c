"""Verdicts on planted truths: how often they are right, and that they never say more than the interval."""

import math

import numpy as np
import pytest
from judging_simulation import Truth

from search.reproduction.verdicts import (
    Verdict,
    compute_fall,
    estimate_contrast,
    judge_contrast,
    judge_fall,
    judge_sign,
    judge_size,
)
from search.statistics.intervals import BOTH, IMAGES, SEEDS, Estimate, compare, estimate_seed_noise

FACTORS = (1.0, -1.0)


def count_verdicts(difference: float, *, rounds: int = 200, seeds: int = 3, images: int = 500) -> dict[Verdict, float]:
    """Shares of verdicts on two arms whose true scores differ so."""
    truth, rng = Truth([0.80 + difference, 0.80], seed_sd=0.4), np.random.default_rng(1)
    found = [judge_contrast(list(truth.draw(rng, seeds, images).scores), FACTORS).verdict for _ in range(rounds)]
    return {verdict: found.count(verdict) / rounds for verdict in Verdict}


@pytest.mark.slow
def test_a_claim_that_is_neither_true_nor_false_cannot_be_told() -> None:
    shares = count_verdicts(0.0)
    assert 0.90 <= shares[Verdict.UNKNOWN] <= 0.99  # 0.95, less or more three of its errors
    assert shares[Verdict.HOLDS] < 0.07 and shares[Verdict.DOES_NOT] < 0.07


@pytest.mark.slow
def test_a_large_difference_is_found_and_its_sign_is_right() -> None:
    for difference, right, wrong in ((0.04, Verdict.HOLDS, Verdict.DOES_NOT), (-0.04, Verdict.DOES_NOT, Verdict.HOLDS)):
        shares = count_verdicts(difference, rounds=60)
        assert shares[right] > 0.9 and shares[wrong] == 0


@pytest.mark.slow
def test_the_interval_of_a_mean_over_arms_covers_its_truth() -> None:
    """Six arms, as in the claims on FC layers: the mean of three less the mean of three others."""
    truth, rng = Truth([0.81, 0.80, 0.79, 0.80, 0.78, 0.79], seed_sd=0.6), np.random.default_rng(2)
    factors = [1 / 3] * 3 + [-1 / 3] * 3
    wanted = float(np.dot(factors, truth.scores))
    covered = 0
    for _ in range(200):
        low, high = estimate_contrast(list(truth.draw(rng, 3, 300).scores), factors).compute_interval()
        covered += low <= wanted <= high
    assert covered / 200 >= 0.90


def test_a_contrast_of_two_is_their_comparison() -> None:
    one, other = Truth([0.82, 0.80], seed_sd=0.5).draw(np.random.default_rng(3), 4, 200).scores
    ours = estimate_contrast([one, other[:2]], FACTORS)
    theirs = compare(one, other[:2], estimate_seed_noise([one, other[:2]]))
    assert ours == theirs and ours.covers == BOTH
    assert estimate_contrast([other[:2], one], FACTORS).value == pytest.approx(-ours.value)


def test_what_the_same_images_have_in_common_cancels_out() -> None:
    rng = np.random.default_rng(4)
    hard = rng.random(300).round()  # whole images right or wrong, in both arms
    scores = [np.tile(hard, (3, 1)) for _ in FACTORS]
    assert estimate_contrast(scores, FACTORS).error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [(0.01, 0.001, Verdict.HOLDS), (-0.01, 0.001, Verdict.DOES_NOT), (0.01, 0.01, Verdict.UNKNOWN)],
)
def test_the_sign(value: float, error: float, verdict: Verdict) -> None:
    assert judge_sign(Estimate(value, error, 100, BOTH)) is verdict


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [
        (0.008, 0.001, Verdict.HOLDS),
        (0.0, 0.001, Verdict.DOES_NOT),
        (0.02, 0.001, Verdict.DOES_NOT),
        (0.008, 0.004, Verdict.UNKNOWN),
        (0.012, 0.001, Verdict.UNKNOWN),
    ],
)
def test_the_size(value: float, error: float, verdict: Verdict) -> None:
    assert judge_size(Estimate(value, error, 100, SEEDS), 0.008, 0.004) is verdict


def test_what_is_not_trained_or_trained_once_cannot_be_told() -> None:
    one, other = Truth([0.99, 0.50], seed_sd=0.1).draw(np.random.default_rng(5), 2, 200).scores
    assert judge_contrast([one, other], FACTORS).verdict is Verdict.HOLDS
    missing = judge_contrast([one, other[:0]], FACTORS)
    assert missing.verdict is Verdict.UNKNOWN and missing.estimate is None and "trained" in missing.reason
    once = judge_contrast([one[:1], other[:1]], FACTORS)
    assert once.verdict is Verdict.UNKNOWN and once.estimate.covers == IMAGES and "luck" in once.reason
    others = judge_contrast([one, other], FACTORS, stands_in=True)
    assert others.verdict is Verdict.UNKNOWN and others.estimate.value > 0.4 and "stand-ins" in others.reason


def test_the_fall_from_the_best_epoch() -> None:
    assert compute_fall([0.5, 0.9, 0.8, 0.7], 0.5) == pytest.approx(0.15)
    assert compute_fall([0.5, 0.9], 0.1) == 0
    curves = [[0.8, 0.81, 0.802], [0.8, 0.812, 0.804], [0.8, 0.809, 0.801]]
    found = judge_fall(curves, 1 / 3, 0.008, 0.004)
    assert found.verdict is Verdict.HOLDS and found.estimate.value == pytest.approx(0.008)
    assert judge_fall(curves[:1], 1 / 3, 0.008, 0.004).estimate.error == math.inf
    assert judge_fall([], 1 / 3, 0.008, 0.004).estimate is None
    assert {judge_fall(curves[:count], 1 / 3, 0.008, 0.004).verdict for count in (0, 1)} == {Verdict.UNKNOWN}
