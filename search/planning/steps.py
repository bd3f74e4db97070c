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


def time_step(config: TrainConfig, schema: AttributeSchema) -> float:
    """Seconds of one step of the whole network: the fastest of a few, since other work on the machine only adds to it.

    config: its weights play no part.
    """
    state = draw_state(config, schema, choose_device(None))
    seconds = []
    for _ in range(1 + STEPS):
        started = time.perf_counter()
        take_step(state)
        if state.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
