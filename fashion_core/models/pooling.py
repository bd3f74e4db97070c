"""Pooling with an attention of each category's own, in the place of the average over a feature map.

B images, K categories, F channels of the last feature map, which has H x W cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fashion_core.errors import ConfigError

if TYPE_CHECKING:
    from fashion_core.models.backbones import Backbone


class CategoryPooling(nn.Module):
    """Looks at the cells of a feature map with one query a category: where a sleeve shows is not where a neckline does.

    The queries start at zero, where all cells weigh the same: the backbone's own pooling of what it was trained for.
    Source: Lee et al. 2019, "Set Transformer" (pooling by attention), with one key and value, the cell itself.

    Args:
        channels: F.
        categories: K.
    """

    def __init__(self, channels: int, categories: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(categories, channels))

    def forward(self, cells: Tensor) -> Tensor:
        """cells: [B, F, H, W] -> [K, B, F, H, W], those of each category weighted, with weights of mean 1."""
        scores = torch.einsum("bfhw,kf->kbhw", cells, self.queries) / cells.shape[1] ** 0.5
        shares = scores.flatten(2).float().softmax(2).view_as(scores)
        weights = (shares * scores.shape[2] * scores.shape[3]).to(cells.dtype)
        weighted: Tensor = cells * weights[:, :, None]
        return weighted


def compute_map(backbone: Backbone, images: Tensor) -> Tensor:
    """The last feature map of a convolutional backbone. images: [B, 3, S, S], pixels 0..255 -> [B, F, H, W].

    Raises:
        ConfigError: it has no such map, or one of a single cell.
    """
    body: Any = backbone.network
    cells: Tensor = body.forward_features(backbone.normalise(images))
    shape = tuple(cells.shape[1:])
    if len(shape) != 3 or shape[0] != body.num_features or shape[1] * shape[2] < 2:
        raise ConfigError(
            "an explanation, and `pooling: attention`, need a convolutional backbone, whose features are a map of two "
            f"or more cells, but those of {backbone.name} at {images.shape[-1]} px have the shape {shape}; take another"
        )
    return cells


def pool(backbone: Backbone, cells: Tensor) -> Tensor:
    """The backbone's own pooling, and what it does after. cells: [B, F, H, W] -> features [B, F']."""
    body: Any = backbone.network
    features: Tensor = body.forward_head(cells)
    return features
