"""A trained network as one safetensors file: weights, and in its header what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fashion_core.config import TrainConfig, build_config
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import CheckpointError, FashionError
from fashion_core.files import MODEL_FILE, MODEL_FORMAT, read_tensors, write_tensors
from fashion_core.metrics import ACCURACY
from fashion_core.models.network import AttributeNet, build_network

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor


@dataclass
class Best:
    """The best epoch so far by validation accuracy, with its weights on the CPU."""

    epoch: int
    metrics: dict[str, float]
    confusion: list[np.ndarray]
    weights: dict[str, Tensor]


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


def save_model(
    folder: Path | str, best: Best, config: TrainConfig, schema: AttributeSchema, data_fingerprint: str
) -> Path:
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
    return write_tensors(Path(folder) / MODEL_FILE, best.weights, description)


def load_model(path: Path | str, device: torch.device | str = "cpu") -> SavedModel:
    """Read a saved model from its file, or from the folder that holds it. The network is in evaluation mode.

    Raises:
        CheckpointError: there is none, or it is not a model of this project.
    """
    path = Path(path)
    tensors, description = read_tensors(path / MODEL_FILE if path.is_dir() else path, MODEL_FORMAT)
    config = build_config(description["config"])
    schema = AttributeSchema.from_dict(description["schema"])
    untrained = config.model_copy(update={"weights": "none"})
    check_tensors(path, tensors, untrained, schema.sizes)
    network = build_network(untrained, schema.sizes)
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


def check_tensors(path: Path, tensors: dict[str, Tensor], config: TrainConfig, sizes: Sequence[int]) -> None:
    """Raise CheckpointError where the tensors are not those of the network, before memory is taken for it."""
    try:
        with torch.device("meta"):  # shapes without numbers
            network = build_network(config, sizes)
    except FashionError as error:
        raise CheckpointError(f"{path} must be a model that can be built here, but {error}") from None
    own, found = (
        {name: list(tensor.shape) for name, tensor in each.items()} for each in (network.state_dict(), tensors)
    )
    if own != found:
        name = next(name for name in (*own, *found) if own.get(name) != found.get(name))
        raise CheckpointError(
            f"{path} must hold the network that its header describes, {config.backbone} with {len(own)} tensors, but "
            f"`{name}` is {found.get(name, 'absent')}, not {own.get(name, 'absent')}; save it again, or take a backup"
        )


def read_score(folder: Path) -> tuple[float, int]:
    """Validation accuracy of the model in the folder, and its epoch; its weights are not read.

    Raises:
        CheckpointError: there is none, or it is not a model of this project.
    """
    _, description = read_tensors(folder / MODEL_FILE, MODEL_FORMAT, names=())
    return description["metrics"][ACCURACY], description["epoch"]
