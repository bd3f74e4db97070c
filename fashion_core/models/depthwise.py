"""Depthwise convolutions whose bf16 gradients are as fast on a CPU as their forward pass.

oneDNN has no fast bf16 form of two of them: of the weights of a kernel above 3 x 3, and of the input where the stride
is not 1 (of 144 channels at 40 px, 5 x 5, stride 2, batch 32, on one core of an AMD EPYC: 61 and 136 ms, 3 ms forward).
Here the former is put together from 3 x 3 gradients, and the latter taken in float32: 18 and 8 ms.

B images, C channels, H x W pixels in and H' x W' out, kernel k x k, stride s.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional as F

FAST = 3  # side of the largest kernel that has a fast weight gradient


class DepthwiseConv(torch.autograd.Function):
    """A depthwise convolution of bf16 without bias or dilation.

    `apply(images, weight, stride, padding)`: [B, C, H, W], [C, 1, k, k] with k >= 3, whole numbers -> [B, C, H', W'].
    """

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """The plain convolution; keeps what `backward` needs."""
        context.save_for_backward(images, weight)
        context.stride, context.padding = stride, padding
        return F.conv2d(images, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of images and weight, where they are wanted, of the gradient [B, C, H', W'] of the output."""
        images, weight = context.saved_tensors
        (gradient,) = gradients
        stride, padding = context.stride, context.padding
        of_images = of_weight = None
        if context.needs_input_grad[0]:
            dtype = images.dtype if stride == 1 else torch.float32
            shape = torch.empty_like(images, dtype=dtype)  # the images themselves play no part
            of_images = compute_gradient(gradient.to(dtype), shape, weight.to(dtype), stride, padding, of=0)
            of_images = of_images.to(images.dtype)
        if context.needs_input_grad[1]:
            of_weight = compute_weight_gradient(gradient, images, weight, stride, padding)
        return of_images, of_weight, None, None


def compute_gradient(gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int, *, of: int) -> Tensor:
    """PyTorch's own gradient of such a convolution: of the images (0) or of the weight (1).

    gradient: [B, C, H', W'].
    """
    wanted = [of == 0, of == 1, False]
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), wanted
    )
    return gradients[of]


def compute_weight_gradient(gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """[C, 1, k, k]. Its part at (i, j) is the gradient of a small kernel on the images without i rows and j columns."""
    side = weight.shape[-1]
    if side <= FAST:
        return compute_gradient(gradient, images, weight, stride, padding, of=1)
    starts = [*range(0, side - FAST, FAST), side - FAST]  # the last one overlaps where it must
    height, width = ((size - 1) * stride + FAST for size in gradient.shape[2:])
    padded = F.pad(images, [padding] * 4)
    small = weight[:, :, :FAST, :FAST].contiguous(memory_format=torch.channels_last)
    result = torch.empty_like(weight)
    for top in starts:
        for left in starts:
            seen = padded[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
            part = compute_gradient(gradient, seen, small, stride, 0, of=1)
            result[:, :, top : top + FAST, left : left + FAST] = part
    return result


class Depthwise(nn.Conv2d):
    """A depthwise `Conv2d` that trains by `DepthwiseConv` in bf16 on a CPU, and is the plain one in all else."""

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, C, H, W] -> [B, C, H', W']."""
        return self.convolve(images, int(self.padding[0])) if takes_over(images) else super().forward(images)

    def convolve(self, images: Tensor, padding: int) -> Tensor:
        """Under autocast."""
        dtype = torch.get_autocast_dtype("cpu")
        output: Tensor = DepthwiseConv.apply(images.to(dtype), self.weight.to(dtype), self.stride[0], padding)
        return output if self.bias is None else output + self.bias.to(dtype).view(-1, 1, 1)


class DepthwiseSame(Conv2dSame, Depthwise):
    """The same of timm's convolution that pads as TensorFlow does."""

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, C, H, W] -> [B, C, H', W']."""
        if takes_over(images):
            return self.convolve(pad_same(images, list(self.kernel_size), list(self.stride)), 0)
        plain: Any = super()  # timm's has no types
        output: Tensor = plain.forward(images)
        return output


FAST_FORMS: dict[type, type[Depthwise]] = {nn.Conv2d: Depthwise, Conv2dSame: DepthwiseSame}


def takes_over(images: Tensor) -> bool:
    """Whether the images run through a network that is trained in bf16 on a CPU."""
    is_bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    return images.device.type == "cpu" and is_bf16 and torch.is_grad_enabled()


def speed_up_depthwise(network: nn.Module) -> None:
    """Give the depthwise convolutions of a network, where their form allows, fast gradients. Weights and names stay."""
    for part in network.modules():
        form = FAST_FORMS.get(type(part))
        if form is not None and isinstance(part, nn.Conv2d) and is_supported(part):
            part.__class__ = form


def is_supported(part: nn.Conv2d) -> bool:
    """Depthwise, a square kernel of 3 x 3 or more, no dilation, and the same stride and zeros on all sides."""
    is_depthwise = part.groups == part.in_channels == part.out_channels > 1
    is_square = len(set(part.kernel_size)) == len(set(part.stride)) == 1 and part.kernel_size[0] >= FAST
    has_zeros = part.padding_mode == "zeros" and not isinstance(part.padding, str) and len(set(part.padding)) == 1
    return is_depthwise and is_square and has_zeros and set(part.dilation) == {1}
