"""A whole search sent to MLflow again, from its ledger: `python -m search.tracking NAME`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from fashion_core.errors import SearchError
from search.cli import DEFAULT_RESULTS, Results, SearchName, run_command
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.tracking.store import default_uri, ui_command
from search.tracking.writer import Writer


def resend(
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow's server or database; default: SQLite under the results.")
    ] = None,
) -> None:
    """Send a whole search to MLflow again, from its ledger. What is there already stays as it is."""
    layout = SearchLayout(results, name)
    events = read_events(layout.ledger)
    if not events or events[0]["event"] != "search_started":
        raise SearchError(f"no search of the name {name!r} has a ledger in {results}")
    writer = Writer(tracking_uri or default_uri(layout), layout.artifacts)
    started = time.monotonic()
    writer.send(events)
    files = layout.list_artifacts()
    for path in files:
        writer.send_file(path)
    print(
        f"{name}: {len(events)} events, {len(writer.record.trials)} trials and {len(files)} files are in MLflow "
        f"({time.monotonic() - started:.1f} s); see them: {ui_command(layout, tracking_uri)}"
    )


def main() -> None:
    """The command `fashion-resend`."""
    run_command(lambda: typer.run(resend))
