"""Temperatures, one a category: they make a model's probabilities mean what they say, and change no answer.

`search.statistics.calibration` fits them; a folder that holds a saved model keeps them beside it, in
`temperatures.json`, by the category's name. N images, K categories, C classes of one category.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.errors import CheckpointError

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
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        temperatures = tuple(float(values[name]) for name in schema.names)
        if len(values) == len(temperatures) and all(math.isfinite(value) and value > 0 for value in temperatures):
            return temperatures
        reason = f"it holds {values}"
    except (ValueError, KeyError, TypeError) as error:
        reason = repr(error)
    raise CheckpointError(
        f"{path} must hold a positive number for each of {', '.join(schema.names)}, but: {reason}; remove it for "
        "answers as the model gives them"
    )
