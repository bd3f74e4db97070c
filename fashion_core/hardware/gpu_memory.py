"""Keeps a process that shares a GPU within its share of the memory: one that needs more fails alone."""

from __future__ import annotations

import torch

# Of a process on a GPU, beside what PyTorch allocates: CUDA's context, kernels, and the libraries' own memory. A guess
# on the safe side; some 0.5 GiB are usual.
CONTEXT_BYTES = 2**30


def limit_gpu_memory(share: float) -> None:
    """Let PyTorch allocate no more than this share of every GPU that the process sees; beyond, it runs out of memory.

    Without a limit, the process that asks last is the one that fails, whoever took too much. 0 and 1 set none.
    """
    if 0 < share < 1 and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            total = torch.cuda.get_device_properties(index).total_memory
            torch.cuda.set_per_process_memory_fraction(compute_fraction(share, total), index)


def compute_fraction(share: float, total: int) -> float:
    """Fraction of a GPU's `total` bytes that PyTorch may allocate, so that with its context the process has `share`.

    At least half the share: on a GPU too small for so many processes they fail anyway, but with an error that says so.
    """
    return max(share - CONTEXT_BYTES / total, share / 2)


def measure_free_memory(device: torch.device) -> int:
    """Bytes that this process can still allocate on a GPU: those that are free, within its limit.

    Args:
        device: without an index, the GPU that this process has chosen, which is the first one by default.
    """
    index = torch.cuda.current_device() if device.index is None else device.index  # PyTorch asks for a number
    free, total = torch.cuda.mem_get_info(index)
    limit = int(torch.cuda.get_per_process_memory_fraction(index) * total)
    return max(min(free, limit - torch.cuda.memory_reserved(index)), 0)
