"""The images of a promotion: what is trained on and judged on, prepared in every way that some network wants.

N validation images, K categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.console import Console

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.duplicates import group_near_duplicates
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.loading.features import cache_features
from search.jobs.job import name_features, save_selection
from search.reporting.live import preparing
from search.statistics.crossfit import FOLDS, assign_folds

MIN_GROUPS = 3  # of validation images: two to choose on, one to score
FOLD_SEED = 0  # folds are fixed before any result: the same images always fall into the same ones


@dataclass(frozen=True)
class Material:
    """Images, ready to be opened by any process.

    Attributes:
        folder: of the data set.
        paths: of the prepared data, by how it was prepared.
        features: paths by `search.jobs.job.name_features`, for configurations with probe epochs.
        train, val: int64 positions in the prepared data, all of them labelled.
        cache_dir: of prepared data.
    """

    folder: Path
    paths: Mapping[PrepareSettings, Path]
    features: Mapping[str, str]
    train: np.ndarray
    val: np.ndarray
    cache_dir: Path
    skip_bad: bool

    @cached_property
    def data(self) -> Mapping[PrepareSettings, PreparedData]:
        return {settings: PreparedData.open(path) for settings, path in self.paths.items()}

    @cached_property
    def first(self) -> PreparedData:
        """One of them: labels, names and digests are those of all."""
        return next(iter(self.data.values()))

    @property
    def schema(self) -> AttributeSchema:
        return self.first.schema

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each split."""
        return {split: len(self.first.indices(split)) for split in ("train", "val", "test")}

    @property
    def labels(self) -> np.ndarray:
        """[N, K] of the validation images."""
        return self.first.labels[self.val]

    @cached_property
    def groups(self) -> np.ndarray:
        """[N] near duplicates among the validation images have one number."""
        return group_near_duplicates(self.first.thumbnails[self.val])

    @cached_property
    def folds(self) -> np.ndarray:
        """[N] of the cross-fitting."""
        return assign_folds(self.groups, FOLD_SEED, min(FOLDS, len(np.unique(self.groups))))

    def list_digests(self, indices: np.ndarray) -> list[str]:
        """sha256 of the files of some images."""
        return [self.first.sha256[index] for index in indices.tolist()]

    def find_features(self, config: TrainConfig) -> str | None:
        return self.features[name_features(config)] if config.probe_epochs else None

    def read_example(self) -> bytes:
        """The file of a validation image."""
        return (self.folder / self.first.names[self.val[0]]).read_bytes()

    def save_images(self, name: str, train: np.ndarray) -> str:
        """Write down which images to train on, beside those to judge on, for workers to read. Returns the path."""
        path = self.cache_dir.resolve() / f"promotion-{self.first.fingerprint}-{name}.npz"
        save_selection(path, train, self.val)
        return str(path)


def prepare_material(
    folder: Path,
    configs: Sequence[TrainConfig],
    schema: AttributeSchema,
    cache_dir: Path,
    console: Console,
    *,
    skip_bad: bool,
) -> Material:
    """Prepare the data set for all configurations.

    Args:
        schema: of the search; the data must have the same.

    Raises:
        SearchError: the data has other categories, or too few labelled images to train or to judge on.
        DataError: it is at fault.
    """
    annotations = load_annotations(folder, skip_bad=skip_bad)
    if annotations.schema != schema:
        raise SearchError(
            f"a promotion needs the data of its search, with the categories {', '.join(schema.names)}, but "
            f"{folder} has {', '.join(annotations.schema.names)} or other classes; name the right folder by --data"
        )
    settings = list(dict.fromkeys(build_settings(config) for config in configs))
    with preparing(console) as progress:
        prepared = prepare_all(annotations, settings, cache_dir, progress=progress)
    paths = {each: data.path for each, data in prepared.items()}
    features = {}
    for config in configs:
        name = name_features(config)
        if config.probe_epochs and name not in features:
            data = prepared[build_settings(config)]
            with preparing(console, f"features of {config.backbone}") as progress:
                features[name] = str(cache_features(config, data, cache_dir.resolve(), progress=progress))
    first = prepared[settings[0]]
    train, val = first.labelled("train"), first.labelled("val")
    material = Material(folder, paths, features, train, val, cache_dir, skip_bad)
    groups = len(np.unique(material.groups)) if len(val) else 0
    if groups < MIN_GROUPS or not len(train):
        raise SearchError(
            f"a promotion needs labelled images to train on, and {MIN_GROUPS} different ones or more in val to judge "
            f"on, but {folder} has {len(train)} and {groups}; label more"
        )
    return material
