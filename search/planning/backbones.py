"""What is looked at of a search's backbones before it starts: that their weights can be had, and that they run.

B images, F length of the feature.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fashion_core.config import WEIGHT_WORDS
from fashion_core.errors import ConfigError, WeightsError, first_line
from fashion_core.models.backbones import Backbone, build_backbone, find_fixed_size
from fashion_core.models.pooling import compute_map

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from fashion_core.config import Feature

IMAGES = 2  # that a backbone is run on: the fewest that batch normalisation can train on


@dataclass
class TriedBackbones:
    """The backbones of a search, each built and run.

    Attributes:
        drop_paths: a rate of stochastic depth that trials can want, by backbone.
        sizes: number of parameters by name, the ImageNet classifier included where one is used.
        lengths: of the feature, by name: the longest.
        origins: what was taken of each weights file, in words.
        missing: the error of the first weights that cannot be had, for a plan is shown without them too.
    """

    drop_paths: Mapping[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    missing: WeightsError | None = None

    def build(self, name: str, weights: str, feature: Feature, image_size: int) -> Backbone:
        """One of them, at its start; at random where weights are missing."""
        build = partial(
            build_backbone, name, feature=feature, image_size=image_size, drop_path=self.drop_paths.get(name, 0.0)
        )
        try:
            backbone = build(weights="none" if self.missing else weights)
        except WeightsError as error:
            self.missing = error
            backbone = build(weights="none")
        size = sum(parameter.numel() for parameter in backbone.parameters())
        self.sizes[name] = max(size, self.sizes.get(name, 0))
        self.lengths[name] = max(backbone.feature_size, self.lengths.get(name, 0))
        if backbone.origin and weights not in WEIGHT_WORDS:
            self.origins[weights] = backbone.origin
        return backbone


def try_backbones(
    wanted: Iterable[tuple[str, str, Feature, int]],
    drop_paths: Mapping[str, float] | None = None,
    mapped: Collection[tuple[str, int]] = (),
) -> TriedBackbones:
    """Build each backbone with its weights, and run it on two images of each size that trials can want of it.

    Args:
        wanted: name, weights, feature, and side of the images in pixels.
        drop_paths: see `TriedBackbones`.
        mapped: name and side of the images of those that must have a feature map.

    Raises:
        ConfigError: see `build_backbone` and `check_run`.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else a line for each of its many retries
    tried = TriedBackbones(drop_paths or {})
    sizes: dict[tuple[str, str, Feature], list[int]] = {}
    for name, weights, feature, image_size in wanted:
        sizes.setdefault((name, weights, feature), []).append(image_size)
    for (name, weights, feature), image_sizes in sizes.items():
        backbone = None
        for image_size in dict.fromkeys(image_sizes):
            if backbone is None or find_fixed_size(name) is not None:
                backbone = tried.build(name, weights, feature, image_size)
            check_run(backbone, image_size, is_mapped=(name, image_size) in mapped)
    return tried


def check_run(backbone: Backbone, image_size: int, *, is_mapped: bool = False) -> None:
    """Run a backbone on two images of noise, as in evaluation and as in training. Its statistics change.

    Args:
        is_mapped: it must have a feature map, too.

    Raises:
        ConfigError: it cannot take images of this size, or does not give a finite feature [B, F] of the length it says.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode(), use_one_thread():
        torch.manual_seed(0)
        images = torch.randint(0, 256, (IMAGES, 3, image_size, image_size), dtype=torch.uint8)
        try:
            faults = [find_fault(backbone.train(training)(images), backbone.feature_size) for training in (False, True)]
            if is_mapped:
                compute_map(backbone, images)
        except Exception as error:  # of strangers' networks: whatever they raise
            faults = [f"fails ({type(error).__name__}: {first_line(error)[:200]})"]
    if fault := next(filter(None, faults), None):
        raise ConfigError(
            f"a backbone must make a feature of two images of its `image_size`, but {backbone.name} at {image_size} px "
            f"{fault}; choose another `image_size` (it was made for {backbone.made_for} px) or another `backbone`"
        )


@contextmanager
def use_one_thread() -> Iterator[None]:
    """Two small images are work for one thread: more wait for each other, for seconds where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def find_fault(features: object, size: int) -> str | None:
    """What is wrong with the features of two images; None if they are finite numbers [B, size]."""
    if not isinstance(features, Tensor):
        return f"gives a {type(features).__name__} in place of a feature"
    if features.shape != (IMAGES, size):
        return f"gives features of the shape {list(features.shape)}, not {[IMAGES, size]}"
    return None if features.isfinite().all() else "gives features that are not finite"
