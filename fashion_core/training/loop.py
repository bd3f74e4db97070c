"""`fit`: the only training loop there is. It yields one result an epoch and knows nothing of who asks.

B images of a batch, K categories, C classes of one category.

Every epoch draws its order, augmentation and dropout from (seed, epoch), so the state between two epochs holds no
random generator, and a run that stopped there goes on with the same numbers (on the CPU, to the bit).
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fashion_core import metrics
from fashion_core.data.pixels import build_settings
from fashion_core.data.splits import check_categories
from fashion_core.errors import ConfigError, DataError, DivergedError
from fashion_core.hardware.allocator import keep_freed_memory
from fashion_core.hardware.device import choose_device
from fashion_core.hardware.precision import build_autocast
from fashion_core.loading.augment import Augmentation, mixup, resize_images
from fashion_core.loading.batches import BatchSource
from fashion_core.loading.features import FeatureSource, Source, compute_features, fingerprint_features, open_features
from fashion_core.models.saved import Best, save_model
from fashion_core.training.checkpoint import load_training
from fashion_core.training.evaluation import evaluate
from fashion_core.training.optim import compute_lr_factor, set_learning_rate
from fashion_core.training.progress import FEATURES, SETTING_UP, Progress, tell_nobody
from fashion_core.training.state import TrainingState, build_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fashion_core.config import TrainConfig
    from fashion_core.data.prepared import PreparedData

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
SMALL = 1e-12  # keeps a gradient of 0 from a division by it


@dataclass(frozen=True)
class EpochResult:
    """One epoch, trained and evaluated.

    Attributes:
        epoch: 1-based.
        metrics: losses and scores by name, see `fashion_core.metrics`.
        confusion: K matrices [C_i, C_i] int64 on the validation images, row = truth.
        correct: [N, K] in their order, see `fashion_core.metrics.mark_correct`.
        probabilities: K arrays [N, C_i] float32, in their order.
        state: the live training state, for `save_training`; the next epoch changes it.
    """

    epoch: int
    metrics: dict[str, float]
    confusion: list[np.ndarray]
    correct: np.ndarray
    probabilities: list[np.ndarray]
    state: TrainingState

    def save_best(self, folder: Path | str) -> Path:
        """Write the best network of this epoch and those before into the folder, for `load_model`. Returns the file."""
        state = self.state
        return save_model(folder, state.best, state.config, state.schema, state.data_fingerprint)


def fit(
    config: TrainConfig,
    data: PreparedData,
    *,
    train: np.ndarray | None = None,
    val: np.ndarray | None = None,
    device: torch.device | str | None = None,
    features: Path | None = None,
    resume: Path | None = None,
    progress: Progress = tell_nobody,
) -> Iterator[EpochResult]:
    """Train a network on the images `train` and evaluate it on `val` after every epoch.

    The first `config.probe_epochs` train the head alone, on features of the frozen backbone; the rest go on from there
    with the whole network. Source: Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution".

    Args:
        train, val: int64 indices into `data`, each labelled in one category or more; default: all such images of these
            splits. An image counts in the categories in which it is labelled.
        features: of probe epochs alone: file that `cache_features` wrote; None: they are computed, and not kept.
        device: default is the first GPU, else the CPU.
        resume: folder that `save_training` wrote; training goes on after its last epoch.
        progress: told after every batch, and when a phase begins that has none.

    Yields:
        One `EpochResult` an epoch, of the remaining `config.epochs`; `result.save_best(folder)` keeps the best so far.

    Raises:
        ConfigError: the configuration and the data, or the device, do not go together.
        DataError: no images to train or evaluate on, one without any label, a category without any, or features of
            something else.
        DivergedError: the training loss is no longer finite.
    """
    device = choose_device(device)
    train = data.labelled("train") if train is None else train
    val = data.labelled("val") if val is None else val
    check_inputs(config, data, train, val)
    if device.type == "cpu":
        keep_freed_memory()
    progress(SETTING_UP, 0, 0)
    state = build_state(config, data, train, device)
    if resume is not None:
        load_training(resume, state)
    if state.is_probing:
        found = find_features(state, data, features, progress)
        probed, asked = (FeatureSource(found, data, indices, device) for indices in (train, val))
        while state.is_probing:
            yield run_epoch(state, probed, asked, progress)
    if state.epoch < config.epochs:
        seen, unseen = (
            BatchSource(data, indices, device, channels_last=config.channels_last) for indices in (train, val)
        )
        while state.epoch < config.epochs:
            yield run_epoch(state, seen, unseen, progress)


def find_features(
    state: TrainingState, data: PreparedData, path: Path | None, progress: Progress = tell_nobody
) -> Tensor:
    """The features of the state's backbone, [2, N, F]: from the file, or computed now where there is none.

    Raises:
        DataError: the file holds those of other images, of another backbone or of other weights.
    """
    backbone = state.network.backbone
    if path is None:
        tell = partial(progress, FEATURES)
        return compute_features(backbone, data, state.config, state.device, progress=tell)
    features = open_features(path)
    if features.fingerprint != fingerprint_features(backbone, data, state.config):
        raise DataError(
            f"features must be those of the backbone and the images that are probed, but {path.name} was made from "
            "other weights or images; cache them again"
        )
    return features.values


def check_inputs(config: TrainConfig, data: PreparedData, train: np.ndarray, val: np.ndarray) -> None:
    """Raise ConfigError or DataError for what a training loop would stumble over later."""
    wanted = build_settings(config)
    if wanted != data.settings:
        raise ConfigError(
            f"`image_size`, `crop` and `crop_margin` must be those of the prepared data ({data.settings!r}), but got "
            f"{wanted!r}; prepare the data with these"
        )
    category = metrics.Objective(config.objective).category
    if category is not None and category not in data.schema.names:
        raise ConfigError(
            f"`objective` must name a category of the data, {', '.join(data.schema.names)}, but got {category}; name "
            f"one of these, or take {metrics.ACCURACY}"
        )
    for name, indices in (("train", train), ("val", val)):
        if len(indices) == 0:
            raise DataError(f"fit needs at least one image to {name}, but got none")
        unlabelled = (data.labels[indices] < 0).all(1).sum()
        if unlabelled:
            raise DataError(f"every {name} image must be labelled, but {unlabelled} are not")
        check_categories(data.labels[indices], data.schema.names, name)
    if len(train) < 2:
        raise DataError(f"batch norm needs at least 2 training images, but got {len(train)}")


def run_epoch(
    state: TrainingState, train_source: Source, val_source: Source, progress: Progress = tell_nobody
) -> EpochResult:
    """Train on every batch once, evaluate, and keep the weights if they are the best so far by the objective."""
    config, is_probe = state.config, state.is_probing
    objective = metrics.Objective(config.objective)
    started = time.perf_counter()
    phase = f"epoch {state.epoch + 1}"
    scores, images = train_epoch(state, train_source, partial(progress, phase))
    trained = time.perf_counter()
    network = state.head if is_probe else state.evaluated_network
    autocast = nullcontext() if is_probe else build_autocast(config, state.device)  # a probe answers in float32
    tell = partial(progress, f"evaluation of {phase}")
    evaluation = evaluate(network, val_source, state.loss, config, autocast, tell)
    if isinstance(val_source, BatchSource):
        val_source.settle((config.image_size / find_size(state)) ** 2)
    ended = time.perf_counter()
    scores |= evaluation.compute_metrics(state.schema.names, objective)
    scores |= {
        metrics.TRAIN_SECONDS: trained - started,
        metrics.VAL_SECONDS: ended - trained,
        metrics.IMAGES_PER_SECOND: images / (trained - started),
    }
    if config.probe_epochs:
        scores[metrics.PROBE] = float(is_probe)
    state.epoch += 1
    if is_probe and not state.is_probing:
        state.begin_stage()
    if scores[objective.name] > state.best.metrics.get(objective.name, -math.inf):
        weights = {name: t.detach().to("cpu", copy=True) for name, t in state.evaluated_network.state_dict().items()}
        state.best = Best(state.epoch, scores, evaluation.confusion, weights)
    return EpochResult(state.epoch, scores, evaluation.confusion, evaluation.correct, evaluation.probabilities, state)


def train_epoch(
    state: TrainingState, source: Source, progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, float], int]:
    """One pass over the training images. Returns the mean losses by name and the number of images seen.

    progress: told after every batch: batches done, and in all.
    """
    config, device = state.config, state.device
    generator = seed_epoch(config.seed, state.epoch)
    batch_size = min(config.batch_size, len(source))
    steps = len(source) // batch_size  # a last partial batch waits for another epoch's order
    order = torch.randperm(len(source), generator=generator)
    begun, ended = state.stage  # each stage has a schedule of its own
    total_steps = steps * (ended - begun)
    warmup_steps = round(config.warmup_fraction * total_steps)
    augmentation = Augmentation.from_config(config)
    size = find_size(state)
    state.trained_network.train()
    losses = torch.zeros(steps, device=device)
    category_losses = torch.zeros(len(state.schema.sizes), device=device)
    labelled_steps = torch.zeros_like(category_losses)  # whose batch has a label in the category
    for index in range(steps):
        positions = order[index * batch_size : (index + 1) * batch_size]
        if isinstance(source, FeatureSource):
            images, labels = source.draw(positions, config.flip, generator)
        else:
            images, labels = source.batch(positions)
            images = resize_images(augmentation(images, generator), size)
        step = (state.epoch - begun) * steps + index
        factor = compute_lr_factor(config.schedule, step, total_steps, warmup_steps)
        set_learning_rate(state.optimizer, factor)
        losses[index], by_category = train_step(state, images, labels, generator)
        category_losses += by_category
        labelled_steps += (labels >= 0).any(0)
        state.step += 1
        if isinstance(source, BatchSource):
            source.settle((config.image_size / size) ** 2)
        if progress is not None:
            progress(index + 1, steps)
        if device.type == "cpu" and not math.isfinite(losses[index].item()):
            break  # on a GPU, asking would wait for every step; there the epoch's end asks
    finite = torch.isfinite(losses)
    if not finite.all():
        first = int((~finite).nonzero()[0, 0])
        raise DivergedError(state.epoch + 1, state.epoch * steps + first + 1, float(losses[first]))
    peak = config.probe_lr if state.is_probing else config.lr
    scores = {metrics.TRAIN_LOSS: losses.mean().item(), metrics.LEARNING_RATE: peak * factor}
    by_step = category_losses / steps * (torch.full_like(labelled_steps, steps) / labelled_steps.clamp(min=1))
    for name, value in zip(state.schema.names, by_step.tolist(), strict=True):
        scores[f"{metrics.TRAIN_LOSS}/{name}"] = value
    return scores, steps * batch_size


def find_size(state: TrainingState) -> int:
    """Side in pixels of the images that the next epoch trains on.

    Small first, as in progressive resizing. Source: Howard 2018, in Coleman et al., "DAWNBench".
    """
    config, (begun, ended) = state.config, state.stage
    is_early = not state.is_probing and state.epoch - begun < round(config.early_share * (ended - begun))
    return max(round(config.image_size * config.early_size), 1) if is_early else config.image_size


def train_step(
    state: TrainingState, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One optimizer step. images: [B, 3, H, W] uint8; labels: [B, K]. Returns total loss [] and by category [K].

    A step of a probe takes features in place of images, see `FeatureSource`. Where images are blended, the loss is
    lam x that on the labels of the one + (1 - lam) x that on the labels of the other, each the mean over the images
    labelled so: in category k, sum_i (lam m_ik f(i, y_ik) + (1 - lam) m_jk f(i, y_jk)) / n_k, where j is the partner of
    i in the blend, m 1 where labelled and n_k = sum_i m_ik. An unlabelled partner leaves the rest of the blend as is.
    """
    config, is_probe = state.config, state.is_probing
    partners, share = None, 1.0
    if config.mixup and not is_probe:
        images, permutation, share = mixup(images.float(), config.mixup, generator)
        partners = labels[permutation.to(labels.device, non_blocking=True)]
    total, by_category = compute_loss(state, images, labels, partners, share)
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(total).backward()
    if config.sam_rho and not is_probe:
        with look_uphill(state):
            compute_loss(state, images, labels, partners, share)[0].backward()
    if config.grad_clip_norm is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.network.parameters(), config.grad_clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None and not is_probe:
        state.ema_updates += 1
        state.ema.update(state.network, step=state.ema_updates)
    return total.detach(), by_category.detach()


