"""Batches of prepared images on the device that trains: all of them resident on a GPU where they fit, else copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fashion_core.hardware.gpu_memory import measure_free_memory

if TYPE_CHECKING:
    from fashion_core.data.prepared import PreparedData

# Share that images may take of what is free on a GPU; the rest is the network's and its activations'.
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
        self.resident = self.upload() if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.indices)

    def upload(self) -> Tensor | None:
        """All images as [N, H, W, 3] uint8 on the device, or None where they do not fit."""
        shape = (len(self), self.data.image_size, self.data.image_size, 3)
        if np.prod(shape) > RESIDENT_SHARE * measure_free_memory(self.device):
            return None
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
