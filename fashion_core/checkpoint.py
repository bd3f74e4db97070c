"""Saved models and saved training states: one safetensors file each, with the description in its header.

A file is written under a temporary name and then put in place, so that a reader sees all of it or none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fashion_core.attributes import AttributeSchema
from fashion_core.config import TrainConfig, build_config
from fashion_core.errors import CheckpointError
from fashion_core.metrics import ACCURACY
from fashion_core.model import AttributeNet, build_network
from fashion_core.state import Best, TrainingState

MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.safetensors"
MODEL_FORMAT = "fashion-attributes/1"
TRAINING_FORMAT = "fashion-training/1"
HEADER_KEY = "description"


@dataclass(frozen=True)
class SavedModel:
    """A trained network and what is known of it.

    Attributes:
        metrics: scores of the epoch it was saved at, by name.
        epoch: 1-based.
        confusion: K matrices [C_i, C_i] as nested lists, row = truth.
        data_fingerprint: of the prepared data it was trained on.
    """

    network: AttributeNet
    config: TrainConfig
    schema: AttributeSchema
    metrics: dict[str, float]
    epoch: int
    confusion: list[list[list[int]]]
    data_fingerprint: str


def save_model(folder: Path, best: Best, config: TrainConfig, schema: AttributeSchema, data_fingerprint: str) -> Path:
    """Write `model.safetensors` into the folder, which is made if needed. Returns the file."""
    description = {
        "format": MODEL_FORMAT,
        "config": config.model_dump(mode="json"),
        "schema": schema.to_dict(),
        "metrics": best.metrics,
        "epoch": best.epoch,
        "confusion": [matrix.tolist() for matrix in best.confusion],
        "data_fingerprint": data_fingerprint,
    }
    return write_tensors(folder / MODEL_FILE, best.weights, description)


def load_model(path: Path | str, device: torch.device | str = "cpu") -> SavedModel:
    """Read a saved model from its file, or from the folder that holds it. The network is in evaluation mode.

    Raises:
        CheckpointError: there is none, or it is not a model of this project.
    """
    path = Path(path)
    tensors, description = read_tensors(path / MODEL_FILE if path.is_dir() else path, MODEL_FORMAT)
    config = build_config(description["config"])
    schema = AttributeSchema.from_dict(description["schema"])
    network = build_network(config.model_copy(update={"weights": "none"}), schema.sizes)
    network.load_state_dict(tensors)
    return SavedModel(
        network.to(device).eval(),
        config,
        schema,
        description["metrics"],
        description["epoch"],
        description["confusion"],
        description["data_fingerprint"],
    )


def read_score(folder: Path) -> tuple[float, int]:
    """Validation accuracy of the model in the folder, and its epoch; its weights are not read.

    Raises:
        CheckpointError: there is none, or it is not a model of this project.
    """
    _, description = read_tensors(folder / MODEL_FILE, MODEL_FORMAT, names=())
    return description["metrics"][ACCURACY], description["epoch"]


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
    tensors, description = read_tensors(folder / TRAINING_FILE, TRAINING_FORMAT)
    weights, saved = read_tensors(folder / MODEL_FILE, MODEL_FORMAT)
    if saved["data_fingerprint"] != state.data_fingerprint:
        raise CheckpointError(
            f"a training state goes on with the prepared data it was saved with ({saved['data_fingerprint']}), but got "
            f"{state.data_fingerprint}; start a new run instead"
        )
    own = state.config.model_dump(mode="json")
    changed = sorted(key for key in own if description["config"].get(key) != own[key])
    if changed:
        raise CheckpointError(
            f"a training state goes on with the configuration it was saved with, but {', '.join(changed)} changed; "
            "start a new run instead"
        )
    state.epoch, state.step = description["epoch"], description["step"]
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
    state.scaler.load_state_dict(description["scaler"])
    state.ema_updates = description["ema_updates"]
    confusion = [torch.tensor(matrix, dtype=torch.int64).numpy() for matrix in saved["confusion"]]
    state.best = Best(saved["epoch"], saved["metrics"], confusion, weights)


def select_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def write_tensors(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> Path:
    """One safetensors file with a JSON description in its header, complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    # save_file takes row-major tensors; a channels_last weight is stored by its logical order.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, temporary, metadata={HEADER_KEY: json.dumps(description)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_tensors(
    path: Path, wanted_format: str, names: Iterable[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file that `write_tensors` wrote. names: of the tensors; None: all.

    Raises:
        CheckpointError: no such file, not safetensors, cut off, or another format.
    """
    if not path.is_file():
        raise CheckpointError(f"a saved model is a {path.name} file, but there is none in {path.parent}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            description = json.loads(metadata.get(HEADER_KEY, "{}"))
            if description.get("format") != wanted_format:
                raise CheckpointError(
                    f"{path} must have the format {wanted_format}, but has {description.get('format')!r}; "
                    "it was not written by this version of fashion_core"
                )
            names = file.keys() if names is None else names
            return {name: file.get_tensor(name) for name in names}, description
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} must be a complete safetensors file, but: {error}") from None
