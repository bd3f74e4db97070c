"""How long trainings take: as those of before did, or else as a few steps do that are timed here."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from fashion_core.config import build_config
from search.planning.steps import time_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.config import TrainConfig
    from fashion_core.data.rows import Annotations
    from search.reproduction.protocol import Arm, Protocol
    from search.reproduction.trained import Trained

BACKWARD = 2  # times what a step forward takes; an evaluation has that alone
# How long an epoch takes, but for the images.
WHAT_DECIDES = ("backbone", "image_size", "batch_size", "precision", "early_share", "sam_rho")


def estimate_seconds(protocol: Protocol, arms: Sequence[Arm], trained: Trained, annotations: Annotations) -> float:
    """How long trainings of these arms take on this data, one after the other."""
    counts = Counter(annotations.table["split"].to_pylist())
    images = counts["train"] + counts["val"] / (1 + BACKWARD)
    known = find_known(trained)
    seconds = 0.0
    for arm in arms:
        config = build_config(protocol.build_values(arm))
        kind = name_kind(config)
        if kind not in known:
            known[kind] = time_step(config, annotations.schema) * images / config.batch_size
        seconds += known[kind] * config.epochs
    return seconds


def find_known(trained: Trained) -> dict[str, float]:
    """Seconds of an epoch by what decides them, from the newest training of each kind on machines of this folder."""
    found = {}
    for key, trainings in trained.by_key.items():
        for training in trainings:
            if training.epochs and training.device is None:
                found[name_kind(json.loads(key))] = training.seconds / len(training.epochs) / training.at_once
    return found


def name_kind(config: TrainConfig | dict[str, object]) -> str:
    """What decides how long an epoch takes, as one text."""
    values = config if isinstance(config, dict) else config.model_dump()
    return " ".join(str(values[name]) for name in WHAT_DECIDES)
