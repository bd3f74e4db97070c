"""Which parameters mattered, and how surely: a linear model of the trials' scores.

Every parameter shifts the score by itself. An effect is the change of the score that goes with a change of one
parameter, the others as they were drawn. It is uncertain for two reasons, which add up: other trials would have been
drawn, and other images would have been scored (each image's own effect; all trials answer the same images, so what is
common to them cancels out).

**Few trials.** A parameter's own columns are estimated freely, so its effect is not shrunk. The columns of the others
are there to take away noise, and are shrunk by as much as the data say that they do nothing: a mixed model with one
variance for each of the other parameters, solved by Henderson's equations (Henderson 1975, Biometrics 31; Robinson
1991, Statistical Science 6). The noise is that of plain least squares, so intervals are Student's with the trials
beyond the columns as degrees of freedom.

**Trials that were stopped.** Who goes on from a rung was chosen by the score there; among those alone, effects are too
small. A score at a rung is therefore modelled from the parameters and the score at the rung before, among those who
went on, and the effect at a rung is its own part + slope x the effect at the rung before (monotone missing data:
Anderson 1957, JASA 52; Little and Rubin 2019, chapter 7). That holds where the choice was by the score at the rung, as
ASHA's is, and where that score tells of earlier ones all that matters.
Both are checked against known truth by `tests/helpers/effects_simulation.py`.

T trials, N images, K categories, P columns of the model, Q effects, O outcomes: the mean, then each category.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from search.statistics.intervals import ACCURACY, LEVEL, list_outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.metrics import Measure

MIN_SPARE = 10  # trials beyond the columns of the model
TINY = 1e-9  # of what should be 0, or 1


@dataclass(frozen=True)
class Design:
    """The parameters of trials as a linear model.

    Attributes:
        matrix: [T, P], the first column all 1.
        columns: of each parameter.
        effects: (parameter, change in words, [P] difference of two rows).
        unshrunk: parameters whose columns are always estimated freely: what these are shrunk by, those that they go
            together with would be given instead.
    """

    matrix: np.ndarray
    columns: dict[str, list[int]]
    effects: list[tuple[str, str, np.ndarray]]
    unshrunk: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rung:
    """The trials of a design that reached a rung; the last one is the end of training.

    Attributes:
        rows: [n] of the design.
        scores: [n, O] there.
    """

    rows: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Effects:
    """Changes of the score: all [Q, O]. NaN where none of the trials that reached the last rung can tell.

    Attributes:
        values: the changes themselves.
        trial_errors: their standard errors over trials. image_errors: over images, beyond what is in these.
        df: degrees of freedom of both together.
        shares: of the variance of the mean score, by parameter, less what chance alone would give it.
        noise: share of that variance which the model leaves.
    """

    values: np.ndarray
    trial_errors: np.ndarray
    image_errors: np.ndarray
    df: np.ndarray
    shares: dict[str, float]
    noise: float

    @property
    def errors(self) -> np.ndarray:
        """Over trials and images together."""
        errors: np.ndarray = np.hypot(self.trial_errors, self.image_errors)
        return errors

    @property
    def halves(self) -> np.ndarray:
        """Half the width of the 95% intervals."""
        halves: np.ndarray = self.errors * stdtrit(self.df, (1 + LEVEL) / 2)
        return halves


@dataclass(frozen=True)
class Part:
    """One parameter's effect on the scores at a rung, in the parameter's n_k columns of `Basis`.

    Attributes:
        values: [n_k].
        covariances: ([n_k, n_k], degrees of freedom) that add up, one a rung.
        weights: [n_k, T] with which each trial's answers count.
        known: [n_k, n_k] the projection on what can be told.
    """

    values: np.ndarray
    covariances: tuple[tuple[np.ndarray, float], ...]
    weights: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Basis:
    """A design's columns, of each parameter without mean, uncorrelated and of variance 1 over all trials.

    Attributes:
        columns: by parameter, [T, n_k].
        back: by parameter, [n_k, columns of the design]: takes a difference of the design's columns to these.
        unshrunk: as of the design.
    """

    columns: dict[str, np.ndarray]
    back: dict[str, np.ndarray]
    unshrunk: frozenset[str] = frozenset()


def build_basis(design: Design) -> Basis:
    """The basis of a design."""
    columns, back = {}, {}
    for name, places in design.columns.items():
        values = design.matrix[:, places] - design.matrix[:, places].mean(0)
        left, sizes, right = np.linalg.svd(values, full_matrices=False)
        kept = sizes > TINY * max(sizes.max(), 1.0)
        scale = math.sqrt(len(values))
        columns[name], back[name] = left[:, kept] * scale, right[kept] * (scale / sizes[kept])[:, None]
    return Basis(columns, back, design.unshrunk)


def count_columns(design: Design) -> int:
    """P, less what depends on other columns."""
    return int(np.linalg.matrix_rank(design.matrix))


def count_wanted(design: Design, rung: int = 0) -> int:
    """How many trials must have reached a rung (0: the first), for effects there."""
    return count_columns(design) + MIN_SPARE + (rung > 0)


def estimate_effects(
    design: Design, correct: np.ndarray, rungs: Sequence[Rung] = (), measure: Measure = ACCURACY
) -> Effects:
    """Effects of a design on what its trials answered right.

    Args:
        correct: [T, N, K], 1 for right, 0 for wrong, NaN where an image is unlabelled in a category. A category's
            outcome is over the images labelled in it; the mean's over all, see `fashion_core.metrics.score_images`.
        rungs: where trials were stopped: what each reached, the first by all of them. Effects are those at the last.
        measure: the objective on the images, whose score is the first outcome.

    Raises:
        ValueError: too few trials reached the last rung.
    """
    outcomes = list_outcomes(correct, measure)
    rungs = rungs or [Rung(np.arange(len(correct)), np.stack([outcome.mean(1) for outcome in outcomes], 1))]
    if len(rungs[-1].rows) <= (least := count_columns(design) + (len(rungs) > 1)):
        raise ValueError(
            f"effects need more trials than the {least} columns of their model, but {len(rungs[-1].rows)} reached the "
            "last rung; leave it out"
        )
    basis = build_basis(design)
    noises = [estimate_noise(design.matrix, outcome) for outcome in outcomes]
    freedoms = [measure.count_freedom(correct), *(outcome.shape[1] - 1 for outcome in outcomes[1:])]
    left = np.zeros(len(outcomes))  # [O] variance of a trial's scores that the model leaves
    parts: dict[str, list[Part]] = {}
    for number, rung in enumerate(rungs):
        before = rungs[number - 1] if number else None
        models = [Model(basis, rung, before, outcome) for outcome in range(len(outcomes))]
        parts = {
            name: [model.extend(name, parts[name][0] if before else None) for model in models] for name in basis.columns
        }
        left = np.array([model.variance + model.slope**2 * left[0] for model in models])
    shape = len(design.effects), len(outcomes)
    values, trial_errors, image_errors, df = (np.full(shape, np.nan) for _ in range(4))
    for place, (name, _, difference) in enumerate(design.effects):
        direction = basis.back[name] @ difference[design.columns[name]]  # [n_k]
        for number, (outcome, rest) in enumerate(zip(outcomes, noises, strict=True)):
            part = parts[name][number]
            if np.linalg.norm(part.known @ direction - direction) > math.sqrt(TINY) * np.linalg.norm(direction):
                continue
            values[place, number] = direction @ part.values
            spreads = [(float(direction @ spread @ direction), own) for spread, own in part.covariances]
            by_image, weights = (direction @ part.weights) @ outcome, direction @ part.weights
            images = len(by_image)
            over_images = max(float(by_image.var(ddof=1)) - float(weights @ weights) * rest, 0.0) / images
            trial_errors[place, number] = math.sqrt(sum(spread for spread, _ in spreads))
            image_errors[place, number] = math.sqrt(over_images)
            df[place, number] = combine_df([*spreads, (over_images, freedoms[number])])
    explained = {
        name: float(found[0].values @ found[0].values - sum(np.trace(spread) for spread, _ in found[0].covariances))
        for name, found in parts.items()
    }
    variance = max(sum(explained.values()) + float(left[0]), float(left[0])) or 1.0
    return Effects(
        values,
        trial_errors,
        image_errors,
        df,
        {name: value / variance for name, value in explained.items()},
        float(left[0]) / variance,
    )


class Model:
    """Scores at a rung from all parameters, and from the mean scores of the same trials at the rung before.

    Args:
        outcome: which of O.

    Attributes:
        variance: of the noise. df: its degrees of freedom.
        slope: on the score before; 0 at the first rung.
    """

    def __init__(self, basis: Basis, rung: Rung, before: Rung | None, outcome: int) -> None:
        self.rung, self.scores = rung, rung.scores[:, outcome]
        self.trials = len(next(iter(basis.columns.values()), rung.rows))
        own = {name: values[rung.rows] for name, values in basis.columns.items()}
        free = [np.ones(len(rung.rows))]
        if before is not None:
            last = before.scores[np.searchsorted(before.rows, rung.rows), 0]
            free.append(last - last.mean())
        self.matrix = np.column_stack([*free, *own.values()])
        starts = np.cumsum([len(free), *(values.shape[1] for values in own.values())])
        self.places = {name: np.arange(*pair) for name, pair in zip(own, pairwise(starts), strict=True)}
        self.free = np.arange(len(free))
        inverse = np.linalg.pinv(self.matrix)
        weights = inverse @ self.scores
        rest = self.scores - self.matrix @ weights
        self.df = len(rest) - int(np.linalg.matrix_rank(self.matrix))
        self.variance = float(rest @ rest) / self.df
        self.slope = float(weights[1]) if before is not None else 0.0
        self.penalties = np.zeros(self.matrix.shape[1])  # of the other parameters: noise / their variance
        for name, places in self.places.items():
            if name in basis.unshrunk:
                continue
            chance = float(np.trace(inverse[places] @ inverse[places].T))
            size = float(weights[places] @ weights[places])
            ratio = (size / self.variance - chance) / max(len(places), 1) if self.variance else math.inf
            # an effect as large as its error is never ruled out, so none is shrunk by more than that says
            self.penalties[places] = 1 / max(ratio, 1 / len(rest))

    def extend(self, name: str, before: Part | None) -> Part:
        """A parameter's effect at this rung. before: on the mean score at the rung before; None at the first."""
        places, penalties = self.places[name], self.penalties.copy()
        penalties[places] = 0
        spread = np.linalg.pinv(self.matrix.T @ self.matrix + np.diag(penalties), hermitian=True)
        weights = spread @ self.matrix.T  # [P, n]
        found, known = weights @ self.scores, self.find_known(places)
        own = np.zeros((len(places), self.trials))
        own[:, self.rung.rows] = weights[places]
        if before is None:
            return Part(found[places], ((self.variance * spread[np.ix_(places, places)], self.df),), own, known)
        slope = float(found[1])
        mix = np.zeros((len(places), len(found)))
        mix[np.arange(len(places)), places], mix[:, 1] = 1.0, before.values
        covariances = [(slope**2 * covariance, df) for covariance, df in before.covariances]
        covariances.append((self.variance * mix @ spread @ mix.T, self.df))
        # a trial's answers stand for those at both rungs: of earlier epochs none are kept
        shared = (1 - slope) * own + slope * before.weights
        return Part(mix @ found, tuple(covariances), shared, known)

    def find_known(self, places: np.ndarray) -> np.ndarray:
        """The projection on those directions of a parameter's columns in which trials of this rung differ."""
        others = self.matrix[:, self.free]
        own = self.matrix[:, places]
        own = own - others @ (np.linalg.pinv(others) @ own)
        known: np.ndarray = np.linalg.pinv(own, rcond=math.sqrt(TINY)) @ own
        return known


def estimate_noise(matrix: np.ndarray, outcome: np.ndarray) -> float:
    """Variance of an answer beyond what its image, its trial and the parameters together with its image explain.

    matrix: [T, P]; outcome: [T, N].
    """
    left, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
    base = left[:, sizes > TINY * sizes.max()]
    rest = outcome - base @ (base.T @ outcome)
    rest -= rest.mean(1, keepdims=True)
    spare = (len(matrix) - base.shape[1]) * (outcome.shape[1] - 1)
    return float((rest**2).sum()) / spare if spare else 0.0


def combine_df(variances: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of (variance, degrees of freedom): Satterthwaite 1946."""
    total, spread = sum(value for value, _ in variances), sum(value**2 / df for value, df in variances)
    return total**2 / spread if spread > 0 else min(df for _, df in variances)


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
