"""How many trials share a GPU, chosen from what each would take of its memory."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fashion_core.config import TrainConfig, build_config
from fashion_core.hardware.device import check_gpus, name_build
from fashion_core.hardware.gpu_memory import CONTEXT_BYTES
from fashion_core.training.memory import measure_peak

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.planning.resources import Machine
    from search.space.space import Space

    MeasureLoads = Callable[[Sequence[TrainConfig], AttributeSchema], Sequence["GpuLoads"]]

MARGIN = 0.15  # of a GPU's memory that stays free: fragments, and kernels that are chosen later
MAX_PACKED = 8  # trials on a GPU: more were never measured
# Fields that decide about memory: by all their values together, and by their largest.
DECIDING = (
    "backbone",
    "image_size",
    "feature",
    "pooling",
    "fc_layers",
    "probe_epochs",
    "optimizer",
    "precision",
    "channels_last",
)
LARGEST = ("batch_size", "eval_batch_size")
LARGEST_TUNED = ("ema_decay", "sam_rho", "mixup", "crop_strength", "jitter", "erasing")  # that a probe has no use for


@dataclass(frozen=True)
class Load:
    """What a training takes of a GPU.

    Args:
        name: in words: the backbone, at which size and batch.
        peak: bytes with CUDA's own; None: it has not enough.
    """

    name: str
    peak: int | None


@dataclass(frozen=True)
class GpuLoads:
    """Loads of one kind of GPU.

    Args:
        gpu: its name.
        total: bytes of its memory.
        has_mps: NVIDIA's Multi-Process Service runs there, and processes that share a GPU use it.
    """

    gpu: str
    total: int
    loads: tuple[Load, ...]
    has_mps: bool = False


@dataclass(frozen=True)
class Packing:
    """How many trials share a GPU, and why.

    Args:
        count: trials on a GPU.
        words: what was measured.
    """

    count: int
    words: str

    @property
    def share(self) -> float:
        """GPUs of one trial, rounded down as Ray counts: to ten-thousandths."""
        return 1.0 if self.count == 1 else math.floor(10_000 / self.count) / 10_000


def list_heaviest(space: Space) -> list[TrainConfig]:
    """The training of each backbone that takes most of a GPU, of those that the space can draw."""
    sizes = {name: space.find_largest(name) for name in LARGEST}
    tuned = {name: space.find_largest(name) for name in LARGEST_TUNED}
    found: dict[str, list[TrainConfig]] = {}
    for values in space.list_settings(*DECIDING):
        chosen = {**dict(zip(DECIDING, values, strict=True)), **sizes, "epochs": space.scheduler.max_epochs}
        is_probe = chosen["probe_epochs"] >= chosen["epochs"]
        config = build_config(chosen | ({} if is_probe else tuned))
        found.setdefault(config.backbone, []).append(config)
    return [max(configs, key=rank_weight) for configs in found.values()]


def rank_weight(config: TrainConfig) -> tuple[object, ...]:
    """Orders trainings of one backbone by what they take: what counts most comes first."""
    return (
        not config.is_probe,
        config.image_size,
        config.precision == "fp32",
        not config.channels_last,
        config.pooling == "attention",
        config.fc_layers,
        config.optimizer != "sgd",
    )


def name_load(config: TrainConfig) -> str:
    """`resnet50 at 224 px, batch 64`."""
    batch = config.eval_batch_size if config.is_probe else config.batch_size
    return f"{config.backbone} at {config.image_size} px, batch {batch}"


def measure_loads(configs: Sequence[TrainConfig], schema: AttributeSchema) -> GpuLoads:
    """What trainings take of the first GPU that this process sees; see `measure_peak`.

    Raises:
        ConfigError: it sees none.
    """
    check_gpus(1, name_build(), sees=torch.cuda.is_available())
    device = torch.device("cuda", 0)
    total = torch.cuda.get_device_properties(device).total_memory
    loads = []
    for config in configs:
        peak = measure_peak(config, schema, device)
        loads.append(Load(name_load(config), None if peak is None else peak + CONTEXT_BYTES))
    return GpuLoads(torch.cuda.get_device_name(device), total, tuple(loads), find_mps())


def find_mps() -> bool:
    """Whether NVIDIA's Multi-Process Service, which an administrator starts, runs here: its daemon keeps a pipe."""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps") / "control").exists()


def choose_packing(kinds: Sequence[GpuLoads], machine: Machine, trials: int, cpus_per_trial: int = 1) -> Packing:
    """As many trials on each GPU as fit with a margin, whichever of them come, and on whichever GPU.

    Args:
        kinds: what trainings take, of each kind of GPU that there is.
        trials: how many there will be.
        cpus_per_trial: the fewest that one may have. A node without so many holds no trial, and has no say.
    """
    parts = [part for part in machine.nodes or (machine,) if part.gpus and part.cpus >= cpus_per_trial]
    cores = min((part.cpus // (part.gpus * cpus_per_trial) for part in parts), default=1)
    gpus = sum(part.gpus for part in parts) or machine.gpus
    counts, words = [MAX_PACKED, max(1, cores), math.ceil(trials / gpus)], []
    for kind in kinds:
        heaviest = max(kind.loads, key=lambda load: math.inf if load.peak is None else load.peak)
        if heaviest.peak is None:
            counts.append(1)
            words.append(f"{heaviest.name} does not fit on a {kind.gpu} with {format_gib(kind.total)}")
            continue
        counts.append(max(1, int(kind.total * (1 - MARGIN) / heaviest.peak)))
        words.append(
            f"{heaviest.name} takes {format_gib(heaviest.peak)} of the {format_gib(kind.total)} of a {kind.gpu}"
            + (", shared by MPS" if kind.has_mps else "")
        )
    return Packing(min(counts), "; ".join(words))


def format_gib(count: int) -> str:
    """Bytes in GiB."""
    return f"{count / 2**30:.1f} GiB"


def settle_gpus(
    given: float | str | None,
    machine: Machine,
    trials: int,
    cpus_per_trial: int | None,
    measure: Callable[[], Sequence[GpuLoads]] | None,
) -> tuple[float | None, Packing | None]:
    """GPUs of one trial, None where the machine is to say; and how many share one, where that was measured.

    Args:
        given: what a person asked for. cpus_per_trial: the same.
        measure: gives what trainings take, of each kind of GPU; called where as many as fit are to share one. None: it
            cannot be measured, and none share.
    """
    if not isinstance(given, str):
        return given, None
    if not machine.gpus or measure is None:
        return None, None
    packing = choose_packing(measure(), machine, trials, cpus_per_trial or 1)
    return packing.share, packing
