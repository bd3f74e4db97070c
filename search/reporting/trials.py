"""The trials of a search as a table, a row each: `trials.csv`, and the same with types, `trials.parquet`."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING, Any

from fashion_core import metrics
from fashion_core.files import whole, write_whole
from search.records.usage import measure_usage
from search.reporting.tables import hide_places

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.record import SearchRecord

FIXED_COLUMNS = ("trial", "status", "reason", "rung", "cutoff", "enqueued", "epochs", "best_epoch", "seconds")
# Of these, such as some trial has: energy and a GPU's memory are not known everywhere.
USAGE_COLUMNS = ("images_per_second", "peak_memory_mib", "peak_gpu_memory_mib", "cpu_joules", "gpu_joules", "gpu_busy")
TYPES = {
    "trial": "int64",
    "status": "string",
    "reason": "string",
    "rung": "int64",
    "cutoff": "float64",
    "enqueued": "bool",
    "epochs": "int64",
    "best_epoch": "int64",
    "seconds": "float64",
}  # of these, in Parquet; scores are float64, and parameters are of the type of their values


def tabulate_trials(record: SearchRecord) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of all trials, by number; metrics are those of a trial's best epoch."""
    own = record.objective
    scores = [own.name, own.error_name, metrics.ACCURACY, metrics.ACCURACY_SE, metrics.CLASS_ACCURACY]
    scores = list(dict.fromkeys([*scores, *(f"{metrics.ACCURACY}/{name}" for name in record.category_names)]))
    params, rows = record.param_names, []
    usages = {number: vars(measure_usage(trial)) for number, trial in record.trials.items()}
    used = [name for name in USAGE_COLUMNS if any(usage[name] is not None for usage in usages.values())]
    for number, trial in sorted(record.trials.items()):
        found = {**trial.best_metrics, own.name: trial.best}
        seconds = None if trial.seconds is None else round(trial.seconds, 1)
        fixed = [number, str(trial.status), hide_places(trial.reason), trial.rung, trial.cutoff]
        fixed += [trial.enqueued, len(trial.epochs), trial.best_epoch, seconds]
        fixed += [None if (value := usages[number][name]) is None else round(value, 3) for name in used]
        rows.append([*fixed, *(found.get(name) for name in scores), *(trial.params.get(name) for name in params)])
    return [*FIXED_COLUMNS, *used, *scores, *params], rows


def write_trials_csv(record: SearchRecord, path: Path) -> None:
    """One row a trial. Empty: none, true and false as in JSON."""
    columns, rows = tabulate_trials(record)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])
    write_whole(path, text.getvalue())


def write_trials_parquet(record: SearchRecord, path: Path) -> None:
    """The same table as `trials.csv`, each column of one type; a parameter of several types is text, each as JSON."""
    import pyarrow as pa  # takes time: not for those who draw tables alone
    import pyarrow.parquet as pq

    from search.reporting.curves import PARAM, build_column

    names, rows = tabulate_trials(record)
    params, columns = len(record.param_names), {}
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        if place < len(names) - params:
            columns[name] = pa.array(values, TYPES.get(name, "float64"))
        else:  # one of the name of a column before, such as `epochs`, has the one that it has in `curves.parquet`
            columns[PARAM + name if name in columns else name] = build_column(values)
    with whole(path) as temporary:
        pq.write_table(pa.table(columns, metadata={"search": record.name}), temporary, compression="zstd")
