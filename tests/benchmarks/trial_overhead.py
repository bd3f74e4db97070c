"""Row 1: what a trial costs beside its training. This search, Ray Tune as its documentation shows it, plain Optuna.

The clock runs from the first result (for Ray: as the driver gets it) to the commit of the last metric in MLflow's
database, for all three seen by the same listener on SQLAlchemy. Starting Ray, the first worker and the database lie
before it. Trials end where ASHA says, so the reports of a trial differ a little between variants: the table shows them.

After every run the database must hold what was promised: a run a trial, all its parameters, ended, with a metric at
every step from 1 to a rung, and as many in all as were reported. Else the benchmark fails.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from formula_search import (
    DATABASE,
    GRACE_EPOCHS,
    MAX_EPOCHS,
    PARAMETERS,
    REDUCTION_FACTOR,
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

SCORE_KEYS = {"ours": "val/accuracy", "stock": "score", "optuna": "score"}  # of the one metric a report in MLflow

RUNGS = (1, 3, 9)
CONCURRENT = 2
TRIALS, QUICK_TRIALS = 40, 6

# ------------------------------------------------------------------------------------------------ the three variants


def run_ours(folder: Path, trials: int, seed: int) -> tuple[float, int]:
    """Returns: unix time of the first result, and number of reports."""
    from search.records.events import EpochEnded
    from search.records.ledger import read_events

    ledger = launch(build_formula_trial(), folder, trials, seed, concurrent=CONCURRENT)
    epochs = [event.time for event in read_events(ledger) if isinstance(event, EpochEnded)]
    return min(epochs), len(epochs)


def run_stock(folder: Path, trials: int, seed: int) -> tuple[float, int]:
    """Returns: unix time of the first result, and number of reports."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    times: list[float] = []

    class ResultTimes(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            times.append(time.time())

    def train(config: dict[str, float]) -> None:
        import torch

        torch.set_num_threads(1)
        for epoch in range(1, MAX_EPOCHS + 1):
            tune.report({"score": compute_score(config, epoch)})

    ray.init(address="local", num_cpus=max(CONCURRENT, len(os.sched_getaffinity(0))), include_dashboard=False)
    tuner = tune.Tuner(
        train,
        param_space=build_tune_space(),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            search_alg=OptunaSearch(seed=seed),
            scheduler=ASHAScheduler(max_t=MAX_EPOCHS, grace_period=GRACE_EPOCHS, reduction_factor=REDUCTION_FACTOR),
            num_samples=trials,
            max_concurrent_trials=CONCURRENT,
        ),
        run_config=tune.RunConfig(
            name="overhead",
            storage_path=str(folder / "ray"),
            callbacks=[
                ResultTimes(),
                MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder / DATABASE}", experiment_name="overhead"),
            ],
        ),
    )
    tuner.fit()
    ray.shutdown()
    return times[0], len(times)


def run_optuna(folder: Path, trials: int, seed: int) -> tuple[float, int]:
    """Returns: unix time of the first result, and number of reports."""
    import numpy as np
    import optuna
    import torch
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    torch.set_num_threads(1)

    class AshaPruner(optuna.pruners.BasePruner):
        """Ray's rule: below the best third of the trials that came to this rung before."""

        def __init__(self) -> None:
            self.scores: dict[int, list[float]] = {rung: [] for rung in RUNGS}

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            epoch = trial.last_step
            if epoch not in self.scores:
                return False
            recorded, score = self.scores[epoch], trial.intermediate_values[epoch]
            cutoff = np.percentile(recorded, 100 * (1 - 1 / REDUCTION_FACTOR)) if recorded else -math.inf
            recorded.append(score)
            return bool(score < cutoff)

    client = MlflowClient(f"sqlite:///{folder / DATABASE}")
    experiment = client.create_experiment("overhead")
    parent = client.create_run(experiment, run_name="overhead").info.run_id
    times: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        params = {
            name: trial.suggest_float(name, low, high, log=is_log) for name, (low, high, is_log) in PARAMETERS.items()
        }
        run = client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
        client.log_batch(run, params=[Param(name, str(value)) for name, value in params.items()])
        for epoch in range(1, MAX_EPOCHS + 1):
            score = compute_score(params, epoch)
            times.append(time.time())
            trial.report(score, epoch)
            client.log_batch(run, metrics=[Metric("score", score, int(time.time() * 1000), epoch)])
            if epoch < MAX_EPOCHS and trial.should_prune():
                client.set_terminated(run, "KILLED")
                raise optuna.TrialPruned
        client.set_terminated(run)
        return score

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=AshaPruner(),
    )
    study.optimize(objective, n_trials=trials, n_jobs=CONCURRENT)
    client.set_terminated(parent)
    return min(times), len(times)


