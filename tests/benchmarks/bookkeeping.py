"""Row 2: many short trials at once, as in Ray Tune's own scalability test of its bookkeeping overhead.

Ray's test runs 10,000 trials of one second on 16 CPUs and allows 800 s for the 625 s they must take. This one has a
tenth of the trials, on 16 logical CPUs: the trials sleep, so what the cores do is the bookkeeping.

The first trial of each of the 16 workers waits until all workers are there, and the clock starts with the first result
after that: starting processes and importing libraries lie before it. Another 1,000 trials follow these 16. The clock
stops when the last trial's result is stored: committed to MLflow's database, or for `bare`, which stores nothing, taken
in by the driver.

After every run, each trial must have slept its second, and MLflow hold its run, its parameters and its score. Else the
benchmark fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from formula_search import (
    DATABASE,
    StoreClock,
    build_formula_trial,
    build_tune_space,
    compute_score,
    find_faults,
    launch,
    read_store,
)
from harness import Goal, Measure, Row

# No import of ours at the top: the peers run this file too, and must not pay for it.

TRIALS, SECONDS, WORKERS = 1000, 1.0, 16  # after the first trial of every worker
QUICK_TRIALS, QUICK_SECONDS, QUICK_WORKERS = 60, 0.2, 4
START_TIMEOUT_S = 600.0  # until all workers are there
POLL_S = 0.02
RAY_LIMIT = 800 / 625  # of the seconds that its trials must take
SCORE_KEYS = {"ours": "val/accuracy", "callback": "score"}  # of the one metric a report in MLflow
PEER_SETTINGS = {  # as ours sets them: no other logs than those that are measured, no output
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


def work(workers: Path, seconds: float, count: int) -> None:
    """The work of one trial. The first one of a process waits until `count` processes are there.

    Args:
        workers: folder of a file a process, one line a trial: the seconds it slept.
    """
    mine = workers / f"{os.stat('/proc/self/ns/pid').st_ino}-{os.getpid()}"  # two hosts may have the same ids
    if not mine.exists():
        mine.touch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(os.listdir(workers)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{count} workers must be there after {START_TIMEOUT_S:g} s, but {os.listdir(workers)} are"
                )
            time.sleep(POLL_S)
    began = time.monotonic()
    time.sleep(seconds)
    with mine.open("a") as file:
        file.write(f"{time.monotonic() - began}\n")


def run_ours(
    folder: Path, workers: Path, trials: int, seconds: float, count: int, seed: int, **where: str
) -> list[float]:
    """Unix times at which the driver got the results. where: see `launch`."""
    from search.records.events import EpochEnded
    from search.records.ledger import read_events

    class Sleeper(build_formula_trial(max_epochs=1)):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            work(workers, seconds, count)
            result: dict[str, Any] = super().step()
            return result

    cpus = None if where else count
    scheduler = "{type: none, max_epochs: 1}"
    ledger = launch(Sleeper, folder, trials, seed, scheduler=scheduler, concurrent=count, cpus=cpus, **where)
    return [event.time for event in read_events(ledger) if isinstance(event, EpochEnded)]


def run_tune(
    folder: Path, workers: Path, trials: int, seconds: float, count: int, seed: int, *, tracked: bool
) -> list[float]:
    """Unix times at which the driver got the results."""
    os.environ.update(PEER_SETTINGS)
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    times: list[float] = []

    class ResultTimes(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            times.append(time.time())

    class Sleeper(tune.Trainable):
        def setup(self, config: dict[str, float]) -> None:
            import torch

            torch.set_num_threads(1)

        def reset_config(self, new_config: dict[str, float]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            work(workers, seconds, count)
            return {"score": compute_score(self.config, 1), "done": True}

    callbacks: list[tune.Callback] = [ResultTimes()]
    if tracked:
        uri = f"sqlite:///{folder / DATABASE}"
        callbacks.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name="bookkeeping"))
    ray.init(address="local", num_cpus=count, include_dashboard=False)
    tuner = tune.Tuner(
        tune.with_resources(Sleeper, {"cpu": 1}),
        param_space=build_tune_space(),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=OptunaSearch(seed=seed) if tracked else None,
            num_samples=trials,
            max_concurrent_trials=count,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="bookkeeping",
            storage_path=str(folder / "ray"),
            callbacks=callbacks,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()
    ray.shutdown()
    return times


def run_bare(folder: Path, workers: Path, trials: int, seconds: float, count: int, seed: int) -> list[float]:
    return run_tune(folder, workers, trials, seconds, count, seed, tracked=False)


def run_callback(folder: Path, workers: Path, trials: int, seconds: float, count: int, seed: int) -> list[float]:
    return run_tune(folder, workers, trials, seconds, count, seed, tracked=True)


RUNNERS: dict[str, Callable[..., list[float]]] = {
    "ours": run_ours,
    "bare": run_bare,
    "callback": run_callback,
}


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One variant."""
    return run_case(variant, folder, repeat, quick=quick)


