"""Optimizer and learning-rate schedule of a configuration. The schedule is a pure function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from timm.optim import param_groups_layer_decay
from torch import nn

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig
    from fashion_core.models.network import AttributeNet

# One-cycle (Smith & Topin 2018) with the divisors of PyTorch's OneCycleLR: starts at peak / 25, ends at that / 10,000.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


def build_optimizer(network: AttributeNet, config: TrainConfig, *, head_only: bool = False) -> torch.optim.Optimizer:
    """AdamW, Adam or SGD over backbone and head, each with its learning rate; no weight decay on norms and biases.

    `head_only` is for a probe: the head alone, with the learning rate that a probe has.

    Each group keeps its peak learning rate as `peak_lr`.
    """
    head = {id(parameter) for parameter in network.head_parameters()}
    factors = {} if head_only else compute_layer_factors(network, config.layer_decay)
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for parameter in network.head_parameters() if head_only else network.parameters():
        if parameter.requires_grad:
            key = id(parameter) in head, parameter.ndim > 1, factors.get(id(parameter), 1.0)
            groups.setdefault(key, []).append(parameter)
    options = []
    for (is_head, decays, factor), parameters in groups.items():
        lr = config.probe_lr if head_only else config.lr * factor * (config.head_lr_factor if is_head else 1.0)
        decay = config.weight_decay if decays else 0.0
        options.append({"params": parameters, "lr": lr, "peak_lr": lr, "weight_decay": decay})
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, momentum=config.momentum, fused=True)
    optimizer = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return optimizer(options, fused=True)


def compute_layer_factors(network: AttributeNet, layer_decay: float) -> dict[int, float]:
    """What the learning rate of each parameter of the backbone is multiplied by, by the parameter's id.

    The last of timm's layers has 1, each before it `layer_decay` times that of the next. Source: Clark et al. 2020,
    "ELECTRA", and Bao et al. 2022, "BEiT".
    """
    if layer_decay == 1:
        return {}
    groups = param_groups_layer_decay(network.backbone.network, layer_decay=layer_decay)
    return {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group to `factor` times its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def compute_lr_factor(schedule: str, step: int, total_steps: int, warmup_steps: int) -> float:
    """Learning rate of one step as a share of its peak.

    Args:
        schedule: `constant`, `cosine` (linear warm-up, cosine to 0) or `one_cycle` (cosine up, cosine down).
        step: 0-based, below `total_steps`.
        warmup_steps: steps before the peak; the step of that number is the peak.
    """
    if step < warmup_steps:
        if schedule == "one_cycle":
            return interpolate_cosine(ONE_CYCLE_START, 1.0, step / warmup_steps)
        return (step + 1) / (warmup_steps + 1)
    share = (step - warmup_steps) / max(total_steps - 1 - warmup_steps, 1)
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return interpolate_cosine(1.0, 0.0, share)
        case "one_cycle":
            return interpolate_cosine(1.0, ONE_CYCLE_END, share)
    raise AssertionError(schedule)


def interpolate_cosine(start: float, end: float, share: float) -> float:
    """From `start` at share 0 to `end` at share 1 along half a cosine wave."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
