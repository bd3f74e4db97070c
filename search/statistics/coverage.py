"""How right the answers are that a model is sure of: accuracy against coverage (El-Yaniv and Wiener 2010).

A class is named only where its probability reaches a smallest confidence; coverage is the share of images of which one
is named, accuracy the share of these that are right. N images, K categories, C classes of one category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.inference.temperatures import apply_temperatures
from search.statistics.calibration import check_labels, fit_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # smallest confidences that are told; 0 is to answer always


@dataclass(frozen=True)
class Coverage:
    """The answers of one category to n images that are labelled in it.

    Attributes:
        confidences: [n] float64, probabilities of the likeliest class.
        correct: [n] bool.
    """

    confidences: np.ndarray
    correct: np.ndarray

    def measure(self, min_confidence: float) -> tuple[int, float | None]:
        """How many images are answered, and the share of these that is right; None where none is."""
        answered = self.confidences >= min_confidence
        count = int(answered.sum())
        return count, float(self.correct[answered].mean()) if count else None

    def compute_curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Coverage and accuracy [m] each, from the most confident answer to all; answers as sure as each other are
        given together."""
        order = np.argsort(-self.confidences, kind="stable")
        right = np.cumsum(self.correct[order])
        sorted_down = self.confidences[order]
        ends = np.flatnonzero(np.append(sorted_down[1:] != sorted_down[:-1], True))
        counts = ends + 1
        return counts / len(order), right[ends] / counts


def cross_fit_coverage(
    probabilities: Sequence[np.ndarray], labels: np.ndarray, folds: np.ndarray
) -> tuple[Coverage, ...]:
    """Coverage of each category, every image's confidence with the temperature that was fitted without its fold.

    Args:
        probabilities: K arrays [N, C], as the network gives them.
        labels: [N, K], negative where unlabelled: such an image is left out in that category.
        folds: [N], see `search.statistics.crossfit.assign_folds`.
    """
    labels = check_labels(probabilities, labels)
    return tuple(
        cross_fit_category(values[known], column[known], folds[known])
        for values, column in zip(probabilities, labels.T, strict=True)
        for known in (column >= 0,)
    )


def cross_fit_category(probabilities: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> Coverage:
    """Coverage of one category. probabilities: [n, C]; labels, folds: [n]."""
    confidences = np.empty(len(labels))
    for fold in np.unique(folds):
        inside = folds == fold
        # where no other image is labelled, nothing can be fitted
        temperature = 1.0 if inside.all() else fit_temperature(probabilities[~inside], labels[~inside])
        (scaled,) = apply_temperatures([probabilities[inside]], [temperature])
        confidences[inside] = scaled.max(1)
    return Coverage(confidences, probabilities.argmax(1) == labels)
