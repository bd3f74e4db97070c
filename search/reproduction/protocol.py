"""The protocol in which studies are trained: what a space fixes, its three backbones, its epochs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fashion_core.config import TrainConfig, build_config
from fashion_core.errors import SearchError
from search.reporting.published import BACKBONES, PLACES, Place
from search.space.reading import load_space
from search.space.weights import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.space.space import Space

# timm's names of the report's backbones, without what names their weights, by place.
OWN = (("resnet50",), ("legacy_seresnet50", "seresnet50"), ("legacy_seresnext50_32x4d", "seresnext50_32x4d"))
SEARCHED = {"backbone", "fc_layers"}  # that a space of a protocol may search
SEEDS = {"seed", "start_seed"}
DIGITS = 6  # to which proportions of weights are compared: rounding


@dataclass(frozen=True)
class Arm:
    """A configuration of the studies: a backbone, and in what it differs from the protocol.

    Attributes:
        place: of the backbone among the three.
        changes: fields of `TrainConfig`.
    """

    place: Place
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What all arms share.

    Attributes:
        name: of the space.
        fixed: fields of `TrainConfig`.
        backbones: in the places of the report's three; of other studies, one to three.
        epochs: of every training.
        on: place of the backbone in the studies of one factor.
    """

    name: str
    fixed: Mapping[str, Any]
    backbones: tuple[str, ...]
    epochs: int
    on: Place = 0

    @property
    def has_own_backbones(self) -> bool:
        """Whether these are the report's, and no stand-ins."""
        return all(name.split(".")[0] in OWN[place] for place, name in enumerate(self.backbones))

    def name_backbone(self, place: Place) -> str:
        """The report's name, or that of the stand-in."""
        return BACKBONES[place] if self.has_own_backbones else self.backbones[place]

    def build_values(self, arm: Arm) -> dict[str, Any]:
        """Fields of an arm's `TrainConfig`, all but the seeds."""
        changed = {"backbone": self.backbones[arm.place], "epochs": self.epochs, **arm.changes}
        return {**self.fixed, **changed}

    def count_epochs(self, arm: Arm) -> int:
        """How long an arm trains."""
        return int(arm.changes.get("epochs", self.epochs))

    def build_key(self, arm: Arm) -> str:
        """What names an arm's configuration: see `build_key`."""
        return build_key(build_config(self.build_values(arm)))


def build_key(config: TrainConfig) -> str:
    """What two trainings have in common that differ in their seeds alone. The scale of category weights is left out."""
    values = config.model_dump(exclude=SEEDS)
    weights = values.pop(WEIGHTS)
    mean = sum(weights.values()) / max(len(weights), 1)
    shares = {name: round(weight / mean, DIGITS) for name, weight in weights.items()} if mean else weights
    values[WEIGHTS] = {} if set(shares.values()) <= {1.0} else shares
    return json.dumps(values, sort_keys=True)


def load_protocol(space_name: str, on: str | None = None, *, is_reports: bool = True) -> Protocol:
    """The protocol that a space describes.

    Args:
        space_name: a YAML file, or the name of a shipped space.
        on: backbone of the studies of one factor; None: the first.
        is_reports: it is of studies of the report, which want three backbones; else one does.

    Raises:
        SpaceError: there is no such space, or it is at fault.
        SearchError: it lacks backbones, searches something else, or stops trials; `on` is none of its backbones.
    """
    space = load_space(space_name)
    backbones = list_backbones(space, len(PLACES) if is_reports else 1)
    if on is not None and on not in backbones:
        raise SearchError(f"--on must be a backbone of {space.name}, {', '.join(backbones)}, but got {on}; name one")
    place = 0 if on is None else backbones.index(on)
    return Protocol(space.name, space.fixed, backbones, space.scheduler.max_epochs, place)


def list_backbones(space: Space, least: int) -> tuple[str, ...]:
    """The backbones of a space, three or as many as `least`.

    Raises:
        SearchError: see `load_protocol`.
    """
    searched = {parameter.name: parameter.values for parameter in space.parameters}
    found = searched.get("backbone", ())
    if not least <= len(found) <= len(PLACES) or searched.keys() - SEARCHED or space.scheduler.type != "none":
        wanted, model = (
            ("three backbones", "report_table2 or report_lite") if least > 1 else ("backbones", "lite_levers")
        )
        raise SearchError(
            f"--space must search {wanted}, with no more than their FC layers, and stop no trial, but "
            f"{space.name} has {len(found)}, searches {', '.join(searched)} and its scheduler is "
            f"{space.scheduler.type}; take {model}, or a copy of one"
        )
    return tuple(found)
