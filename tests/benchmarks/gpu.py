"""On a GPU: images a second of `fit`, the time of the report's grid, training processes that share the GPU.

python tests/benchmarks/gpu.py              # some ten minutes on a GPU; table on the screen, numbers in a CSV
python tests/benchmarks/gpu.py --tiny       # a look at whether it runs, on the CPU too; its numbers mean nothing

Needs torch, timm, pyarrow and pydantic; no Ray, Optuna or MLflow. Backbones start at random and photographs are drawn,
for no speed depends on either. An image counts from the mapped file to the optimizer's step.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from fashion_core import metrics  # noqa: E402
from fashion_core.config import TrainConfig  # noqa: E402
from fashion_core.data.annotations import load_annotations  # noqa: E402
from fashion_core.data.pixels import PrepareSettings  # noqa: E402
from fashion_core.data.prepared import PreparedData, prepare  # noqa: E402
from fashion_core.samples.dataset import draw_sample_data  # noqa: E402
from fashion_core.training.loop import EpochResult, fit  # noqa: E402

RESNETS = ("resnet50", "legacy_seresnet50", "legacy_seresnext50_32x4d")
LITES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
GRID_FC_LAYERS, GRID_EPOCHS = (0, 2, 4), 29  # Table 2 of the report
PROCESSES = (1, 2, 4)
COLUMNS = ("date", "device", "torch", "case", "measure", "value")


@dataclass(frozen=True)
class Workload:
    """What is measured.

    Args:
        epochs: of each `fit`; the first, with its choice of kernels, does not count.
        distinct: photographs drawn; they repeat up to `train` images.
    """

    device: str = "cuda"
    backbones: tuple[str, ...] = RESNETS + LITES
    grid_backbones: tuple[str, ...] = RESNETS
    image_size: int = 224
    batch_size: int = 256
    train: int = 5000
    val: int = 500
    distinct: int = 1000
    epochs: int = 3


TINY = Workload("cpu", ("test_resnet",), ("test_resnet",), image_size=32, batch_size=8, train=32, val=8, distinct=16)


def build_config(workload: Workload, backbone: str, **values: Any) -> TrainConfig:
    return TrainConfig(
        backbone=backbone,
        weights="none",
        image_size=workload.image_size,
        batch_size=workload.batch_size,
        epochs=workload.epochs,
        eval_flip=False,
        **values,
    )


def open_data(workload: Workload, folder: Path) -> PreparedData:
    """Drawn photographs, prepared. Made by the first process that asks for them."""
    drawn = draw_sample_data(folder / "drawn", train=workload.distinct, val=workload.val, test=1)
    settings = PrepareSettings(workload.image_size)
    return prepare(load_annotations(drawn), settings, folder / "prepared")


def train(workload: Workload, config: TrainConfig, data: PreparedData) -> list[EpochResult]:
    """The epochs that count."""
    indices = np.resize(data.indices("train"), workload.train)
    return list(fit(config, data, train=indices, val=data.indices("val"), device=workload.device))[1:]


def compute_speed(results: list[EpochResult]) -> float:
    """Images a second, evaluation left out: the median epoch's."""
    return median(result.metrics[metrics.IMAGES_PER_SECOND] for result in results)


def compute_epoch_seconds(results: list[EpochResult]) -> float:
    """Seconds of an epoch with its evaluation: the median."""
    return median(result.metrics[metrics.TRAIN_SECONDS] + result.metrics[metrics.VAL_SECONDS] for result in results)


def count_waits(workload: Workload, data: PreparedData) -> float:
    """How often a step makes the host wait for the GPU: 0 where it runs ahead.

    PyTorch warns of every wait; those of an epoch's ends fall out in the difference of a long epoch and a short one.
    """
    counts = []
    for steps in (2, 6):
        part = replace(workload, train=steps * workload.batch_size, epochs=2)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                train(part, build_config(part, workload.backbones[0]), data)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchron" in str(warning.message) for warning in caught))
    return (counts[1] - counts[0]) / (2 * (6 - 2))


def train_beside_others(workload: Workload, folder: Path, start: Any, threads: int) -> float:
    """One of several processes on one GPU: images a second once all of them are ready."""
    torch.set_num_threads(threads)
    config, data = build_config(workload, workload.grid_backbones[0]), open_data(workload, folder)
    start.wait()
    return compute_speed(train(workload, config, data))


def measure_processes(workload: Workload, folder: Path, count: int) -> float:
    """Images a second of `count` training processes together."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(count) as pool:
        threads = max(1, len(os.sched_getaffinity(0)) // count)
        arguments = [(workload, folder, manager.Barrier(count), threads)] * count
        return sum(pool.starmap(train_beside_others, arguments, chunksize=1))


def measure(workload: Workload, folder: Path) -> list[tuple[str, str, float]]:
    """(case, measure, value) of everything, told as it comes."""
    rows: list[tuple[str, str, float]] = []

    def note(case: str, measure: str, value: float) -> None:
        rows.append((case, measure, value))
        print(f"| {case} | {measure} | {value:,.4g} |", flush=True)

    print("| | | |\n| --- | --- | --- |")
    data = open_data(workload, folder)
    if workload.device == "cuda":
        note(workload.backbones[0], "waits for the GPU a step", count_waits(workload, data))
    for backbone in workload.backbones:
        note(backbone, "images/s", compute_speed(train(workload, build_config(workload, backbone), data)))
    grid_seconds = 0.0
    for backbone in workload.grid_backbones:
        for fc_layers in GRID_FC_LAYERS:
            config = build_config(workload, backbone, feature="logits", fc_layers=fc_layers)
            seconds = compute_epoch_seconds(train(workload, config, data))
            note(f"{backbone}, {fc_layers} FC layers", "s an epoch with evaluation", seconds)
            grid_seconds += GRID_EPOCHS * seconds
    note("the grid of the report's Table 2", f"minutes, as {GRID_EPOCHS} such epochs each", grid_seconds / 60)
    for count in PROCESSES:
        case = f"{workload.grid_backbones[0]}, {count} {'process' if count == 1 else 'processes'}"
        note(case, "images/s together", measure_processes(workload, folder, count))
    return rows


def write_csv(path: Path, rows: list[tuple[str, str, float]], device: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for case, name, value in rows:
            writer.writerow([time.strftime("%Y-%m-%d"), device, torch.__version__, case, name, repr(value)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a workload of seconds, on the CPU; writes no numbers")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "results" / "benchmarks" / "gpu.csv")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        sys.exit(
            f"this benchmark needs a GPU that PyTorch can use, but torch {torch.__version__} finds none; "
            "run it on a machine with one, or try it with --tiny"
        )
    with tempfile.TemporaryDirectory(prefix="bench-gpu-", ignore_cleanup_errors=True) as name:
        rows = measure(TINY if options.tiny else Workload(), Path(name))
    if not options.tiny:
        device = torch.cuda.get_device_name()
        write_csv(options.out, rows, device)
        print(f"{device}; raw numbers: {options.out}")


if __name__ == "__main__":
    main()
