"""Learning curves of many configurations, several trainings at once on one GPU, one line of JSON a training.

python tests/benchmarks/record_curves.py --data DIR --configurations FILE.json --out curves.jsonl --processes 12

A search can be studied on what this writes without training again. Every epoch has all metrics of `fit` and, bit by
bit, which image was answered right in which category; the last epoch has its log-probabilities. Images are held out of
train as `--select-on heldout` does it; val is not opened unless `--score val` asks for that.

A run that is recorded already is skipped, one that fails is recorded and costs itself alone, and none is started that
cannot end in `--seconds`. Needs `fashion_core` alone: each process is a plain one, with its share of the GPU's memory.

The list, most important first: {"runs": [{"name", "group", "config", "early"}]}; `config` has fields of TrainConfig,
`early` is null or {"epochs", "image_size"}: the first epochs train at that size, and only they.
N images, K categories, C classes of all categories together.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from fashion_core import metrics  # noqa: E402
from fashion_core.config import TrainConfig, build_config  # noqa: E402
from fashion_core.data.annotations import load_annotations  # noqa: E402
from fashion_core.data.pixels import PrepareSettings, build_settings  # noqa: E402
from fashion_core.data.prepared import PreparedData, prepare_all  # noqa: E402
from fashion_core.data.splits import select_images  # noqa: E402
from fashion_core.errors import ConfigError, DataError  # noqa: E402
from fashion_core.hardware.allocator import keep_freed_memory  # noqa: E402
from fashion_core.hardware.gpu_memory import limit_gpu_memory  # noqa: E402
from fashion_core.hardware.precision import choose_precision  # noqa: E402
from fashion_core.loading.batches import BatchSource  # noqa: E402
from fashion_core.training.loop import EpochResult, check_inputs, run_epoch  # noqa: E402
from fashion_core.training.state import build_state  # noqa: E402

SELECTION_SEED = 0  # the default of a search's --seed
ESTIMATE_MARGIN = 1.15  # a run may take this many times what the epochs so far say
START_SECONDS = 2.0  # of a run: its images onto the GPU, its network, the first choice of kernels
GRACE_SECONDS = 5.0  # after the last second, for a run to see that it is cut
MIN_PROBABILITY = 1e-7  # below it, a logarithm says more than a float16 average can hold


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        name: unique in the list.
        early: (epochs, image_size in pixels) of the first epochs; None: all at the configuration's own size.
    """

    name: str
    group: str
    config: TrainConfig
    early: tuple[int, int] | None = None

    def settings_at(self, epoch: int) -> PrepareSettings:
        """How the images of a 0-based epoch are prepared."""
        return build_settings(self.config_at(epoch))

    def describe_shapes(self) -> tuple[object, ...]:
        """What a GPU's kernels are chosen for, anew in each process."""
        return self.config.backbone, self.config.image_size, self.config.batch_size, self.config.early_share, self.early

    def config_at(self, epoch: int) -> TrainConfig:
        """The configuration with the image size of a 0-based epoch."""
        if self.early is None or epoch >= self.early[0]:
            return self.config
        return self.config.model_copy(update={"image_size": self.early[1]})


@dataclass(frozen=True)
class Place:
    """What all runs share. Travels to the processes.

    Args:
        prepared: path of the prepared data by how it was prepared.
        train, select: int64 positions in the prepared data.
        score_on: `heldout` or `val`.
        device: cuda or cpu.
        share: of the GPU's memory that a process keeps to.
        threads: CPU threads of a process.
        deadline: unix seconds at which a run is cut.
    """

    prepared: dict[PrepareSettings, str]
    train: np.ndarray
    select: np.ndarray
    score_on: str
    device: str
    share: float
    threads: int
    deadline: float


@dataclass
class Clock:
    """Seconds an epoch, as the finished epochs had them, by backbone and image size."""

    seen: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, record: dict[str, Any]) -> None:
        """Learn from a record. Its first epoch counts too: each run has one."""
        for epoch in record["epochs"]:
            self.seen[record["config"]["backbone"], epoch["image_size"]].append(epoch["seconds"])

    def estimate(self, run: Run) -> float:
        """Seconds that a run will take; 0 while nothing is known."""
        if not self.seen:
            return 0.0
        seconds = sum(self.estimate_epoch(run.config_at(epoch)) for epoch in range(run.config.epochs))
        return ESTIMATE_MARGIN * seconds + START_SECONDS

    def estimate_epoch(self, config: TrainConfig) -> float:
        """Seconds of one epoch; of a backbone or size not seen yet, the slowest known one's by number of pixels."""
        key = (config.backbone, config.image_size)
        if key in self.seen:
            return median(self.seen[key])
        return max(median(values) * (config.image_size / size) ** 2 for (_, size), values in self.seen.items())


