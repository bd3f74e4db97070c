"""Batches of prepared images on the device that trains: copied, or resident on a GPU once it is known that they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fashion_core.hardware.gpu_memory import measure_free_memory

if TYPE_CHECKING:
    from fashion_core.data.prepared import PreparedData

# Share that the images of a source may take of what a training has left of a GPU, at its peak; the rest stays free, for
# fragments, and for evaluation where that takes more.
RESIDENT_SHARE = 0.4
UPLOAD_IMAGES = 1024


class BatchSource:
    """The images of some indices, with their labels.

    Args:
        data: prepared images.
        indices: int64, [N] images of this source.
        device: where batches are wanted.
        channels_last: memory format of batches; stored images have it, so the other costs a copy.
    """

    def __init__(
        self, data: PreparedData, indices: np.ndarray, device: torch.device, *, channels_last: bool = True
    ) -> None:
        self.data, self.indices, self.device = data, np.asarray(indices), device
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.labels = torch.from_numpy(data.labels[self.indices]).to(device)  # [N, K]
        self.resident: Tensor | None = None
        self.is_settled = device.type != "cuda"

    def __len__(self) -> int:
        return len(self.indices)

    def settle(self, scale: float = 1.0) -> None:
        """Keep all images on a GPU from now on, where they fit beside the training. The first call counts.

        Before a step is taken nobody knows what a training takes; behind it, PyTorch holds that much.

        Args:
            scale: pixels of an image in the steps to come, over those in the steps that were taken.
        """
        if self.is_settled:
            return
        self.is_settled = True
        size = len(self) * self.data.image_size**2 * 3
        taken = torch.cuda.memory_reserved(self.device)
        if fits_beside(size, measure_free_memory(self.device), taken, scale):
            self.resident = self.upload()

    def upload(self) -> Tensor:
        """All images as [N, H, W, 3] uint8 on the device."""
        shape = (len(self), self.data.image_size, self.data.image_size, 3)
        resident = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(self), UPLOAD_IMAGES):
            part = self.indices[start : start + UPLOAD_IMAGES]
            resident[start : start + len(part)] = torch.from_numpy(self.data.gather(part)).to(self.device)
        return resident

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions: [B] int64 into this source -> images [B, 3, H, W] uint8 and labels [B, K]."""
        if self.resident is not None:
            positions = positions.to(self.device, non_blocking=True)
            return self.arrange(self.resident[positions]), self.labels[positions]
        pixels = torch.from_numpy(self.data.gather(self.indices[positions.numpy()]))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return self.arrange(pixels), self.labels[positions.to(self.device)]

    def arrange(self, pixels: Tensor) -> Tensor:
        """[B, H, W, 3] -> [B, 3, H, W] in the wanted memory format."""
        return pixels.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)


def fits_beside(size: int, free: int, taken: int, scale: float) -> bool:
    """Whether images fit on a GPU beside a training.

    Args:
        size: bytes of the images. free: that the process can still take. taken: that it holds, at its peak so far.
        scale: how many times as much it may come to hold.
    """
    return size <= RESIDENT_SHARE * (free - taken * (scale - 1))
