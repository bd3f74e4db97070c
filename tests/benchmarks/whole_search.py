"""Row 6: what a whole search finds in the same time: this search, Ray Tune with a stock loop, Optuna with the same.

The clock is the operating system's: from the start of the variant's process, so that imports, starting Ray, and
preparing images are in it, to the end of the wall time. What is reported later does not count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from harness import OURS, Goal, Measure, Row, read_slowness

# No import of ours at the top: the peers run this file too, and must not pay for it.

WALL_S, QUICK_WALL_S = 240.0, 25.0  # the quick one is longer on a slower machine: an epoch has to end in it
CURVE_PARTS = 6  # the best score so far is taken after each sixth of the wall time
EARLY_SHARE = 1 / 3  # of the wall time, after which ours is compared with the peers' ends
IMAGES, QUICK_IMAGES = (1000, 500), (64, 64)  # of train and of val, where 500 are all
CORES = 2
# those of spaces/bench.yaml
IMAGE_SIZE, BATCH_SIZE = 96, 32
MAX_EPOCHS, GRACE_EPOCHS, REDUCTION_FACTOR = 4, 1, 3
LR, DROPOUT, GAMMA, FC_LAYERS, WEIGHT = (1e-4, 2e-3), (0.0, 0.5), (0.0, 3.0), (0, 2), (0.5, 2.0)
WEIGHTS = tuple(f"weight_{index}" for index in range(1, 7))
SPACE = Path(__file__).resolve().parents[2] / "spaces" / "bench.yaml"


@dataclass(frozen=True)
class Event:
    """What happened to a trial, at which unix time; epochs have a score."""

    kind: Literal["start", "epoch", "end"]
    trial: int | str
    time: float
    score: float = 0.0


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One search, and what it had reached when time was up."""
    import psutil
    from training_step import find_folder

    started = psutil.Process().create_time()
    wall_s, images = (QUICK_WALL_S * read_slowness(), QUICK_IMAGES) if quick else (WALL_S, IMAGES)
    data = find_folder(folder, *images)
    events = RUNNERS[variant](data, folder, started + wall_s, repeat)
    if time.time() < started + wall_s:
        raise RuntimeError(f"a search must last {wall_s:g} s, but {variant} ended after {time.time() - started:.1f} s")
    return measure_events(events, started, wall_s, images[0] // BATCH_SIZE * BATCH_SIZE, is_ours=variant == OURS)


def measure_events(
    events: Sequence[Event], started: float, wall_s: float, epoch_images: int, *, is_ours: bool
) -> dict[str, float]:
    """The row's measures.

    Raises:
        RuntimeError: no epoch ended in time.
    """
    deadline = started + wall_s
    in_time = [event for event in events if event.time <= deadline]
    epochs = [event for event in in_time if event.kind == "epoch"]
    if not epochs:
        raise RuntimeError(f"at least one epoch must end within {wall_s:g} s, but none did")

    def best_after(seconds: float) -> float:
        return max((event.score for event in epochs if event.time <= started + seconds), default=0.0)

    curve = {f"score_{part}": best_after(wall_s * part / CURVE_PARTS) for part in range(1, CURVE_PARTS + 1)}
    return {
        "images": epoch_images * count_epochs(in_time, deadline),
        "trials": float(len({event.trial for event in in_time})),
        "level": best_after(wall_s * EARLY_SHARE if is_ours else wall_s),
        **curve,
    }


def count_epochs(events: Sequence[Event], deadline: float) -> float:
    """Epochs trained: the whole ones, and of those the deadline cut off the share of a median epoch's time they had."""
    last: dict[int | str, float] = {}
    durations = []
    for event in sorted(events, key=lambda event: event.time):
        if event.kind == "epoch":
            durations.append(event.time - last[event.trial])
        if event.kind == "end":
            last.pop(event.trial, None)
        else:
            last[event.trial] = event.time
    typical = median(durations)
    return len(durations) + sum(min((deadline - time_) / typical, 1.0) for time_ in last.values())


# ------------------------------------------------------------------------------------------------ the three variants


def run_ours(data: Path, folder: Path, deadline: float, seed: int) -> list[Event]:
    """The whole command, with its ledger, tracker, live view, models and report."""
    from rich.console import Console

    from search.experiment.search import run_search
    from search.planning.options import SearchOptions
    from search.records.events import EpochEnded, TrialEnded, TrialStarted
    from search.records.ledger import read_events

    options = SearchOptions(
        data=data,
        space=str(SPACE),
        name="bench",
        time_budget_s=deadline - time.time(),  # ends at the first epoch after it
        gpus_per_trial=0,
        seed=seed,
        results=folder / "results",
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
    )
    found: list[Event] = []
    for event in read_events(run_search(options, console=Console(width=120)).layout.ledger):
        match event:
            case TrialStarted():
                found.append(Event("start", event.trial, event.time, 0.0))
            case EpochEnded():
                found.append(Event("epoch", event.trial, event.time, event.metrics["val/accuracy"] or 0.0))
            case TrialEnded():
                found.append(Event("end", event.trial, event.time, 0.0))
    return found


def run_tune(data: Path, folder: Path, deadline: float, seed: int) -> list[Event]:
    """Ray Tune as documented: a function trainable on one CPU, Optuna's search, ASHA, and the MLflow callback."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    events: list[Event] = []

    class Recorder(tune.Callback):
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            events.append(Event("start", trial.trial_id, time.time()))

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            events.append(Event("epoch", trial.trial_id, time.time(), result["score"]))

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            events.append(Event("end", trial.trial_id, time.time()))

    def train(config: dict[str, Any]) -> None:
        from stock import StockTrial

        trial = StockTrial(data, config, size=IMAGE_SIZE, batch_size=BATCH_SIZE, epochs=MAX_EPOCHS, workers=0)
        for _ in range(MAX_EPOCHS):
            tune.report({"score": trial.run_epoch()[1]})

    ray.init(address="local", num_cpus=CORES, include_dashboard=False)
    space: dict[str, Any] = {
        "lr": tune.loguniform(*LR),
        "dropout": tune.uniform(*DROPOUT),
        "focal_gamma": tune.uniform(*GAMMA),
        "fc_layers": tune.choice(list(FC_LAYERS)),
        **{name: tune.loguniform(*WEIGHT) for name in WEIGHTS},
    }
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=OptunaSearch(seed=seed),
            scheduler=ASHAScheduler(max_t=MAX_EPOCHS, grace_period=GRACE_EPOCHS, reduction_factor=REDUCTION_FACTOR),
            num_samples=-1,
            time_budget_s=deadline - time.time(),
            max_concurrent_trials=CORES,
        ),
        run_config=tune.RunConfig(
            name="bench",
            storage_path=str(folder / "ray"),
            callbacks=[
                Recorder(),
                MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="bench"),
            ],
        ),
    )
    tuner.fit()
    ray.shutdown()
    return events


def run_optuna(data: Path, folder: Path, deadline: float, seed: int) -> list[Event]:
    """Optuna as documented, in this process: TPE and Hyperband, one trial at a time on both cores."""
    import optuna
    import torch
    from stock import StockTrial

    torch.set_num_threads(CORES)
    events: list[Event] = []

    def objective(trial: optuna.Trial) -> float:
        events.append(Event("start", trial.number, time.time()))
        params = {
            "lr": trial.suggest_float("lr", *LR, log=True),
            "dropout": trial.suggest_float("dropout", *DROPOUT),
            "focal_gamma": trial.suggest_float("focal_gamma", *GAMMA),
            "fc_layers": trial.suggest_categorical("fc_layers", FC_LAYERS),
            **{name: trial.suggest_float(name, *WEIGHT, log=True) for name in WEIGHTS},
        }
        training = StockTrial(data, params, size=IMAGE_SIZE, batch_size=BATCH_SIZE, epochs=MAX_EPOCHS, workers=0)
        score = -math.inf
        for epoch in range(1, MAX_EPOCHS + 1):
            _, score = training.run_epoch()
            events.append(Event("epoch", trial.number, time.time(), score))
            trial.report(score, epoch)
            if time.time() >= deadline or (epoch < MAX_EPOCHS and trial.should_prune()):
                events.append(Event("end", trial.number, time.time()))
                raise optuna.TrialPruned
        events.append(Event("end", trial.number, time.time()))
        return score

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(GRACE_EPOCHS, MAX_EPOCHS, REDUCTION_FACTOR),
    )
    study.optimize(objective, timeout=deadline - time.time())
    return events


RUNNERS: dict[str, Callable[[Path, Path, float, int], list[Event]]] = {
    OURS: run_ours,
    "tune": run_tune,
    "optuna": run_optuna,
}

ROW = Row(
    number=6,
    name="whole_search",
    title="Whole search",
    workload=f"""
`spaces/bench.yaml`: EfficientNet-Lite0 with ImageNet weights at {IMAGE_SIZE} px on {IMAGES[0]:,} evenly spaced
training photographs, scored on all validation photographs, {len(WEIGHTS) + 4} parameters drawn by TPE from equal
ranges, up to {MAX_EPOCHS} epochs a trial, {WALL_S / 60:g} minutes on {CORES} cores from the start of the process:
imports, starting Ray and preparing images are in it. Every repeat has another seed. Of an epoch cut off by the end, the
share of a median epoch's time counts.
""",
    variants={
        OURS: "the whole command, two trials at once: ledger, MLflow, live view, models and report are in its time",
        "tune": "Ray Tune: function trainable with the stock loop on one CPU, two at once, `OptunaSearch`, "
        "`ASHAScheduler`, `MLflowLoggerCallback`; no checkpoints",
        "optuna": "one process, one trial at a time on two threads: the same loop under `HyperbandPruner`; no MLflow, "
        "no checkpoints",
    },
    measures={
        "images": Measure("images trained", ",.0f"),
        "trials": Measure("trials begun", ".0f"),
        "level": Measure("best score: ours after a third of the time, the others' at the end", ".4f"),
        **{
            f"score_{part}": Measure(f"best score after {WALL_S * part / CURVE_PARTS:.0f} s", ".4f")
            for part in range(1, CURVE_PARTS + 1)
        },
    },
    goals=(
        Goal("images trained, times Ray Tune", "images", 3, over="tune"),
        Goal("images trained, times Optuna", "images", 3, over="optuna"),
        Goal("score after a third of the time, over Ray Tune's at the end", "level", 1, over="tune"),
        Goal("score after a third of the time, over Optuna's at the end", "level", 1, over="optuna"),
    ),
    run=run,
    repeats=3,
    quick_peers=("tune",),
    timeout_s=WALL_S + 300,
)
