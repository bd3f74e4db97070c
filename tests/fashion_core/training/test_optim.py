"""Learning-rate schedules against PyTorch's own, and what each parameter is trained with."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.config import TrainConfig
from fashion_core.models.network import build_network
from fashion_core.training.optim import build_optimizer, compute_lr_factor, set_learning_rate


def build(**values):
    config = TrainConfig(**{"backbone": "test_resnet", "weights": "none", "fc_layers": 1, **values})
    network = build_network(config, (3, 2))
    return network, build_optimizer(network, config)


@pytest.mark.parametrize("total, warmup", [(100, 30), (40, 6), (7, 1), (1000, 150)])
def test_one_cycle_against_pytorch(total, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # its peak lies at step pct_start * total - 1
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=total, pct_start=(warmup + 1) / total, cycle_momentum=False
    )
    for step in range(total):
        own = 0.3 * compute_lr_factor("one_cycle", step, total, warmup)
        assert own == pytest.approx(reference.get_last_lr()[0], rel=1e-9, abs=1e-12), step
        optimizer.step()
        if step < total - 1:
            reference.step()


def test_cosine_by_formula():
    total, warmup = 50, 10
    factors = [compute_lr_factor("cosine", step, total, warmup) for step in range(total)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    wanted = [0.5 * (1 + math.cos(math.pi * (step - 10) / 39)) for step in range(10, 50)]
    assert factors[10:] == pytest.approx(wanted, abs=1e-12)
    assert factors[10] == 1.0 and factors[-1] == pytest.approx(0, abs=1e-12)


def test_constant_after_warmup():
    factors = [compute_lr_factor("constant", step, 10, 3) for step in range(10)]
    assert factors == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 7)
    assert [compute_lr_factor("constant", step, 10, 0) for step in range(10)] == [1.0] * 10


@given(st.sampled_from(["constant", "cosine", "one_cycle"]), st.integers(1, 400), st.floats(0, 0.999))
def test_schedules_stay_between_0_and_the_peak(schedule, total, fraction):
    warmup = round(fraction * total)
    factors = [compute_lr_factor(schedule, step, total, warmup) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors)
    rising, falling = factors[: warmup + 1], factors[warmup:]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert factors[0] > 0 and (warmup >= total or factors[warmup] == 1)


def test_groups_split_by_head_and_decay():
    network, optimizer = build(lr=0.01, head_lr_factor=10, weight_decay=0.05)
    head = {id(parameter) for parameter in network.head_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen.add(id(parameter))
            assert group["lr"] == pytest.approx(0.1 if id(parameter) in head else 0.01)
            assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0)
    assert seen == {id(parameter) for parameter in network.parameters()}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(seen)
    set_learning_rate(optimizer, 0.5)
    set_learning_rate(optimizer, 0.1)  # of the peak, not of what it was
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx([0.001, 0.01])


def test_a_layer_learns_at_a_multiple_of_the_next_ones_rate():
    """timm's layers of this network, written out: stem, four stages of one block each."""
    network, optimizer = build(lr=0.01, head_lr_factor=10, layer_decay=0.5)
    rates = {id(parameter): group["peak_lr"] for group in optimizer.param_groups for parameter in group["params"]}
    body = network.backbone.network
    layers = [[body.conv1, body.bn1], *([getattr(body, f"layer{number}")] for number in (1, 2, 3, 4))]
    for depth, modules in enumerate(reversed(layers)):
        for parameter in (parameter for module in modules for parameter in module.parameters()):
            assert rates.pop(id(parameter)) == pytest.approx(0.01 * 0.5**depth)
    assert set(rates) == {id(parameter) for parameter in network.head_parameters()}
    assert set(rates.values()) == {0.1}


@pytest.mark.parametrize(
    "name, kind", [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_steps_against_pytorchs_defaults(name, kind):
    """Two steps of each optimizer equal the plain class with the same settings, weight decay and momentum included."""
    network, optimizer = build(optimizer=name, lr=0.02, weight_decay=0.1, momentum=0.7)
    assert type(optimizer) is kind
    parameters = list(network.parameters())
    copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    options = {"lr": 0.02} | ({"momentum": 0.7} if name == "sgd" else {})
    groups = [{"params": [copy], "weight_decay": 0.1 if copy.ndim > 1 else 0.0} for copy in copies]
    reference = kind(groups, **options, foreach=False, fused=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        for parameter, copy in zip(parameters, copies, strict=True):
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad, copy.grad = gradient, gradient.clone()
        optimizer.step()
        reference.step()
    for parameter, copy in zip(parameters, copies, strict=True):
        torch.testing.assert_close(parameter, copy, atol=1e-6, rtol=1e-5)