RUNNERS: dict[str, Callable[[Path, int, int], tuple[float, int]]] = {
    "ours": run_ours,
    "stock": run_stock,
    "optuna": run_optuna,
}


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One variant, checked by what it stored."""
    trials = QUICK_TRIALS if quick else TRIALS
    clock = StoreClock()
    first, reports = RUNNERS[variant](folder, trials, repeat)
    if clock.last is None:
        raise RuntimeError(f"{variant} stored no metric")
    stored = read_store(folder / DATABASE, SCORE_KEYS[variant])
    faults = find_faults(stored, trials, reports) + find_wrong_steps(stored.steps)
    if faults:
        raise RuntimeError(f"MLflow does not hold what {variant} should have stored there:\n" + "\n".join(faults))
    return {
        "seconds_per_trial": (clock.last - first) / trials,
        "reports_per_trial": reports / trials,
        "points": stored.points,
    }


def find_wrong_steps(steps: dict[str, list[int]]) -> list[str]:
    """What is wrong with the epochs of a variant's trials, given by run."""
    faults = []
    if max(map(len, steps.values()), default=0) != MAX_EPOCHS:
        faults.append(f"no run has {MAX_EPOCHS} scores")
    for run, found in steps.items():
        if len(found) not in RUNGS or found != list(range(1, len(found) + 1)):
            faults.append(f"run {run}: the steps must be 1 to one of {RUNGS}, but are {found}")
    return faults


ROW = Row(
    number=1,
    name="trial_overhead",
    title="Trial overhead",
    workload=f"""
{TRIALS} trials of up to {MAX_EPOCHS} reports without any work between them (a score is a formula of the parameters and
the epoch), 12 float parameters drawn by TPE, ASHA (grace {GRACE_EPOCHS}, reduction {REDUCTION_FACTOR}), two trials at
once, torch imported where trials run, MLflow on a fresh SQLite file, one metric a report. From the first result to the
last point stored.
""",
    variants={
        "ours": "the whole command: driver, Tuner, Optuna, ASHA, ledger, tracker, live view, a checkpoint of 6 bytes "
        "a trial. Two things are replaced: the training, and the report after the last trial",
        "stock": "Ray Tune: function trainable, `OptunaSearch`, `ASHAScheduler`, `MLflowLoggerCallback`; "
        "no checkpoints",
        "optuna": "one process, two threads: a study in memory, the same stopping rule, a run a trial and one "
        "`log_batch` a report; no ledger, no checkpoints, no processes that can be lost",
    },
    measures={
        "seconds_per_trial": Measure("s a trial"),
        "reports_per_trial": Measure("reports a trial", ".1f"),
        "points": Measure("values in MLflow", ".0f"),
    },
    goals=(
        Goal("seconds a trial", "seconds_per_trial", 0.1, at_most=True),
        Goal("stock Ray Tune, times ours", "seconds_per_trial", 15, variant="stock", over="ours"),
        Goal("plain Optuna, times ours", "seconds_per_trial", 1, variant="optuna", over="ours"),
    ),
    run=run,
    quick_peers=("stock",),
    timeout_s=1800,
)
