"""Labels that look wrong, by confident learning, and how many would look so by chance.

Source: Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70: section
3.1 for the thresholds, "self-confidence" of section 3.3 for the order. Unlike there, no class is suggested that is less
sure than the label itself, nor one with few members. N images, C classes of one category.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fashion_core.inference.temperatures import SMALLEST, divide_logits
from search.statistics.calibration import fit_temperature

MIN_LABELLED = 20  # images: fewer tell nothing
MIN_MEMBERS = 10  # images of a class: of fewer, its threshold is an accident
SLACK = 1e-9  # by which a mean of equal numbers may lie above them


@dataclass(frozen=True)
class LabelErrors:
    """Labels that look wrong, the least likely first. M of them.

    Attributes:
        images: [M] positions among the N.
        suggested: [M] classes.
        given_confidence, suggested_confidence: [M] of the label, and of the class suggested.
        others: confidences, ascending, of all classes less sure than the suggested one of all images that have such:
            of what a label that looks wrong could be.
    """

    images: np.ndarray
    suggested: np.ndarray
    given_confidence: np.ndarray
    suggested_confidence: np.ndarray
    others: np.ndarray

    def count_by_chance(self, confidence: float = 1.0) -> float:
        """How many labels would look wrong were all of them right, with at most this confidence in the label.

        Were the confidences true, an image's label would be class y with the confidence of y.
        """
        return float(self.others[: np.searchsorted(self.others, confidence, side="right")].sum())


def cross_fit_confidence(probabilities: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities whose temperature each image had no part in, [N, C] float64.

    Args:
        probabilities: [N, C] of networks that were trained on none of these images.
        labels: [N], negative where unlabelled.
        folds: [N], see `search.statistics.crossfit.assign_folds`.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    found = np.empty_like(logits)
    for fold in np.unique(folds):
        own, others = folds == fold, (folds != fold) & (labels >= 0)
        temperature = fit_temperature(probabilities[others], labels[others]) if others.any() else 1.0
        found[own] = divide_logits(logits[own], temperature)
    return found


def find_label_errors(confidences: np.ndarray, labels: np.ndarray) -> LabelErrors:
    """The labels of a category that look wrong.

    A class can be suggested where an image is as confidently of it as its own members are in the mean. What is
    suggested is the most confident of these; a label looks wrong where that is another class, and more confident.

    Args:
        confidences: [N, C], see `cross_fit_confidence`.
        labels: [N], negative where unlabelled.
    """
    images = np.flatnonzero(labels >= 0)
    if len(images) < MIN_LABELLED:
        images = images[:0]
    values, given = confidences[images], labels[images]
    classes = np.arange(confidences.shape[1])
    thresholds = np.array(
        [values[given == c, c].mean() if (given == c).sum() >= MIN_MEMBERS else np.inf for c in classes]
    )
    passing = values >= thresholds - SLACK
    can, suggested = passing.any(1), np.where(passing, values, -1).argmax(1)
    most = np.where(can, values[np.arange(len(given)), suggested], -1.0)
    is_less = np.less(values, most[:, None])
    rows = np.flatnonzero(is_less[np.arange(len(given)), given])
    own = values[rows, given[rows]]
    order = np.argsort(own, kind="stable")
    rows, own = rows[order], own[order]
    others = np.sort(values[is_less])
    return LabelErrors(images[rows], suggested[rows], own, values[rows, suggested[rows]], others)
