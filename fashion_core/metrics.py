"""The names of metrics, and the scores made of counts of right and wrong answers. No torch at import.

B or N images, K categories, C classes of one category. A confusion matrix is [C, C] int64: row = truth, column =
answer. An image counts in the categories in which it is labelled, and in no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
PEAK_MEMORY = "train/peak_memory_mib"  # of the process, in MiB
PEAK_GPU_MEMORY = "train/peak_gpu_memory_mib"  # that PyTorch allocated
CPU_JOULES = "train/cpu_joules"  # the process's part of what the machine's processors took
GPU_JOULES = "train/gpu_joules"
GPU_BUSY = "train/gpu_busy"  # share of the time that the GPU worked, for whomever
# What differs where the same is trained again.
OF_MACHINE = frozenset(
    {IMAGES_PER_SECOND, TRAIN_SECONDS, VAL_SECONDS, PEAK_MEMORY, PEAK_GPU_MEMORY, CPU_JOULES, GPU_JOULES, GPU_BUSY}
)

OBJECTIVE_PATTERN = rf"^({ACCURACY}|{CLASS_ACCURACY}|{ACCURACY}/[^\n]+)$"  # scores that can be an objective
DIGITS = 12  # beyond them, means of the same answers differ by the order of their sum


def compute_scores(confusion: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, float]:
    """Scores from the confusion matrices of K categories, each counted on the images labelled in it.

    Returns:
        `val/accuracy` and `val/class_accuracy` as defined above, and `val/accuracy/<category>`.
        A class without images has no recall and is left out of `val/class_accuracy`.
    """
    accuracies = [float(np.trace(matrix) / max(matrix.sum(), 1)) for matrix in confusion]
    recalls = [recall for matrix in confusion for recall in compute_recalls(matrix) if recall is not None]
    scores = {ACCURACY: float(np.mean(accuracies)), CLASS_ACCURACY: float(np.mean(recalls)) if recalls else 0.0}
    return scores | {f"{ACCURACY}/{name}": value for name, value in zip(names, accuracies, strict=True)}


def mark_correct(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which answers are right, [N, K] bool; where labels are missing, float64 with NaN in their place.

    Args:
        answers: [N, K] class indices, or one row [K] for all images.
        labels: [N, K] class indices, negative where an image is unlabelled in a category.
    """
    correct: np.ndarray = answers == labels
    known = labels >= 0
    return correct if known.all() else np.where(known, correct, np.nan)


def has_missing(correct: np.ndarray) -> bool:
    """Whether answers, 1 for right and 0 for wrong, hold a NaN for an image that is unlabelled in a category."""
    return bool(correct.dtype != np.bool_ and np.isnan(correct).any())


def score_answers(correct: np.ndarray) -> np.ndarray:
    """The score of answers: the mean over categories of the accuracy on the images labelled in them.

    A category in which none of these images is labelled says nothing of them, and is left out.

    Args:
        correct: [..., N, K], 1 for right, 0 for wrong, NaN for unlabelled.

    Returns:
        [...]: one score for each table.
    """
    if not has_missing(correct):
        return np.asarray(correct.mean((-2, -1)))
    counts = (~np.isnan(correct)).sum(-2)
    accuracies = np.nansum(correct, -2) / np.maximum(counts, 1)
    scores = accuracies.sum(-1) / np.maximum((counts > 0).sum(-1), 1)
    return np.asarray(scores.round(DIGITS))  # equal scores stay equal, whatever the order of their sums


def score_images(correct: np.ndarray) -> np.ndarray:
    """What each image says of the score: values whose mean is the score, and whose spread gives its error.

    With all labels, the share of an image's categories that are answered right. With n_k of N images labelled in
    category k, m_ik = 1 for these and else 0, and p_k the accuracy on them, the score mean_k p_k is a mean of ratios
    that share images. Linearised,

        z_i = mean_k (p_k + m_ik sqrt(N (N - 1) / (n_k (n_k - 1))) (x_ik - p_k))

    The mean of z_i is the score, and var(z) / N its squared error: of one category alone, to the letter the s^2 / n_k
    of its labelled images. z is linear in x, so what is a mean or a difference of answers with the same labels is that
    of their z too. Source: Cochran 1977, Sampling Techniques, sections 2.11 to 2.13 and 6.3.

    Args:
        correct: [..., N, K], 1 for right, 0 for wrong, NaN for unlabelled.

    Returns:
        [..., N]; with labels missing, some may lie outside 0 to 1.
    """
    if not has_missing(correct):
        return np.asarray(correct.mean(-1))
    known, images = ~np.isnan(correct), correct.shape[-2]
    counts = known.sum(-2, keepdims=True)
    accuracies = np.nansum(correct, -2, keepdims=True) / np.maximum(counts, 1)
    scales = np.sqrt(images * (images - 1) / np.maximum(counts * (counts - 1), 1))
    return np.asarray((accuracies + scales * np.where(known, correct - accuracies, 0.0)).mean(-1))


def compute_standard_error(correct: np.ndarray) -> float:
    """Standard error of the score of answers over the images drawn. correct: [N, K], see `mark_correct`.

    Categories of one image are not independent, so the error is that of the mean of N values, one an image: see
    `score_images`.
    """
    scores = score_images(correct)
    return float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def compute_recalls(matrix: np.ndarray) -> list[float | None]:
    """Share of each class's images that were answered right; None for a class without images. matrix: [C, C]."""
    totals = matrix.sum(1)
    return [float(matrix[i, i] / total) if total else None for i, total in enumerate(totals)]


