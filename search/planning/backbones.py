"""What is looked at of a search's backbones before it starts: how large they are, and that their weights can be had."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fashion_core.errors import WeightsError
from fashion_core.models.backbones import build_backbone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fashion_core.config import Feature


def measure_backbones(wanted: Iterable[tuple[str, str, Feature]]) -> tuple[dict[str, int], WeightsError | None]:
    """Build each backbone once, with its weights.

    Args:
        wanted: name, weights and feature of each.

    Returns:
        number of parameters by name, the ImageNet classifier included where one is used; and the error of the first
        weights that cannot be had, for a plan is shown without them too.

    Raises:
        ConfigError: see `build_backbone`.
    """
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else a line for each of its many retries
    sizes: dict[str, int] = {}
    missing = None
    for name, weights, feature in wanted:
        try:
            backbone = build_backbone(name, weights="none" if missing else weights, feature=feature)
        except WeightsError as error:
            missing = error
            backbone = build_backbone(name, weights="none", feature=feature)
        size = sum(parameter.numel() for parameter in backbone.parameters())
        sizes[name] = max(size, sizes.get(name, 0))
    return sizes, missing
