"""The gate: whether a candidate may take the champion's place, with the reasons in words.

S seeds, N images, K categories. A candidate's answers are an array [S, N, K]: 1 for right, 0 for wrong, or shares
between them. A point is 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search.statistics.intervals import IMAGES, LEVEL, POWER, Estimate, compare, estimate_seed_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CATEGORY_LOSS = 0.01  # a category that loses more than this for certain blocks a promotion


@dataclass(frozen=True)
class Difference:
    """A less B.

    Attributes:
        mean: difference of the scores.
        categories: difference of each category's accuracy, in order.
    """

    mean: Estimate
    categories: tuple[Estimate, ...]

    @property
    def category_level(self) -> float:
        """Level of one category's interval or bound that makes all K hold together with `LEVEL` (Bonferroni)."""
        return 1 - (1 - LEVEL) / len(self.categories)


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and why: `reasons` in words, one sentence each."""

    passed: bool
    difference: Difference
    detectable: float
    reasons: tuple[str, ...]


def compare_answers(one: np.ndarray, other: np.ndarray, pool: Sequence[np.ndarray]) -> Difference:
    """`compare` for the score and for every category.

    Args:
        one, other: answers [S, N, K] on the same images; S may differ.
        pool: answers [S, N, K] of all re-run candidates on the same images: they tell how much seeds vary, over all
            categories and in each. Empty: over images alone.
    """
    one, other, *rest = (check_answers(answers) for answers in (one, other, *pool))
    counts = {answers.shape[2] for answers in (one, other, *rest)}
    if len(counts) > 1:
        raise ValueError(f"answers must be of the same categories, but are of {sorted(counts)}; answer the same ones")
    mean = compare(one.mean(2), other.mean(2), estimate_seed_noise([answers.mean(2) for answers in rest]))
    categories = []
    for index in range(one.shape[2]):
        noise = estimate_seed_noise([answers[:, :, index] for answers in rest])
        categories.append(compare(one[:, :, index], other[:, :, index], noise))
    return Difference(mean, tuple(categories))


def judge(answers: np.ndarray, opponent: np.ndarray, pool: Sequence[np.ndarray], categories: Sequence[str]) -> Verdict:
    """The gate: better with probability >= 0.95, and no category worse for certain.

    A category is worse for certain where the upper 95% bound of its difference (one-sided, Bonferroni over categories)
    lies below -1 point.

    Args:
        answers: [S, N, K] of what may ship, cross-fitted, see `search.statistics.crossfit`.
        opponent: [S, N, K] of the champion, or of the baseline.
        pool: see `compare_answers`.
        categories: K names.
    """
    difference = compare_answers(answers, opponent, pool)
    gain = difference.mean
    if len(categories) != len(difference.categories):
        raise ValueError(
            f"every category must have a name, but {len(difference.categories)} have {len(categories)}; name each once"
        )
    better = gain.probability >= LEVEL
    reasons = [
        f"{'better' if better else 'not surely better'}: {gain.render()}, better with probability "
        f"{gain.probability:.3f}, where {LEVEL:.2f} is asked for"
    ]
    if gain.covers == IMAGES:
        reasons.append("this says nothing of other seeds: it holds for these networks as they are")
    blocked = False
    for name, estimate in zip(categories, difference.categories, strict=True):
        upper = estimate.compute_upper(difference.category_level)
        if upper < -MAX_CATEGORY_LOSS:
            blocked = True
            reasons.append(
                f"{name} is worse for certain: {100 * estimate.value:+.2f} points, at best {100 * upper:+.2f}, "
                f"where {-100 * MAX_CATEGORY_LOSS:+.0f} is allowed"
            )
    detectable = gain.compute_detectable()
    reasons.append(f"a gain of {100 * detectable:.2f} points is what this comparison finds in {POWER:.0%} of cases")
    return Verdict(better and not blocked, difference, detectable, tuple(reasons))


def check_answers(answers: np.ndarray) -> np.ndarray:
    """Answers as [S, N, K] float64."""
    answers = np.asarray(answers, np.float64)
    if answers.ndim != 3 or 0 in answers.shape:
        raise ValueError(
            f"answers must be [seeds, images, categories], but are {list(answers.shape)}; give one table a seed"
        )
    if not ((answers >= 0) & (answers <= 1)).all():
        raise ValueError(
            f"answers must be 0 for wrong to 1 for right, but reach from {answers.min()} to {answers.max()}; "
            "give what was right, not the classes"
        )
    return answers
