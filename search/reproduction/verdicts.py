"""Does a claim hold? An interval of 95% over images and seeds says so, says no, or cannot tell.

S trainings of an arm, N images. A point is 0.01.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from search.statistics.intervals import SEEDS, Estimate, combine, estimate_seed_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_SEEDS = 2  # of an arm at least, else nothing tells how trainings differ by luck


class Verdict(StrEnum):
    """What is said of a claim."""

    HOLDS = "holds"
    DOES_NOT = "does not"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Finding:
    """A claim, judged.

    Attributes:
        estimate: of what the claim is about; None where nothing is trained.
        reason: why it cannot be told, where the interval alone does not say so.
    """

    verdict: Verdict
    estimate: Estimate | None
    reason: str = ""


def estimate_contrast(
    scores: Sequence[np.ndarray], factors: Sequence[float], image_df: float | None = None
) -> Estimate:
    """A sum of the scores of arms times factors: paired over images, over the seeds of each.

    Args:
        scores: [S, N] of each arm, on the same images in the same order; S may differ.
        factors: of each.
        image_df: see `search.statistics.intervals.compare`.
    """
    by_image = np.sum([factor * each.mean(0) for factor, each in zip(factors, scores, strict=True)], axis=0)
    share = sum(factor**2 / len(each) for factor, each in zip(factors, scores, strict=True))
    return combine(by_image, share, estimate_seed_noise(scores), image_df)


def judge_sign(estimate: Estimate) -> Verdict:
    """Whether a sum is above 0."""
    low, high = estimate.compute_interval()
    if low > 0:
        return Verdict.HOLDS
    return Verdict.DOES_NOT if high < 0 else Verdict.UNKNOWN


def judge_size(estimate: Estimate, published: float, margin: float) -> Verdict:
    """Whether a number is that which was published, give or take a margin."""
    low, high = estimate.compute_interval()
    if published - margin <= low and high <= published + margin:
        return Verdict.HOLDS
    is_apart = high < published - margin or low > published + margin
    return Verdict.DOES_NOT if is_apart else Verdict.UNKNOWN


def judge_contrast(
    scores: Sequence[np.ndarray], factors: Sequence[float], image_df: float | None = None, *, stands_in: bool = False
) -> Finding:
    """Judge the claim that a sum is above 0.

    Args:
        scores, factors, image_df: see `estimate_contrast`; scores may lack an arm's, [0, N].
        stands_in: the claim is of backbones, and others were trained.
    """
    if not all(map(len, scores)):
        return Finding(Verdict.UNKNOWN, None, "not all of it is trained")
    estimate = estimate_contrast(scores, factors, image_df)
    if stands_in:
        return Finding(Verdict.UNKNOWN, estimate, "stand-ins were trained, of which it says nothing")
    if max(map(len, scores)) < LEAST_SEEDS:
        return Finding(Verdict.UNKNOWN, estimate, "one training each does not tell how luck varies")
    return Finding(judge_sign(estimate), estimate)


def judge_fall(curves: Sequence[Sequence[float]], share: float, published: float, margin: float) -> Finding:
    """Judge by how much the best epoch lies above the mean of the last ones: over seeds, on these very images.

    Args:
        curves: the score by epoch, of each training.
        share: of the epochs that are the last.
    """
    values = np.array([compute_fall(curve, share) for curve in curves])
    if not len(values):
        return Finding(Verdict.UNKNOWN, None, "not all of it is trained")
    if len(values) < LEAST_SEEDS:
        return Finding(
            Verdict.UNKNOWN,
            Estimate(float(values.mean()), math.inf, 1, SEEDS),
            "one training does not tell how luck varies",
        )
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    estimate = Estimate(float(values.mean()), error, len(values) - 1, SEEDS)
    return Finding(judge_size(estimate, published, margin), estimate)


def compute_fall(curve: Sequence[float], share: float) -> float:
    """How far the best epoch lies above the mean of the last ones, one epoch at least."""
    last = max(round(len(curve) * share), 1)
    return max(curve) - float(np.mean(curve[-last:]))
