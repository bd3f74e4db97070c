"""AttributeNet: shapes of FC layers and heads, and where it starts."""

import pytest
import torch

from fashion_core.config import TrainConfig
from fashion_core.models.backbones import build_backbone
from fashion_core.models.network import FC_WIDTHS, AttributeNet, build_network

SIZES = (7, 3, 3, 4, 6, 3)
TINY = {"backbone": "test_resnet", "weights": "none"}


def build(**values) -> AttributeNet:
    return build_network(TrainConfig(**{**TINY, **values}), SIZES)


@pytest.mark.parametrize("feature, width", [("pooled", 96), ("logits", 1000)])
@pytest.mark.parametrize("fc_layers", range(5))
def test_widths(feature, width, fc_layers):
    network = build(feature=feature, fc_layers=fc_layers)
    widths = [width, 512, 256, 128, 64][: fc_layers + 1]
    assert [tuple(layer[0].weight.shape) for layer in network.fc] == list(zip(widths[1:], widths[:-1], strict=True))
    assert all(isinstance(layer[1], torch.nn.ReLU) for layer in network.fc)
    assert [tuple(head.weight.shape) for head in network.heads] == [(size, widths[-1]) for size in SIZES]
    logits = network.eval()(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert [tuple(values.shape) for values in logits] == [(2, size) for size in SIZES]
    assert FC_WIDTHS == (512, 256, 128, 64)


def test_forward_by_hand():
    network = build(fc_layers=2).eval()
    features = torch.randn(3, 96, generator=torch.Generator().manual_seed(0))
    hidden = features
    for layer in network.fc:
        hidden = (hidden @ layer[0].weight.T + layer[0].bias).clamp(min=0)
    for values, head in zip(network.forward_features(features), network.heads, strict=True):
        torch.testing.assert_close(values, hidden @ head.weight.T + head.bias)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for one, other in zip(network(images), network.forward_features(network.backbone(images)), strict=True):
        assert torch.equal(one, other)


def test_dropout_is_drawn_for_each_head():
    network = AttributeNet(build_backbone("test_resnet", weights="none"), (1, 1), dropout=0.5).train()
    for head in network.heads:
        head.load_state_dict(network.heads[0].state_dict())
    one, other = network.forward_features(torch.ones(1, 96))
    assert one.item() != other.item()
    one, other = network.eval().forward_features(torch.ones(1, 96))
    assert one.item() == other.item()


def equal_states(one: AttributeNet, other: AttributeNet) -> bool:
    state, others = one.state_dict(), other.state_dict()
    return state.keys() == others.keys() and all(torch.equal(state[key], others[key]) for key in state)


def test_start_depends_on_the_architecture_alone():
    one = build(seed=1)
    torch.rand(7)  # whatever was drawn before
    assert equal_states(one, build(seed=2, lr=0.5, dropout=0.4, drop_path=0.1, focal_gamma=0.0))
    assert not equal_states(build(fc_layers=1), build(fc_layers=2))
    heads = [build(**values).heads[0].weight for values in ({}, {"feature": "logits"}, {"fc_layers": 4})]
    assert len({tuple(weight.shape) for weight in heads}) == 3
    assert not torch.equal(build().heads[1].weight, build().heads[2].weight)


# The sum of the first head's weights of `test_resnet`, as it was before there was a `start_seed`.
FIRST_HEAD_SUM = -0.8326520211994648


def test_a_start_seed_draws_another_start():
    assert equal_states(build(), build(start_seed=None))
    assert build().heads[0].weight.double().sum().item() == pytest.approx(FIRST_HEAD_SUM, abs=1e-6)
    assert equal_states(build(start_seed=1, seed=3), build(start_seed=1, seed=4))
    for one, other in ((build(), build(start_seed=0)), (build(start_seed=0), build(start_seed=1))):
        assert all(not torch.equal(a.weight, b.weight) for a, b in zip(one.heads, other.heads, strict=True))


def test_building_leaves_the_random_state_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    build()
    assert torch.equal(torch.rand(3), wanted)


def test_head_parameters_are_all_but_the_backbone():
    network = build(fc_layers=2)
    head = {id(parameter) for parameter in network.head_parameters()}
    body = {id(parameter) for parameter in network.backbone.parameters()}
    assert not head & body and len(head) == 2 * (2 + len(SIZES))
    assert head | body == {id(parameter) for parameter in network.parameters()}


def test_transformer_takes_the_images_of_its_configuration():
    network = build(backbone="test_vit", image_size=96)
    assert network.eval()(torch.zeros(1, 3, 96, 96))[0].shape == (1, 7)
