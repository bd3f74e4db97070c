"""Pooling by an attention of each category's own: by hand, and where it starts."""

import pytest
import torch

from fashion_core.config import TrainConfig
from fashion_core.errors import ConfigError
from fashion_core.models.network import build_network
from fashion_core.models.pooling import CategoryPooling, compute_map, pool

SIZES = (3, 2)
IMAGES = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build(backbone="test_resnet", **values):
    return build_network(TrainConfig(backbone=backbone, weights="none", **values), SIZES)


def test_cells_are_weighted_by_hand():
    draws = torch.Generator().manual_seed(0)
    pooling, cells = CategoryPooling(5, 2), torch.randn(3, 5, 4, 2, generator=draws)
    pooling.queries.data = torch.randn(2, 5, generator=draws)
    seen = pooling(cells)
    assert seen.shape == (2, 3, 5, 4, 2)
    for category, query in enumerate(pooling.queries):
        for image in range(3):
            flat = cells[image].reshape(5, 8)
            shares = torch.softmax(query @ flat / 5**0.5, 0)
            torch.testing.assert_close(seen[category, image].mean((1, 2)), (flat * shares).sum(1))


@pytest.mark.parametrize("fc_layers", [0, 2])
def test_it_starts_as_the_average(fc_layers):
    """So what was trained behind the average, a probe's head for one, is a start for it."""
    average, attention = (build(fc_layers=fc_layers, pooling=pooling).eval() for pooling in ("average", "attention"))
    attention.load_state_dict(average.state_dict(), strict=False)
    for one, other in zip(average(IMAGES), attention(IMAGES), strict=True):
        torch.testing.assert_close(one, other)


def test_each_category_learns_where_to_look_with_the_rate_of_a_head():
    network = build(pooling="attention").eval()
    assert any(parameter is network.pooling.queries for parameter in network.head_parameters())
    network(IMAGES)[0].square().sum().backward()
    of_first, of_second = network.pooling.queries.grad
    assert of_first.abs().max() > 0 and not of_second.any()


def test_what_stands_behind_the_average_stands_behind_the_attention():
    """A layer norm, in a network that normalises after it has pooled."""
    network = build("test_convnext").eval()
    cells = compute_map(network.backbone, IMAGES)
    torch.testing.assert_close(pool(network.backbone, cells), network.backbone(IMAGES))


def test_a_backbone_without_a_map_is_refused():
    with pytest.raises(ConfigError, match=r"need a convolutional backbone, .* but those of test_vit at 160 px"):
        build("test_vit", pooling="attention", image_size=160)(IMAGES[:, :, :1, :1].expand(2, 3, 160, 160))


@pytest.mark.parametrize("values", [{"feature": "logits"}, {"epochs": 2, "probe_epochs": 2, "weights": "package"}])
def test_where_nothing_is_pooled_or_trained_it_is_refused(values):
    with pytest.raises(ConfigError, match="`pooling` must be average where all epochs are probe epochs, or `feature`"):
        TrainConfig(pooling="attention", **values)
