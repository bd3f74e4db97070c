"""A search whose training is a formula: what the rows share that measure everything around the training.

12 float parameters; a score between 0 and 1 follows from them and the epoch. The peers run this file too, so it imports
ours only inside the functions that run ours.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_EPOCHS, GRACE_EPOCHS, REDUCTION_FACTOR = 9, 1, 3
ASHA = f"{{type: asha, max_epochs: {MAX_EPOCHS}, grace_epochs: {GRACE_EPOCHS}, reduction_factor: {REDUCTION_FACTOR}}}"
DATABASE = "mlflow.db"
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


def compute_score(params: dict[str, float], epoch: int) -> float:
    """Between 0 and 1: rises with every epoch, and with how near the parameters are to the middle of their ranges."""
    distance = 0.0
    for name, (low, high, is_log) in PARAMETERS.items():
        value = params[name]
        if is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        distance += abs((value - low) / (high - low) - 0.5)
    return (1 - distance / len(PARAMETERS)) * (1 - math.exp(-epoch / 3))


def build_tune_space() -> dict[str, Any]:
    """`PARAMETERS` as Ray Tune draws them."""
    from ray import tune

    return {
        name: tune.loguniform(low, high) if is_log else tune.uniform(low, high)
        for name, (low, high, is_log) in PARAMETERS.items()
    }


# ------------------------------------------------------------------------------------------------ ours


def launch(
    trainable: type,
    folder: Path,
    trials: int,
    seed: int,
    *,
    scheduler: str = ASHA,
    concurrent: int = 2,
    cpus: int | None = None,
    tracker: Any = None,
    **where: str,
) -> Path:
    """Run a whole search of ours over `PARAMETERS`; only the report after the last trial is left out.

    Args:
        trainable: what trains a trial.
        scheduler: a space's, as YAML.
        cpus: logical CPUs of the machine; None: those it has.
        tracker: where events are sent; None: MLflow on SQLite, in the folder.
        where: `address` of a cluster, and `storage`; default: this machine.

    Returns:
        The ledger's path.
    """
    from rich.console import Console

    from fashion_core.samples.dataset import draw_sample_data
    from search.experiment.search import run_search
    from search.planning.options import SearchOptions
    from search.planning.resources import Machine
    from search.tracking.sender import Tracker

    space = folder / "formula.yaml"
    space.write_text(render_space(trials, scheduler))
    options = SearchOptions(
        data=draw_sample_data(folder / "data", train=40, val=20, test=10),
        space=str(space),
        name="formula",
        concurrent=concurrent,
        cpus_per_trial=1,
        gpus_per_trial=0,
        seed=seed,
        results=folder / "results",
        **where,
    )
    tracker = tracker or Tracker(options.build_layout(), f"sqlite:///{folder / DATABASE}")
    machine = None if cpus is None else Machine(cpus, 0)
    found = run_search(
        options, trainable=trainable, machine=machine, tracker=tracker, report=False, console=Console(width=120)
    )
    if (missing := tracker.close()) is not None:
        raise RuntimeError(missing)
    return found.layout.ledger


def render_space(trials: int, scheduler: str) -> str:
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
    return "\n".join([*lines, f"scheduler: {scheduler}", ""])


def build_formula_trial(max_epochs: int = MAX_EPOCHS) -> type:
    """Our trainable with a formula in the place of the network.

    `setup`, `reset_config`, `save_state` and `cleanup` (with its garbage collection) are the real ones. `write_state`
    writes a file of 6 bytes under the model's name: it is stored, and copied, as a real one.
    """
    from fashion_core.files import MODEL_FILE
    from fashion_core.metrics import ACCURACY
    from search.tune.results import EPOCH, METRICS, SCORE, STATUS
    from search.tune.trainable import TrialTrainable

    class FormulaTrial(TrialTrainable):
        def step(self) -> dict[str, Any]:
            epoch = self.iteration + 1
            score, is_done = compute_score(self.config["params"], epoch), epoch >= max_epochs
            status = "finished" if is_done else "running"
            result = {SCORE: score, EPOCH: epoch, STATUS: status, METRICS: json.dumps({ACCURACY: score})}
            saved = self.save_state(epoch) if is_done or epoch in self.rungs else {}
            return result | saved | {"done": is_done}

        def write_state(self, folder: Path, *, can_resume: bool) -> None:
            (folder / MODEL_FILE).write_bytes(b"nobody")

    return FormulaTrial


# ------------------------------------------------------------------------------------------------ what MLflow holds


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


@dataclass(frozen=True)
class Stored:
    """What a database of MLflow holds.

    Attributes:
        steps: of one metric, ascending, by the run that has it.
        params: names of the parameters by run.
        states: of every run.
        points: number of all metric values.
    """

    steps: dict[str, list[int]]
    params: dict[str, set[str]]
    states: dict[str, str]
    points: int


def read_store(path: Path, key: str) -> Stored:
    """Read a database. key: of the metric that is stored with every report."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT run_uuid, step FROM metrics WHERE key = ? ORDER BY step", (key,)).fetchall()
        states = dict(database.execute("SELECT run_uuid, status FROM runs").fetchall())
        named = database.execute("SELECT run_uuid, key FROM params").fetchall()
        (points,) = database.execute("SELECT COUNT(*) FROM metrics").fetchone()
    steps: dict[str, list[int]] = defaultdict(list)
    for run, step in rows:
        steps[run].append(step)
    params: dict[str, set[str]] = defaultdict(set)
    for run, name in named:
        params[run].add(name)
    return Stored(dict(steps), dict(params), states, points)


def find_faults(stored: Stored, trials: int, reports: int) -> list[str]:
    """What a database lacks of so many trials with so many reports in all."""
    faults = []
    if len(stored.steps) != trials:
        faults.append(f"runs with a score: {len(stored.steps)}, but there were {trials} trials")
    if (values := sum(map(len, stored.steps.values()))) != reports:
        faults.append(f"scores: {values}, but there were {reports} reports")
    for run in stored.steps:
        if lacking := PARAMETERS.keys() - stored.params.get(run, set()):
            faults.append(f"run {run}: no parameter {', '.join(sorted(lacking))}")
        if stored.states[run] not in ("FINISHED", "KILLED"):
            faults.append(f"run {run}: must have ended well, but is {stored.states[run]}")
    return faults
