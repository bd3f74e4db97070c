"""Temperatures, one a category: they make a model's probabilities mean what they say, and change no answer.

`search.statistics.calibration` fits them; a folder that holds a saved model keeps them beside it, in
`temperatures.json`, by the category's name. N images, K categories, C classes of one category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.errors import CheckpointError
from fashion_core.files import build_damage, read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fashion_core.data.schema import AttributeSchema

TEMPERATURES_FILE = "temperatures.json"
SMALLEST = 1e-12  # stands for a probability of 0, whose logarithm there is not


def apply_temperatures(probabilities: Sequence[np.ndarray], temperatures: Sequence[float]) -> list[np.ndarray]:
    """Probabilities of the same order, more or less sure: p^(1/T), of sum 1. K arrays [..., C_i] float64."""
    return [
        divide_logits(np.log(np.maximum(np.asarray(values, np.float64), SMALLEST)), temperature)
        for values, temperature in zip(probabilities, temperatures, strict=True)
    ]


def divide_logits(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / T), [..., C]."""
    scaled: np.ndarray = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    scaled /= scaled.sum(-1, keepdims=True)
    return scaled


def load_temperatures(model: Path, schema: AttributeSchema) -> tuple[float, ...] | None:
    """Temperatures that stand beside a saved model, K in the order of its categories; None where there are none.

    Args:
        model: its file, or the folder that holds it.

    Raises:
        CheckpointError: they are not a positive number for each of the model's categories.
    """
    path = (model if model.is_dir() else model.parent) / TEMPERATURES_FILE
    if not path.exists():
        return None
    what, remedy = (
        f"hold a positive number for each of {', '.join(schema.names)}",
        "remove it for answers as the model gives",
    )
    values = read_json(path, dict[str, float], what, remedy, CheckpointError)
    if values.keys() != set(schema.names) or not all(SMALLEST <= value <= 1 / SMALLEST for value in values.values()):
        raise build_damage(path, what, remedy, CheckpointError, f"it holds {values}")
    return tuple(values[name] for name in schema.names)
