"""What a trial costs beside its training: this search, Ray Tune put together as its documentation shows, plain Optuna.

    python tests/benchmarks/trial_overhead.py --repeats 5 --trials 40 --out overhead.csv

Minutes a repeat on two CPU cores. Run it on a machine that does nothing else: no number is worth more than the load
average beside it.

Workload, the same for all three: trials of up to 9 reports without any work between them (a score is a formula of the
parameters and the epoch), 12 float parameters drawn by TPE, ASHA (grace 1, reduction 3, at most 9), two trials at once,
torch imported where trials run, MLflow on a fresh SQLite file. One metric a report.

    ours     `search.driver.launch`, the whole command: driver, Tuner, `TruthfulOptunaSearch`, `RecordedASHA`,
             `Recorder`, `Ledger`, `Tracker`, live view. Two things are replaced: the training (see
             `build_formula_trial`; its checkpoints are files of 6 bytes, but Ray stores one an epoch and the recorder
             copies the best as always), and the report after the last trial.
    stock    Ray Tune: function trainable, `OptunaSearch`, `ASHAScheduler`, `MLflowLoggerCallback`; no checkpoints.
    optuna   one process: a study in memory, two threads, `SuccessiveHalvingPruner`, and through `MlflowClient` a child
             run a trial and one `log_batch` a report; no ledger, no checkpoints, no processes that can be lost.

The clock runs from the first result (for Ray: as the driver gets it) to the commit of the last metric in MLflow's
database, for all three seen by the same listener on SQLAlchemy. Starting Ray, the first worker and the database lie
before it. Every variant runs in a process and a folder of its own; the order changes with every repeat. Trials end
where ASHA says, so the reports of a trial differ a little between variants: the table shows them.

After every run the database must hold what was promised: a run a trial, all its parameters, ended, with a metric at
every step from 1 to a rung, and as many in all as were reported. Else the benchmark fails.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

# No import of ours at the top: the peers run this file too, and must not pay for it.

VARIANTS = ("ours", "stock", "optuna")
OURS = VARIANTS[0]
SCORE_KEYS = {"ours": "val/accuracy", "stock": "score", "optuna": "score"}  # of the one metric a report in MLflow
OUR_PACKAGES = {"fashion_core", "search", "spaces"}

MAX_EPOCHS, GRACE_EPOCHS, REDUCTION_FACTOR = 9, 1, 3
RUNGS = (1, 3, 9)
CONCURRENT = 2
# name -> low, high, logarithmic; fields of `TrainConfig`, because our spaces know no others
PARAMETERS: dict[str, tuple[float, float, bool]] = {
    "lr": (1e-5, 1e-1, True),
    "head_lr_factor": (1.0, 100.0, True),
    "weight_decay": (1e-6, 1.0, True),
    "dropout": (0.0, 0.5, False),
    "drop_path": (0.0, 0.5, False),
    "focal_gamma": (0.0, 5.0, False),
    "label_smoothing": (0.0, 0.3, False),
    "class_balance": (0.0, 1.0, False),
    "warmup_fraction": (0.0, 0.5, False),
    "jitter": (0.0, 1.0, False),
    "erasing": (0.0, 1.0, False),
    "mixup": (0.0, 1.0, False),
}

RUN_TIMEOUT_S = 1800
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "RAY_ADDRESS": "local",  # a Ray of its own, even where another one runs
}
LIBRARIES = ("ray", "optuna", "mlflow", "torch", "sqlalchemy")
RESAMPLES = 10_000
INTERVAL_PERCENT = (2.5, 97.5)
DATABASE = "mlflow.db"


def compute_score(params: dict[str, float], epoch: int) -> float:
    """Between 0 and 1: rises with every epoch, and with how near the parameters are to the middle of their ranges."""
    distance = 0.0
    for name, (low, high, is_log) in PARAMETERS.items():
        value = params[name]
        if is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        distance += abs((value - low) / (high - low) - 0.5)
    return (1 - distance / len(PARAMETERS)) * (1 - math.exp(-epoch / 3))


class StoreClock:
    """The time at which this process last committed a metric to MLflow's database."""

    def __init__(self) -> None:
        from sqlalchemy import Engine, event
        from sqlalchemy.pool import Pool

        self.last: float | None = None
        event.listen(Engine, "after_cursor_execute", self.mark)
        event.listen(Pool, "checkin", self.note)

    def mark(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("INSERT INTO metrics"):
            connection.info["has_metrics"] = True

    def note(self, dbapi_connection: Any, record: Any) -> None:
        """A connection goes back to its pool: what it wrote is committed."""
        if record.info.pop("has_metrics", False):
            self.last = time.time()


# ------------------------------------------------------------------------------------------------ the three variants


def run_ours(folder: Path, trials: int, seed: int) -> tuple[float, int]:
    """Returns: unix time of the first result, and number of reports."""
    from rich.console import Console

    from fashion_core.sample_data import draw_sample_data
    from search import driver, tuning
    from search.ledger import read_events
    from search.options import SearchOptions

    space = folder / "overhead.yaml"
    space.write_text(render_space(trials))
    options = SearchOptions(
        data=draw_sample_data(folder / "data", train=40, val=20, test=10),
        space=str(space),
        name="overhead",
        concurrent=CONCURRENT,
        cpus_per_trial=1,
        gpus_per_trial=0,
        seed=seed,
        results=folder / "results",
        tracking_uri=f"sqlite:///{folder / DATABASE}",
    )
    layout = driver.name_search(options)
    tuning.TrialTrainable = build_formula_trial()
    driver.finish_search = close_tracker
    driver.launch(options, layout, Console(width=120))
    epochs = [event["time"] for event in read_events(layout.ledger) if event["event"] == "epoch"]
    return min(epochs), len(epochs)


def render_space(trials: int) -> str:
    """`PARAMETERS` and the scheduler as one of our spaces."""
    lines = [
        "description: the cost of a trial",
        "sampler: tpe",
        f"trials: {trials}",
        "fixed: {image_size: 32, backbone: test_resnet, weights: none}",
        "search:",
    ]
    for name, (low, high, is_log) in PARAMETERS.items():
        lines.append(f"  {name}: {{{'loguniform' if is_log else 'uniform'}: [{low}, {high}]}}")
    numbers = f"max_epochs: {MAX_EPOCHS}, grace_epochs: {GRACE_EPOCHS}, reduction_factor: {REDUCTION_FACTOR}"
    return "\n".join([*lines, f"scheduler: {{type: asha, {numbers}}}", ""])


def build_formula_trial() -> type:
    """Our trainable with a formula in the place of the network.

    `setup`, `reset_config` and `cleanup` (with its garbage collection) are the real ones. `save_checkpoint` writes a
    file of 6 bytes under the model's name: Ray stores it and the recorder copies it as they would a real one.
    """
    from fashion_core.checkpoint import MODEL_FILE
    from fashion_core.metrics import ACCURACY
    from search.asha import SCORE
    from search.trial import TrialTrainable

    class FormulaTrial(TrialTrainable):
        def step(self) -> dict[str, Any]:
            epoch = self.iteration + 1
            score, is_done = compute_score(self.config["params"], epoch), epoch >= MAX_EPOCHS
            status = "finished" if is_done else "running"
            return {SCORE: score, "status": status, "metrics": {ACCURACY: score}, "done": is_done}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            (Path(checkpoint_dir) / MODEL_FILE).write_bytes(b"nobody")

    return FormulaTrial


def close_tracker(plan: Any, session: Any, tracker: Any, schema: Any, console: Any) -> None:
    """In the place of `finish_search`, which would load the best model for its report."""
    missing = tracker.close()
    if missing is not None:
        raise RuntimeError(missing)


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
        param_space={
            name: tune.loguniform(low, high) if is_log else tune.uniform(low, high)
            for name, (low, high, is_log) in PARAMETERS.items()
        },
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
    import optuna
    import torch
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    torch.set_num_threads(1)
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
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=GRACE_EPOCHS, reduction_factor=REDUCTION_FACTOR, min_early_stopping_rate=0
        ),
    )
    study.optimize(objective, n_trials=trials, n_jobs=CONCURRENT)
    client.set_terminated(parent)
    return min(times), len(times)


