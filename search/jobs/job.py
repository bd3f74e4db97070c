"""What every trial of a search shares: paths and numbers, no data. One trial of it, on whatever process runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fashion_core.config import FEATURE_FIELDS, TrainConfig, build_config
from fashion_core.data.pixels import build_settings
from fashion_core.data.prepared import PreparedData
from fashion_core.hardware.gpu_memory import limit_gpu_memory
from fashion_core.training.loop import EpochResult, fit

SAVE_INTERVAL_S = 10.0  # a trial whose process dies goes on from a state this old at most, or an epoch old


@dataclass(frozen=True)
class Job:
    """The part of a trial's configuration that is the same in all of them. Plain values: it travels as a dictionary.

    Args:
        prepared: path of the prepared data by how it was prepared, in words.
        selection: path of the images to train and to select on, as `save_selection` wrote it.
        seed: of the search.
        threads: CPU threads of one trial.
        features: path of the cached features by `name_features`, for trials with probe epochs.
        gpus: of one trial; a fraction is the share of a GPU's memory that it keeps to.
    """

    prepared: dict[str, str]
    selection: str
    seed: int
    threads: int
    features: dict[str, str] = field(default_factory=dict)
    gpus: float = 0.0


def name_features(config: TrainConfig) -> str:
    """A name of all fields that decide the features a probe is trained on."""
    return "|".join(str(getattr(config, name)) for name in FEATURE_FIELDS)


def save_selection(path: Path, train: np.ndarray, select: np.ndarray) -> None:
    """Write the images to train and to select on, int64 indices into the prepared data, for the trials to read."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, train=train, select=select)
    temporary.replace(path)


@lru_cache(maxsize=8)
def open_data(path: str) -> PreparedData:
    """Prepared data, opened once a process."""
    return PreparedData.open(Path(path))


@lru_cache(maxsize=8)
def load_selection(path: str) -> tuple[np.ndarray, np.ndarray]:
    """The images to train and to select on, read once a process."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["train"], arrays["select"]


def build_trial_config(job: Job, number: int, values: dict[str, Any]) -> TrainConfig:
    """The configuration of one trial; its seed follows from the search's and its number."""
    (seed,) = np.random.SeedSequence([job.seed, number]).generate_state(1, np.uint32)
    return build_config({**values, "seed": int(seed)})


def fit_trial(job: Job, number: int, values: dict[str, Any], *, resume: Path | None = None) -> Iterator[EpochResult]:
    """Train one trial: see `fashion_core.training.loop.fit`.

    Raises:
        ConfigError, WeightsError, DataError, DivergedError
    """
    torch.set_num_threads(job.threads)
    limit_gpu_memory(job.gpus)
    config = build_trial_config(job, number, values)
    data = open_data(job.prepared[str(build_settings(config))])
    train, select = load_selection(job.selection)
    features = Path(job.features[name_features(config)]) if config.probe_epochs else None
    yield from fit(config, data, train=train, val=select, features=features, resume=resume)


def describe_error(error: BaseException) -> str:
    """An exception in words: its type and message, with a remedy where memory ran out."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return f"out of memory: a smaller batch_size, image_size or backbone is needed ({text})"
    return text
