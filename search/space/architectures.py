"""Architectures: what of a training decides what its network costs to ask, known before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fashion_core.config import TrainConfig, build_config
from fashion_core.models.cost import COST_IMAGES, UNLIMITED, Cost

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Architecture(NamedTuple):
    """What of a training decides the cost of its network; the classes of the data decide the rest.

    Attributes:
        precision: `fp32` where all epochs are probe epochs, as such a network is asked in.
        eval_batch_size: at most `COST_IMAGES`, since larger ones are not measured.
    """

    backbone: str
    image_size: int
    feature: str
    fc_layers: int
    precision: str
    channels_last: bool
    eval_flip: bool
    eval_batch_size: int
    pooling: str

    def build_config(self) -> TrainConfig:
        """A training of this architecture, from random weights."""
        return build_config({**self._asdict(), "weights": "none"})


WHAT_DECIDES = (*Architecture._fields, "probe_epochs")  # fields of `TrainConfig`


def find_architecture(values: Mapping[str, Any]) -> Architecture:
    """The architecture of a training. values: of `TrainConfig` fields, those that are not their default."""
    known = {name: TrainConfig.model_fields[name].default for name in (*WHAT_DECIDES, "epochs")} | dict(values)
    if known["probe_epochs"] >= known["epochs"]:
        known["precision"] = "fp32"
    known["eval_batch_size"] = min(known["eval_batch_size"], COST_IMAGES)
    return Architecture(**{name: known[name] for name in Architecture._fields})


USUAL = find_architecture({})


def name_architectures(architectures: Collection[Architecture]) -> dict[Architecture, str]:
    """`resnet18 at 96 px, fc_layers 2`: backbone and size, and of the rest what tells them apart from each other."""
    told = [name for name in Architecture._fields[2:] if len({getattr(each, name) for each in architectures}) > 1]
    return {
        each: ", ".join(
            [f"{each.backbone} at {each.image_size} px", *(f"{name} {getattr(each, name)}" for name in told)]
        )
        for each in architectures
    }


def build_limit(max_ms: float | None, max_params: float | None, otherwise: Cost = UNLIMITED) -> Cost:
    """What a network may cost. otherwise: what holds where one is None."""
    parameters = otherwise.parameters if max_params is None else int(max_params)
    return Cost(parameters, otherwise.ms if max_ms is None else float(max_ms))


def write_limit(limit: Cost) -> dict[str, float | None]:
    """The same as `max_ms` and `max_params`; None where there is none."""
    return {
        "max_ms": None if limit.ms == UNLIMITED.ms else limit.ms,
        "max_params": None if limit.parameters == UNLIMITED.parameters else limit.parameters,
    }
