"""A surface fitted to recorded curves: the curve of every configuration of a space, and what a training adds to it.

A curve is the mean curve plus a few shapes (principal components of the recorded curves), each with a weight that is
the expectation of a Gaussian process over the parameters. Away from the recordings it comes back to the mean:
what they do not tell is missing from it rather than made up.
R recordings, E epochs, D features, P places in the unit cube.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np
from replay_curves import SCHEMA, Recordings
from scipy.stats import kendalltau
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from fashion_core.data.schema import AttributeSchema
from search.space.space import Parameter, Space
from search.space.weights import WEIGHTS

SHAPES = 3  # of curves: what is left of the recordings' variance is below a hundredth
LENGTHS_FROM = 100  # recordings from which each feature has a length scale of its own
LENGTH_BOUNDS, NOISE_BOUNDS = (0.5, 1e3), (1e-4, 1.0)  # in standard deviations of features, and of variance
REFERENCE, REFERENCE_DRAWS = (
    500,
    20,
)  # the regret is to the best of so many configurations, in the mean of so many draws
NOISE_STREAM = 5_000_011  # keeps the draws of residuals apart from all others


class Encoder:
    """Parameters of a space as features, of unit variance where they are drawn at random."""

    def __init__(self, space: Space, schema: AttributeSchema = SCHEMA) -> None:
        self.parameters = [parameter for parameter in space.parameters if parameter.name != WEIGHTS]
        self.weights = next((parameter for parameter in space.parameters if parameter.name == WEIGHTS), None)
        self.weight_names = list(space.weight_names(schema)) if self.weights else []

    def encode(self, params: dict[str, Any]) -> np.ndarray:
        """[D] of one configuration; weights as drawn or as shown, which is the same."""
        units = [place(parameter, params[parameter.name]) for parameter in self.parameters]
        units += [place(self.weights, params[name]) for name in self.weight_names if self.weights]
        return self.encode_units(np.array([units]))[0]

    def encode_units(self, units: np.ndarray) -> np.ndarray:
        """[N, D] of points in the unit cube, [N, P]: a column a parameter, then one a weight."""
        columns = []
        for number, parameter in enumerate(self.parameters):
            column = units[:, number]
            if parameter.kind == "choice":
                count = len(parameter.values)
                chosen = np.minimum((column * count).astype(int), count - 1)
                spread = np.sqrt((1 - 1 / count) / count)
                columns += [((chosen == choice) - 1 / count) / spread for choice in range(count)]
            else:
                columns.append((column - 0.5) * np.sqrt(12))
        if self.weights:
            low, high = np.log(self.weights.values)
            logs = low + units[:, len(self.parameters) :] * (high - low)
            logs -= np.log(np.exp(logs).mean(1, keepdims=True))
            columns += list(logs.T / (high - low) * np.sqrt(12))
        return np.stack(columns, 1)

    @property
    def count(self) -> int:
        """P."""
        return len(self.parameters) + len(self.weight_names)


def place(parameter: Parameter | None, value: Any) -> float:
    """Where in its range, from 0 to 1, a value lies; a choice in the middle of its part."""
    assert parameter is not None
    if parameter.kind == "choice":
        return (parameter.values.index(value) + 0.5) / len(parameter.values)
    low, high = parameter.values
    if parameter.kind in ("loguniform", "proportions"):
        return float(np.log(value / low) / np.log(high / low))
    return float((value - low) / (high - low))


class Surface:
    """The curves of a space, fitted to recordings.

    What it does not foretell of a recording that it has not seen (`compute_left_out`) is a configuration's own, and as
    good as what it foretells, where the recordings say how much of it a repeat changes; else all of it is noise. They
    say so where they have others of their configurations: it is read off the differences, which is too much rather than
    too little, because those differ in size as well.

    Attributes:
        shapes: [S, E]. processes: of their weights.
        own: [Q, E] what a configuration has beside what its parameters foretell.
        noise: [Q, E] what a training adds to the curve of its configuration.
    """

    def __init__(self, recordings: Recordings) -> None:
        self.recordings, self.encoder = recordings, Encoder(recordings.space)
        self.remembered: dict[tuple[tuple[str, Any], ...], np.ndarray] = {}
        features = np.stack([self.encoder.encode(params) for params in recordings.params])
        self.mean = recordings.scores.mean(0)
        centred = recordings.scores - self.mean
        self.shapes = np.linalg.svd(centred, full_matrices=False)[2][:SHAPES]
        repeats = compute_repeats(recordings)
        self.processes = [
            fit_process(features, centred @ shape, None if repeats is None else float(np.var(repeats @ shape)))
            for shape in self.shapes
        ]
        left_out = self.compute_left_out(features, centred)
        nothing = np.zeros((1, recordings.max_epochs))
        self.own, self.noise = (nothing, left_out) if repeats is None else (left_out, repeats)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """[N, E] curves of [N, D] configurations, without noise."""
        weights = np.stack([process.predict(features) for process in self.processes], 1)
        found: np.ndarray = self.mean + weights @ self.shapes
        return found

    def predict_one(self, params: dict[str, Any]) -> np.ndarray:
        """[E] of one configuration, remembered: methods of one seed ask for the same."""
        key = tuple(sorted(params.items()))
        if key not in self.remembered:
            self.remembered[key] = self.predict(self.encoder.encode(params)[None])[0]
        return self.remembered[key]

    def compute_left_out(self, features: np.ndarray, centred: np.ndarray) -> np.ndarray:
        """[R, E] each recording less what the others foretell of it, with the kernels fitted to all."""
        left = centred.copy()
        for process, shape in zip(self.processes, self.shapes, strict=True):
            for number in range(len(features)):
                others = np.arange(len(features)) != number
                again = GaussianProcessRegressor(process.kernel_, optimizer=None, normalize_y=True)
                again.fit(features[others], centred[others] @ shape)
                left[number] -= again.predict(features[number : number + 1])[0] * shape
        return left

    def draw_units(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """[N, P] configurations, as a random search draws them."""
        return rng.random((count, self.encoder.count))

    @cached_property
    def best(self) -> float:
        """What is searched for: the best score of `REFERENCE` configurations drawn at random, without noise; the mean
        over some such draws.
        """
        rng = np.random.default_rng(0)
        curves = self.predict(self.encoder.encode_units(self.draw_units(REFERENCE * REFERENCE_DRAWS, rng)))
        curves = curves + self.own[rng.integers(len(self.own), size=len(curves))]
        return float(curves.max(1).reshape(REFERENCE_DRAWS, REFERENCE).max(1).mean())

    def judge(self, left_out: Recordings) -> tuple[float, float, float]:
        """How well it foretells the last scores of recordings that it has not seen: R^2, root mean square error in
        points, Kendall's tau.
        """
        features = np.stack([self.encoder.encode(params) for params in left_out.params])
        found, wanted = self.predict(features)[:, -1], left_out.scores[:, -1]
        error = float(np.mean((found - wanted) ** 2))
        tau = kendalltau(found, wanted).statistic
        return 1 - error / float(np.var(wanted)), 100 * float(np.sqrt(error)), float(tau)


def compute_repeats(recordings: Recordings) -> np.ndarray | None:
    """[Q, E] what a repeat changes: differences to other trainings of a configuration, without the mean of their kind,
    by the root of 2; None where there are none.
    """
    if not recordings.others:
        return None
    found = []
    for kind in sorted({other.kind for other in recordings.others}):
        gaps = np.stack([recordings.scores[each.of] - each.scores for each in recordings.others if each.kind == kind])
        found.append((gaps - gaps.mean(0)) / np.sqrt(2))
    return np.concatenate(found)


def fit_process(features: np.ndarray, values: np.ndarray, noise: float | None) -> GaussianProcessRegressor:
    """Length scales, variance and, where it is not known, noise of greatest likelihood. noise: a variance."""
    scale = float(values.std()) or 1.0
    lengths = np.full(features.shape[1], 4.0) if len(values) >= LENGTHS_FROM else 4.0
    white = WhiteKernel(0.1, NOISE_BOUNDS) if noise is None else WhiteKernel(noise / scale**2, "fixed")
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * RBF(lengths, LENGTH_BOUNDS) + white
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a feature that does nothing: its length meets the bound
        return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(features, values)


class World:
    """A surface with what is each trial's own; the same seed gives the same."""

    def __init__(self, surface: Surface, seed: int) -> None:
        self.surface, self.seed, self.best = surface, seed, surface.best
        self.curves: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # [E] with noise and without, by trial

    def score(self, trial: int, params: dict[str, Any], epoch: int) -> tuple[float, float]:
        """The score of a trial after an epoch, counted from 1, with noise and without."""
        if trial not in self.curves:
            rng = np.random.default_rng([self.seed, NOISE_STREAM, trial])
            curve = self.surface.predict_one(params) + draw_row(self.surface.own, rng)
            self.curves[trial] = curve + draw_row(self.surface.noise, rng), curve
        noisy, curve = self.curves[trial]
        return float(noisy[epoch - 1]), float(curve[epoch - 1])


class RawWorld:
    """Recorded curves as they are, each trial one drawn with replacement, whatever its parameters; repeats add noise.

    Attributes:
        best: of the recordings, without noise.
    """

    def __init__(self, recordings: Recordings, seed: int) -> None:
        self.recordings, self.seed, self.best = recordings, seed, float(recordings.scores.max())
        repeats = compute_repeats(recordings)
        self.noise = np.zeros((1, recordings.max_epochs)) if repeats is None else repeats

    def score(self, trial: int, params: dict[str, Any], epoch: int) -> tuple[float, float]:
        """See `World.score`."""
        rng = np.random.default_rng([self.seed, NOISE_STREAM, trial])
        curve = draw_row(self.recordings.scores, rng)
        return float((curve + draw_row(self.noise, rng))[epoch - 1]), float(curve[epoch - 1])


def draw_row(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of them."""
    found: np.ndarray = rows[rng.integers(len(rows))]
    return found
