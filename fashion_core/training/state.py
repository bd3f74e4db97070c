"""All that changes while a network trains, and its best epoch. K categories, C classes of one category."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from timm.utils import ModelEmaV3

from fashion_core.errors import ConfigError
from fashion_core.models.backbones import check_early_sizes
from fashion_core.models.network import AttributeNet, ProbedHead, build_network
from fashion_core.models.saved import Best
from fashion_core.training.losses import WeightedFocalLoss, build_loss
from fashion_core.training.optim import build_optimizer

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig
    from fashion_core.data.prepared import PreparedData
    from fashion_core.data.schema import AttributeSchema


@dataclass
class TrainingState:
    """All that changes while a network trains, and what it needs to be saved."""

    config: TrainConfig
    schema: AttributeSchema
    data_fingerprint: str
    device: torch.device
    network: AttributeNet
    ema: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    loss: WeightedFocalLoss
    head: ProbedHead
    epoch: int = 0  # finished epochs
    step: int = 0  # optimizer steps taken
    ema_updates: int = 0
    best: Best = field(default_factory=lambda: Best(0, {}, [], {}))

    @property
    def is_probing(self) -> bool:
        """Whether the next epoch trains the head alone, on features of a frozen backbone."""
        return self.epoch < min(self.config.probe_epochs, self.config.epochs)

    @property
    def stage(self) -> tuple[int, int]:
        """Epochs finished before this stage, and after it."""
        probe_epochs = min(self.config.probe_epochs, self.config.epochs)
        return (0, probe_epochs) if self.is_probing else (probe_epochs, self.config.epochs)

    @property
    def trained_network(self) -> AttributeNet | ProbedHead:
        """What the next epoch trains."""
        return self.head if self.is_probing else self.network

    @property
    def evaluated_network(self) -> AttributeNet:
        """The averaged network where there is one, else the trained one."""
        return self.network if self.ema is None or not self.ema_updates else self.ema.module

    def begin_stage(self) -> None:
        """Start the optimizer of the epochs to come: over the head alone, or over the whole network."""
        self.optimizer = build_optimizer(self.network, self.config, head_only=self.is_probing)


def build_state(config: TrainConfig, data: PreparedData, train: np.ndarray, device: torch.device) -> TrainingState:
    """A network at its start, with optimizer and loss."""
    labels = data.labels[train]
    columns = [column[column >= 0] for column in labels.T]  # of the labelled images
    counts = [
        np.bincount(column, minlength=size).tolist() for column, size in zip(columns, data.schema.sizes, strict=True)
    ]
    return assemble_state(config, data.schema, counts, data.fingerprint, device)


def assemble_state(
    config: TrainConfig, schema: AttributeSchema, counts: list[list[int]], fingerprint: str, device: torch.device
) -> TrainingState:
    """The same for images that are not at hand.

    Args:
        counts: images of each class, by category.
        fingerprint: of the images.
    """
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision fp16 needs a GPU, but the device is {device.type}; use auto, fp32 or bf16")
    if config.precision == "fp16" and config.sam_rho:
        raise ConfigError(
            f"`sam_rho` must be 0 with precision fp16, whose gradients are scaled, but got {config.sam_rho:g}; "
            "take auto, fp32 or bf16"
        )
    check_early_sizes(config.backbone, config.early_share)
    network = build_network(config, schema.sizes).to(device)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return TrainingState(
        config,
        schema,
        fingerprint,
        device,
        network,
        ema=ModelEmaV3(network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None,
        optimizer=build_optimizer(network, config, head_only=config.probe_epochs > 0),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        loss=build_loss(config, schema.names, counts).to(device),
        head=ProbedHead(network),
    )
