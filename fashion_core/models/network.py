"""`AttributeNet`: a backbone, 0 to 4 FC layers, and one linear head a category.

B images, K categories, C classes of one category, F length of the backbone's feature.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fashion_core.models.backbones import Backbone, build_backbone
from fashion_core.models.pooling import CategoryPooling, compute_map, pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.config import Pooling, TrainConfig

FC_WIDTHS = (512, 256, 128, 64)  # the report's, in order; a network of n FC layers has the first n


class AttributeNet(nn.Module):
    """Pixels in, the logits of every category out.

    Args:
        backbone: extracts [B, F] features from pixels.
        sizes: number of classes of each category.
        fc_layers: 0 to 4 FC layers with ReLU of widths 512, 256, 128, 64.
        dropout: probability, drawn for each head on its own.
        pooling: see `TrainConfig`.
    """

    def __init__(
        self,
        backbone: Backbone,
        sizes: Sequence[int],
        fc_layers: int = 0,
        dropout: float = 0.1,
        pooling: Pooling = "average",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        body: Any = backbone.network
        self.pooling = CategoryPooling(body.num_features, len(sizes)) if pooling == "attention" else None
        widths = (backbone.feature_size, *FC_WIDTHS[:fc_layers])
        self.fc = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU(inplace=True)) for a, b in pairwise(widths)))
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleList(nn.Linear(widths[-1], size) for size in sizes)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images: [B, 3, H, W], pixels 0..255, uint8 or float -> K logits [B, C_i]."""
        if self.pooling is not None:
            return self.forward_map(compute_map(self.backbone, images))
        return self.forward_features(self.backbone(images))

    def forward_map(self, cells: Tensor) -> list[Tensor]:
        """cells: [B, F, H, W] of `compute_map` -> K logits [B, C_i]."""
        if self.pooling is None:
            return self.forward_features(pool(self.backbone, cells))
        hidden = [self.fc(pool(self.backbone, seen)) for seen in self.pooling(cells)]
        return [head(self.dropout(values)) for head, values in zip(self.heads, hidden, strict=True)]

    def forward_features(self, features: Tensor) -> list[Tensor]:
        """features: [B, F] of the backbone -> K logits [B, C_i]."""
        hidden = self.fc(features)
        return [head(self.dropout(hidden)) for head in self.heads]

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters of pooling, FC layers and heads, which start untrained."""
        pooling = [] if self.pooling is None else self.pooling.parameters()
        return [*pooling, *self.fc.parameters(), *self.heads.parameters()]


class ProbedHead(nn.Module):
    """What stands behind a network's backbone, as a network of its own with the same parameters.

    Made for speed on a CPU: all heads are one matrix product, and so share what dropout draws.
    """

    def __init__(self, network: AttributeNet) -> None:
        super().__init__()
        self.fc, self.dropout = network.fc, ByteDropout(network.dropout.p)
        self.heads = [head for head in network.heads if isinstance(head, nn.Linear)]
        self.sizes = [head.out_features for head in self.heads]

    def forward(self, features: Tensor) -> Sequence[Tensor]:
        """features: [B, F, 1, any] of a `FeatureSource`, of which the first is taken -> K logits [B, C_i]."""
        hidden = self.dropout(self.fc(features[:, :, 0, 0]))
        weight = torch.cat([head.weight for head in self.heads])
        bias = torch.cat([head.bias for head in self.heads])
        logits: Sequence[Tensor] = F.linear(hidden, weight, bias).split(self.sizes, 1)
        return logits


class ByteDropout(nn.Module):
    """Dropout that draws a byte for an element in place of a float, in an eighth of the time. p: rounded to 1/256."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropped = min(round(256 * p), 255)

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape -> the same, some of them 0 and the others larger, in training alone."""
        if not self.training or not self.dropped:
            return values
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device)
        random = words.random_(-(2**63), None).view(torch.uint8)[: values.numel()].view_as(values)
        return values * (random >= self.dropped) * (256 / (256 - self.dropped))


def build_network(config: TrainConfig, sizes: Sequence[int]) -> AttributeNet:
    """The network a configuration describes, with its starting weights.

    What starts at random is drawn from the architecture alone, not from the run's seed: all runs of one architecture
    start from one point, so that their weights can be averaged later. A `start_seed` draws another start, for studies
    of what that one point hides.

    Args:
        sizes: number of classes of each category.

    Raises:
        ConfigError, WeightsError: see `build_backbone`.
    """
    start = f"{config.backbone}|{config.feature}|{config.fc_layers}|{tuple(sizes)}"
    if config.start_seed is not None:
        start += f"|{config.start_seed}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(crc32(start.encode()))
        backbone = build_backbone(
            config.backbone,
            weights=config.weights,
            feature=config.feature,
            drop_path=config.drop_path,
            image_size=config.image_size,
        )
        return AttributeNet(backbone, sizes, config.fc_layers, config.dropout, config.pooling)
