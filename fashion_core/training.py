"""`fit`: the only training loop there is. It yields one result an epoch and knows nothing of who asks.

B images of a batch, K categories, C classes of one category.

Every epoch draws its order, augmentation and dropout from (seed, epoch), so the state between two epochs holds no
random generator, and a run that stopped there goes on with the same numbers (on the CPU, to the bit).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from fashion_core import metrics
from fashion_core.allocator import keep_freed_memory
from fashion_core.attributes import AttributeSchema
from fashion_core.augment import Augmentation, mixup
from fashion_core.batches import BatchSource
from fashion_core.checkpoint import load_training
from fashion_core.config import TrainConfig
from fashion_core.errors import ConfigError, DataError, DivergedError
from fashion_core.evaluation import evaluate
from fashion_core.losses import WeightedFocalLoss, build_loss
from fashion_core.model import AttributeNet, build_network
from fashion_core.optim import build_optimizer, compute_lr_factor, set_learning_rate
from fashion_core.prepared import PreparedData, PrepareSettings

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Best:
    """The best epoch so far by validation accuracy, with its weights on the CPU."""

    epoch: int
    metrics: dict[str, float]
    confusion: list[np.ndarray]
    weights: dict[str, Tensor]


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
    epoch: int = 0  # finished epochs
    step: int = 0  # optimizer steps taken
    ema_updates: int = 0
    best: Best = field(default_factory=lambda: Best(0, {metrics.ACCURACY: -math.inf}, [], {}))

    @property
    def evaluated_network(self) -> AttributeNet:
        """The averaged network where there is one, else the trained one."""
        return self.network if self.ema is None else self.ema.module


@dataclass(frozen=True)
class EpochResult:
    """One epoch, trained and evaluated.

    Attributes:
        epoch: 1-based.
        metrics: losses and scores by name, see `fashion_core.metrics`.
        confusion: K matrices [C_i, C_i] int64 on the validation images, row = truth.
        state: the live training state, for `save_training`; the next epoch changes it.
    """

    epoch: int
    metrics: dict[str, float]
    confusion: list[np.ndarray]
    state: TrainingState


def fit(
    config: TrainConfig,
    data: PreparedData,
    *,
    train: np.ndarray,
    val: np.ndarray,
    device: torch.device | str | None = None,
    resume: Path | None = None,
) -> Iterator[EpochResult]:
    """Train a network on the images `train` and evaluate it on `val` after every epoch.

    Args:
        train, val: int64 indices into `data`; all of them labelled.
        device: default is the first GPU, else the CPU.
        resume: folder that `save_training` wrote; training goes on after its last epoch.

    Yields:
        One `EpochResult` an epoch, of the remaining `config.epochs`.

    Raises:
        ConfigError: the configuration and the data, or the device, do not go together.
        DataError: no images to train or evaluate on, or one without labels.
        DivergedError: the training loss is no longer finite.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    check_inputs(config, data, train, val)
    if device.type == "cpu":
        keep_freed_memory()
    state = build_state(config, data, train, device)
    if resume is not None:
        load_training(resume, state)
    train_source, val_source = (
        BatchSource(data, indices, device, channels_last=config.channels_last) for indices in (train, val)
    )
    while state.epoch < config.epochs:
        yield run_epoch(state, train_source, val_source)


def check_inputs(config: TrainConfig, data: PreparedData, train: np.ndarray, val: np.ndarray) -> None:
    """Raise ConfigError or DataError for what a training loop would stumble over later."""
    wanted = PrepareSettings(config.image_size, config.crop, config.crop_margin)
    if wanted != data.settings:
        raise ConfigError(
            f"`image_size`, `crop` and `crop_margin` must be those of the prepared data ({data.settings}), but got "
            f"{wanted}; prepare the data with these"
        )
    for name, indices in (("train", train), ("val", val)):
        if len(indices) == 0:
            raise DataError(f"fit needs at least one image to {name}, but got none")
        if (data.labels[indices] < 0).any():
            unlabelled = (data.labels[indices] < 0).any(1).sum()
            raise DataError(f"every {name} image must be labelled, but {unlabelled} are not")
    if len(train) < 2:
        raise DataError(f"batch norm needs at least 2 training images, but got {len(train)}")


