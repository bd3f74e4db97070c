"""The category weights of a search, under their flat names: `weight_<category>`, one searched parameter each.

Optuna draws them raw, each log-uniformly; their scale means nothing, so all else sees them divided by their mean.
"""

from __future__ import annotations

WEIGHTS = "category_weights"  # the field of `TrainConfig`, and the parameter of a space
WEIGHT_PREFIX = "weight_"
MEAN_TOLERANCE = 1e-9  # of weights that are normalised already: rounding leaves 1e-16


def flatten_weights(weights: dict[str, float]) -> dict[str, float]:
    """Weights by flat name, from weights by category."""
    return {WEIGHT_PREFIX + category: weight for category, weight in weights.items()}


def normalise_weights(weights: dict[str, float]) -> dict[str, float]:
    """Weights divided by their mean; those whose mean is 1 already come back bit for bit, so that twice is once."""
    mean = sum(weights.values()) / max(1, len(weights))
    return weights if abs(mean - 1) < MEAN_TOLERANCE else {name: value / mean for name, value in weights.items()}
