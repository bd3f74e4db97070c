"""How many trials run at once, and what each gets, from what the machine or the cluster has."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CPU_TRIALS = 8  # beyond it, more trials at once make the search blinder than they make it faster
CPUS_PER_GPU_TRIAL = 4
AUTO = "auto"  # in the place of a number of GPUs: see `search.planning.packing`
REQUEST = "`ray.autoscaler.sdk.request_resources(bundles=[{'GPU': 1}])` asks it to"
GPU_PARTS = 10_000  # of a GPU, that Ray counts in
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of NVIDIA, AMD, and either under Windows: none, no GPU


@dataclass(frozen=True)
class Node:
    """A machine of a cluster that trains.

    Attributes:
        address: on the network. id: Ray's name of it.
    """

    address: str
    cpus: int
    gpus: int
    id: str


@dataclass(frozen=True)
class Machine:
    """What there is to run on.

    Attributes:
        nodes: of a cluster; none of a machine alone.
    """

    cpus: int
    gpus: int
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Resources:
    """What a search uses.

    Args:
        concurrent: trials at once.
        cpus_per_trial: CPU cores, also the trial's threads.
        gpus_per_trial: GPUs; a fraction shares one between trials.
    """

    concurrent: int
    cpus_per_trial: int
    gpus_per_trial: float


def detect_machine() -> Machine:
    """The CPU cores this process may use, and the GPUs of this machine."""
    if sys.platform == "linux" and not any(Path(path).exists() for path in GPU_DEVICES):
        return Machine(len(os.sched_getaffinity(0)), 0)
    import torch

    return Machine(len(os.sched_getaffinity(0)), torch.cuda.device_count())


def choose_resources(
    machine: Machine,
    trials: int,
    *,
    concurrent: int | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
) -> Resources:
    """What the user gave, and for the rest: a trial per GPU; without one, all cores shared by up to 8 trials.

    A trial has all that is its own on one machine, and its share of a GPU on one GPU.

    Raises:
        SearchError: a trial asks for more than there is.
    """
    parts: Sequence[Machine | Node] = machine.nodes or (machine,)
    gpus = gpus_per_trial if gpus_per_trial is not None else min(machine.gpus, 1)
    check_fitting(machine, parts, cpus_per_trial or 1, gpus)
    limits = [trials, count_fitting(parts, cpus_per_trial or 1, gpus)]
    if not gpus and not cpus_per_trial:
        limits.append(min(machine.cpus, MAX_CPU_TRIALS))
    at_once = concurrent or max(1, min(limits))
    if cpus_per_trial is None:
        wanted = min(at_once, count_fitting(parts, 1, gpus))
        shares = range(max(part.cpus for part in parts), 0, -1)
        share = next((cpus for cpus in shares if count_fitting(parts, cpus, gpus) >= wanted), 1)
        cpus_per_trial = min(share, CPUS_PER_GPU_TRIAL) if gpus else share
    return Resources(at_once, cpus_per_trial, gpus)


def check_fitting(machine: Machine, parts: Sequence[Machine | Node], cpus: int, gpus: float) -> None:
    """Raises SearchError where no part has what a trial asks for."""
    where = f" on one of the {len(parts)} nodes" if machine.nodes else ""
    remedy = f"give less, or, where a cluster starts its nodes when they are wanted, have it start one first: {REQUEST}"
    for name, wanted, available in (
        ("--cpus-per-trial", cpus, max(part.cpus for part in parts)),
        ("--gpus-per-trial", gpus, max(part.gpus for part in parts)),
    ):
        if wanted > available:
            raise SearchError(f"{name} must be at most what there is{where}, {available}, but got {wanted:g}; {remedy}")
    if not count_fitting(parts, cpus, gpus):
        most = max(part.cpus for part in parts if part.gpus >= gpus)
        raise SearchError(
            f"--cpus-per-trial and --gpus-per-trial must be there together{where}, where {most} cores stand beside "
            f"enough GPUs, but got {cpus} and {gpus:g}; {remedy}"
        )


def count_fitting(parts: Sequence[Machine | Node], cpus: int, gpus: float = 0) -> int:
    """How many trials of so many cores and GPUs fit on these machines."""
    if not gpus:
        return sum(part.cpus // cpus for part in parts)
    return sum(min(part.cpus // cpus, count_places(part.gpus, gpus)) for part in parts)


def count_places(gpus: int, per_trial: float) -> int:
    """How many trials have room on so many GPUs: a share lies on one of them. In ten-thousandths, as Ray counts."""
    parts = max(round(per_trial * GPU_PARTS), 1)
    return gpus * (GPU_PARTS // parts) if per_trial < 1 else gpus * GPU_PARTS // parts