def compute_loss(
    state: TrainingState, images: Tensor, labels: Tensor, partners: Tensor | None, share: float
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, total [] and by category [K]. partners: labels [B, K] of what images are blended with."""
    with build_autocast(state.config, state.device):
        logits = state.trained_network(images)
    total, by_category = state.loss(logits, labels)
    if partners is not None:
        other_total, other_by_category = state.loss(logits, partners)
        total = share * total + (1 - share) * other_total
        by_category = share * by_category + (1 - share) * other_by_category
    return total, by_category


@contextmanager
def look_uphill(state: TrainingState) -> Iterator[None]:
    """Within it, the weights stand where the loss is about highest near them; gradients that come there remain.

    Sharpness-aware minimisation, first order: the step along the gradient has the length `sam_rho`, and the
    statistics of batch normalisation do not see it. Source: Foret et al. 2021, "Sharpness-Aware Minimization for
    Efficiently Improving Generalization".
    """
    slopes = [(each, each.grad) for each in state.network.parameters() if each.grad is not None]
    kept = [(each, each.detach().clone()) for each, _ in slopes]
    scale = state.config.sam_rho / (nn.utils.get_total_norm([gradient for _, gradient in slopes]) + SMALL)
    with torch.no_grad():
        for each, gradient in slopes:
            each.add_(gradient * scale)
    state.optimizer.zero_grad(set_to_none=True)
    norms = [each for each in state.network.modules() if isinstance(each, BATCH_NORMS)]
    momenta = [each.momentum for each in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        with torch.no_grad():
            for each, value in kept:
                each.copy_(value)


def seed_epoch(seed: int, epoch: int) -> torch.Generator:
    """Seed what an epoch draws: returns the generator of order and augmentation, and seeds torch's own for dropout."""
    order_seed, dropout_seed = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    torch.manual_seed(int(dropout_seed))
    return torch.Generator().manual_seed(int(order_seed))