# --------------------------------------------------------------------------------------------------- in a process


def train_run(run: Run, place: Place) -> Iterator[EpochResult]:
    """As `fit` trains, an epoch's images at that epoch's size. Raises what `fit` raises."""
    device = torch.device(place.device)
    opened = {each: PreparedData.open(Path(path)) for each, path in place.prepared.items()}
    final = opened[run.settings_at(run.config.epochs)]
    check_inputs(run.config, final, place.train, place.select)
    if run.config.probe_epochs:
        raise ConfigError("`probe_epochs` must be 0 in a recorded run, but are not; train the whole network")
    if device.type == "cpu":
        keep_freed_memory()
    state = build_state(run.config, final, place.train, device)
    settings, sources = None, []
    while state.epoch < run.config.epochs:
        if (wanted := run.settings_at(state.epoch)) != settings:
            settings, sources = wanted, []  # let go of the smaller images before the larger ones come
            for images in (place.train, place.select):
                sources.append(BatchSource(opened[wanted], images, device, channels_last=run.config.channels_last))
        yield run_epoch(state, *sources)


def record_run(run: Run, place: Place) -> tuple[dict[str, Any], bytes]:
    """One run as a record, and the log-probabilities of its last epoch: float16, K arrays [N, C_i] end to end."""
    started = time.time()
    record: dict[str, Any] = {
        "name": run.name,
        "group": run.group,
        "status": "finished",
        "error": None,
        "config": run.config.model_dump(mode="json"),
        "early": run.early,
        "score_on": place.score_on,
        "device": torch.cuda.get_device_name() if place.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "precision": choose_precision(torch.device(place.device))
        if run.config.precision == "auto"
        else run.config.precision,
        "started": started,
        "epochs": [],
    }
    logits = b""
    try:
        begun = time.monotonic()
        for result in train_run(run, place):
            ended = time.monotonic()
            epoch = {
                "epoch": result.epoch,
                "image_size": run.config_at(result.epoch - 1).image_size,
                "seconds": ended - begun,
                "metrics": result.metrics,
                "correct": pack_correct(result.correct),
            }
            record["epochs"].append(epoch)
            is_last = result.epoch == run.config.epochs
            if is_last:
                values = [np.log(np.maximum(p, MIN_PROBABILITY)).astype(np.float16) for p in result.probabilities]
                logits = b"".join(value.tobytes() for value in values)
            elif time.time() + epoch["seconds"] > place.deadline + GRACE_SECONDS:
                record["status"] = "cut"
                break
            begun = ended
    except Exception as error:  # a run that fails costs that run and nothing else
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        print(f"{run.name} failed:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    if place.device == "cuda":
        record["peak_bytes"] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    record["seconds"] = time.time() - started
    return record, logits


def pack_correct(correct: np.ndarray) -> str:
    """[N, K] as text, in the way of `search.records.ledger.pack_correct`: a bit an answer, and where labels are missing
    a bit a label, in base64."""
    bits = np.packbits(correct == 1).tobytes()
    if metrics.has_missing(correct):
        bits += np.packbits(~np.isnan(correct)).tobytes()
    return base64.b64encode(bits).decode()


def unpack_correct(text: str, images: int, categories: int) -> np.ndarray:
    """What `pack_correct` took, [N, K] of N images and K categories."""
    packed, size = np.frombuffer(base64.b64decode(text), np.uint8), (images * categories + 7) // 8
    parts = [packed[:size]] if len(packed) <= size else [packed[:size], packed[size:]]
    correct, *labelled = (
        np.unpackbits(part, count=images * categories).reshape(images, categories).astype(bool) for part in parts
    )
    return np.where(labelled[0], correct, np.nan) if labelled else correct


def read_logits(record: dict[str, Any], path: Path, sizes: Sequence[int]) -> list[np.ndarray]:
    """The log-probabilities of a record's last epoch: K arrays [N, C_i] float16. sizes: C_i of each category."""
    place = record["logits"]
    values = np.fromfile(path, np.float16, place["bytes"] // 2, offset=place["offset"])
    images = len(values) // sum(sizes)
    ends = np.cumsum([images * size for size in sizes])[:-1]
    return [part.reshape(images, -1) for part in np.split(values, ends)]


def work(connection: Any, place: Place) -> None:
    """Records the runs that come, until None does."""
    torch.set_num_threads(place.threads)
    limit_gpu_memory(place.share)
    while (run := connection.recv()) is not None:
        connection.send(record_run(run, place))
        gc.collect()
        if place.device == "cuda":
            torch.cuda.empty_cache()


# ------------------------------------------------------------------------------------------------ beside all of them


def choose_context(device: str) -> Any:
    """How processes start on a device: anew for a GPU; on a CPU as copies of one that has imported what takes long."""
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["timm", "fashion_core.training.loop"])
    return context


class Worker:
    """A process that records runs, and the run that it has."""

    def __init__(self, place: Place) -> None:
        context = choose_context(place.device)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, place), daemon=True)
        self.process.start()
        theirs.close()
        self.run: Run | None = None
        self.seen: set[tuple[object, ...]] = set()

    def begin(self, run: Run) -> None:
        self.run = run
        self.seen.add(run.describe_shapes())
        self.connection.send(run)

    def stop(self) -> None:
        """End the process, and what it is doing."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class Recorder:
    """The two files of a recording: a line of JSON a run, and the log-probabilities end to end.

    Args:
        out: of the lines; the log-probabilities stand beside it in a file that ends in `.f16`.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.values = out, out.with_suffix(".f16")
        out.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> list[dict[str, Any]]:
        """The records so far. A last line that was cut off does not count."""
        if not self.out.exists():
            return []
        records = []
        for line in self.out.read_text().split("\n")[:-1]:  # what follows the last line's end was cut off
            try:
                records.append(json.loads(line))
            except ValueError:  # cut off, and written on by a later recording
                continue
        return [record for record in records if "name" in record]

    def write_heading(self, heading: dict[str, Any]) -> None:
        self.append_line(heading)

    def write(self, record: dict[str, Any], logits: bytes) -> None:
        """The values first: a line never tells of some that are not there."""
        if logits:
            with self.values.open("ab") as file:
                record["logits"] = {"offset": file.tell(), "bytes": len(logits)}
                file.write(logits)
        self.append_line(record)

    def append_line(self, content: dict[str, Any]) -> None:
        with self.out.open("a") as file:
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(file.fileno())


