"""Averages of weights against sums by hand, and the statistics of batch normalisation against those of the images."""

import copy
from dataclasses import replace

import pytest
import torch
from drawn_models import SCHEMA, draw_model, draw_pixels

from fashion_core.data.schema import AttributeSchema
from fashion_core.models import soup


def batches() -> list[torch.Tensor]:
    return [draw_pixels(seed, 6, 64).permute(0, 3, 1, 2) for seed in (10, 11, 12)]


def test_a_soup_of_equal_networks_is_that_network():
    network = draw_model(1).network
    made = soup.average_networks([network, copy.deepcopy(network)], batches)
    assert made is not network and not made.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(made.state_dict()[name], tensor), name


def test_a_soup_is_the_mean_of_the_weights():
    networks = [draw_model(seed).network for seed in (1, 2, 3)]
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    made = soup.average_networks(networks, batches)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(parameter.data, sum(state[name] for state in before) / 3)
    for network, state in zip(networks, before, strict=True):  # the ingredients are as they were
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_batch_norm_statistics_are_those_of_the_training_images():
    """Of the first layer computed by hand, of the last from what goes into it; dropped paths and dropout are off."""
    network = draw_model(1, dropout=0.9, drop_path=0.5).network
    layers = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    last_inputs = []
    hook = layers[-1].register_forward_pre_hook(lambda layer, inputs: last_inputs.append(inputs[0].detach()))
    soup.recompute_batch_norm(network, batches())
    hook.remove()
    stem = network.backbone.network.conv1[0]
    with torch.no_grad():
        first_inputs = [stem((images.float() - network.backbone.mean) / network.backbone.std) for images in batches()]
    for layer, inputs in ((network.backbone.network.conv1[1], first_inputs), (layers[-1], last_inputs)):
        flat = [each.transpose(0, 1).flatten(1).double() for each in inputs]  # [F, B * h * w] by batch
        mean = torch.stack([each.mean(1) for each in flat]).mean(0)
        variance = torch.stack([each.var(1, correction=1) for each in flat]).mean(0)
        torch.testing.assert_close(layer.running_mean.double(), mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer.running_var.double(), variance, atol=1e-5, rtol=1e-4)
        assert layer.num_batches_tracked == 3
    assert [layer.momentum for layer in layers] == momenta and not any(part.training for part in network.modules())
    again = draw_model(1, dropout=0.9, drop_path=0.5).network
    torch.manual_seed(99)  # nothing is drawn
    soup.recompute_batch_norm(again, iter(batches()))
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_soup_has_statistics_of_its_own():
    """Recomputed for the average, unless the backbones are equal."""
    networks = [draw_model(seed).network for seed in (1, 2)]
    made = soup.average_networks(networks, batches)
    expected = copy.deepcopy(made)
    soup.recompute_batch_norm(expected, batches())
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], tensor)
    assert made.state_dict()["backbone.network.bn1.num_batches_tracked"] == 3

    frozen = copy.deepcopy(networks[0])
    frozen.heads.load_state_dict(networks[1].heads.state_dict())
    made = soup.average_networks([networks[0], frozen], lambda: [])
    for name, tensor in networks[0].backbone.state_dict().items():
        assert torch.equal(made.backbone.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="at least one batch"):
        soup.average_networks(networks, lambda: [])


def test_no_batch_norm_needs_no_images():
    network = draw_model(1, backbone="test_convnext").network
    soup.recompute_batch_norm(network, iter(lambda: pytest.fail("no image is needed"), None))


def test_why_there_is_no_soup():
    one = draw_model(1)
    assert "at least two models, but got 1" in soup.explain_no_soup([one])
    for change, message in [
        ({"backbone": "test_efficientnet"}, "`backbone` is test_resnet and test_efficientnet"),
        ({"fc_layers": 2}, "`fc_layers` is 0 and 2"),
        ({"start_seed": 2}, "`start_seed` is None and 2"),
        ({"image_size": 96}, "`image_size` is 64 and 96"),
        ({"crop": "whole"}, "`crop` is box and whole"),
        ({"feature": "logits"}, "`feature` is pooled and logits"),
    ]:
        other = draw_model(2, **change)
        reason = soup.explain_no_soup([one, other])
        assert message in reason and "ensemble" in reason and reason.count("` is ") == 1
    weights = replace(one, config=one.config.model_copy(update={"weights": "hub"}))
    assert "`weights` is none and hub" in soup.explain_no_soup([one, weights])
    schema = replace(one, schema=AttributeSchema(SCHEMA.categories[::-1]))
    assert "categories" in soup.explain_no_soup([one, schema])
    recipe = draw_model(2, lr=1e-2, dropout=0.3, crop_margin=0.3)  # what may differ; box does not use the margin
    assert soup.explain_no_soup([one, recipe]) is None
    models = [one, draw_model(2, fc_layers=2), recipe, draw_model(3, crop="whole"), draw_model(4, fc_layers=2)]
    assert soup.find_soup_groups(models) == [[0, 2], [1, 4]]