def run_case(variant: str, folder: Path, repeat: int, *, quick: bool, **where: str) -> dict[str, float]:
    """One variant, checked by what its trials did and what it stored. where: of ours, see `launch`."""
    trials, seconds, count = (QUICK_TRIALS, QUICK_SECONDS, QUICK_WORKERS) if quick else (TRIALS, SECONDS, WORKERS)
    trials += count
    workers = folder / "workers"
    workers.mkdir()
    clock = StoreClock()
    times = RUNNERS[variant](folder, workers, trials, seconds, count, repeat, **where)
    slept = [float(line) for file in workers.iterdir() for line in file.read_text().splitlines()]
    if len(times) != trials or len(slept) != trials or min(slept) < seconds:
        raise RuntimeError(
            f"{trials} trials must have slept {seconds:g} s each, but {variant} has {len(times)} results and "
            f"{len(slept)} sleeps of {min(slept, default=0):g} s or more"
        )
    end = max(times)
    if variant in SCORE_KEYS:
        if faults := find_faults(read_store(folder / DATABASE, SCORE_KEYS[variant]), trials, trials):
            raise RuntimeError(f"MLflow must hold every trial of {variant}, but:\n" + "\n".join(faults[:20]))
        assert clock.last is not None
        end = clock.last
    return {
        "seconds": end - min(times),
        "driver_seconds": max(times) - min(times),
        "processes": len(list(workers.iterdir())),
    }


ROW = Row(
    number=2,
    name="bookkeeping",
    title="Bookkeeping",
    workload=f"""
Ray Tune's scalability test of its bookkeeping overhead at a tenth of its size: {TRIALS:,} trials that sleep
{SECONDS:g} s and report once, {WORKERS} at once on {WORKERS} logical CPUs, warm workers that are reused, 12 float
parameters. From the first result once all {WORKERS} workers are up, until the last trial's result is stored. They
cannot take less than {TRIALS / WORKERS * SECONDS:g} s; Ray's test allows {RAY_LIMIT * TRIALS / WORKERS * SECONDS:g} s,
without study and tracking.
""",
    variants={
        "ours": "the whole command, with study (TPE), ledger, MLflow on SQLite, live view and a checkpoint of 6 bytes "
        "a trial. Two things are replaced: the training, and the report after the last trial",
        "bare": "Ray Tune with the same class trainable, `reuse_actors`; random draws, no tracking, no checkpoints, "
        "no logs",
        "callback": "the same with Ray's own `OptunaSearch` (TPE) and `MLflowLoggerCallback` on SQLite",
    },
    measures={
        "seconds": Measure("s until all is stored", ".1f"),
        "driver_seconds": Measure("s until the driver has the last result", ".1f"),
        "processes": Measure("worker processes started", ".0f"),
    },
    goals=(
        Goal("seconds, with study and tracking", "seconds", 90, at_most=True, aim=62.5),
        Goal("ours, times bare Ray Tune", "seconds", 1.25, at_most=True, over="bare"),
    ),
    run=run,
    repeats=3,
    timeout_s=1800,
)
