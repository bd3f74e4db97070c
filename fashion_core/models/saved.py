"""A trained network as one safetensors file: weights, and in its header what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, Field, model_validator

from fashion_core.config import TrainConfig, build_config
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import CheckpointError, ConfigError, DataError, FashionError
from fashion_core.files import MODEL_FILE, MODEL_FORMAT, make_line, read_tensors, write_tensors
from fashion_core.models.network import AttributeNet, build_network

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class ModelDescription(BaseModel):
    """What the header of a saved model tells, checked by types."""

    config: dict[str, Any]
    categories: dict[str, list[str]] = Field(validation_alias="schema")
    metrics: dict[str, float]
    epoch: int = Field(ge=0, lt=2**31)
    confusion: list[list[list[Annotated[int, Field(ge=0, lt=2**63)]]]]
    data_fingerprint: str

    @model_validator(mode="after")
    def check_confusion(self) -> ModelDescription:
        """Raises ValueError where there are confusion matrices, and not one [C, C] of each category."""
        sizes = [len(classes) for classes in self.categories.values()]
        shapes = [[len(matrix), *{len(row) for row in matrix}] for matrix in self.confusion]
        if self.confusion and shapes != [[size, size] for size in sizes]:
            raise ValueError("there must be a square confusion matrix of each category, or none")
        return self

    def build_config(self) -> TrainConfig:
        """Its configuration. Raises ValueError where that is impossible."""
        try:
            return build_config(self.config)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    def build_schema(self) -> AttributeSchema:
        """Its categories. Raises ValueError where they are none."""
        try:
            return AttributeSchema.from_dict(self.categories)
        except DataError as error:
            raise ValueError(str(error)) from None


@dataclass
class Best:
    """The best epoch so far by the objective, with its weights on the CPU."""

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
    file = path / MODEL_FILE if path.is_dir() else path
    tensors, found = read_tensors(file, MODEL_FORMAT, ModelDescription, check=check_shapes)
    config, schema = found.build_config(), found.build_schema()
    try:
        network = build_network(config.model_copy(update={"weights": "none"}), schema.sizes)
        network.load_state_dict(tensors)
    except (FashionError, RuntimeError) as error:
        raise CheckpointError(
            f"{file} must hold the weights of its own configuration, but: {make_line(error)}"
        ) from None
    return SavedModel(
        network.to(device).eval(),
        config,
        schema,
        found.metrics,
        found.epoch,
        found.confusion,
        found.data_fingerprint,
    )


def check_shapes(found: ModelDescription, shapes: dict[str, tuple[int, ...]]) -> None:
    """Whether a file holds the tensors of the network that it describes, before memory is taken for that.

    Args:
        shapes: of the tensors in the file, by name.

    Raises:
        ValueError: it does not, or describes no possible network.
    """
    config, schema = found.build_config(), found.build_schema()
    try:
        with torch.device("meta"):  # shapes alone
            network = build_network(config.model_copy(update={"weights": "none"}), schema.sizes)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if own != shapes:
        first = next(name for name in [*own, *shapes] if own.get(name) != shapes.get(name))
        raise ValueError(
            f"its tensors are not those of {config.backbone} at {config.image_size} px with {len(schema.sizes)} "
            f"categories: {first} must be {own.get(first, 'absent')}, but is {shapes.get(first, 'absent')}"
        )


def read_description(file: Path) -> ModelDescription:
    """What the header of a saved model tells; its weights are not read.

    Raises:
        CheckpointError: there is none, or it is not a model of this project.
    """
    return read_tensors(file, MODEL_FORMAT, ModelDescription, names=())[1]


def read_score(folder: Path) -> tuple[float, int]:
    """The score, of its own objective, of the model in the folder, and its epoch; its weights are not read.

    Raises:
        CheckpointError: there is none, or it is not a model of this project.
    """
    found = read_description(folder / MODEL_FILE)
    try:
        objective = found.build_config().objective
    except ValueError as error:
        why = " ".join(str(error).split())
        raise CheckpointError(f"{folder / MODEL_FILE} must hold a model of this project, but {why}") from None
    if objective not in found.metrics:
        raise CheckpointError(f"{folder / MODEL_FILE} must tell the score of its epoch, but lacks {objective}")
    return found.metrics[objective], found.epoch