RUNNERS: dict[str, Callable[[Path, int, int], tuple[float, int]]] = {
    "ours": run_ours,
    "stock": run_stock,
    "optuna": run_optuna,
}


def run_variant(variant: str, folder: Path, trials: int, seed: int) -> None:
    """Of the variant's own process: run it, and leave its times in the folder."""
    clock = StoreClock()
    first, reports = RUNNERS[variant](folder, trials, seed)
    if variant != OURS and (ours := OUR_PACKAGES & sys.modules.keys()):
        raise RuntimeError(f"a peer must import none of our code, but {variant} imports {', '.join(sorted(ours))}")
    if clock.last is None:
        raise RuntimeError(f"{variant} stored no metric")
    outcome = {"seconds": clock.last - first, "reports": reports}
    (folder / "outcome.json").write_text(json.dumps(outcome))


# ------------------------------------------------------------------------------------------------ measuring


def measure(variant: str, trials: int, seed: int) -> dict[str, Any]:
    """Run one variant in a process and a folder of its own, and check what it stored.

    Returns:
        {seconds, reports, points}: points are all metric values in the database.

    Raises:
        SystemExit: it failed, or stored less than it should have.
    """
    with tempfile.TemporaryDirectory(prefix="overhead-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = [sys.executable, str(Path(__file__).resolve())]
        command += ["variant", variant, "--trials", str(trials), "--seed", str(seed), "--folder", name]
        with (folder / "output.txt").open("w+") as output:
            done = subprocess.run(
                command,
                cwd=folder,
                env=os.environ | ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=RUN_TIMEOUT_S,
            )
        if done.returncode != 0:
            text = (folder / "output.txt").read_text(errors="replace")
            sys.exit(f"{text[-8000:]}\nthe variant {variant} ended with {done.returncode}; its last output is above")
        outcome = json.loads((folder / "outcome.json").read_text())
        faults, points = check_store(folder / DATABASE, SCORE_KEYS[variant], trials, outcome["reports"])
        if faults:
            sys.exit(f"MLflow does not hold what {variant} should have stored there:\n" + "\n".join(faults))
        return {**outcome, "points": points}


def check_store(path: Path, key: str, trials: int, reports: int) -> tuple[list[str], int]:
    """What a database lacks of a variant's trials, and the number of all metric values in it.

    Args:
        key: of the metric that is stored with every report.
        reports: how many there were.
    """
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT run_uuid, step FROM metrics WHERE key = ?", (key,)).fetchall()
        states = dict(database.execute("SELECT run_uuid, status FROM runs").fetchall())
        params = database.execute("SELECT run_uuid, key FROM params").fetchall()
        (points,) = database.execute("SELECT COUNT(*) FROM metrics").fetchone()
    steps: dict[str, list[int]] = defaultdict(list)
    for run, step in rows:
        steps[run].append(step)
    names: dict[str, set[str]] = defaultdict(set)
    for run, name in params:
        names[run].add(name)
    faults = []
    if len(steps) != trials:
        faults.append(f"runs with {key}: {len(steps)}, but there were {trials} trials")
    if len(rows) != reports:
        faults.append(f"values of {key}: {len(rows)}, but there were {reports} reports")
    if max(map(len, steps.values()), default=0) != MAX_EPOCHS:
        faults.append(f"no run has {MAX_EPOCHS} values of {key}")
    for run, found in steps.items():
        if len(found) not in RUNGS or sorted(found) != list(range(1, len(found) + 1)):
            faults.append(f"run {run}: the steps must be 1 to one of {RUNGS}, but are {sorted(found)}")
        if lacking := PARAMETERS.keys() - names[run]:
            faults.append(f"run {run}: no parameter {', '.join(sorted(lacking))}")
        if states[run] not in ("FINISHED", "KILLED"):
            faults.append(f"run {run}: must have ended well, but is {states[run]}")
    return faults, points


def order_variants(repeat: int) -> tuple[str, ...]:
    """The order of a repeat: rotated every second time, reversed in between. All six orders in six repeats."""
    shift = repeat // 2 % len(VARIANTS)
    order = VARIANTS[shift:] + VARIANTS[:shift]
    return order[::-1] if repeat % 2 else order


def compute_interval(ratios: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval (95%, percentiles) of the median of `ratios`, one a repeat."""
    import numpy as np

    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(np.asarray(ratios), (RESAMPLES, len(ratios))), axis=1)
    low, high = np.percentile(medians, INTERVAL_PERCENT)
    return float(low), float(high)


def describe_machine() -> dict[str, str]:
    """Date, processor, cores and versions, as columns of the raw rows."""
    from search.provenance import describe_cpu, find_version

    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": describe_cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": sys.version.split()[0],
        **{name: find_version(name) for name in LIBRARIES},
    }


def run_all(repeats: int, trials: int, out: TextIO | None) -> None:
    """Measure all variants `repeats` times, print the table, write the raw rows to `out` as they come."""
    machine = describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    rows: list[dict[str, Any]] = []
    writer = None
    for repeat in range(repeats):
        for position, variant in enumerate(order_variants(repeat)):
            load = os.getloadavg()[0]
            measured = measure(variant, trials, seed=repeat)
            row = {"repeat": repeat, "position": position, "variant": variant, "trials": trials, **measured}
            row |= {"seconds_per_trial": measured["seconds"] / trials, "load_before": load, **machine}
            rows.append(row)
            print(
                f"repeat {repeat}: {variant:<7} {row['seconds_per_trial']:7.3f} s/trial, {row['reports']} reports, "
                f"{row['points']} values in MLflow, load average before it {load:.2f}",
                flush=True,
            )
            if out is not None:
                writer = writer or write_header(out, row)
                writer.writerow(row)
                out.flush()
    print(render_table(rows))


def write_header(out: TextIO, row: dict[str, Any]) -> csv.DictWriter[str]:
    writer = csv.DictWriter(out, list(row), lineterminator="\n")
    writer.writeheader()
    return writer


def render_table(rows: Sequence[dict[str, Any]]) -> str:
    """Seconds a trial of every variant, and how many times ours; ratios are taken within a repeat."""
    from statistics import median

    seconds = {name: [row["seconds_per_trial"] for row in rows if row["variant"] == name] for name in VARIANTS}
    by_repeat = {(row["variant"], row["repeat"]): row["seconds_per_trial"] for row in rows}
    form = "{:<8}{:>28}{:>17}{:>28}"
    lines = ["", form.format("", "s/trial median [min, max]", "reports/trial", "times ours [95% interval]")]
    for name in VARIANTS:
        values = seconds[name]
        reports = median(row["reports"] / row["trials"] for row in rows if row["variant"] == name)
        ratio = "1"
        if name != OURS:
            ratios = [by_repeat[name, repeat] / by_repeat[OURS, repeat] for repeat in range(len(values))]
            low, high = compute_interval(ratios)
            ratio = f"{median(ratios):.2f} " + (f"[{low:.2f}, {high:.2f}]" if len(ratios) > 1 else "[one repeat]")
        spread = f"{median(values):.3f} [{min(values):.3f}, {max(values):.3f}]"
        lines.append(form.format(name, spread, f"{reports:.2f}", ratio))
    loads = [row["load_before"] for row in rows]
    lines.append(f"{len(seconds[OURS])} repeats; load average before a run {min(loads):.2f} to {max(loads):.2f}")
    return "\n".join(lines)


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but got {number}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=at_least_one, default=5, help="runs of every variant (default: 5)")
    parser.add_argument("--trials", type=at_least_one, default=40, help="trials of a run (default: 40)")
    parser.add_argument("--out", type=Path, help="write the raw rows to this CSV")
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("variant", help="one variant, in this process; what the others start")
    one.add_argument("variant", choices=VARIANTS)
    one.add_argument("--trials", type=at_least_one, required=True)
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "variant":
        run_variant(options.variant, options.folder, options.trials, options.seed)
    elif options.out is None:
        run_all(options.repeats, options.trials, None)
    else:
        with options.out.open("w", newline="") as out:
            run_all(options.repeats, options.trials, out)


if __name__ == "__main__":
    main()
