"""The gate: whether a challenger may take the champion's place, with the reasons in words.

S seeds, N images, K categories. A candidate's answers are an array [S, N, K]: 1 for right, 0 for wrong, or shares
between them. A point is 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fashion_core.errors import SearchError
from search.statistics.intervals import IMAGES, LEVEL, POWER, Estimate, compare, estimate_seed_noise

MAX_CATEGORY_LOSS = 0.01  # a category that loses more than this for certain blocks a promotion


@dataclass(frozen=True)
class Comparison:
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
    comparison: Comparison
    detectable: float
    reasons: tuple[str, ...]


def compare_answers(one: np.ndarray, other: np.ndarray, pool: Sequence[np.ndarray]) -> Comparison:
    """`compare` for the score and for every category.

    Args:
        one, other: answers [S, N, K] on the same images; S may differ.
        pool: answers [S, N, K] of all re-run candidates on the same images: they tell how much seeds vary, over all
            categories and in each. Empty: over images alone.
    """
    one, other, *rest = (check_answers(answers) for answers in (one, other, *pool))
    counts = {answers.shape[2] for answers in (one, other, *rest)}
    if len(counts) > 1:
        raise SearchError(f"answers must be of the same categories, but are of {sorted(counts)}; answer the same ones")
    mean = compare(one.mean(2), other.mean(2), estimate_seed_noise([answers.mean(2) for answers in rest]))
    categories = []
    for index in range(one.shape[2]):
        noise = estimate_seed_noise([answers[:, :, index] for answers in rest])
        categories.append(compare(one[:, :, index], other[:, :, index], noise))
    return Comparison(mean, tuple(categories))


def judge(
    challenger: np.ndarray, champion: np.ndarray, pool: Sequence[np.ndarray], categories: Sequence[str]
) -> Verdict:
    """The gate: better with probability >= 0.95, and no category worse for certain.

    A category is worse for certain where the upper 95% bound of its difference (one-sided, Bonferroni over categories)
    lies below -1 point.

    Args:
        challenger: answers [S, N, K] of the cross-fitted winner, see `search.statistics.crossfit`.
        champion: answers [S, N, K] of the champion, or of the baseline.
        pool: see `compare_answers`.
        categories: K names.
    """
    comparison = compare_answers(challenger, champion, pool)
    gain = comparison.mean
    if len(categories) != len(comparison.categories):
        raise SearchError(
            f"every category must have a name, but {len(comparison.categories)} have {len(categories)}; name each once"
        )
    better = gain.probability >= LEVEL
    reasons = [
        f"{'better' if better else 'not surely better'}: {gain.render()}, better with probability "
        f"{gain.probability:.3f}, where {LEVEL:.2f} is asked for"
    ]
    if gain.covers == IMAGES:
        reasons.append("this says nothing of other seeds: it holds for these networks as they are")
    blocked = False
    for name, estimate in zip(categories, comparison.categories, strict=True):
        upper = estimate.compute_upper(comparison.category_level)
        if upper < -MAX_CATEGORY_LOSS:
            blocked = True
            reasons.append(
                f"{name} is worse for certain: {100 * estimate.value:+.2f} points, at best {100 * upper:+.2f}, "
                f"where {-100 * MAX_CATEGORY_LOSS:+.0f} is allowed"
            )
    detectable = gain.compute_detectable()
    reasons.append(f"a gain of {100 * detectable:.2f} points is what this comparison finds in {POWER:.0%} of cases")
    return Verdict(better and not blocked, comparison, detectable, tuple(reasons))


def check_answers(answers: np.ndarray) -> np.ndarray:
    """Answers as [S, N, K] float64."""
    answers = np.asarray(answers, np.float64)
    if answers.ndim != 3 or 0 in answers.shape:
        raise SearchError(
            f"answers must be [seeds, images, categories], but are {list(answers.shape)}; give one table a seed"
        )
    if not ((answers >= 0) & (answers <= 1)).all():
        raise SearchError(
            f"answers must be 0 for wrong to 1 for right, but reach from {answers.min()} to {answers.max()}; "
            "give what was right, not the classes"
        )
    return answers
