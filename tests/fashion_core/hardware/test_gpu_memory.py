"""Processes that share a GPU fit on it together. The GPU itself is asked only where there is one."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.hardware.gpu_memory import CONTEXT_BYTES, compute_fraction, limit_gpu_memory, measure_free_memory

GIB = 2**30


@given(st.integers(2, 8), st.integers(20, 200))
def test_all_processes_fit_together(count, gib):
    fraction = compute_fraction(1 / count, gib * GIB)
    assert 0 < fraction < 1 / count
    assert count * (fraction * gib * GIB + CONTEXT_BYTES) <= gib * GIB * (1 + 1e-9)


def test_a_gpu_too_small_for_the_contexts_leaves_something():
    assert compute_fraction(0.25, 2 * GIB) == 0.125


@pytest.mark.parametrize(("share", "wanted"), [(0.0, {}), (0.5, {0: 0.4, 1: 0.45}), (1.0, {}), (2.0, {})])
def test_a_share_limits_every_gpu_of_the_process(share, wanted, monkeypatch):
    """With GPUs of 10 and 20 GiB in the place of those that a machine for tests lacks."""
    limits = {}
    properties = {index: SimpleNamespace(total_memory=(index + 1) * 10 * GIB) for index in range(2)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties.get)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction, index: limits.update({index: fraction})
    )
    limit_gpu_memory(share)
    assert limits == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [("cuda", 4 * GIB), ("cuda:0", 2 * GIB), ("cuda:1", 4 * GIB)],  # the chosen GPU is the second
)
def test_free_memory_is_that_of_a_numbered_gpu(device, wanted, monkeypatch):
    """GPUs of 10 and 20 GiB, half of each allowed, 3 and 6 GiB in use. PyTorch tells the limit of a number alone."""
    fractions, reserved = {0: 0.5, 1: 0.5}, {0: 3 * GIB, 1: 6 * GIB}
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (7 * GIB, (index + 1) * 10 * GIB))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", fractions.__getitem__)
    monkeypatch.setattr(torch.cuda, "memory_reserved", reserved.__getitem__)
    assert measure_free_memory(torch.device(device)) == wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_more_than_the_share_is_too_much():
    """In a process of its own, which keeps its limit for good."""
    script = """
import torch
from fashion_core.hardware.gpu_memory import limit_gpu_memory, measure_free_memory
limit_gpu_memory(0.25)
total = torch.cuda.get_device_properties(0).total_memory
assert 0 < measure_free_memory(torch.device("cuda", 0)) < 0.25 * total
assert measure_free_memory(torch.device("cuda")) == measure_free_memory(torch.device("cuda", 0))
torch.empty(int(0.1 * total), dtype=torch.uint8, device="cuda")
try:
    torch.empty(int(0.3 * total), dtype=torch.uint8, device="cuda")
except torch.OutOfMemoryError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr
