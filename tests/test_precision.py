"""Which number format a network runs in, and that choosing it disturbs nothing."""

from contextlib import nullcontext

import pytest
import timm
import torch

from fashion_core import precision
from fashion_core.config import TrainConfig
from fashion_core.precision import build_autocast, choose_precision, has_depthwise, measure_bf16_speedup

CPU = torch.device("cpu")
DEPTHWISE = {
    "test_resnet": False,
    "test_vit": False,  # no convolution but its patches'
    "legacy_seresnext50_32x4d": False,  # grouped, several channels a group
    "test_efficientnet": True,
    "test_convnext": True,
    "tf_efficientnet_lite0": True,
}


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_convolutions_are_found(name):
    assert has_depthwise(timm.create_model(name)) == DEPTHWISE[name]


@pytest.mark.parametrize("speedup", [0.5, 1.2, 8.0])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_auto_on_a_cpu(monkeypatch, name, speedup):
    """Of all kinds of CPU, these tests run on one."""
    monkeypatch.setattr(precision, "measure_bf16_speedup", lambda: speedup)
    wanted = "bf16" if speedup == 8 and name == "test_resnet" else "fp32"
    assert choose_precision(timm.create_model(name), CPU) == wanted


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
    network = torch.nn.Conv2d(4, 4, 1, groups=4)  # whatever `auto` would say
    with build_autocast(TrainConfig(precision=name), network, CPU):
        assert network(torch.ones(1, 4, 2, 2)).dtype == dtype
    assert isinstance(build_autocast(TrainConfig(precision="fp32"), network, CPU), nullcontext)
