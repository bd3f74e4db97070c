"""Depthwise convolutions with gradients of our own, against PyTorch's in float64 and in bf16."""

import copy

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn import functional as F

from fashion_core.models.backbones import build_backbone
from fashion_core.models.depthwise import Depthwise, DepthwiseSame, compute_weight_gradient, speed_up_depthwise

CHANNELS = 24
SHAPES = [  # kernel, stride, padding, side of the images
    (3, 1, 1, 9),
    (3, 2, 1, 10),
    (5, 1, 2, 7),
    (5, 2, 2, 11),
    (5, 1, 0, 8),
    (5, 2, 1, 6),
    (7, 1, 3, 9),
    (7, 2, 3, 12),
    (9, 1, 4, 5),
]


def draw(kernel, stride, padding, side):
    """images, weight, and a gradient of the output, float64."""
    generator = torch.Generator().manual_seed(kernel)
    images = torch.randn(3, CHANNELS, side, side, generator=generator, dtype=torch.float64)
    weight = torch.randn(CHANNELS, 1, kernel, kernel, generator=generator, dtype=torch.float64)
    output = F.conv2d(images, weight, None, stride, padding, groups=CHANNELS)
    return images, weight, torch.randn(output.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride", "padding", "side"), SHAPES)
def test_the_weight_gradient_is_exact(kernel, stride, padding, side):
    images, weight, gradient = draw(kernel, stride, padding, side)
    weight.requires_grad_()
    F.conv2d(images, weight, None, stride, padding, groups=CHANNELS).backward(gradient)
    found = compute_weight_gradient(gradient, images, weight.detach(), stride, padding)
    torch.testing.assert_close(found, weight.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "side"), SHAPES)
@pytest.mark.parametrize("form", [nn.Conv2d, Conv2dSame])
def test_output_and_gradients_in_bf16(form, kernel, stride, padding, side, bias):
    """The reference is float64 on the same numbers, rounded to bf16. What is left is two roundings to bf16, of a sum
    and of its bias, or no more than PyTorch's own bf16 leaves (of images, up to 0.018 on other weights).
    """
    options = {} if form is Conv2dSame else {"padding": padding}
    torch.manual_seed(kernel)
    exact = form(CHANNELS, CHANNELS, kernel, stride, groups=CHANNELS, bias=bias, **options)
    for parameter in exact.parameters():
        parameter.data = parameter.data.bfloat16().float()
    plain, fast = copy.deepcopy(exact), copy.deepcopy(exact)
    speed_up_depthwise(nn.Sequential(fast))
    assert type(fast) is (DepthwiseSame if form is Conv2dSame else Depthwise)
    images = draw(kernel, stride, padding, side)[0].bfloat16()
    shape = exact(images.float()).shape
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()

    def compute(layer, *, autocast):
        """Output, and gradients of images and parameters, float64."""
        given = (images if autocast else images.double()).clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = layer(given)
        assert output.dtype == (torch.bfloat16 if autocast else torch.float64)
        output.backward(gradient.to(output.dtype))
        return [x.detach().double() for x in (output, given.grad, *(part.grad for part in layer.parameters()))]

    references = compute(exact.double(), autocast=False)
    for ours, theirs, reference in zip(
        compute(fast, autocast=True), compute(plain, autocast=True), references, strict=True
    ):
        assert ours.shape == reference.shape
        error, usual = (float((x - reference).abs().max() / reference.abs().max()) for x in (ours, theirs))
        assert error <= max(2**-7, usual)


@pytest.mark.slow
def test_it_computes_what_pytorch_does_in_bf16(monkeypatch):
    """A whole backbone: its loss and all gradients lie as near to float32's as those of PyTorch's own bf16."""
    images = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def compute(*, fast, autocast):
        torch.manual_seed(0)
        if not fast:
            monkeypatch.setattr("fashion_core.models.backbones.speed_up_depthwise", lambda network: None)
        backbone = build_backbone("tf_efficientnet_lite0", weights="none").train()
        monkeypatch.undo()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            features = backbone(images)
        features.float().square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in backbone.parameters()])

    exact = compute(fast=False, autocast=False)
    assert torch.equal(compute(fast=True, autocast=False), exact)  # without autocast it is PyTorch's own
    ours, theirs = compute(fast=True, autocast=True), compute(fast=False, autocast=True)
    assert not torch.equal(ours, theirs)
    assert (ours - exact).norm() < 1.1 * (theirs - exact).norm()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto"])
def test_every_depthwise_convolution_of_a_backbone_is_taken(name):
    network = timm.create_model(name)
    before = dict(network.named_parameters())
    speed_up_depthwise(network)
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    for part in convolutions:
        assert isinstance(part, Depthwise) == (part.groups == part.in_channels > 1)
    assert any(isinstance(part, Depthwise) for part in convolutions)
    after = dict(network.named_parameters())
    assert list(before) == list(after) and all(after[key] is before[key] for key in before)


@pytest.mark.parametrize(
    "options",
    [{"groups": 2}, {"groups": 4, "dilation": 2}, {"groups": 4, "padding": "same"}, {"groups": 4, "stride": (1, 2)}],
)
def test_other_convolutions_stay(options):
    part = nn.Conv2d(4, 4, 3, **options)
    speed_up_depthwise(nn.Sequential(part))
    assert type(part) is nn.Conv2d


def test_without_gradients_it_is_the_plain_one():
    part = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
    images = torch.randn(2, CHANNELS, 8, 8)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        wanted = part(images)
        speed_up_depthwise(nn.Sequential(part))
        assert torch.equal(part(images), wanted)
