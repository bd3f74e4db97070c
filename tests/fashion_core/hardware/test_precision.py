"""Which number format a network runs in, and that choosing it disturbs nothing."""

from contextlib import nullcontext

import pytest
import torch

from fashion_core.config import TrainConfig
from fashion_core.hardware import precision
from fashion_core.hardware.precision import build_autocast, choose_precision, measure_bf16_speedup

CPU = torch.device("cpu")


@pytest.mark.parametrize(("speedup", "wanted"), [(0.5, "fp32"), (1.2, "fp32"), (8.0, "bf16")])
def test_auto_on_a_cpu(monkeypatch, speedup, wanted):
    """Of all kinds of CPU, these tests run on one."""
    monkeypatch.setattr(precision, "measure_bf16_speedup", lambda: speedup)
    assert choose_precision(CPU) == wanted


@pytest.mark.slow
def test_the_measurement_takes_nothing_from_the_generator():
    """It runs within a training step: dropout must draw what it would have drawn."""
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    measure_bf16_speedup.cache_clear()
    assert measure_bf16_speedup() > 0
    assert torch.equal(torch.rand(4), wanted)


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_precision_that_is_named_is_taken(name, dtype):
    network = torch.nn.Conv2d(4, 4, 1)
    with build_autocast(TrainConfig(precision=name), CPU):
        assert network(torch.ones(1, 4, 2, 2)).dtype == dtype
    assert isinstance(build_autocast(TrainConfig(precision="fp32"), CPU), nullcontext)
