"""The gate: whether a candidate may take the champion's place, with the reasons in words.

S seeds, N images, K categories. A candidate's answers are an array [S, N, K]: 1 for right, 0 for wrong, or shares
between them, NaN where an image is unlabelled in a category: it counts in the others alone. A point is 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from search.statistics.intervals import (
    ACCURACY,
    IMAGES,
    LESS,
    LEVEL,
    POWER,
    Estimate,
    compare,
    estimate_seed_noise,
    list_floors,
    list_outcomes,
)
from search.statistics.spending import ERROR, spend_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.metrics import Measure

MAX_CATEGORY_LOSS = 0.01  # a category that loses more than this for certain blocks a promotion
LEAST_IMAGES = 30  # of fewer labelled images, each is more than three points: that is too coarse to judge by


@dataclass(frozen=True)
class Difference:
    """A less B.

    Attributes:
        mean: difference of the scores, of the objective.
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
    """What the gate says, and why.

    Attributes:
        attempt: which try on these images it is, from 1.
        allowed: the largest p-value that opens the gate at this try, see `search.statistics.spending`.
        detectable: the smallest gain that it finds in a share `POWER` of all cases.
        detectable_losses: the same of a loss in each category, in order.
        reasons: in words, one sentence each.
    """

    passed: bool
    difference: Difference
    attempt: int
    allowed: float
    detectable: float
    detectable_losses: tuple[float, ...]
    reasons: tuple[str, ...]


def compare_answers(
    one: np.ndarray,
    other: np.ndarray,
    pool: Sequence[np.ndarray],
    measure: Measure = ACCURACY,
    share: float | None = None,
) -> Difference:
    """`compare` for the score and for every category.

    Args:
        one, other: answers [S, N, K] on the same images; S may differ.
        pool: answers [S, N, K] of all re-run candidates on the same images: they tell how much seeds vary, over all
            categories and in each. Empty: over images alone.
        measure: the objective on these images.
        share: see `compare`.
    """
    everyone = [check_answers(answers) for answers in (one, other, *pool)]
    check_together(everyone)
    first, second, *rest = (list_outcomes(answers, measure) for answers in everyone)
    floors = list_floors(everyone[0].mean(0) - everyone[1].mean(0), measure, LESS)
    mean, *categories = (
        compare(
            first[at],
            second[at],
            estimate_seed_noise([outcomes[at] for outcomes in rest]),
            None if at else measure.count_freedom(everyone[0]),
            share,
            floors[at],
        )
        for at in range(len(first))
    )
    return Difference(mean, tuple(categories))


def judge(
    answers: np.ndarray,
    opponent: np.ndarray,
    pool: Sequence[np.ndarray],
    categories: Sequence[str],
    attempt: int = 1,
    measure: Measure = ACCURACY,
    share: float | None = None,
) -> Verdict:
    """The gate: better with a p-value as small as this try asks for, and no category worse for certain.

    A category is worse for certain where the upper 95% bound of its difference (one-sided, Bonferroni over categories)
    lies below -1 point, and a sign test could be as sure on so few images, had all of them been lost: see
    `can_be_sure`. Of a scarce category, see `list_scarce`, it is said that nobody can tell.

    Args:
        answers: [S, N, K] of what may ship, cross-fitted, see `search.statistics.crossfit`.
        opponent: [S, N, K] of the champion, or of the baseline.
        pool: see `compare_answers`.
        categories: K names.
        attempt: which try on these images this is, from 1: see `search.statistics.spending`.
        measure: the objective on these images.
        share: see `search.statistics.intervals.compare`.
    """
    difference = compare_answers(answers, opponent, pool, measure, share)
    gain, allowed = difference.mean, spend_error(attempt)
    if len(categories) != len(difference.categories):
        raise ValueError(
            f"every category must have a name, but {len(difference.categories)} have {len(categories)}; name each once"
        )
    level = difference.category_level
    better = gain.p_value <= allowed
    objective = "" if measure.objective.is_default else f" in {measure.objective.name}"
    losses = tuple(
        MAX_CATEGORY_LOSS + each.compute_reaching(each.compute_upper(level) - each.value)
        for each in difference.categories
    )
    verdict = Verdict(better, difference, attempt, allowed, gain.compute_detectable(allowed), losses, ())
    reasons = [
        f"{'better' if better else 'not surely better'}{objective}: {gain.render()}, "
        f"p = {write_p_value(gain.p_value)}; {describe_attempt(attempt)}",
        f"the {ERROR:.0%} of error are spent over all tries on these images, so that a later one is asked for more",
    ]
    if gain.covers == IMAGES:
        reasons.append("this says nothing of other seeds: it holds for these networks as they are")
    counts, category = count_labelled(answers), measure.objective.category
    images = answers.shape[1] if category is None else counts[list(categories).index(category)]
    blocked = images < LEAST_IMAGES
    if blocked:
        reasons.append(f"a promotion is judged on {LEAST_IMAGES} labelled images or more, but these are {images}")
    scarce = dict(list_scarce(categories, counts))
    for name, estimate, count in zip(categories, difference.categories, counts, strict=True):
        upper = estimate.compute_upper(level)
        if upper < -MAX_CATEGORY_LOSS and can_be_sure(count, level):
            blocked = True
            reasons.append(
                f"{name} is worse for certain: {100 * estimate.value:+.2f} points, at best {100 * upper:+.2f}, "
                f"where {-100 * MAX_CATEGORY_LOSS:+.0f} is allowed"
            )
        elif name in scarce:
            reasons.append(f"{name}: cannot tell on {count} images whether it is worse: {estimate.render(level)}")
    reasons += [
        f"a gain of {100 * verdict.detectable:.2f} points is what this comparison finds in {POWER:.0%} of cases",
        f"a category's loss is found in {POWER:.0%} of cases where it is {describe_losses(categories, losses)}; a "
        "smaller one may pass",
    ]
    return replace(verdict, passed=better and not blocked, reasons=tuple(reasons))


