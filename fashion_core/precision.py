"""The number format a network runs in. Weights, loss and optimizer stay float32 in all of them."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from fashion_core.config import TrainConfig

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
MATMUL_SIDE = 512
MATMUL_RUNS = 5
MIN_SPEEDUP = 1.3  # of products in bf16; below it, converting to bf16 and back eats the gain


def build_autocast(config: TrainConfig, network: nn.Module, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a network runs on a device; `auto` as `choose_precision` has it."""
    precision = choose_precision(network, device) if config.precision == "auto" else config.precision
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, DTYPES[precision])


def choose_precision(network: nn.Module, device: torch.device) -> str:
    """bf16 or fp32, whichever trains the network faster: on a GPU, bf16 where it has it.

    On a CPU, bf16 where its products are measured to be faster and no convolution is depthwise: these have no fast
    bf16 form there (EfficientNet-Lite0 at 160 px: 29 images a second in bf16, 49 in fp32).
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    is_worth_it = measure_bf16_speedup() >= MIN_SPEEDUP and not has_depthwise(network)
    return "bf16" if is_worth_it else "fp32"


def has_depthwise(network: nn.Module) -> bool:
    """Whether a convolution of the network filters each channel on its own."""
    return any(isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 for part in network.modules())


@cache
def measure_bf16_speedup() -> float:
    """How many times faster this CPU multiplies matrices in bf16 than in fp32; measured once a process, in some 50 ms.

    That a CPU has instructions for bf16 does not tell: two cores of a Xeon with AVX512_BF16, its AMX hidden by the
    virtual machine, made 336 GFLOP/s of fp32 and 168 of bf16.
    """
    left, right = torch.ones(2, MATMUL_SIDE, MATMUL_SIDE)  # no draw: the generator is a training run's
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other where the machine is busy
    try:
        return time_product(left, right) / time_product(left.bfloat16(), right.bfloat16())
    finally:
        torch.set_num_threads(threads)


def time_product(left: Tensor, right: Tensor) -> float:
    """CPU seconds of the fastest of some matrix products, after a first one that does not count."""
    seconds = []
    for _ in range(1 + MATMUL_RUNS):
        started = time.thread_time()
        left @ right
        seconds.append(time.thread_time() - started)
    return min(seconds[1:])