def record_all(
    runs: Sequence[Run],
    place: Place,
    out: Path,
    *,
    processes: int,
    told: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, int]:
    """Record the runs that are not recorded yet, in their order, several at once.

    Args:
        told: called with every record as it comes.

    Returns:
        How many runs ended in each way; `left` were not started.
    """
    recorder, clock = Recorder(out), Clock()
    known = [record for record in recorder.read() if record["status"] == "finished"]
    check_known(runs, known)
    for record in known:
        clock.note(record)
    done = {record["name"] for record in known}
    waiting = [run for run in runs if run.name not in done]
    counts = {"known": len(runs) - len(waiting), "finished": 0, "cut": 0, "failed": 0, "died": 0, "left": 0}
    recorder.write_heading(describe_place(place, processes))

    def note(record: dict[str, Any], logits: bytes = b"") -> None:
        recorder.write(record, logits)
        clock.note(record)
        counts[record["status"]] += 1
        told(record)

    workers = [Worker(place) for _ in range(min(processes, len(waiting)))]
    try:
        while True:
            for worker in workers:
                if (
                    worker.run is None
                    and (chosen := choose_run(waiting, clock, place.deadline, worker.seen)) is not None
                ):
                    waiting.remove(chosen)
                    worker.begin(chosen)
            busy = [worker for worker in workers if worker.run is not None]
            patience = place.deadline + 2 * GRACE_SECONDS - time.time()
            if not busy or patience <= 0:
                break
            ready = wait([worker.connection for worker in busy], timeout=patience)
            for worker in busy:
                if worker.connection not in ready or worker.run is None:
                    continue
                try:
                    note(*worker.connection.recv())
                    worker.run = None
                except (EOFError, OSError):  # the process died
                    worker.process.join()
                    note(describe_death(worker.run, f"the process ended with {worker.process.exitcode}"))
                    worker.stop()
                    workers[workers.index(worker)] = Worker(place)
        for worker in workers:
            if worker.run is not None:
                note(describe_death(worker.run, "the time was up"))
    finally:
        for worker in workers:
            worker.stop()
    counts["left"] = len(waiting)
    return counts


def choose_run(
    waiting: Sequence[Run], clock: Clock, deadline: float, seen: Collection[tuple[object, ...]] = ()
) -> Run | None:
    """The first run that can end in time, those for whose shapes a process has kernels before others; None: none can.

    seen: shapes that the process had; choosing kernels takes it 15 to 35 s.
    """
    left = deadline - time.time()
    can_end = [run for run in waiting if clock.estimate(run) < left] if left > 0 else []
    return next((run for run in can_end if run.describe_shapes() in seen), next(iter(can_end), None))


def check_known(runs: Sequence[Run], known: Sequence[dict[str, Any]]) -> None:
    """Raise ConfigError where a recorded run has the name of another one."""
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ConfigError("the names of runs must differ, but one stands twice in the list; rename it")
    recorded = {record["name"]: record["config"] for record in known}
    for run in runs:
        if run.name in recorded and recorded[run.name] != run.config.model_dump(mode="json"):
            raise ConfigError(
                f"a recorded run must have the configuration of its name, but {run.name} was recorded with another; "
                "rename it, or record to another file"
            )


