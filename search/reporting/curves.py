"""The learning curves of all trials, as a table that needs no ledger: `curves.parquet`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fashion_core.errors import SearchError
from fashion_core.files import whole
from search.records.ledger import unpack_correct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search.records.record import SearchRecord, TrialRecord

PARAM = "params/"
CORRECT = pa.list_(pa.list_(pa.bool_()))


def build_curves(record: SearchRecord) -> pa.Table:
    """A row for each epoch of each trial, by number and epoch.

    Columns: `trial`; `status` of the trial; `epoch`, from 1; `is_best`, whether it is the trial's best one; a column a
    score, under the name it has in MLflow; `params/NAME`, a column a parameter that was searched; `correct`, in the row
    of the best epoch: for each image that scores are compared on, in the order of the ledger, and each category,
    whether it was answered right (null: not labelled there). The table's metadata have `search` and `categories`.

    Args:
        record: of a search; it may still run.
    """
    rows = [(trial, row) for _, trial in sorted(record.trials.items()) for row in trial.epochs]
    scores = dict.fromkeys(name for _, row in rows for name in row.metrics)
    columns = {
        "trial": pa.array([trial.number for trial, _ in rows], pa.int64()),
        "status": pa.array([str(trial.status) for trial, _ in rows], pa.string()),
        "epoch": pa.array([row.epoch for _, row in rows], pa.int64()),
        "is_best": pa.array([row.epoch == trial.best_epoch for trial, row in rows], pa.bool_()),
    }
    columns |= {name: pa.array([row.metrics.get(name) for _, row in rows], pa.float64()) for name in scores}
    columns |= {
        f"{PARAM}{name}": build_column([trial.params.get(name) for trial, _ in rows]) for name in record.param_names
    }
    answers = [list_correct(record, trial) if row.epoch == trial.best_epoch else None for trial, row in rows]
    columns["correct"] = pa.array(answers, CORRECT)
    return pa.table(columns, metadata={"search": record.name, "categories": json.dumps(record.category_names)})


def build_column(values: Sequence[Any]) -> pa.Array:
    """Values of one type as such; else each as JSON."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())


def list_correct(record: SearchRecord, trial: TrialRecord) -> list[list[bool | None]] | None:
    """What the best epoch of a trial answered right, by image and category; None where the ledger does not tell."""
    images = record.selection.get("select_count")
    if trial.correct is None or not isinstance(images, int):
        return None
    try:
        correct = np.asarray(unpack_correct(trial.correct, images, len(record.category_names)), np.float64)
    except SearchError:
        return None
    return [[None if np.isnan(value) else bool(value) for value in image] for image in correct]


def write_curves(record: SearchRecord, path: Path) -> None:
    """Write `build_curves` as Parquet, complete or not at all."""
    with whole(path) as temporary:
        pq.write_table(build_curves(record), temporary, compression="zstd")
