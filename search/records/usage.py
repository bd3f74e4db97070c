"""What a trial took: seconds, images a second, memory and energy, of all its epochs together."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import harmonic_mean, mean
from typing import TYPE_CHECKING

from fashion_core import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.records.record import TrialRecord

    Row = Mapping[str, float | None]


@dataclass(frozen=True)
class Usage:
    """What a trial took; None where its ledger does not tell.

    Attributes:
        seconds: of training and evaluation.
        images_per_second: in training.
        peak_memory_mib: most that its process had in RAM. peak_gpu_memory_mib: that PyTorch allocated.
        cpu_joules, gpu_joules: its part of the energy of processors and GPUs; of all epochs, or none.
        gpu_busy: share of the time that its GPU worked, for it and for others, as far as that is known.
    """

    seconds: float | None
    images_per_second: float | None
    peak_memory_mib: float | None
    peak_gpu_memory_mib: float | None
    cpu_joules: float | None
    gpu_joules: float | None
    gpu_busy: float | None = None


def measure_usage(trial: TrialRecord) -> Usage:
    """What the epochs of a trial took; one that was trained again counts once."""
    return add_up([row.metrics for row in trial.epochs])


def add_up(rows: Sequence[Row]) -> Usage:
    """What epochs took, by the metrics of each."""
    seconds = read_all(rows, metrics.TRAIN_SECONDS) + read_all(rows, metrics.VAL_SECONDS)
    speeds = [speed for speed in read_all(rows, metrics.IMAGES_PER_SECOND) if speed > 0]
    return Usage(
        sum(seconds) or None,
        harmonic_mean(speeds) if speeds else None,  # every epoch has as many images
        max(read_all(rows, metrics.PEAK_MEMORY), default=None),
        max(read_all(rows, metrics.PEAK_GPU_MEMORY), default=None),
        sum_all(rows, metrics.CPU_JOULES),
        sum_all(rows, metrics.GPU_JOULES),
        mean(busy) if (busy := read_all(rows, metrics.GPU_BUSY)) else None,
    )


def read_all(rows: Sequence[Row], name: str) -> list[float]:
    """A metric of all epochs that have it."""
    return [value for row in rows if (value := row.get(name)) is not None]


def sum_all(rows: Sequence[Row], name: str) -> float | None:
    """The sum of a metric over all epochs; None where one lacks it."""
    found = read_all(rows, name)
    return sum(found) if found and len(found) == len(rows) else None
