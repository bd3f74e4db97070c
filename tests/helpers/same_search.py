"""What two searches must have in common, if one is the other, killed on its way: all but what a clock says."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file

from fashion_core.metrics import OF_MACHINE
from search.records.events import TrialProposed
from search.records.ledger import read_events
from search.records.record import replay
from search.records.usage import Usage
from search.tracking.facts import TRIAL

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.layout import SearchLayout

SAFETENSORS = ".safetensors"
OF_CLOCKS = OF_MACHINE | {f"{TRIAL}{field.name}" for field in fields(Usage)}


def describe(layout: SearchLayout, *, tracked: bool = True) -> dict[str, Any]:
    """Proposals, scores and ends of the ledger; kept models; every point, run and model that MLflow holds.

    Args:
        tracked: MLflow's database stands in the results; else nothing is told of it.
    """
    events = read_events(layout.ledger)
    record = replay(events)
    found: dict[str, Any] = {
        "proposals": [(e.trial, e.params, e.drawn, e.enqueued) for e in events if isinstance(e, TrialProposed)],
        "scores": {
            (number, row.epoch, name): value
            for number, trial in record.trials.items()
            for row in trial.epochs
            for name, value in row.metrics.items()
            if name not in OF_CLOCKS
        },
        "ends": {
            number: (trial.status, trial.reason, trial.best, trial.best_epoch, trial.rung, trial.cutoff, trial.correct)
            for number, trial in record.trials.items()
        },
        "models": {
            path.relative_to(layout.folder).as_posix(): compute_digest(path)
            for folder in (layout.checkpoints, layout.best_folder)
            for path in folder.rglob(f"*{SAFETENSORS}")
        },
    }
    if tracked:
        found["points"] = count_points(layout.tracking_db, record.search_id)
        found["runs"] = list_runs(layout.tracking_db, record.search_id)
        found["kept"] = list_kept(layout.tracking_db, record.search_id)
    return found


def compute_digest(path: Path) -> str:
    """SHA-256 of a model's weights: its description has seconds too."""
    weights = load_file(path)
    content = b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
    return hashlib.sha256(content).hexdigest()


def count_points(database: Path, search_id: str) -> dict[tuple[Any, ...], int]:
    """How often MLflow holds (trial or None, metric, step, value); of what a clock says, without the value."""
    query = """
        select number.value, metrics.key, metrics.step, metrics.value from metrics
        join tags of on metrics.run_uuid = of.run_uuid and of.key = 'search_id' and of.value = ?
        join runs on metrics.run_uuid = runs.run_uuid and runs.lifecycle_stage = 'active'
        left join tags number on metrics.run_uuid = number.run_uuid and number.key = 'trial'
    """
    found: dict[tuple[Any, ...], int] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        for trial, key, step, value in opened.execute(query, (search_id,)):
            point = (trial, key, step, None if key in OF_CLOCKS else value)
            found[point] = found.get(point, 0) + 1
    return found


def list_runs(database: Path, search_id: str) -> list[tuple[Any, ...]]:
    """(trial or None, state, status, its parameters) of every run that MLflow holds of a search."""
    query = """
        select number.value, runs.status, state.value,
            (select group_concat(key || '=' || value, ', ') from
                (select key, value from params where params.run_uuid = runs.run_uuid order by key))
        from runs join tags of on runs.run_uuid = of.run_uuid and of.key = 'search_id' and of.value = ?
        left join tags number on runs.run_uuid = number.run_uuid and number.key = 'trial'
        left join tags state on runs.run_uuid = state.run_uuid and state.key = 'status'
        where runs.lifecycle_stage = 'active'
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return sorted(opened.execute(query, (search_id,)), key=repr)


def list_kept(database: Path, search_id: str) -> list[tuple[Any, ...]]:
    """(trial, epoch, status, metrics, whether its run is that of the trial) of every model that MLflow holds of it."""
    query = """
        select number.tag_value, epoch.tag_value, models.status,
            (select group_concat(metric_name, ', ') from (select metric_name from logged_model_metrics
                where logged_model_metrics.model_id = models.model_id order by metric_name)),
            exists (select 1 from tags join runs on runs.run_uuid = tags.run_uuid and runs.lifecycle_stage = 'active'
                where tags.run_uuid = models.source_run_id and tags.key = 'trial' and tags.value = number.tag_value)
        from logged_models models
        join logged_model_tags of on models.model_id = of.model_id and of.tag_key = 'search_id' and of.tag_value = ?
        join logged_model_tags number on models.model_id = number.model_id and number.tag_key = 'trial'
        join logged_model_tags epoch on models.model_id = epoch.model_id and epoch.tag_key = 'epoch'
        where models.lifecycle_stage = 'active'
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return sorted(opened.execute(query, (search_id,)), key=repr)


def find_differences(one: SearchLayout, other: SearchLayout, *, tracked: bool = True) -> list[str]:
    """In which of these two searches differ. tracked: see `describe`."""
    first, second = describe(one, tracked=tracked), describe(other, tracked=tracked)
    return [name for name in first if first[name] != second[name]]
