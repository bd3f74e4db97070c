"""The number format a network runs in. Weights, loss and optimizer stay float32 in all of them."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
MATMUL_SIDE = 512
MATMUL_RUNS = 5
MIN_SPEEDUP = 1.3  # of products in bf16; below it, converting to bf16 and back eats the gain


def build_autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a network runs on a device; `auto` as `choose_precision` has it."""
    precision = choose_precision(device) if config.precision == "auto" else config.precision
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, DTYPES[precision])


def choose_precision(device: torch.device) -> str:
    """bf16 or fp32, whichever trains faster: bf16 on a GPU that has it, and on a CPU whose products in it are measured
    to be faster (depthwise convolutions too, see `fashion_core.models.depthwise`).
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if measure_bf16_speedup() >= MIN_SPEEDUP else "fp32"


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
