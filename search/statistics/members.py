"""Which networks to average: greedy selection among those that were already trained.

M members, N images, K categories, C classes of one category. Probabilities are K arrays [M, N, C]; a label is
negative where an image is unlabelled in a category, and counts in the others alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.inference.temperatures import SMALLEST
from fashion_core.metrics import Measure, mark_correct
from search.statistics.calibration import check_labels
from search.statistics.intervals import ACCURACY

if TYPE_CHECKING:
    from collections.abc import Sequence


def select_members(
    probabilities: Sequence[np.ndarray], labels: np.ndarray, size: int, measure: Measure = ACCURACY
) -> list[int]:
    """The members whose mean probabilities score best, in the order taken; one taken twice counts twice.

    Starts with the best one and adds, `size` times in all, the one that makes the ensemble's score best: with
    replacement, equal scores told apart by log likelihood, then by order. The best ensemble on the way is returned, the
    smallest of equals. Source: Caruana et al. 2004, Ensemble Selection from Libraries of Models, sections 2 and 2.1.

    Args:
        probabilities: K arrays [M, N, C], of the images to select on.
        labels: [N, K].
        size: largest number of members, repeats included.
        measure: the objective on these images.

    Raises:
        ValueError: no member, size below 1, or labels of another shape.
    """
    labels = check_labels(probabilities, labels)
    counts = {len(values) for values in probabilities}
    if size < 1 or len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"an ensemble needs a size of 1 or more and members that answer every category, but has size {size} and "
            f"{sorted(counts)} members by category; give at least one"
        )
    sums: list[np.ndarray] = [np.zeros(values.shape[1:], np.float64) for values in probabilities]
    taken: list[int] = []
    best_score, best_size = -1.0, 0
    for _ in range(size):
        grown = [
            [total + values[member] for total, values in zip(sums, probabilities, strict=True)]
            for member in range(len(probabilities[0]))
        ]
        scores = [score_probabilities(candidate, labels, measure) for candidate in grown]
        member = scores.index(max(scores))
        taken.append(member)
        sums = grown[member]
        if scores[member][0] > best_score:
            best_score, best_size = scores[member][0], len(taken)
    return taken[:best_size]


def average_members(probabilities: Sequence[np.ndarray], members: Sequence[int]) -> list[np.ndarray]:
    """Mean probabilities of members, K arrays [N, C]; one named twice counts twice."""
    return [values[list(members)].mean(0) for values in probabilities]


def find_correct(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """[N, K]: which answers are right, see `fashion_core.metrics.mark_correct`.

    Args:
        probabilities: K arrays [N, C].
        labels: [N, K].
    """
    return mark_correct(np.stack([values.argmax(1) for values in probabilities], 1), labels)


def score_probabilities(
    sums: Sequence[np.ndarray], labels: np.ndarray, measure: Measure = ACCURACY
) -> tuple[float, float]:
    """Score and mean log likelihood, this averaged over the categories in which an image is labelled.

    Args:
        sums: K arrays [N, C] of any positive scale.
        labels: [N, K].
    """
    likelihoods = []
    for values, column in zip(sums, labels.T, strict=True):
        known = np.flatnonzero(column >= 0)
        if len(known):
            found = values[known, column[known]] / values.sum(1)[known]
            likelihoods.append(np.log(np.maximum(found, SMALLEST)).mean())
    return float(measure.score(find_correct(sums, labels))), float(np.mean(likelihoods))
