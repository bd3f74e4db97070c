"""How long a training step takes here, timed on noise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from fashion_core.hardware.device import choose_device
from fashion_core.training.memory import draw_state, take_step

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig
    from fashion_core.data.schema import AttributeSchema

STEPS = 3  # that are timed, after one that is not
IMAGES = 16  # of a step on a CPU, where as many as ever take as long each


def time_step(config: TrainConfig, schema: AttributeSchema) -> float:
    """Seconds of one step of the whole network: the fastest of a few, since other work on the machine only adds to it.

    config: its weights play no part.
    """
    device = choose_device(None)
    images = min(config.batch_size, IMAGES) if device.type == "cpu" else config.batch_size
    state = draw_state(config.model_copy(update={"batch_size": images}), schema, device)
    seconds = []
    for _ in range(1 + STEPS):
        started = time.perf_counter()
        take_step(state)
        if state.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) * config.batch_size / images
