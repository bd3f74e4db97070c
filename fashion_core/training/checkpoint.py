"""A saved training state: one safetensors file with a description in its header, beside the best model so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from fashion_core.config import build_config
from fashion_core.errors import CheckpointError
from fashion_core.files import MODEL_FILE, MODEL_FORMAT, TRAINING_FILE, make_line, read_tensors, write_tensors
from fashion_core.models.saved import Best, ModelDescription, check_shapes, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from fashion_core.training.state import TrainingState

TRAINING_FORMAT = "fashion-training/1"


class TrainingDescription(BaseModel):
    """What the header of a saved training state tells, checked by types."""

    config: dict[str, Any]
    epoch: int = Field(ge=0)
    step: int = Field(ge=0)
    scaler: dict[str, float]
    ema_updates: int = Field(ge=0)


def save_training(folder: Path, state: TrainingState) -> None:
    """Write all that `fit(resume=folder)` needs to go on, and the best model so far, into the folder."""
    save_model(folder, state.best, state.config, state.schema, state.data_fingerprint)
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    if state.ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in state.ema.module.state_dict().items()}
    for index, slots in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": tensor for slot, tensor in slots.items() if tensor is not None}
    description = {
        "format": TRAINING_FORMAT,
        "config": state.config.model_dump(mode="json"),
        "epoch": state.epoch,
        "step": state.step,
        "scaler": state.scaler.state_dict(),
        "ema_updates": state.ema_updates,
    }
    write_tensors(folder / TRAINING_FILE, tensors, description)


def load_training(folder: Path, state: TrainingState) -> None:
    """Put a saved training state, and the best model it kept, into a freshly built one.

    Raises:
        CheckpointError: it is absent or damaged, or belongs to another configuration or other data.
    """
    tensors, found = read_tensors(folder / TRAINING_FILE, TRAINING_FORMAT, TrainingDescription)
    weights, saved = read_tensors(folder / MODEL_FILE, MODEL_FORMAT, ModelDescription, check=check_shapes)
    if saved.data_fingerprint != state.data_fingerprint:
        raise CheckpointError(
            f"a training state goes on with the prepared data it was saved with ({saved.data_fingerprint}), but got "
            f"{state.data_fingerprint}; start a new run instead"
        )
    own = state.config.model_dump(mode="json")
    default = build_config({}).model_dump(mode="json")  # of fields that an older version did not have
    changed = sorted(key for key in own if found.config.get(key, default[key]) != own[key])
    if changed:
        raise CheckpointError(
            f"a training state goes on with the configuration it was saved with, but {', '.join(changed)} changed; "
            "start a new run instead"
        )
    try:
        restore_state(state, tensors, found)
        confusion = [torch.tensor(matrix, dtype=torch.int64).numpy() for matrix in saved.confusion]
    except (RuntimeError, ValueError, KeyError) as error:  # of PyTorch, for tensors that are another network's
        raise CheckpointError(
            f"{folder / TRAINING_FILE} must hold the training state of its own configuration, but: {make_line(error)}; "
            "start a new run instead"
        ) from None
    state.best = Best(saved.epoch, saved.metrics, confusion, weights)


def restore_state(state: TrainingState, tensors: dict[str, Tensor], found: TrainingDescription) -> None:
    """Put a saved network, its average and its optimizer into a freshly built state."""
    state.epoch, state.step = found.epoch, found.step
    state.begin_stage()
    state.network.load_state_dict(select_prefix(tensors, "network."))
    if state.ema is not None:
        state.ema.module.load_state_dict(select_prefix(tensors, "ema."))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in select_prefix(tensors, "optimizer.").items():
        index, slot = name.split(".", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    groups = state.optimizer.state_dict()["param_groups"]
    # A fused optimizer pairs a parameter with its slots by their place in memory, not by index: their strides must
    # agree, and the slots of a channels_last parameter were stored row-major.
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    for number, parameter in enumerate(parameters):
        for slot, tensor in slots.get(number, {}).items():
            if tensor.shape == parameter.shape:
                slots[number][slot] = torch.empty_like(parameter.detach()).copy_(tensor)
    state.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    state.scaler.load_state_dict(found.scaler)
    state.ema_updates = found.ema_updates


def select_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
