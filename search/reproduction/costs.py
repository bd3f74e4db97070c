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
WHAT_DECIDES = ("backbone", "image_size", "batch_size", "precision")  # how long a plain epoch takes, but for the images


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
            plain = config.model_copy(update={"sam_rho": 0.0})
            known[kind] = time_step(plain, annotations.schema) * images / config.batch_size
        seconds += known[kind] * weigh_epoch(config) * config.epochs
    return seconds


def find_known(trained: Trained) -> dict[str, float]:
    """Seconds of a plain epoch by what decides them, from the newest training of each kind that was not recorded."""
    found = {}
    for key, trainings in trained.by_key.items():
        for training in trainings:
            if training.epochs and training.device is None:
                config = build_config(json.loads(key))
                seconds = training.seconds / len(training.epochs) / training.at_once
                found[name_kind(config)] = seconds / weigh_epoch(config)
    return found


def name_kind(config: TrainConfig) -> str:
    """What decides how long a plain epoch takes, as one text."""
    return " ".join(str(getattr(config, name)) for name in WHAT_DECIDES)


def weigh_epoch(config: TrainConfig) -> float:
    """How many plain epochs one of these takes, in the mean: with two passes a step, or smaller images at first."""
    passes = 2 if config.sam_rho else 1
    return passes * (1 - config.early_share * (1 - config.early_size**2))
