"""What trainings open, made before the first of them: images prepared in every way wanted, and features for probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.loading.features import cache_features
from search.jobs.training import FeatureKey, JobSite, find_feature_key
from search.reporting.live import preparing
from search.reporting.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from fashion_core.config import TrainConfig
    from fashion_core.data.rows import Annotations
    from search.planning.resources import Resources


@dataclass(frozen=True)
class Images:
    """A data set, ready to be opened by any process.

    Attributes:
        prepared: by how it was prepared; the same rows in all.
        features: files by `find_feature_key`, for configurations with probe epochs.
    """

    prepared: Mapping[PrepareSettings, PreparedData]
    features: Mapping[FeatureKey, Path] = field(default_factory=dict)

    @property
    def first(self) -> PreparedData:
        """One of them: labels, names and digests are those of all."""
        return next(iter(self.prepared.values()))

    def build_site(self, selection: Path, resources: Resources) -> JobSite:
        """What trainings on these images share.

        Args:
            selection: file that `save_selection` wrote.
        """
        paths = {settings: data.path.resolve() for settings, data in self.prepared.items()}
        return JobSite(paths, selection, resources.cpus_per_trial, resources.gpus_per_trial, self.features)


def prepare_images(
    annotations: Annotations,
    settings: Iterable[PrepareSettings],
    probed: Sequence[TrainConfig],
    cache_dir: Path,
    console: Console,
) -> Images:
    """Prepare a data set in all these ways, and compute the features that these configurations' probes want.

    Raises:
        DataError: images cannot be decoded.
        ConfigError, WeightsError: a backbone cannot be built.
    """

    def tell(damage: str) -> None:
        console.print(plain(damage, "yellow"))

    with preparing(console) as progress:
        prepared = prepare_all(annotations, settings, cache_dir, progress=progress, tell=tell)
    features: dict[FeatureKey, Path] = {}
    for config in probed:
        if (key := find_feature_key(config)) not in features:
            with preparing(console, f"features of {config.backbone}") as progress:
                data = prepared[build_settings(config)]
                features[key] = cache_features(config, data, cache_dir.resolve(), progress=progress, tell=tell)
    return Images(prepared, features)