def build_state(config: TrainConfig, data: PreparedData, train: np.ndarray, device: torch.device) -> TrainingState:
    """A network at its start, with optimizer and loss."""
    if config.precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision fp16 needs a GPU, but the device is {device.type}; use auto, fp32 or bf16")
    network = build_network(config, data.schema.sizes).to(device)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    labels = data.labels[train]
    counts = [np.bincount(labels[:, k], minlength=size).tolist() for k, size in enumerate(data.schema.sizes)]
    return TrainingState(
        config,
        data.schema,
        data.fingerprint,
        device,
        network,
        ema=ModelEmaV3(network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None,
        optimizer=build_optimizer(network, config),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        loss=build_loss(config, data.schema.names, counts).to(device),
    )


def run_epoch(state: TrainingState, train_source: BatchSource, val_source: BatchSource) -> EpochResult:
    """Train on every batch once, evaluate, and keep the weights if they are the best so far."""
    config = state.config
    started = time.perf_counter()
    scores, images = train_epoch(state, train_source)
    trained = time.perf_counter()
    evaluation = evaluate(state.evaluated_network, val_source, state.loss, config, build_autocast(config, state.device))
    ended = time.perf_counter()
    scores |= evaluation.compute_metrics(state.schema.names)
    scores |= {
        metrics.TRAIN_SECONDS: trained - started,
        metrics.VAL_SECONDS: ended - trained,
        metrics.IMAGES_PER_SECOND: images / (trained - started),
    }
    state.epoch += 1
    if scores[metrics.ACCURACY] > state.best.metrics[metrics.ACCURACY]:
        weights = {name: t.detach().to("cpu", copy=True) for name, t in state.evaluated_network.state_dict().items()}
        state.best = Best(state.epoch, scores, evaluation.confusion, weights)
    return EpochResult(state.epoch, scores, evaluation.confusion, state)


def train_epoch(state: TrainingState, source: BatchSource) -> tuple[dict[str, float], int]:
    """One pass over the training images. Returns the mean losses by name and the number of images seen."""
    config, device = state.config, state.device
    generator = seed_epoch(config.seed, state.epoch)
    batch_size = min(config.batch_size, len(source))
    steps = len(source) // batch_size  # a last partial batch waits for another epoch's order
    order = torch.randperm(len(source), generator=generator)
    warmup_steps = round(config.warmup_fraction * steps * config.epochs)
    augmentation = Augmentation.from_config(config)
    state.network.train()
    losses = torch.zeros(steps, device=device)
    category_losses = torch.zeros(len(state.schema.sizes), device=device)
    for index in range(steps):
        images, labels = source.batch(order[index * batch_size : (index + 1) * batch_size])
        images = augmentation(images, generator)
        factor = compute_lr_factor(config.schedule, state.step, steps * config.epochs, warmup_steps)
        set_learning_rate(state.optimizer, factor)
        losses[index], by_category = train_step(state, images, labels, generator)
        category_losses += by_category
        state.step += 1
        if device.type == "cpu" and not math.isfinite(losses[index].item()):
            break  # on a GPU, asking would wait for every step; there the epoch's end asks
    finite = torch.isfinite(losses)
    if not finite.all():
        first = int((~finite).nonzero()[0, 0])
        raise DivergedError(state.epoch + 1, state.epoch * steps + first + 1, float(losses[first]))
    scores = {metrics.TRAIN_LOSS: losses.mean().item(), metrics.LEARNING_RATE: config.lr * factor}
    for name, value in zip(state.schema.names, (category_losses / steps).tolist(), strict=True):
        scores[f"{metrics.TRAIN_LOSS}/{name}"] = value
    return scores, steps * batch_size


def train_step(
    state: TrainingState, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One optimizer step. images: [B, 3, H, W] uint8; labels: [B, K]. Returns total loss [] and by category [K]."""
    config = state.config
    permutation, share = None, 1.0
    if config.mixup:
        images, permutation, share = mixup(images.float(), config.mixup, generator)
    with build_autocast(config, state.device):
        logits = state.network(images)
    total, by_category = state.loss(logits, labels)
    if permutation is not None:
        other_total, other_by_category = state.loss(logits, labels[permutation.to(labels.device)])
        total = share * total + (1 - share) * other_total
        by_category = share * by_category + (1 - share) * other_by_category
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(total).backward()
    if config.grad_clip_norm is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.network.parameters(), config.grad_clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema_updates += 1
        state.ema.update(state.network, step=state.ema_updates)
    return total.detach(), by_category.detach()


def seed_epoch(seed: int, epoch: int) -> torch.Generator:
    """Seed what an epoch draws: returns the generator of order and augmentation, and seeds torch's own for dropout."""
    order_seed, dropout_seed = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    torch.manual_seed(int(dropout_seed))
    return torch.Generator().manual_seed(int(order_seed))


def build_autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which the network runs: `auto` is bf16 on a GPU that has it, else fp32."""
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, PRECISIONS[precision])
