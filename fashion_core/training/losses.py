"""Focal loss, weighted over categories (eq. 7 of the report). An unlabelled image has no loss in that category.

B images, K categories, C classes of one category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fashion_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.config import TrainConfig

# Smallest 1 - p_t whose power is differentiated: below it, gamma in (0, 1) has an unbounded slope.
MIN_COMPLEMENT = 1e-7


def focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    *,
    alpha: Tensor | None = None,
    label_smoothing: float = 0.0,
    shares: Tensor | None = None,
) -> Tensor:
    """Mean focal loss of one category, -alpha_c (1 - p_c)^gamma log p_c summed over the (smoothed) target.

    Computed in float32 from log-probabilities whatever the type of the logits, so it is stable in fp16 and bf16.
    gamma = 0 is cross-entropy. Source: Lin et al. 2017, eq. 5, in its softmax form.

    Args:
        logits: [B, C], any floating type.
        target: [B] int64 class indices.
        gamma: focusing exponent, >= 0.
        alpha: [C] weight of each class; None for 1. The mean is over images, not over alpha.
        label_smoothing: share of the target spread evenly over all C classes.
        shares: [B] factor of each image's loss in the mean, see `compute_shares`; None for 1.

    Returns:
        [] float32.
    """
    log_p = F.log_softmax(logits.float(), dim=1)  # [B, C]
    if label_smoothing == 0:
        log_p = log_p.gather(1, target[:, None])  # [B, 1]: the target class alone
        share = alpha[target][:, None] if alpha is not None else None
    else:
        share = torch.full_like(log_p, label_smoothing / log_p.shape[1])
        share.scatter_add_(1, target[:, None], torch.full_like(target[:, None], 1 - label_smoothing, dtype=share.dtype))
        if alpha is not None:
            share = share * alpha
    terms = -log_p
    if gamma > 0:
        complement = -torch.expm1(log_p)  # 1 - p without cancellation
        terms = terms * complement.clamp(min=MIN_COMPLEMENT) ** gamma
    if share is not None:
        terms = terms * share
    losses = terms.sum(1)
    return losses.mean() if shares is None else (losses * shares).mean()


def compute_shares(labels: Tensor) -> Tensor:
    """Factors that make the mean over a batch that over its labelled images: B / n_k for these, else 0.

    n_k of the B images are labelled in category k. Where all are, the factor is exactly 1; where none is, all are 0.

    Args:
        labels: [B, K] int64, negative where unlabelled.

    Returns:
        [B, K] float32.
    """
    known = labels >= 0
    counts = known.sum(0)
    return known * (torch.full_like(counts, len(labels)) / counts.clamp(min=1))  # tensors: B / B is 1 to the bit


class WeightedFocalLoss(nn.Module):
    """Sum over categories of w_i x focal loss (eq. 7 of the report). The only place that scales the weights.

    Args:
        weights: [K] weight of each category, >= 0, at least one above 0.
        gamma: focusing exponent, >= 0.
        normalise: scale the weights to mean 1. With Adam their scale changes nothing; with SGD it is a learning rate.
        alpha: one [C_i] tensor of class weights a category; None for 1.
        label_smoothing: share of the target spread over all classes.

    Raises:
        ConfigError: a weight or gamma is negative, or all weights are 0.
    """

    weights: Tensor

    def __init__(
        self,
        weights: Sequence[float],
        gamma: float = 2.0,
        *,
        normalise: bool = True,
        alpha: Sequence[Tensor] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if min(weights) < 0 or sum(weights) <= 0:
            raise ConfigError(f"`category_weights` must be >= 0 and not all 0, but got {list(weights)}")
        if gamma < 0:
            raise ConfigError(f"`focal_gamma` must be >= 0, but got {gamma}")
        scale = len(weights) / sum(weights) if normalise else 1.0
        scaled = torch.tensor([float(weight) * scale for weight in weights])
        self.register_buffer("weights", scaled, persistent=False)
        self.gamma, self.label_smoothing = gamma, label_smoothing
        for index, values in enumerate(alpha or ()):
            self.register_buffer(f"alpha_{index}", values.float(), persistent=False)

    def forward(self, logits: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """The total [] and the unweighted loss of each category [K].

        The loss of category k is the mean over the batch's images labelled in it, with its smoothed target and its
        class weights: sum_i m_ik f_k(i) / n_k, m_ik = 1 where image i is labelled, n_k = sum_i m_ik. The total is
        sum_k w_k times that: a category weighs as much with few labels as with all. A category in which no image of
        the batch is labelled adds 0 and no gradient.

        Args:
            logits: K tensors [B, C_i].
            labels: [B, K] int64, negative where unlabelled.
        """
        shares, classes = compute_shares(labels), labels.clamp(min=0)
        losses = torch.stack(
            [
                focal_loss(
                    category_logits,
                    classes[:, index],
                    self.gamma,
                    alpha=getattr(self, f"alpha_{index}", None),
                    label_smoothing=self.label_smoothing,
                    shares=shares[:, index],
                )
                for index, category_logits in enumerate(logits)
            ]
        )
        return (losses * self.weights).sum(), losses


def build_loss(config: TrainConfig, names: Sequence[str], class_counts: Sequence[Sequence[int]]) -> WeightedFocalLoss:
    """The loss a configuration describes.

    Args:
        names: the K category names, in label order.
        class_counts: labelled training images of each class, K sequences of C_i counts; used by `class_balance` alone.

    Raises:
        ConfigError: `category_weights` names an unknown category.
    """
    unknown = sorted(set(config.category_weights) - set(names))
    if unknown:
        known = ", ".join(names)
        raise ConfigError(f"`category_weights` must name categories of the data ({known}), but got {unknown}")
    alpha = [compute_alpha(counts, config.class_balance) for counts in class_counts] if config.class_balance else None
    return WeightedFocalLoss(
        [config.category_weights.get(name, 1.0) for name in names],
        config.focal_gamma,
        normalise=config.normalise_weights,
        alpha=alpha,
        label_smoothing=config.label_smoothing,
    )


def compute_alpha(counts: Sequence[int], strength: float) -> Tensor:
    """[C] class weights proportional to count ** -strength, whose mean over the labelled training images is 1.

    A class without an image weighs as one with a single image would; where there is none at all, all weigh 1.
    """
    count = torch.tensor(counts, dtype=torch.float64)
    if not count.any():
        return torch.ones(len(counts))
    alpha = count.clamp(min=1) ** -strength
    return (alpha * count.sum() / (alpha * count).sum()).float()
