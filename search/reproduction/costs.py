"""How long trainings take: as those of before did, or else as a few steps do that are timed here."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

import torch

from fashion_core.config import build_config
from fashion_core.hardware.device import choose_device
from fashion_core.hardware.precision import build_autocast
from fashion_core.models.network import build_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.config import TrainConfig
    from fashion_core.data.rows import Annotations
    from search.reproduction.protocol import Arm, Protocol
    from search.reproduction.trainings import Trained

STEPS = 3  # that are timed, after one that is not
BACKWARD = 2  # times what a step forward takes; an evaluation has that alone
WHAT_DECIDES = ("backbone", "image_size", "batch_size", "precision")  # how long an epoch takes, but for the images


def estimate_seconds(protocol: Protocol, arms: Sequence[Arm], trained: Trained, annotations: Annotations) -> float:
    """How long trainings of these arms take on this data, one after the other."""
    counts = Counter(annotations.table["split"].to_pylist())
    images = counts["train"] + counts["val"] / (1 + BACKWARD)
    classes = sum(annotations.schema.sizes)
    known = find_known(trained)
    seconds = 0.0
    for arm in arms:
        config = build_config({**protocol.build_values(arm), "weights": "none"})
        kind = name_kind(config)
        if kind not in known:
            known[kind] = time_step(config, classes) * images / config.batch_size
        seconds += known[kind] * config.epochs
    return seconds


def find_known(trained: Trained) -> dict[str, float]:
    """Seconds of an epoch by what decides them, from the newest training of each kind."""
    found = {}
    for key, trainings in trained.by_key.items():
        for training in trainings:
            if training.epochs:
                found[name_kind(json.loads(key))] = training.seconds / len(training.epochs) / training.at_once
    return found


def name_kind(config: TrainConfig | dict[str, object]) -> str:
    """What decides how long an epoch takes, as one text."""
    values = config if isinstance(config, dict) else config.model_dump()
    return " ".join(str(values[name]) for name in WHAT_DECIDES)


def time_step(config: TrainConfig, classes: int) -> float:
    """Seconds of one training step on noise: the fastest of a few, since other work on the machine only adds to it."""
    device = choose_device(None)
    network = build_network(config, [classes]).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-9)
    images = torch.randint(0, 256, (config.batch_size, 3, *[config.image_size] * 2), dtype=torch.uint8, device=device)
    seconds = []
    for _ in range(1 + STEPS):
        started = time.perf_counter()
        with build_autocast(config, device):
            (logits,) = network(images)
        optimizer.zero_grad()
        logits.float().logsumexp(1).mean().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
