"""Views of a search, made from its ledger again: its report, its effects, its runs in MLflow."""

from __future__ import annotations

import time

import typer

from fashion_core.escaping import show_text
from search.cli import DEFAULT_RESULTS, AsJson, Results, SearchName, TrackingUri, print_json
from search.records.layout import SearchLayout


def report(name: SearchName, results: Results = DEFAULT_RESULTS, as_json: AsJson = False) -> None:
    """Write the report of a search again from its ledger: README.md, trials.csv and curves.png."""
    from search.records.record import load_record
    from search.reporting.report import write_report
    from search.reporting.words import describe_search

    layout = SearchLayout(results, name)
    record = load_record(layout)
    written = write_report(layout, record, describe_search(record))
    if as_json:
        print_json({"name": name, "files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(show_text(f"wrote {path}"))


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
