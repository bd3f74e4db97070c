"""Recorded learning curves, as arrays: what a search is replayed on.

R recordings, E epochs, K categories.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from fashion_core import metrics
from fashion_core.data.schema import KNOWN_CATEGORIES, AttributeSchema, Category
from search.space.reading import load_space
from search.space.space import Space
from search.space.weights import WEIGHTS

SCHEMA = AttributeSchema(tuple(Category(name, classes) for name, classes in KNOWN_CATEGORIES.items()))
PARAM = "params/"  # before a parameter's name in `curves.parquet`
MEASURED, OTHERS = "full", ("small", "growing")  # groups of `record_curves.py`: what is replayed, and its other sizes


@dataclass(frozen=True)
class Other:
    """A further training of a recorded configuration, at another size of images.

    Args:
        of: the recording. kind: which size. scores: [E].
    """

    of: int
    kind: str
    scores: np.ndarray


@dataclass(frozen=True)
class Recordings:
    """Curves of one space, a configuration each.

    Attributes:
        space: what the configurations were drawn from.
        params: flat, of each recording.
        scores: [R, E] val/accuracy after each epoch.
        others: further trainings of these configurations.
    """

    name: str
    space: Space
    params: tuple[dict[str, Any], ...]
    scores: np.ndarray
    others: tuple[Other, ...] = ()

    @property
    def max_epochs(self) -> int:
        """E."""
        return int(self.scores.shape[1])

    def take(self, chosen: Sequence[int]) -> Recordings:
        """These recordings alone."""
        place = {old: new for new, old in enumerate(chosen)}
        others = tuple(replace(other, of=place[other.of]) for other in self.others if other.of in place)
        params = tuple(self.params[number] for number in chosen)
        return replace(self, params=params, scores=self.scores[list(chosen)], others=others)

    def split(self, seed: int) -> tuple[Recordings, Recordings]:
        """Two halves by configuration, drawn at random: the first to choose on, the second for the tables."""
        order = np.random.default_rng(seed).permutation(len(self.params))
        half = len(order) // 2
        return self.take(sorted(order[:half].tolist())), self.take(sorted(order[half:].tolist()))


def load_lines(path: Path) -> Recordings:
    """The fine-tunings that `record_curves.py` wrote.

    Raises:
        ValueError: a recording has another number of epochs than the first.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    space = load_space("record")
    ended = [line for line in lines if line["status"] == "finished"]
    measured = [line for line in ended if line["group"] == MEASURED]
    numbers = {line["name"].split("-")[0]: place for place, line in enumerate(measured)}
    others = tuple(
        Other(numbers[line["name"].split("-")[0]], line["group"], read_scores(line))
        for line in ended
        if line["group"] in OTHERS and line["name"].split("-")[0] in numbers
    )
    params = tuple(read_params(space, line["config"]) for line in measured)
    return Recordings(path.stem, space, params, stack([read_scores(line) for line in measured], path), others)


def load_table(path: Path, space_name: str) -> Recordings:
    """The trials of a search that trained to the end, from its `curves.parquet`.

    Raises:
        ValueError: two trials that finished have other numbers of epochs.
    """
    import pyarrow.parquet as pq

    trials: dict[int, list[dict[str, Any]]] = {}
    for row in pq.read_table(path).drop_columns("correct").to_pylist():
        if row["status"] == "finished":
            trials.setdefault(row["trial"], []).append(row)
    rows = [sorted(trials[number], key=lambda row: row["epoch"]) for number in sorted(trials)]
    params = tuple(
        {name.removeprefix(PARAM): value for name, value in of[0].items() if name.startswith(PARAM)} for of in rows
    )
    curves = [np.array([row[metrics.ACCURACY] for row in of]) for of in rows]
    return Recordings(path.stem, load_space(space_name), params, stack(curves, path))


def read_scores(line: Mapping[str, Any]) -> np.ndarray:
    """[E]."""
    return np.array([epoch["metrics"][metrics.ACCURACY] for epoch in line["epochs"]])


def read_params(space: Space, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the space draws of a configuration, flat."""
    names = space.weight_names(SCHEMA)
    drawn = {parameter.name: config[parameter.name] for parameter in space.parameters if parameter.name != WEIGHTS}
    return drawn | {flat: config[WEIGHTS].get(category, 1.0) for flat, category in names.items()}


def stack(curves: Sequence[np.ndarray], path: Path) -> np.ndarray:
    """[R, E]."""
    if len(lengths := {len(curve) for curve in curves}) != 1:
        raise ValueError(f"recordings must all have one number of epochs, but {path} has {sorted(lengths)}")
    return np.stack(curves)


def compute_taus(scores: np.ndarray) -> list[float]:
    """Kendall's tau-b of the scores after each epoch with those after the last. scores: [R, E]."""
    return [float(kendalltau(scores[:, epoch], scores[:, -1]).statistic) for epoch in range(scores.shape[1])]