def find_commonest(labels: np.ndarray) -> np.ndarray:
    """[K] int64: the commonest class of each category among the images labelled in it. labels: [N, K]."""
    return np.array([np.bincount(column[column >= 0], minlength=1).argmax() for column in labels.T])


def compute_majority_score(labels: np.ndarray, train_labels: np.ndarray, measure: Measure | None = None) -> float:
    """The score of always answering the training set's commonest class. labels: [B, K], [N, K].

    Args:
        measure: of the B images; None: the mean over categories of the accuracy.
    """
    return float((measure or Measure()).score(mark_correct(find_commonest(train_labels), labels)))


# ----------------------------------------------------------------------------------------------------------- objectives


@dataclass(frozen=True)
class Objective:
    """The score that is maximised: one of those of `compute_scores`, by its name there."""

    name: str = ACCURACY

    @property
    def is_default(self) -> bool:
        """Whether it is the challenge's score."""
        return self.name == ACCURACY

    @property
    def category(self) -> str | None:
        """The one category that it is the accuracy of; None where it is of all."""
        return self.name.removeprefix(f"{ACCURACY}/") if self.name.startswith(f"{ACCURACY}/") else None

    @property
    def error_name(self) -> str:
        """The name of its standard error over the images."""
        if self.name == CLASS_ACCURACY:
            return f"{CLASS_ACCURACY}_se"
        return ACCURACY_SE + self.name.removeprefix(ACCURACY)

    @property
    def beside(self) -> str:
        """The score that is told beside it."""
        return CLASS_ACCURACY if self.is_default else ACCURACY

    @property
    def words(self) -> str:
        """What it is."""
        if self.name == CLASS_ACCURACY:
            return "the mean over all classes of the recall"
        if self.category is not None:
            return f"the accuracy of {self.category}"
        return "the mean over the categories of the accuracy"


@dataclass(frozen=True)
class Measure:
    """An objective on N images: what it makes of answers to these.

    Attributes:
        labels: [N, K], negative where an image is unlabelled in a category; of use to the mean over classes alone.
        names: of the K categories; of use to the accuracy of one.
    """

    objective: Objective = Objective()
    labels: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int64), repr=False)
    names: tuple[str, ...] = ()

    def take(self, images: np.ndarray) -> Measure:
        """The same on some of the images."""
        labels = self.labels[images] if len(self.labels) else self.labels
        return Measure(self.objective, labels, self.names)

    def select(self, correct: np.ndarray) -> np.ndarray:
        """What the objective is the mean over columns of the mean of, [..., N, M]: `score_answers` of it is the score.

        The columns are the categories, or the one that counts. For the mean over classes they are the C classes that
        these images have, each with NaN for images of other classes: the accuracy in such a column is the recall. As
        the images of a class are its own, `score_images` gives the variance of a stratified sample then,
        sum_c s_c^2 / n_c / C^2 (Cochran 1977, Sampling Techniques, section 5.6, strata by the label).

        Args:
            correct: [..., N, K], 1 for right, 0 for wrong, NaN for unlabelled.
        """
        if self.objective.category is not None:
            index = self.names.index(self.objective.category)
            return correct[..., index : index + 1]
        if self.objective.is_default:
            return correct
        columns = [
            np.where(column == label, correct[..., index], np.nan)
            for index, column in enumerate(self.labels.T)
            for label in np.unique(column[column >= 0])
        ]
        return np.stack(columns, -1)

    def score(self, correct: np.ndarray) -> np.ndarray:
        """The score of answers, [...]. correct: see `select`."""
        return score_answers(self.select(correct))

    def score_images(self, correct: np.ndarray) -> np.ndarray:
        """What each image says of the score, [..., N]: see `score_images`. correct: see `select`."""
        return score_images(self.select(correct))

    def count_freedom(self, correct: np.ndarray) -> float:
        """Degrees of freedom of the variance over images of what `score_images` gives.

        N - 1 for the mean over categories. Else those of Satterthwaite for M columns of n_m images each, were the
        spread in all the same, and N - 1 at most: a mean over classes hangs on the few images of rare ones, whose
        spread is little known. Source: Cochran 1977, Sampling Techniques, formula 5.16.

        Args:
            correct: [..., N, K], see `select`.
        """
        images = int(correct.shape[-2])
        if self.objective.is_default:
            return images - 1
        known = ~np.isnan(self.select(correct))
        counts = known.reshape(-1, *known.shape[-2:])[0].sum(0)
        counts = counts[counts > 1]
        if not len(counts):
            return images - 1
        found = float((1 / counts).sum() ** 2 / (1 / counts**2 / (counts - 1)).sum())
        return min(found, images - 1)

    def list_single(self) -> list[tuple[str, int]]:
        """(category, class) of which there is one image alone, so that nobody knows how surely it is recalled.

        Of the mean over classes; every other objective has none.
        """
        if self.objective.name != CLASS_ACCURACY:
            return []
        return [
            (name, label)
            for name, column in zip(self.names, self.labels.T, strict=True)
            for label, count in enumerate(np.bincount(column[column >= 0]).tolist())
            if count == 1
        ]

    def compute_standard_error(self, correct: np.ndarray) -> float | None:
        """See `compute_standard_error`; None where a class has one image alone. correct: [N, K]."""
        return None if self.list_single() else compute_standard_error(self.select(correct))
