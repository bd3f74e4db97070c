"""One network to be trained, on whatever process: a trial of a search, and a re-run of a promotion, alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from fashion_core.config import FEATURE_FIELDS, TrainConfig
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.prepared import PreparedData
from fashion_core.errors import DataError
from fashion_core.files import build_damage, read_arrays, whole
from fashion_core.hardware.device import check_gpus, name_build
from fashion_core.hardware.gpu_memory import limit_gpu_memory
from fashion_core.training.loop import fit
from fashion_core.training.progress import SETTING_UP, Progress, tell_nobody

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fashion_core.training.loop import EpochResult
    from search.jobs.travel import Parcel

SAVE_INTERVAL_S = 10.0  # a training whose process dies goes on from a state this old at most, or an epoch old

FeatureKey = tuple[object, ...]


@dataclass(frozen=True)
class TrainingJob:
    """One network to be trained. Paths and numbers: it travels to a worker.

    Attributes:
        prepared: file of the images as the configuration wants them.
        selection: file of the images to train and to select on, see `save_selection`.
        features: file of cached features, where it begins with probe epochs.
        threads: CPU threads.
        gpus: a fraction is the share of a GPU's memory that it keeps to.
    """

    config: TrainConfig
    prepared: Path
    selection: Path
    features: Path | None
    threads: int
    gpus: float = 0.0

    def run(self, resume: Path | None = None, progress: Progress = tell_nobody) -> Iterator[EpochResult]:
        """Train: see `fashion_core.training.loop.fit`.

        Args:
            resume: folder of a saved state to go on from.
            progress: see `fit`.

        Raises:
            ConfigError: it was given GPUs, and sees none.
        """
        progress(SETTING_UP, 0, 0)
        torch.set_num_threads(self.threads)
        check_gpus(self.gpus, name_build(), sees=torch.cuda.is_available())
        limit_gpu_memory(self.gpus)
        data = open_data(self.prepared)
        train, select = load_selection(self.selection)
        yield from fit(
            self.config, data, train=train, val=select, features=self.features, resume=resume, progress=progress
        )


@dataclass(frozen=True)
class JobSite:
    """What all trainings of a search or a promotion share: where they find their images, and what each may use.

    Attributes:
        prepared: file of the images by how they were prepared.
        features: file of the cached features by `find_feature_key`.
        selection, threads, gpus: see `TrainingJob`.
        parcels: those of the files that nodes of a cluster can fetch, by path.
    """

    prepared: Mapping[PrepareSettings, Path]
    selection: Path
    threads: int
    gpus: float = 0.0
    features: Mapping[FeatureKey, Path] = field(default_factory=dict)
    parcels: Mapping[Path, Parcel] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """All that trainings open, what each of them needs first."""
        return [self.selection, *self.prepared.values(), *self.features.values()]

    def with_parcels(self, parcels: Mapping[Path, Parcel]) -> JobSite:
        """The same, for nodes that fetch these files."""
        return replace(self, parcels=parcels)

    def build_job(self, config: TrainConfig, progress: Progress = tell_nobody) -> TrainingJob:
        """The training of one configuration, on this machine: what it opens is here, or is fetched.

        Raises:
            FashionError, OSError: it cannot be fetched.
        """
        features = self.find(self.features[find_feature_key(config)], progress) if config.probe_epochs else None
        prepared = self.find(self.prepared[build_settings(config)], progress)
        return TrainingJob(config, prepared, self.find(self.selection, progress), features, self.threads, self.gpus)

    def find(self, path: Path, progress: Progress) -> Path:
        """Where a file stands on this machine."""
        return self.parcels[path].find(progress) if path in self.parcels else path


def find_feature_key(config: TrainConfig) -> FeatureKey:
    """All that decides the features a probe is trained on."""
    return tuple(getattr(config, name) for name in FEATURE_FIELDS)


def save_selection(path: Path, train: np.ndarray, select: np.ndarray) -> None:
    """Write the images to train and to select on, int64 indices into the prepared data, for workers to read."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, train=train, select=select)


@lru_cache(maxsize=8)
def open_data(path: Path) -> PreparedData:
    """Prepared data, opened once a process."""
    return PreparedData.open(path)


@lru_cache(maxsize=8)
def load_selection(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images to train and to select on, read once a process.

    Raises:
        DataError: the file holds something else.
    """
    try:
        arrays = read_arrays(path, {"train": ("i", 1), "select": ("i", 1)})
    except (OSError, ValueError) as error:
        what, remedy = "hold the images to train and to select on", "delete it and start again"
        raise build_damage(path, what, remedy, DataError, error) from None
    return arrays["train"], arrays["select"]


def describe_error(error: BaseException) -> str:
    """An exception in words: its type and message, with a remedy where memory ran out."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return f"out of memory: a smaller batch_size, image_size or backbone is needed ({text})"
    return text