def count_labelled(answers: np.ndarray) -> tuple[int, ...]:
    """How many images are labelled in each category. answers: [S, N, K], NaN where one is not."""
    return tuple((~np.isnan(answers[0])).sum(0).tolist())


def list_scarce(categories: Sequence[str], counts: Sequence[int]) -> list[tuple[str, int]]:
    """(name, labelled images) of the categories that have fewer than `LEAST_IMAGES`."""
    return [(name, count) for name, count in zip(categories, counts, strict=True) if count < LEAST_IMAGES]


def describe_scarce(scarce: Sequence[tuple[str, int]]) -> str:
    """What `list_scarce` found, in a sentence; empty where that is nothing."""
    listed = ", ".join(f"{name} on {count}" for name, count in scarce)
    return f"Judged on fewer than {LEAST_IMAGES} labelled images, too few to tell much: {listed}." if listed else ""


def can_be_sure(images: int, level: float) -> bool:
    """Whether a sign test of paired answers reaches a level on so few images, were all of them lost."""
    return 0.5**images <= 1 - level


def describe_attempt(attempt: int) -> str:
    """Which try it is, and what the gate asks of it."""
    return f"try {attempt:,} on these images: it must be better with p <= {write_p_value(spend_error(attempt))}"


def describe_losses(categories: Sequence[str], losses: Sequence[float]) -> str:
    """Every category with the loss, in points, that would be found in it."""
    return ", ".join(f"{100 * loss:.1f} points in {name}" for name, loss in zip(categories, losses, strict=True))


def write_p_value(value: float) -> str:
    """With three digits: two that differ by less are told apart by no reader."""
    return f"{value:.3g}"


def check_answers(answers: np.ndarray) -> np.ndarray:
    """Answers as [S, N, K] float64."""
    answers = np.asarray(answers, np.float64)
    if answers.ndim != 3 or 0 in answers.shape:
        raise ValueError(
            f"answers must be [seeds, images, categories], but are {list(answers.shape)}; give one table a seed"
        )
    missing = np.isnan(answers)
    if not ((answers >= 0) & (answers <= 1) | missing).all():
        raise ValueError(
            "answers must be 0 for wrong to 1 for right, but reach from "
            f"{np.nanmin(answers)} to {np.nanmax(answers)}; give what was right, not the classes"
        )
    counts = (~missing[0]).sum(0)
    if (missing != missing[0]).any() or counts.min() < min(2, answers.shape[1]):
        raise ValueError(
            "answers must be NaN where an image is unlabelled, alike for all seeds, and every category needs two "
            f"labelled images or more, but they are {counts.tolist()}; leave a category out that has fewer"
        )
    return answers


def check_together(everyone: Sequence[np.ndarray]) -> None:
    """Raises ValueError unless all answer the same categories, on the same images with the same labels."""
    counts = {answers.shape[2] for answers in everyone}
    if len(counts) > 1:
        raise ValueError(f"answers must be of the same categories, but are of {sorted(counts)}; answer the same ones")
    labelled = [~np.isnan(answers[0]) for answers in everyone]
    if any(len(one) == len(labelled[0]) and (one != labelled[0]).any() for one in labelled):
        shown = [one.sum(0).tolist() for one in labelled]
        raise ValueError(f"answers must be on the same labels, but are on {shown}; score all on one set")
