"""How long a model takes to answer, measured so that it repeats."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from fashion_core.models.cost import COST_IMAGES, Cost
from fashion_core.models.ensemble import Saved, as_ensemble
from fashion_core.models.forward import predict_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from fashion_core.data.pixels import PrepareSettings

MIN_ROUNDS, COST_SECONDS = 3, 10.0  # where a network takes long, fewer will do
COST_ROUNDS, COST_REPEATS = 5, 3  # batches of a round


def measure_cost(saved: Saved, images: Mapping[PrepareSettings, np.ndarray]) -> Cost:
    """Parameters, and milliseconds an image on this machine, with all threads.

    The fastest batch counts, since other work on the machine only adds to it; the spread is to the median of the
    rounds' fastest.

    Args:
        images: [COST_IMAGES, S, S, 3] uint8, by how they were prepared; each of the ensemble's `views`.
    """
    predict_views(saved, images)  # warms up
    rounds: list[float] = []
    started = time.perf_counter()
    while len(rounds) < (MIN_ROUNDS if time.perf_counter() - started > COST_SECONDS else COST_ROUNDS):
        rounds.append(1000 * min(time_once(saved, images) for _ in range(COST_REPEATS)) / COST_IMAGES)
    members = as_ensemble(saved).members
    count = sum(tensor.numel() for member in members for tensor in member.network.parameters())
    return Cost(count, min(rounds), statistics.median(rounds) - min(rounds))


def time_once(saved: Saved, images: Mapping[PrepareSettings, np.ndarray]) -> float:
    """Seconds of one batch."""
    started = time.perf_counter()
    predict_views(saved, images)
    return time.perf_counter() - started
