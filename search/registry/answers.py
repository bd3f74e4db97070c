"""What a saved model answers to prepared images, a batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.models.ensemble import Saved, as_ensemble
from fashion_core.models.forward import predict_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import PreparedData


def predict_prepared(
    saved: Saved, data: Mapping[PrepareSettings, PreparedData], indices: np.ndarray
) -> list[np.ndarray]:
    """Probabilities of prepared images, a batch at a time: K arrays [N, C_i] float32.

    Args:
        data: prepared images, by how they were prepared: each of the model's views. The same rows in all.
        indices: [N] positions of the images.
    """
    ensemble, parts = as_ensemble(saved), []
    for start in range(0, len(indices), ensemble.eval_batch_size):
        batch = indices[start : start + ensemble.eval_batch_size]
        parts.append(predict_views(saved, {view: data[view].gather(batch) for view in ensemble.views}))
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]
