"""The names of metrics, and the scores made of counts of right and wrong answers. No torch at import.

B images, K categories, C classes of one category. A confusion matrix is [C, C] int64: row = truth, column = answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

# Names of metrics, the only place they are spelt. `val` is whatever set of images a run selects on.
ACCURACY = "val/accuracy"  # mean over categories of the accuracy: the challenge's score
CLASS_ACCURACY = "val/class_accuracy"  # mean over all classes of their recall: the later year's score
ACCURACY_SE = "val/accuracy_se"  # standard error of ACCURACY over the images
VAL_LOSS = "val/loss"
TRAIN_LOSS = "train/loss"
LEARNING_RATE = "lr"
PROBE = "train/probe"  # where a run has probe epochs: 1 in these, 0 in those that train the whole network
IMAGES_PER_SECOND = "train/images_per_second"
TRAIN_SECONDS = "train/seconds"
VAL_SECONDS = "val/seconds"


def compute_scores(confusion: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, float]:
    """Scores from the confusion matrices of K categories.

    Returns:
        `val/accuracy` and `val/class_accuracy` as defined above, and `val/accuracy/<category>`.
        A class without images has no recall and is left out of `val/class_accuracy`.
    """
    accuracies = [float(np.trace(matrix) / max(matrix.sum(), 1)) for matrix in confusion]
    recalls = [recall for matrix in confusion for recall in compute_recalls(matrix) if recall is not None]
    scores = {ACCURACY: float(np.mean(accuracies)), CLASS_ACCURACY: float(np.mean(recalls)) if recalls else 0.0}
    return scores | {f"{ACCURACY}/{name}": value for name, value in zip(names, accuracies, strict=True)}


def compute_standard_error(correct: np.ndarray) -> float:
    """Standard error of the mean accuracy over the images drawn. correct: [N, K] bool.

    An image's own score is the share of its categories answered right; categories of one image are not independent,
    so the error is that of the mean of N such shares.
    """
    scores = correct.mean(1)
    return float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def compute_recalls(matrix: np.ndarray) -> list[float | None]:
    """Share of each class's images that were answered right; None for a class without images. matrix: [C, C]."""
    totals = matrix.sum(1)
    return [float(matrix[i, i] / total) if total else None for i, total in enumerate(totals)]


def compute_majority_score(labels: np.ndarray, train_labels: np.ndarray) -> float:
    """Mean accuracy over categories of always answering the training set's commonest class. labels: [B, K], [N, K]."""
    answers = [np.bincount(column).argmax() for column in train_labels.T]
    return float((labels == np.array(answers)).mean())
