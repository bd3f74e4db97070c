"""What MLflow's pages say of a run beside its scores: what happened, whose it is, its whole configuration."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING

from fashion_core.errors import first_line
from search.records.events import EndReason, TrialStatus
from search.records.usage import add_up
from search.space.seeds import draw_seeds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.records.record import SearchRecord, TrialRecord

DataSet = tuple[str, str, str, str]  # context, name, fingerprint, profile as JSON: see `describe_images`
MAX_LINE = 400  # characters
TRIAL = "trial/"  # begins the name of what a trial took


def describe_trial(record: SearchRecord, trial: TrialRecord) -> str:
    """What becomes of a trial, or became of it, in one line."""
    is_told = trial.reason.startswith(trial.status)  # "paused after epoch 2"
    words = [trial.reason if is_told else f"{trial.status}: {trial.reason}" if trial.reason else str(trial.status)]
    if trial.status == TrialStatus.RUNNING and (epochs := record.settings.get("max_epochs")):
        words = [f"running: {write_epochs(epochs)}"]
    if trial.best is not None and trial.status != TrialStatus.DIVERGED:
        epoch = "" if trial.best_epoch is None else f" in epoch {trial.best_epoch}"
        words.append(f"best {record.objective.name} {trial.best:.4f}{epoch}")
    return "; ".join(words)[:MAX_LINE]


def describe_end(record: SearchRecord) -> str:
    """What becomes of a search, or became of it, in one line."""
    counts = record.count_statuses()
    trials = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    state = describe_running(record) if record.ended is None else record.ended.reason
    words = [state, f"trials: {trials or 'none'}"]
    if ranked := record.rank():
        words.append(f"best {record.objective.name} {ranked[0].best:.4f} (trial {ranked[0].number})")
    return first_line("; ".join(words))[:MAX_LINE]


def describe_running(record: SearchRecord) -> str:
    """What a search is to do, as far as its ledger tells: `running: 20 trials of 9 epochs at most`."""
    trials, epochs = record.settings.get("trials"), record.settings.get("max_epochs")
    count = f": {trials} trial{'' if trials == 1 else 's'}" if trials else ""
    return f"running{count}" + (f" of {write_epochs(epochs)}" if count and epochs else "")


def write_epochs(count: int) -> str:
    """`9 epochs at most`."""
    return f"{count} epoch{'' if count == 1 else 's'} at most"


def is_failure(reason: str) -> bool:
    """Whether a search that ended so has failed: not where a rule or a person ended it."""
    return reason in (EndReason.BROKEN, EndReason.INCOMPLETE)


def build_source(provenance: Mapping[str, str]) -> dict[str, str]:
    """MLflow's own tags of where a run comes from, as its clients set them: user, program, commit."""
    words = provenance.get("command", "").split()
    program = next((word.partition("(")[0] for word in words if word not in ("python", "-m")), "fashion-search")
    tags = {"mlflow.user": find_user(), "mlflow.source.name": program, "mlflow.source.type": "LOCAL"}
    if commit := provenance.get("git_commit"):
        tags["mlflow.source.git.commit"] = commit
    return tags


def find_user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, as in a container
        return "unknown"


def find_seeds(record: SearchRecord, number: int) -> dict[str, int]:
    """The seeds that a trial trains with; none where the ledger does not tell the search's."""
    seed = record.settings.get("seed")
    return {} if seed is None else draw_seeds(seed, number, with_start=record.has_start_seeds)


def describe_data(record: SearchRecord) -> list[DataSet]:
    """The data sets of a search."""
    data, selection, settings = record.begun.data, record.begun.selection, record.settings
    folder, fingerprint = data.get("folder") or "data", data.get("fingerprint") or ""
    if not fingerprint:
        return []
    chosen = selection.get("select_on", "val")
    dealt = "" if chosen == "val" else f" of seed {selection.get('seed', settings.get('seed', 0))}"
    less = "" if chosen == "val" else f" less {chosen}{dealt}"
    return [
        describe_images(context, f"{folder}: {name}", fingerprint, selection.get(f"{part}_count"))
        for context, name, part in (("train", f"train{less}", "train"), ("select", f"{chosen}{dealt}", "select"))
    ]


def describe_images(context: str, name: str, fingerprint: str, count: int | None) -> DataSet:
    """Images that a run is given. context: what for, such as `train`, `select` or `judge`."""
    return context, name, fingerprint, json.dumps({"images": count})


def measure_trial(trial: TrialRecord) -> dict[str, float]:
    """What a trial took, by name of a metric: see `Usage`."""
    return measure_epochs([row.metrics for row in trial.epochs])


def measure_epochs(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """What the epochs of a training took, by name of a metric: of a trial, and of one that trains it again."""
    return {f"{TRIAL}{name}": value for name, value in vars(add_up(rows)).items() if value}
