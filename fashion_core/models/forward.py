"""What networks answer to batches and to prepared images.

B images of a batch, N images in all, S pixels a side, K categories, C classes of one category.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.hardware.precision import build_autocast
from fashion_core.models.ensemble import Saved, as_ensemble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fashion_core.data.prepared import PreparedData
    from fashion_core.models.saved import SavedModel

MIN_PROBABILITY = 1e-12  # an fp16 average may round to 0


@torch.inference_mode()
def predict_batch(
    network: nn.Module, images: Tensor, *, flip: bool, autocast: AbstractContextManager[Any] | None = None
) -> list[Tensor]:
    """Log-probabilities of every category, averaged (as probabilities) with those of the mirrored image if `flip`.

    Args:
        images: [B, 3, H, W], pixels 0..255.

    Returns:
        K tensors [B, C_i] float32. They are valid logits too: their softmax gives them back.
    """
    network.eval()
    with autocast or nullcontext():
        logits = network(images)
        mirrored = network(images.flip(3)) if flip else None
    if mirrored is None:
        return [values.float().log_softmax(1) for values in logits]
    return [
        ((a.float().softmax(1) + b.float().softmax(1)) / 2).clamp(min=MIN_PROBABILITY).log()
        for a, b in zip(logits, mirrored, strict=True)
    ]


def predict_prepared(
    saved: Saved, data: Mapping[PrepareSettings, PreparedData], indices: np.ndarray
) -> list[np.ndarray]:
    """Probabilities of the prepared images at `indices`, [N] int64, read a batch at a time: K arrays [N, C_i] float32.

    To the bit those of `predict_views` on all of them at once.

    Args:
        data: one set of images, by how they were prepared; each of the ensemble's `views`.
    """

    def predict(member: SavedModel) -> list[np.ndarray]:
        prepared, size = data[build_settings(member.config)], member.config.eval_batch_size
        batches = (prepared.gather(indices[start : start + size]) for start in range(0, len(indices), size))
        return predict_batches(member, batches)

    return average_members(saved, predict)


def predict_views(saved: Saved, images: Mapping[PrepareSettings, np.ndarray]) -> list[np.ndarray]:
    """Probabilities of prepared images, averaged over the members of an ensemble: K arrays [N, C_i] float32.

    Args:
        images: [N, S, S, 3] uint8, by how they were prepared; each of the ensemble's `views`.
    """
    return average_members(saved, lambda member: predict_pixels(member, images[build_settings(member.config)]))


def predict_pixels(saved: SavedModel, pixels: np.ndarray) -> list[np.ndarray]:
    """Probabilities of one model for prepared images, as its configuration says: K arrays [N, C_i] float32.

    Args:
        pixels: [N, S, S, 3] uint8.
    """
    size = saved.config.eval_batch_size
    return predict_batches(saved, (pixels[start : start + size] for start in range(0, len(pixels), size)))


def average_members(saved: Saved, predict: Callable[[SavedModel], list[np.ndarray]]) -> list[np.ndarray]:
    """What `predict` gives of each member, [N, C_i] a category, weighted by the members' shares."""
    ensemble = as_ensemble(saved)
    columns = zip(*map(predict, ensemble.members), strict=True)
    return [np.average(values, axis=0, weights=ensemble.shares).astype(np.float32) for values in columns]


def predict_batches(saved: SavedModel, batches: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Probabilities of one model for batches of prepared images, [B, S, S, 3] uint8 each: K arrays [N, C_i] float32."""
    config, network = saved.config, saved.network
    device = next(network.parameters()).device
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    parts = [[np.empty((0, size), np.float32) for size in saved.schema.sizes]]
    for pixels in batches:
        images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
        log_probabilities = predict_batch(
            network, images, flip=config.eval_flip, autocast=choose_autocast(saved, device)
        )
        parts.append([values.exp().cpu().numpy() for values in log_probabilities])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def choose_autocast(saved: SavedModel, device: torch.device) -> AbstractContextManager[Any]:
    """The precision the model was evaluated in, a probe's is fp32; fp16 is fp32 too where there is no GPU."""
    is_probe = saved.epoch <= saved.config.probe_epochs
    if is_probe or (saved.config.precision == "fp16" and device.type == "cpu"):
        return nullcontext()
    return build_autocast(saved.config, device)
