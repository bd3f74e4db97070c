"""Everything that needs a GPU, in one command of at most eight minutes, most important first.

python tests/benchmarks/gpu_all.py --data DIR     # DIR in the challenge's layout, of real photographs
python tests/benchmarks/gpu_all.py                # drawn photographs; nothing is fine-tuned
python tests/benchmarks/gpu_all.py --tiny         # the same code in half a minute on a CPU; its numbers mean nothing

Each step is a process of its own, killed at its limit (with `--tiny` they are calls, without one), and writes each
figure into the JSON file as soon as it is measured: what comes later can lose nothing. Needs torch, timm, pyarrow,
pydantic and safetensors (the tests: pytest and hypothesis); no Ray, Optuna or MLflow: trials that share the GPU are
plain processes with the product's memory shares.

| step | what |
| --- | --- |
| tests | the tests that are skipped where there is no GPU |
| speed | images a second of `fit` by backbone; how often a step makes the host wait |
| packed | trials that share the GPU: images a second of all together |
| shares | a trial that wants more than its share of the memory fails alone |
| tuning | small networks fine-tuned on the photographs, several at once: validation accuracy by epoch |
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).resolve().parent)]

from record_curves import GRACE_SECONDS as CUT_SECONDS  # noqa: E402
from record_curves import Run, build_place, choose_context, record_all, tell  # noqa: E402

from fashion_core import metrics  # noqa: E402
from fashion_core.config import TrainConfig  # noqa: E402
from fashion_core.data.annotations import load_annotations  # noqa: E402
from fashion_core.data.pixels import PrepareSettings  # noqa: E402
from fashion_core.data.prepared import PreparedData, prepare, prepare_all  # noqa: E402
from fashion_core.hardware.gpu_memory import limit_gpu_memory  # noqa: E402
from fashion_core.samples.dataset import draw_sample_data  # noqa: E402
from fashion_core.training.loop import EpochResult, fit  # noqa: E402
from fashion_core.training.memory import measure_peak  # noqa: E402

RESNETS = ("resnet50", "legacy_seresnet50", "legacy_seresnext50_32x4d")
LITES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
# Images a second of ResNet-50 at 224 px: NVIDIA's figure for one A100 in mixed precision, and what an H100 should do.
RESNET50_FLOOR, RESNET50_AIM = 2470, 4500
# Files whose tests of a GPU are skipped without one.
GPU_TESTS = (
    "tests/fashion_core/hardware/test_gpu_memory.py",
    "tests/fashion_core/loading/test_augment.py",
    "tests/fashion_core/training/test_memory.py",
)
# How long a step may take, in seconds; together eight minutes. What one leaves, the last may use.
# Most goes into starts and the choice of kernels: on an H200 some 15 s a network alone, 35 s where 8 processes choose.
LIMITS = {"data": 30, "tests": 30, "speed": 110, "packed": 120, "shares": 40, "tuning": 150}
GRACE_SECONDS = 3.0  # between the time a step is told to end and its being killed
DRAWN_IMAGES = 1000  # photographs drawn where none are given; they repeat up to a workload's number
# Steps of the two epochs whose difference tells the waits of one step; the images of both go to the GPU in one piece.
WAIT_STEPS = (2, 4)
GREEDY_SHARE = 0.05  # of the GPU: 4 GiB of an H100's 80, context included, where the greedy batch takes 12


@dataclass(frozen=True)
class Packed:
    """Trials that share the GPU.

    Args:
        image_size: in pixels.
        images: of an epoch.
    """

    backbone: str
    image_size: int
    batch_size: int
    images: int


@dataclass(frozen=True)
class Workload:
    """What is measured.

    Args:
        image_size: in pixels, of the speeds.
        tests: files whose tests of a GPU run.
        train, val: images of an epoch, in whole batches: another size of batch costs another choice of kernels. They
            repeat where there are fewer photographs.
        epochs: of each `fit`; the first, with its choice of kernels, does not count.
        counts: of trials that share the GPU.
        recipes: configurations to fine-tune, most important first; each with all seeds.
        processes: that fine-tune at once.
    """

    device: str
    tests: tuple[str, ...]
    backbones: tuple[str, ...]
    image_size: int
    batch_size: int
    train: int
    val: int
    epochs: int
    packed: tuple[Packed, ...]
    packed_epochs: int
    counts: tuple[int, ...]
    recipes: tuple[tuple[str, dict[str, Any]], ...]
    seeds: tuple[int, ...]
    processes: int


# A plain recipe that is known to do well: AdamW, one-cycle, head x 10, batch 64, cross-entropy with equal weights.
PLAIN_RECIPE: dict[str, Any] = {
    "weights": "auto",
    "crop": "box_margin",
    "dropout": 0.3,
    "drop_path": 0.1,
    "focal_gamma": 0.0,
    "head_lr_factor": 10,
    "weight_decay": 0.02,
    "batch_size": 64,
}
WIDE = {**PLAIN_RECIPE, "crop_margin": 0.3, "lr": 6e-4, "crop_strength": 0.2, "epochs": 6}
NARROW = {**PLAIN_RECIPE, "crop_margin": 0.1, "lr": 7e-4, "crop_strength": 0.15, "epochs": 7}
RECIPES = tuple(
    (f"{backbone} {image_size} px", {"backbone": backbone, "image_size": image_size, **recipe})
    for image_size in (224, 260)
    for backbone, recipe in zip(LITES, (WIDE, NARROW, NARROW), strict=True)
)

FULL = Workload(
    device="cuda",
    tests=GPU_TESTS,
    backbones=RESNETS + LITES,
    image_size=224,
    batch_size=256,
    train=3072,
    val=256,
    epochs=3,
    packed=(Packed(LITES[0], 128, 64, 1024), Packed(RESNETS[0], 224, 64, 512)),
    packed_epochs=3,
    counts=(1, 2, 4, 8),
    recipes=RECIPES,
    seeds=(0, 1, 2),
    processes=6,
)
TINY = Workload(
    device="cpu",
    tests=GPU_TESTS[:1],  # the others import more, and skip the same
    backbones=("test_resnet",),
    image_size=32,
    batch_size=8,
    train=32,
    val=8,
    epochs=2,
    packed=(Packed("test_resnet", 32, 8, 32),),
    packed_epochs=2,
    counts=(1, 2),
    recipes=(("test_resnet", {"backbone": "test_resnet", "weights": "none", "image_size": 32, "epochs": 1}),),
    seeds=(0, 1),
    processes=1,
)


@dataclass(frozen=True)
class Task:
    """What a step's process is told.

    Args:
        folder: for what is prepared and drawn; all steps share it.
        data: of photographs; None: drawn ones.
        deadline: unix seconds at which the step is to end by itself.
    """

    workload: Workload
    folder: Path
    data: Path | None
    out: Path
    deadline: float


# ------------------------------------------------------------------------------------------------------- the results


class Results:
    """The JSON file, written whole after each figure."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content

    def write(self, content: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(temporary, self.path)

    def note(self, step: str, name: str, value: Any) -> None:
        """Put a figure of a step in, and tell it."""
        content = self.read()
        content["steps"].setdefault(step, {})[name] = value
        self.write(content)
        print(f"[{step}] {name}: {json.dumps(value)[:400]}", flush=True)


# --------------------------------------------------------------------------------------------------------- the steps

Note = Callable[[str, Any], None]


def prepare_data(task: Task, note: Note) -> None:
    """Every prepared file that a step opens, made once."""
    started = time.perf_counter()
    folder = find_photographs(task)
    settings = [PrepareSettings(side) for side in list_sides(task.workload)]
    prepare_all(load_annotations(folder), settings, task.folder / "prepared")
    note("seconds_to_prepare", time.perf_counter() - started)
    note("photographs", "drawn" if task.data is None else "given")


def list_sides(workload: Workload) -> list[int]:
    """Image sizes of all steps but the last, in pixels."""
    return list(dict.fromkeys([workload.image_size, *(case.image_size for case in workload.packed)]))


def find_photographs(task: Task) -> Path:
    """The folder of photographs; drawn now where there is none."""
    if task.data is not None:
        return task.data
    drawn = task.folder / "drawn"
    if not (drawn / "split").is_dir():
        train = min(task.workload.train, DRAWN_IMAGES)
        draw_sample_data(drawn, train=train, val=task.workload.val, test=1)
    return drawn


def open_data(task: Task, image_size: int) -> PreparedData:
    """Photographs cut to the garment's box."""
    annotations = load_annotations(find_photographs(task), check_images=False)
    return prepare(annotations, PrepareSettings(image_size), task.folder / "prepared")


def run_tests(task: Task, note: Note) -> None:
    """The tests that need a GPU, without `conftest.py`: that is for machines with everything installed."""
    absent = [name for name in ("pytest", "hypothesis") if importlib.util.find_spec(name) is None]
    if absent:
        note("skipped", f"{' and '.join(absent)} must be installed to run the tests, but are not")
        return
    report = task.folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "-rs", "-k", "gpu"]
    done = subprocess.run(
        [*command, f"--junitxml={report}", *task.workload.tests],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    note("output", done.stdout[-2000:] + done.stderr[-500:])
    for case in ElementTree.parse(report).iter("testcase"):
        fate = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        note(f"{case.get('classname')}.{case.get('name')}", fate)
    note("exit_status", done.returncode)


def build_plain(workload: Workload, backbone: str, **values: Any) -> TrainConfig:
    """A configuration for speed alone: no weights are loaded, and images are not answered twice."""
    plain = {"image_size": workload.image_size, "batch_size": workload.batch_size, "epochs": workload.epochs}
    return TrainConfig(backbone=backbone, weights="none", eval_flip=False, **{**plain, **values})


def train(workload: Workload, config: TrainConfig, data: PreparedData, images: int) -> Iterator[EpochResult]:
    """`fit` on the first so many images, which repeat where there are fewer."""
    train, val = np.resize(data.indices("train"), images), np.resize(data.indices("val"), workload.val)
    return fit(config, data, train=train, val=val, device=workload.device)


def measure_speed(task: Task, note: Note) -> None:
    """Images a second of `fit`, an image counted from the GPU's memory to the optimizer's step."""
    workload = task.workload
    data = open_data(task, workload.image_size)
    note("batch_size", workload.batch_size)
    note("resnet50_images_per_second_wanted", {"floor": RESNET50_FLOOR, "aim": RESNET50_AIM})
    for backbone in workload.backbones:
        if time.time() > task.deadline:
            note(backbone, "no time was left")
            continue
        try:
            results = list(train(workload, build_plain(workload, backbone), data, workload.train))[1:]
            speeds = [result.metrics[metrics.IMAGES_PER_SECOND] for result in results]
            evaluated = median(workload.val / result.metrics[metrics.VAL_SECONDS] for result in results)
            figure = {"images_per_second": median(speeds), "by_epoch": speeds, "evaluated_per_second": evaluated}
            if workload.device == "cuda":
                figure["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
                figure["reserved_gib"] = torch.cuda.max_memory_reserved() / 2**30
                torch.cuda.reset_peak_memory_stats()
            note(backbone, figure)
            del results  # and its network
        except Exception as error:  # one network's failure is no other's
            note(backbone, f"failed: {describe(error)}")
        if workload.device == "cuda":
            torch.cuda.empty_cache()
            peak = measure_peak(build_plain(workload, backbone), data.schema, torch.device("cuda", 0))
            note(f"{backbone} gib_told_beforehand", None if peak is None else peak / 2**30)
            if backbone == workload.backbones[0]:  # its kernels are chosen
                note("host_waits_per_step", count_waits(workload, data))


def count_waits(workload: Workload, data: PreparedData) -> float:
    """How often a step makes the host wait for the GPU: 0 where it runs ahead.

    PyTorch warns of every wait; those of an epoch's ends fall out in the difference of a long epoch and a short one.
    """
    counts, epochs = [], 2
    for steps in WAIT_STEPS:
        part = replace(workload, epochs=epochs)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                config = build_plain(part, workload.backbones[0])
                for _ in train(part, config, data, steps * workload.batch_size):
                    pass
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchron" in str(warning.message) for warning in caught))
    return (counts[1] - counts[0]) / (epochs * (WAIT_STEPS[1] - WAIT_STEPS[0]))


def measure_packed(task: Task, note: Note) -> None:
    """Images a second of 1, 2, 4 and 8 trials together, each with its share of the memory."""
    workload = task.workload
    with start_processes(workload.device, train_beside_others, [(task,)] * max(workload.counts)) as connections:
        for number, case in enumerate(workload.packed):
            name, alone = f"{case.backbone} {case.image_size} px batch {case.batch_size}", None
            started = time.perf_counter()
            train_together(connections, number, epochs=1)  # all choose their kernels at once
            note(f"{name} seconds_to_warm_up", time.perf_counter() - started)
            for count in workload.counts:
                if time.time() > task.deadline:
                    note(f"{name} x {count}", "no time was left")
                    continue
                seconds, answers = train_together(connections[:count], number, workload.packed_epochs)
                failed = [answer for answer in answers if isinstance(answer, str)]
                if failed:
                    note(f"{name} x {count}", {"failed": failed})
                    continue
                images = count * case.images * (workload.packed_epochs - 1)
                together = sum(speed for speed, _ in answers)
                alone = alone or together
                figure = {
                    "images_per_second_together": together,
                    "with_evaluation": images / seconds,  # from the first start to the last end
                    "against_one": together / alone,
                    "peak_gib_of_each": max(peak for _, peak in answers),
                    "share": 1 / count,
                }
                note(f"{name} x {count}", figure)


def train_together(connections: Sequence[Any], number: int, epochs: int) -> tuple[float, list[Any]]:
    """Trials of the packed case of this number, one a process: seconds of all epochs but the first, and the answers."""
    for connection in connections:
        connection.send((number, len(connections), epochs))
    for connection in connections:
        connection.recv()  # each has had its first epoch
    started = time.perf_counter()
    for connection in connections:
        connection.send("go")
    answers = [connection.recv() for connection in connections]
    return time.perf_counter() - started, answers


def train_beside_others(connection: Any, task: Task) -> None:
    """One of the trials that share a GPU: trains whenever it is told to, until it is told None."""
    workload = task.workload
    data = {side: open_data(task, side) for side in list_sides(workload)}
    while (order := connection.recv()) is not None:
        number, count, epochs = order
        case = workload.packed[number]
        set_threads(workload, count)
        speeds: list[float] = []
        answer: Any = None
        try:
            if workload.device == "cuda":
                torch.cuda.set_per_process_memory_fraction(1.0)  # a share of 1 leaves an earlier limit as it is
                limit_gpu_memory(1 / count)
            config = build_plain(
                workload,
                case.backbone,
                image_size=case.image_size,
                batch_size=case.batch_size,
                epochs=epochs,
            )
            results = train(workload, config, data[case.image_size], case.images)
            next(results)
        except Exception as error:
            answer, results = f"failed: {describe(error)}", iter(())
        connection.send("ready")
        connection.recv()
        try:
            speeds = [result.metrics[metrics.IMAGES_PER_SECOND] for result in results]
        except Exception as error:
            answer = f"failed: {describe(error)}"
        peak = torch.cuda.max_memory_allocated() / 2**30 if workload.device == "cuda" else 0.0
        del results
        gc.collect()
        if workload.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        connection.send(answer or (median(speeds or [0.0]), peak))


def set_threads(workload: Workload, count: int) -> None:
    """Of one of so many trials at once: its part of the cores. On a CPU one: networks this small gain by no more."""
    torch.set_num_threads(1 if workload.device == "cpu" else max(1, len(os.sched_getaffinity(0)) // count))


def check_shares(task: Task, note: Note) -> None:
    """Two trials at once: one whose batch is too much for its share of the memory, one that fits its own."""
    workload = task.workload
    shares = (GREEDY_SHARE, 1 - GREEDY_SHARE)
    with start_processes(workload.device, train_in_share, [(task, share) for share in shares]) as connections:
        for connection in connections:
            connection.send("go")
        answers = [connection.recv() for connection in connections]
    for name, answer in zip(("greedy", "other"), answers, strict=True):
        note(name, answer)
    refused = "OutOfMemoryError" in (answers[0]["error"] or "")
    note("greedy_failed_alone", refused and answers[1]["error"] is None)
    if workload.device == "cpu":
        note("remark", "on a CPU there are no shares: both finish")


def train_in_share(connection: Any, task: Task, share: float) -> None:
    """A trial of the largest batch, within a share of the GPU's memory."""
    workload = task.workload
    set_threads(workload, 2)
    limit_gpu_memory(share)
    data = open_data(task, workload.image_size)
    connection.recv()
    speeds, error = [], None
    try:
        for result in train(workload, build_plain(workload, workload.backbones[0]), data, workload.train):
            speeds.append(result.metrics[metrics.IMAGES_PER_SECOND])
    except Exception as raised:
        error = describe(raised)
    peak = torch.cuda.max_memory_reserved() / 2**30 if workload.device == "cuda" else 0.0
    connection.send({"share": share, "epochs": len(speeds), "speeds": speeds, "reserved_gib": peak, "error": error})


def tune_networks(task: Task, note: Note) -> None:
    """Small networks on the photographs, trained on train, scored on val, several at once."""
    workload = task.workload
    if task.data is None and workload.device == "cuda":
        note("skipped", "photographs must be given with --data to fine-tune on them, but are not")
        return
    runs = [
        Run(f"{name} seed {seed}", name, TrainConfig(**recipe, seed=seed))
        for seed in workload.seeds
        for name, recipe in workload.recipes
    ]
    place = build_place(
        runs,
        find_photographs(task),
        task.folder / "prepared",
        score_on="val",
        device=workload.device,
        processes=workload.processes,
        deadline=task.deadline - 2 * CUT_SECONDS,
    )
    note("seconds_left_when_prepared", task.deadline - time.time())
    started = time.perf_counter()

    def told(record: dict[str, Any]) -> None:
        tell(record)
        scores = [epoch["metrics"][metrics.ACCURACY] for epoch in record["epochs"]]
        figure = {name: record.get(name) for name in ("status", "error", "seconds", "precision", "peak_bytes")}
        note(record["name"], {"val_accuracy": scores, **figure})

    out = task.out.with_name(f"{task.out.stem}_tuning.jsonl")
    for stale in (out, out.with_suffix(".f16")):
        stale.unlink(missing_ok=True)
    note("counts", record_all(runs, place, out, processes=workload.processes, told=told))
    note("seconds_of_all", time.perf_counter() - started)


@contextmanager
def start_processes(
    device: str, target: Callable[..., None], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[list[Any]]:
    """Plain processes, a connection to each; at the end they are killed."""
    context = choose_context(device)
    connections, processes = [], []
    for each in arguments:
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, *each), daemon=True)
        process.start()
        theirs.close()  # else the end of the process would not be seen
        connections.append(ours)
        processes.append(process)
    try:
        yield connections
    finally:
        for process in processes:
            process.kill()
            process.join()


def describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


STEPS: dict[str, Callable[[Task, Note], None]] = {
    "data": prepare_data,
    "tests": run_tests,
    "speed": measure_speed,
    "packed": measure_packed,
    "shares": check_shares,
    "tuning": tune_networks,
}


# ------------------------------------------------------------------------------------------------------- the command


def describe_command(arguments: Sequence[str]) -> str:
    """The command as it can be given elsewhere: of a path that stands from the root, its last part."""
    parts = [Path(part).name if Path(part).is_absolute() else part for part in arguments]
    return " ".join(["python", "tests/benchmarks/gpu_all.py", *parts])


def run_step(step: str, task: Task, results: Results) -> None:
    """One step, in this process."""
    started = time.perf_counter()
    results.note(step, "status", "running")
    try:
        STEPS[step](task, lambda name, value: results.note(step, name, value))
        results.note(step, "status", "done")
    except Exception as error:
        traceback.print_exc()
        results.note(step, "status", f"failed: {describe(error)}")
    results.note(step, "seconds", time.perf_counter() - started)


def start_step(step: str, command: Sequence[str], limit_s: float, results: Results) -> None:
    """One step in a process of its own, killed with all it started at its limit."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    deadline = time.time() + limit_s - GRACE_SECONDS
    arguments = [sys.executable, __file__, *command, "--step", step, "--deadline", str(deadline)]
    process = subprocess.Popen(arguments, env=environment, start_new_session=True)
    try:
        status = process.wait(limit_s)
        if status:
            results.note(step, "status", f"its process ended with {status}")
    except subprocess.TimeoutExpired:
        results.note(step, "status", f"cut after {limit_s:.0f} s")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what the step may have left running, or itself
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of photographs in the challenge's layout")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "results" / "benchmarks" / "gpu.json")
    parser.add_argument("--seconds", type=float, default=480, help="for all steps together")
    parser.add_argument("--cache", type=Path, help="for prepared images; default: a folder that goes at the end")
    parser.add_argument("--tiny", action="store_true", help="a workload of seconds, on the CPU, in one process")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="these alone")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    results = Results(options.out)
    workload = TINY if options.tiny else FULL
    if options.step:
        run_step(options.step, Task(workload, options.cache, options.data, options.out, options.deadline), results)
        return
    if not options.tiny and not torch.cuda.is_available():
        sys.exit(
            f"this benchmark needs a GPU that PyTorch can use, but torch {torch.__version__} finds none; "
            "run it on a machine with one, or try it with --tiny"
        )
    ends = time.time() + options.seconds
    content: dict[str, Any] = {
        "command": describe_command(sys.argv[1:]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "device": "cpu" if options.tiny else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "tiny": options.tiny,
        "steps": {},
    }
    results.write(content)
    with tempfile.TemporaryDirectory(prefix="gpu-all-", ignore_cleanup_errors=True) as name:
        command = ["--out", str(options.out), "--cache", str(options.cache or name)]
        command += ["--data", str(options.data)] if options.data else []
        for step in [step for step in STEPS if step in options.steps]:
            left = ends - time.time()
            limit = left if options.tiny or step == list(STEPS)[-1] else min(LIMITS[step], left)
            if limit <= GRACE_SECONDS:
                results.note(step, "status", "no time was left")
            elif options.tiny:
                run_step(step, Task(workload, options.cache or Path(name), options.data, options.out, ends), results)
            else:
                start_step(step, command, limit, results)
    print(f"{content['device']}; all figures: {options.out}")


if __name__ == "__main__":
    main()
