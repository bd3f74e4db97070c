"""Whether a probability of 0.8 is right in 80% of cases, and one number a category that makes it more so.

`fashion_core.inference.temperatures` applies what is fitted here.

N images, K categories, C classes of one category. Probabilities are K arrays [N, C]; labels [N, K] whole numbers,
negative where an image is unlabelled in a category: it counts in the others alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.inference.temperatures import SMALLEST, divide_logits

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS = 15  # Guo et al. 2017
MAX_TEMPERATURE = 20.0  # its inverse is the smallest; answers that are all right would ask for 0
FLOOR_DRAWS, FLOOR_SEED = 200, 0  # of right and wrong answers; fixed, so that a model's floor is one number
STEPS = 60  # halvings of the interval: far beyond the accuracy of a double


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error of the answers of all categories together, and of each.

    Attributes:
        floor, category_floors: what these would be of answers that are right exactly as often as they say, in the mean:
            few answers stray from their confidence by chance.
    """

    pooled: float
    categories: tuple[float, ...]
    floor: float = 0.0
    category_floors: tuple[float, ...] = ()


def compute_calibration(probabilities: Sequence[np.ndarray], labels: np.ndarray, networks: int = 1) -> Calibration:
    """The calibration of the answers: of the likeliest class of each category.

    The floors are those of consistency resampling (Bröcker & Smith 2007, Increasing the reliability of reliability
    diagrams): right and wrong are drawn again with the probabilities that were given. Networks mostly err on the same
    images, so their answers to one are drawn by one number: independent ones would put the floor of several too low.

    Args:
        networks: S, whose answers stand one after the other: probabilities are K arrays [S * N, C], labels [S * N, K].
    """
    pairs = list_labelled(probabilities, labels)
    confidences = [values.max(1) for values, _ in pairs]
    correct = [values.argmax(1) == column for values, column in pairs]
    by_category = [compute_ece(one, other) for one, other in zip(confidences, correct, strict=True)]
    rng, floors = np.random.default_rng(FLOOR_SEED), []
    for _ in range(FLOOR_DRAWS):
        drawn = [np.tile(rng.random(len(each) // networks), networks) < each for each in confidences]
        pooled = compute_ece(np.concatenate(confidences), np.concatenate(drawn))
        floors.append([pooled, *(compute_ece(one, other) for one, other in zip(confidences, drawn, strict=True))])
    floor, *category_floors = np.mean(floors, 0).tolist()
    pooled = compute_ece(np.concatenate(confidences), np.concatenate(correct))
    return Calibration(pooled, tuple(by_category), floor, tuple(category_floors))


def compute_ece(confidences: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: |share right - mean confidence| of equally wide bins, weighted by their answers.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.

    Args:
        confidences: [M] probabilities of the answers; a bin holds its upper end, the first one 0 too.
        correct: [M] bool.
    """
    places = np.clip(np.ceil(np.asarray(confidences, np.float64) * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(places, weights=np.asarray(correct, np.float64) - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(places))


def fit_temperatures(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> tuple[float, ...]:
    """A temperature for each category: its head has a loss weight, and so a confidence, of its own."""
    return tuple(fit_temperature(values, column) for values, column in list_labelled(probabilities, labels))


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature whose probabilities have the smallest negative log likelihood: above 1, it makes them less sure.

    The likelihood's slope over 1 / T only rises, so its zero is found by halving. Source: Guo et al. 2017, section 4.2.

    Args:
        probabilities: [N, C].
        labels: [N].
    """
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
    found = logits[np.arange(len(labels)), labels].mean()
    low, high = -math.log(MAX_TEMPERATURE), math.log(MAX_TEMPERATURE)  # of log(1 / T)
    middle = 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        expected = (divide_logits(logits, math.exp(-middle)) * logits).sum(1).mean()
        if math.isclose(expected, found, rel_tol=1e-14):
            break
        low, high = (low, middle) if expected > found else (middle, high)
    return math.exp(-middle)


def list_labelled(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities [n_k, C] and labels [n_k] of the images labelled in a category, one or more, for each of K."""
    labels = check_labels(probabilities, labels)
    pairs = []
    for index, (values, column) in enumerate(zip(probabilities, labels.T, strict=True)):
        known = column >= 0
        if not known.any():
            raise ValueError(
                f"every category must be labelled in one image or more, but category {index} is in none of "
                f"{len(column)}; leave it out"
            )
        pairs.append((values, column) if known.all() else (values[known], column[known]))
    return pairs


def check_labels(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Labels as [N, K] int64 that the probabilities [..., N, C] can be held against, -1 for unlabelled."""
    labels = np.asarray(labels, np.int64)
    shapes = [values.shape[-2:] for values in probabilities]
    if labels.ndim != 2 or labels.shape[1] != len(shapes) or any(shape[0] != len(labels) for shape in shapes):
        raise ValueError(
            f"labels must be [images, categories] of the probabilities' {len(shapes)} categories, but are "
            f"{list(labels.shape)} for probabilities of {[list(shape) for shape in shapes]}; "
            "give those of the same images"
        )
    for index, (images, classes) in enumerate(shapes):
        if images == 0 or labels[:, index].min() < -1 or labels[:, index].max() >= classes:
            raise ValueError(
                f"labels of category {index} must be 0 to {classes - 1}, or -1 for unlabelled, of one image or more, "
                f"but are {sorted(set(labels[:, index].tolist()))[:10]}; give class numbers"
            )
    return labels
