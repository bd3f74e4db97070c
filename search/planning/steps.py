"""How long a training step takes here, timed on noise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from fashion_core.hardware.device import choose_device
from fashion_core.hardware.precision import build_autocast
from fashion_core.models.network import build_network

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig

STEPS = 3  # that are timed, after one that is not


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
