"""How much of a GPU's memory a training takes at its peak: a few steps on random images, before any training begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fashion_core.hardware.precision import build_autocast
from fashion_core.loading.augment import Augmentation
from fashion_core.models.forward import predict_batch
from fashion_core.training.loop import seed_epoch, train_step
from fashion_core.training.state import assemble_state

if TYPE_CHECKING:
    from fashion_core.config import TrainConfig
    from fashion_core.data.schema import AttributeSchema
    from fashion_core.training.state import TrainingState

STEPS = 3  # the optimizer's moments are there from the first on, and kernels are chosen by then


def measure_peak(config: TrainConfig, schema: AttributeSchema, device: torch.device) -> int | None:
    """Bytes that PyTorch reserves on a GPU while a network trains and is evaluated; CUDA's own context comes on top.

    Images that `fit` keeps there are left out: it keeps them only where they fit beside this, see `BatchSource.settle`.

    Args:
        config: its weights play no part.
        device: a GPU that this process has not limited.

    Returns:
        None where the GPU has too little.
    """
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    try:
        take_steps(config, schema, device)
    except torch.OutOfMemoryError:
        return None
    finally:
        torch.cuda.empty_cache()
    return torch.cuda.max_memory_reserved(device)


def take_steps(config: TrainConfig, schema: AttributeSchema, device: torch.device) -> None:
    """Train for some steps as `fit` would, and evaluate a batch; of a probe, whose features are cached, only that."""
    state = draw_state(config, schema, device)
    if not config.is_probe:
        for _ in range(STEPS):
            take_step(state)
    images = draw_images(config, config.eval_batch_size, device)
    autocast = build_autocast(config, device)
    predict_batch(state.evaluated_network, images, flip=config.eval_flip, autocast=autocast)


def draw_state(config: TrainConfig, schema: AttributeSchema, device: torch.device) -> TrainingState:
    """A training of the whole network, where the configuration has one, from random weights."""
    changes = {"weights": "none"} | ({} if config.is_probe else {"probe_epochs": 0})
    config = config.model_copy(update=changes)
    return assemble_state(config, schema, [[1] * size for size in schema.sizes], "", device)


def take_step(state: TrainingState) -> None:
    """One step of the whole network as `fit` takes it, on random images."""
    config, generator = state.config, seed_epoch(0, 0)
    state.trained_network.train()
    images = Augmentation.from_config(config)(draw_images(config, config.batch_size, state.device), generator)
    labels = torch.zeros(config.batch_size, len(state.schema.sizes), dtype=torch.int64, device=state.device)
    train_step(state, images, labels, generator)


def draw_images(config: TrainConfig, count: int, device: torch.device) -> torch.Tensor:
    """[B, 3, H, W] uint8, laid out as a batch of the configuration is."""
    images = torch.randint(256, (count, 3, *[config.image_size] * 2), dtype=torch.uint8, device=device)
    return images.contiguous(memory_format=torch.channels_last) if config.channels_last else images
