"""Batches of prepared images on the device that trains: all of them resident on a GPU where they fit, else copied."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fashion_core.prepared import PreparedData

# Share of a GPU's free memory that images may take; the rest is the network's and its activations'.
RESIDENT_SHARE = 0.4
UPLOAD_IMAGES = 1024


class BatchSource:
    """The images of some indices, with their labels.

    Args:
        data: prepared images.
        indices: int64, [N] images of this source.
        device: where batches are wanted.
    """

    def __init__(self, data: PreparedData, indices: np.ndarray, device: torch.device) -> None:
        self.data, self.indices, self.device = data, np.asarray(indices), device
        self.labels = torch.from_numpy(data.labels[self.indices]).to(device)  # [N, K]
        self.resident = self.upload() if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self.indices)

    def upload(self) -> Tensor | None:
        """All images as [N, H, W, 3] uint8 on the device, or None where they do not fit."""
        free, _ = torch.cuda.mem_get_info(self.device)
        shape = (len(self), self.data.image_size, self.data.image_size, 3)
        if np.prod(shape) > RESIDENT_SHARE * free:
            return None
        resident = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(self), UPLOAD_IMAGES):
            part = self.indices[start : start + UPLOAD_IMAGES]
            resident[start : start + len(part)] = torch.from_numpy(self.data.gather(part)).to(self.device)
        return resident

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions: [B] int64 into this source -> images [B, 3, H, W] uint8, channels_last, and labels [B, K]."""
        if self.resident is not None:
            positions = positions.to(self.device, non_blocking=True)
            return self.resident[positions].permute(0, 3, 1, 2), self.labels[positions]
        pixels = torch.from_numpy(self.data.gather(self.indices[positions.numpy()]))
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.permute(0, 3, 1, 2), self.labels[positions.to(self.device)]
