"""Views of a search, made from its ledger again: its report, its effects, its runs in MLflow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fashion_core.escaping import show_text
from search.cli import DEFAULT_RESULTS, AsJson, Results, SearchName, TrackingUri, print_json
from search.records.layout import SearchLayout

Photographs = Annotated[
    bool,
    typer.Option(
        "--photographs",
        help="Write report-photographs.html too, with photographs that the best trial gets right and wrong.",
    ),
]
CheckData = Annotated[
    bool,
    typer.Option(
        "--check-data",
        help="Look for wrong labels and near-duplicates again, by the best models kept and the images.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="The data set, for --photographs and --check-data; default: that of the search."),
]
Study = Annotated[
    Path | None,
    typer.Option("--export-study", metavar="FILE", help="Write an Optuna study too, which optuna-dashboard opens."),
]


def report(
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
    photographs: Photographs = False,
    check_data: CheckData = False,
    data: Data = None,
    study: Study = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a search again from its ledger, also while it runs: report.html, README.md, tables, pictures.

    Example, for optuna-dashboard sqlite:///study.db:

    fashion-search report my-search --export-study study.db
    """
    from search.records.record import load_record
    from search.reporting.page import write_page
    from search.reporting.report import write_report
    from search.reporting.words import describe_search

    layout = SearchLayout(results, name)
    record = load_record(layout)
    search = describe_search(record)
    written = []
    if check_data:
        from search.experiment.data_check import look_at_data

        written += look_at_data(layout, record, data, Console(stderr=True))
    written += [*write_report(layout, record, search), write_page(layout, record, search)]
    if photographs:
        from search.reporting.photographs import show_photographs

        pictures = show_photographs(record, data or find_data(layout))
        written.append(write_page(layout, record, search, pictures))
    if study is not None:
        from search.tune.export import export_study

        export_study(record, study)
        written.append(study)
    if as_json:
        print_json({"name": name, "files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(show_text(f"wrote {path}"))


def find_data(layout: SearchLayout) -> Path:
    """The data set that a search was begun with."""
    from search.planning.options import load_options

    return Path(load_options(layout).data)


def effects(name: SearchName, results: Results = DEFAULT_RESULTS) -> None:
    """Write which parameters of a search mattered, with intervals: EFFECTS.md."""
    from search.records.record import load_record
    from search.reporting.effects import write_effects

    layout = SearchLayout(results, name)
    typer.echo(show_text(f"wrote {write_effects(layout, load_record(layout))}"))


def resend(name: SearchName, results: Results = DEFAULT_RESULTS, tracking_uri: TrackingUri = None) -> None:
    """Send a search to MLflow again, from its ledger. What is there already stays as it is."""
    from search.tracking import resending
    from search.tracking.store import ui_command

    layout, started = SearchLayout(results, name), time.monotonic()
    sent = resending.resend(layout, tracking_uri)
    text = (
        f"{name}: {sent.events} events, {sent.trials} trials and {sent.files} files are in MLflow "
        f"({time.monotonic() - started:.1f} s); see them: {ui_command(layout, tracking_uri)}"
    )
    typer.echo(show_text(text))
