"""What is looked at before a search starts: that draws are possible, and that backbones and weights can be had."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import optuna

from fashion_core.config import Feature, TrainConfig, build_config
from fashion_core.errors import ConfigError, SpaceError
from fashion_core.models.backbones import build_backbone

if TYPE_CHECKING:
    from fashion_core.data.schema import AttributeSchema
    from search.space.space import Space

DRAWS = 50  # of a space, looked at before the start


def check_draws(space: Space, schema: AttributeSchema) -> None:
    """Draw some trials, so that fields which do not go together are found before the first trial.

    Raises:
        SpaceError: a draw is no possible configuration.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in space.first_points(schema)[:DRAWS]:
        study.enqueue_trial(point)
    for _ in range(2 * DRAWS):
        try:
            build_config(space.build_values(space.suggest(study.ask(), schema), schema))
        except ConfigError as error:
            raise SpaceError(f"a space must draw possible configurations, but of {space.name} {error}") from None


def measure_backbones(space: Space) -> dict[str, int]:
    """Number of parameters of every backbone that trials can have, its ImageNet classifier included where it is used.

    Raises:
        ConfigError: see `build_backbone`.
    """
    feature = find_feature(space)
    sizes = {}
    for name, _ in space.backbones():  # without weights: a plan can be shown where there are none
        backbone = build_backbone(name, weights="none", feature=feature)
        sizes[name] = sum(parameter.numel() for parameter in backbone.parameters())
    return sizes


def check_weights(space: Space) -> None:
    """Load the weights of every backbone once, so that missing ones are found before the first trial.

    Raises:
        ConfigError, WeightsError: see `build_backbone`.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else a line for each of its many retries
    for name, weights in space.backbones():
        if weights != "none":
            build_backbone(name, weights=weights, feature=find_feature(space))


def find_feature(space: Space) -> Feature:
    """The backbone's output that trials use, as far as the space fixes it."""
    default: Feature = TrainConfig.model_fields["feature"].default
    return space.fixed.get("feature", default)
