"""Which parameters mattered, and how surely: a linear model of the trials' scores.

Every parameter shifts the score by itself. An effect is the change of the score that goes with a change of one
parameter, the others as they were drawn. It is uncertain for two reasons, which add up: other trials would have been
drawn (bootstrap over trials), and other images would have been scored (each image's own effect; all trials answer the
same images, so what is common to them cancels out).
T trials, N images, K categories, P columns of the model, Q effects, O outcomes: the mean, then each category.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from search.statistics.intervals import list_outcomes

BOOTSTRAPS = 2000
SURE = 1.96  # standard errors to each side of a 95% interval
MIN_SPARE = 10  # trials beyond the columns of the model


@dataclass(frozen=True)
class Design:
    """The parameters of trials as a linear model.

    Attributes:
        matrix: [T, P], the first column all 1.
        columns: of each parameter.
        freedom: free numbers of each parameter: fewer than its columns where these depend on each other.
        effects: (parameter, change in words, [P] difference of two rows).
    """

    matrix: np.ndarray
    columns: dict[str, list[int]]
    freedom: dict[str, int]
    effects: list[tuple[str, str, np.ndarray]]


@dataclass(frozen=True)
class Effects:
    """Changes of the score: all [Q, O].

    Attributes:
        values: the changes themselves.
        trial_errors, image_errors: their standard errors over trials and over images.
        shares: of the variance of the mean score, by parameter, less what chance alone would give it.
        noise: share of that variance which the model leaves.
    """

    values: np.ndarray
    trial_errors: np.ndarray
    image_errors: np.ndarray
    shares: dict[str, float]
    noise: float

    @property
    def errors(self) -> np.ndarray:
        """Over trials and images together."""
        errors: np.ndarray = np.hypot(self.trial_errors, self.image_errors)
        return errors


def estimate_effects(design: Design, correct: np.ndarray, rng: np.random.Generator) -> Effects:
    """Effects of a design on what its trials answered right.

    Args:
        correct: [T, N, K], 1 for right, 0 for wrong, NaN where an image is unlabelled in a category. A category's
            outcome is over the images labelled in it; the mean's over all, see `fashion_core.metrics.score_images`.
    """
    matrix, differences = design.matrix, np.stack([difference for _, _, difference in design.effects])
    outcomes = list_outcomes(correct)
    scores = np.stack([outcome.mean(1) for outcome in outcomes], 1)  # [T, O]
    influence = differences @ np.linalg.pinv(matrix)  # [Q, T]: what each trial's score adds to each effect
    by_image = [influence @ outcome for outcome in outcomes]  # O times [Q, N]
    image_errors = np.stack([values.std(1, ddof=1) / math.sqrt(values.shape[1]) for values in by_image], 1)
    drawn = []
    for _ in range(BOOTSTRAPS):
        rows = rng.integers(len(matrix), size=len(matrix))
        drawn.append(differences @ np.linalg.lstsq(matrix[rows], scores[rows], rcond=None)[0])
    left = compute_left(matrix, scores[:, 0])
    variance, spare = float(((scores[:, 0] - scores[:, 0].mean()) ** 2).sum()), len(matrix) - matrix.shape[1]
    shares = {}
    for name, columns in design.columns.items():
        more = compute_left(np.delete(matrix, columns, 1), scores[:, 0]) - left
        freedom = design.freedom[name]
        shares[name] = (more - freedom * left / spare) / variance
    return Effects(influence @ scores, np.std(drawn, 0, ddof=1), image_errors, shares, left / variance)


def compute_left(matrix: np.ndarray, scores: np.ndarray) -> float:
    """The sum of squares that a linear model leaves."""
    weights = np.linalg.lstsq(matrix, scores, rcond=None)[0]
    return float(((scores - matrix @ weights) ** 2).sum())


def compute_kendall(one: np.ndarray, other: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Kendall's tau-b of two rankings: 1 where they agree on every pair, 0 where on as many as not.

    Args:
        groups: count pairs of one group alone; None: all pairs.
    """
    groups = np.zeros(len(one)) if groups is None else groups
    counted = groups[:, None] == groups[None, :]
    signs = [counted * np.sign(values[:, None] - values[None, :]) for values in (one, other)]
    scale = math.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum())
    return float((signs[0] * signs[1]).sum() / scale) if scale else 0.0
