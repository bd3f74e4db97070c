"""Labels with some of them taken away: an image may be labelled in some categories alone. N images, K categories."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.prepared import PreparedData

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RATES = (0.6, 0.1, 0.4, 0.0, 0.5, 0.4)  # of DeepFashion's six categories: a third in all


def blank(labels: np.ndarray, rates: Sequence[float], seed: int = 0) -> np.ndarray:
    """A copy without a share of each category's labels; every image keeps one label or more. labels: [N, K]."""
    missing = np.random.default_rng(seed).random(labels.shape) < np.asarray(rates)
    missing[missing.all(1), int(np.argmin(rates))] = False
    return np.where(missing, -1, labels)


def blank_data(data: PreparedData, rates: Sequence[float] = RATES) -> PreparedData:
    """The data opened again, without a share of the labels of its labelled images."""
    opened = PreparedData.open(data.path)
    known = (opened.labels >= 0).any(1)
    opened.labels[known] = blank(opened.labels[known], rates)
    return opened


def blank_folder(source: Path, target: Path, rates: Sequence[float] = RATES) -> Path:
    """A copy of a data set in the challenge's layout, without a share of the labels of train and val."""
    shutil.copytree(source, target)
    for seed, split in enumerate(("train", "val")):
        path = target / "split" / f"{split}_attr.txt"
        labels = np.array([line.split() for line in path.read_text().splitlines()], int)
        path.write_text("".join(" ".join(map(str, row)) + "\n" for row in blank(labels, rates, seed).tolist()))
    return target