def describe_place(place: Place, processes: int) -> dict[str, Any]:
    """The heading of a recording: which images are scored, in which order. Their labels stand in the data alone."""
    data = PreparedData.open(Path(next(iter(place.prepared.values()))))
    return {
        "score_on": place.score_on,
        "processes": processes,
        "categories": data.schema.to_dict(),
        "train_images": len(place.train),
        "images": [data.names[index] for index in place.select],
    }


def describe_death(run: Run, error: str) -> dict[str, Any]:
    """The record of a run whose process is gone."""
    config = run.config.model_dump(mode="json")
    return {"name": run.name, "group": run.group, "status": "died", "error": error, "config": config, "epochs": []}


def load_runs(path: Path) -> list[Run]:
    """The runs of a list.

    Raises:
        ConfigError: a configuration is impossible.
    """
    runs = []
    for each in json.loads(path.read_text())["runs"]:
        early = each.get("early")
        runs.append(
            Run(
                each["name"],
                each["group"],
                build_config(each["config"]),
                (early["epochs"], early["image_size"]) if early else None,
            )
        )
    return runs


def list_settings(runs: Sequence[Run]) -> list[PrepareSettings]:
    """All ways in which the runs want their images prepared."""
    found = [run.settings_at(epoch) for run in runs for epoch in range(run.config.epochs)]
    return list(dict.fromkeys(found))


def build_place(
    runs: Sequence[Run],
    data: Path,
    cache: Path,
    *,
    score_on: str = "heldout",
    selection: Path | None = None,
    device: str,
    processes: int,
    deadline: float,
) -> Place:
    """Prepares the images, and chooses those to train and to score on.

    Args:
        selection: .npz of `train` and `select`, as a search keeps it; None: chosen anew.

    Raises:
        DataError: the images, or the selection, do not go with the data.
    """
    settings = list_settings(runs)
    prepared = prepare_all(load_annotations(data), settings, cache)
    first = prepared[settings[0]]
    if selection is None:
        chosen = select_images(first, "val" if score_on == "val" else "heldout", SELECTION_SEED)
        train, select = chosen.train, chosen.select
    else:
        with np.load(selection, allow_pickle=False) as arrays:
            train, select = arrays["train"], arrays["select"]
        positions = np.concatenate([train, select])
        if positions.max() >= len(first) or set(first.splits[positions]) != {"train"} or score_on != "heldout":
            raise DataError(
                f"a selection must hold images of train alone, but {selection.name} has others, or the score is on "
                f"{score_on}; leave the selection out"
            )
    cores = len(os.sched_getaffinity(0))
    threads = 1 if device == "cuda" else max(1, cores // processes)
    paths = {each: str(data.path) for each, data in prepared.items()}
    return Place(paths, train, select, score_on, device, 1 / processes, threads, deadline)


def tell(record: dict[str, Any]) -> None:
    """A line on the screen of a run that ended."""
    scores = " ".join(f"{epoch['metrics'][metrics.ACCURACY]:.4f}" for epoch in record["epochs"])
    print(
        f"{record['status']} {record['name']} {record.get('seconds', 0):.1f} s: {scores or record['error']}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--configurations", type=Path, required=True, nargs="+", help="lists, the first one first")
    parser.add_argument("--data", type=Path, required=True, help="folder in the challenge's layout")
    parser.add_argument("--out", type=Path, required=True, help=".jsonl; what it holds is not trained again")
    parser.add_argument("--processes", type=int, default=8, help="trainings at once")
    parser.add_argument("--seconds", type=float, default=600, help="for all of it, preparation too")
    parser.add_argument("--score", choices=("heldout", "val"), default="heldout", help="val: train on all of train")
    parser.add_argument("--selection", type=Path, help=".npz of a search, of images to train and select on")
    parser.add_argument("--cache", type=Path, help="for prepared images; default: a folder that goes at the end")
    options = parser.parse_args()
    deadline = time.time() + options.seconds - 2 * GRACE_SECONDS
    runs = [run for path in options.configurations for run in load_runs(path)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory(prefix="record-", ignore_cleanup_errors=True) as name:
        place = build_place(
            runs,
            options.data,
            options.cache or Path(name),
            score_on=options.score,
            selection=options.selection,
            device=device,
            processes=options.processes,
            deadline=deadline,
        )
        print(f"{len(runs)} runs, prepared with {deadline - time.time():.0f} s left", flush=True)
        counts = record_all(runs, place, options.out, processes=options.processes, told=tell)
    print(", ".join(f"{count} {state}" for state, count in counts.items()))


if __name__ == "__main__":
    main()
