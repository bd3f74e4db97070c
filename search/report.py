"""The report of a search: `trials.csv`, `README.md`, `curves.png`. Made from the ledger alone, again at any time.

python -m search.report NAME
"""

from __future__ import annotations

import csv
from pathlib import Path

import typer

from fashion_core import metrics
from fashion_core.errors import SearchError
from search.command import DEFAULT_RESULTS, Results, SearchName, run_command
from search.layout import SearchLayout
from search.ledger import SearchRecord, compute_seconds, read_events, replay
from search.pictures import draw_curves
from search.report_markdown import hide_places, render_report
from search.standing import (
    best_metrics,
    category_names,
    compute_best,
    find_best_epoch,
    first_line,
    list_params,
)

FIXED_COLUMNS = ("trial", "status", "reason", "rung", "cutoff", "enqueued", "epochs", "best_epoch", "seconds")


def write_report(layout: SearchLayout) -> list[Path]:
    """Write the report of a search from its ledger; also of one that still runs.

    Returns:
        What was written.

    Raises:
        SearchError: there is no such search, or it has not begun.
    """
    events = read_events(layout.ledger)
    record = replay(events)
    if not record.search:
        known = sorted(path.parent.name for path in layout.results.glob("*/ledger.jsonl"))
        raise SearchError(
            f"a report needs a search that has begun, but {layout.results} has none named {layout.name!r}; "
            f"known are {', '.join(known) or 'none'}"
        )
    write_trials_csv(record, layout.trials_csv)
    written = [layout.report, layout.trials_csv]
    curves = layout.folder / "curves.png"
    if draw_curves(record, curves):
        written.append(curves)
    categories = category_names(record)
    pictures = [path for name in categories if (path := layout.confusion(name)).is_file()]
    text = render_report(record, compute_seconds(events), [path.name for path in written], [p.name for p in pictures])
    layout.report.write_text(text, encoding="utf-8")
    return written


def write_trials_csv(record: SearchRecord, path: Path) -> None:
    """One row a trial, by number; metrics are those of its best epoch. Empty: none, true and false as in JSON."""
    scores = [metrics.ACCURACY, metrics.ACCURACY_SE, metrics.CLASS_ACCURACY]
    scores += [f"{metrics.ACCURACY}/{name}" for name in category_names(record)]
    params = list_params(record)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIXED_COLUMNS, *scores, *params])
        for number, trial in sorted(record.trials.items()):
            found = {**best_metrics(trial), metrics.ACCURACY: compute_best(trial)}
            seconds = None if trial.ended is None else round(trial.ended - trial.started, 1)
            fixed = [number, trial.status, hide_places(first_line(trial.reason)), trial.rung, trial.cutoff]
            fixed += [trial.enqueued, len(trial.epochs), find_best_epoch(trial), seconds]
            row = [*fixed, *(found.get(name) for name in scores), *(trial.params.get(name) for name in params)]
            writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def report(
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Write the report of a search again from its ledger: README.md, trials.csv and curves.png."""
    for path in write_report(SearchLayout(results, name)):
        typer.echo(f"wrote {path}")


def main() -> None:
    """The command `fashion-report`."""
    run_command(app)


if __name__ == "__main__":
    main()
