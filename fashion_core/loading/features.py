"""What a frozen backbone makes of every image, computed once -> a memory-mapped file that every probe opens.

The file stands beside the prepared images and is named by a fingerprint of what it was made from: these images, the
backbone with its very weights, and which of its outputs. Features are computed in float32, on whatever device.
N images, B images of a batch, F length of the feature.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from fashion_core.data.fingerprints import DIGEST_BYTES
from fashion_core.errors import CheckpointError, DataError
from fashion_core.files import open_or_make, read_tensors, write_tensors
from fashion_core.hardware.allocator import keep_freed_memory
from fashion_core.hardware.device import choose_device
from fashion_core.loading.batches import BatchSource
from fashion_core.models.backbones import Backbone, build_backbone

if TYPE_CHECKING:
    from collections.abc import Callable

    from fashion_core.config import TrainConfig
    from fashion_core.data.prepared import PreparedData, Progress

FORMAT = "fashion-features/1"
TENSOR = "features"


class FeaturesDescription(BaseModel):
    """What the header of a file of features tells, checked by types."""

    fingerprint: str


@dataclass(frozen=True)
class Features:
    """The features of all images of a prepared set.

    Args:
        values: [2, N, F] float32: of the images, then of their mirror images.
        fingerprint: of what they were made from.
    """

    values: Tensor
    fingerprint: str


def cache_features(
    config: TrainConfig,
    data: PreparedData,
    cache_dir: Path | str,
    device: torch.device | str | None = None,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """The file with the features that this configuration's backbone makes of all images, made if there is none.

    Two processes at once make it once.

    Args:
        device: default is the first GPU, else the CPU.
        progress: called with (images done, images in all).
        tell: called with one line where the file is damaged, and is made anew.

    Raises:
        ConfigError, WeightsError: see `build_backbone` and `choose_device`.
    """
    device = choose_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    backbone = build_backbone(
        config.backbone, weights=config.weights, feature=config.feature, image_size=config.image_size
    )
    fingerprint = fingerprint_features(backbone, data, config)
    cache_dir = Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    path = cache_dir / f"features-{fingerprint}.safetensors"

    def make(_: list[Path]) -> None:
        values = compute_features(backbone, data, config, device, progress=progress)
        description = {"format": FORMAT, "fingerprint": fingerprint, "backbone": config.backbone}
        write_tensors(path, {TENSOR: values}, description)

    open_or_make([path], open_features, make, tell)
    return path


def open_features(path: Path) -> Features:
    """The features in a file; none is read until it is asked for.

    Raises:
        DataError: it is absent, cut off, or of another version.
    """
    try:
        tensors, found = read_tensors(Path(path), FORMAT, FeaturesDescription, [TENSOR])
    except CheckpointError as error:
        raise DataError(f"features must stand in a whole file, but: {error}; delete it and start again") from None
    values = tensors[TENSOR]
    if values.ndim != 3 or values.dtype != torch.float32:
        raise DataError(f"{path} must hold features [2, N, F] float32, but does not; delete it and start again")
    return Features(values, found.fingerprint)


def fingerprint_features(backbone: Backbone, data: PreparedData, config: TrainConfig) -> str:
    """Hex digest of all that decides what the features are."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    made_from = [FORMAT, data.fingerprint, config.backbone, config.feature]
    digest.update(json.dumps(made_from).encode())
    for name, tensor in backbone.state_dict().items():  # row-major, whatever the memory format
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()


@torch.inference_mode()
def compute_features(
    backbone: Backbone,
    data: PreparedData,
    config: TrainConfig,
    device: torch.device,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """[2, N, F] float32: the features of all images, then of their mirror images; without augmentation."""
    memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
    backbone = backbone.to(device).to(memory_format=memory_format).eval()
    values = torch.empty(2, len(data), backbone.feature_size)
    for positions in torch.arange(len(data)).split(config.eval_batch_size):
        pixels = torch.from_numpy(data.gather(positions.numpy())).to(device)
        images = pixels.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        for mirrored, seen in enumerate((images, images.flip(3))):
            values[mirrored, positions] = backbone(seen).cpu()
        if progress is not None:
            progress(int(positions[-1]) + 1, len(data))
    return values


class FeatureSource:
    """Cached features in the place of pixels: what a `BatchSource` is to the whole network, to what stands behind it.

    A batch is [B, F, 1, 2] in place of [B, 3, H, W]: an image's feature and that of its mirror image lie side by side,
    so that mirroring is `flip(3)` for either.

    Args:
        values: [2, N, F], see `Features`.
        indices: int64, of this source's images.
    """

    def __init__(self, values: Tensor, data: PreparedData, indices: np.ndarray, device: torch.device) -> None:
        self.data, self.indices, self.device = data, torch.from_numpy(np.asarray(indices)), device
        self.labels = torch.from_numpy(data.labels[indices]).to(device)  # [N, K]
        self.values = values
        if device.type != "cpu":  # a CPU reads the mapped file
            self.values, self.indices = self.values[:, self.indices].to(device), torch.arange(len(self.indices))

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions: [B] int64 into this source -> features [B, F, 1, 2] and labels [B, K]."""
        pairs = self.values[:, self.indices[positions].to(self.device)]
        return pairs.permute(1, 2, 0)[:, :, None], self.labels[positions.to(self.device)]

    def draw(self, positions: Tensor, flip: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `batch`, but [B, F, 1, 1]: of each image or, with probability `flip`, of its mirror image.

        Args:
            generator: on the CPU; it draws what `Augmentation` draws.
        """
        rows = self.indices[positions]
        if flip:
            rows = rows + self.values.shape[1] * (torch.rand(len(rows), generator=generator) < flip)
        values = self.values.flatten(0, 1)[rows.to(self.device)]
        return values[:, :, None, None], self.labels[positions.to(self.device)]


Source = BatchSource | FeatureSource  # what a training loop takes batches from
