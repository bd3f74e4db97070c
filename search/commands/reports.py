"""Views of a search, made from its ledger again: its report, its effects, its runs in MLflow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fashion_core.errors import SearchError, first_line
from fashion_core.escaping import show_text
from search.address import Address
from search.cli import DEFAULT_RESULTS, AsJson, Results, SearchName, print_json
from search.records.layout import SearchLayout
from search.records.locks import is_running
from search.records.provenance import write_command
from search.reporting.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.record import SearchRecord

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
OwnUri = Annotated[str | None, typer.Option(help="MLflow's tracking server or database; default: that of the search.")]
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

    MLflow gets it too, where it has the search, and that does not run.

    Example, for optuna-dashboard sqlite:///study.db:

    fashion-search report my-search --export-study study.db
    """
    from search.records.record import load_record
    from search.registry.standing import find_champion
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
    champion = find_champion(layout, record)
    written += [*write_report(layout, record, search), write_page(layout, record, search, champion=champion)]
    if photographs:
        from search.reporting.photographs import show_photographs

        pictures = show_photographs(record, data or find_data(layout))
        written.append(write_page(layout, record, search, pictures, champion))
    if study is not None:
        from search.tune.export import export_study

        export_study(record, study)
        written.append(study)
    if as_json:
        print_json({"name": name, "files": [str(path) for path in written]})
    else:
        for path in written:
            typer.echo(show_text(f"wrote {path}"))
    send_written(layout, record, written)


def find_data(layout: SearchLayout) -> Path:
    """The data set that a search was begun with."""
    from search.planning.options import load_options

    return Path(load_options(layout).data)


def finish_stopped(
    name: SearchName,
    trials: Annotated[int, typer.Option(min=1, help="How many; those that are done count.")] = 3,
    results: Results = DEFAULT_RESULTS,
    data: Annotated[Path | None, typer.Option(help="The data set; default: that of the search.")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster, or local for this machine; default: as the search did.")
    ] = None,
    allow_open: Annotated[
        bool, typer.Option("--allow-open-cluster", help="Join a Ray cluster that asks for no token.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what that takes, and do nothing.")] = False,
) -> None:
    """Train some trials that ASHA stopped to their end, drawn by chance: what did stopping them cost?

    The search stays as it is; its report.html tells, under "Where did the compute go?". The same command goes on where
    it was cut off.
    """
    from search.experiment import stopped  # Ray and torch take seconds to import: not for --help
    from search.records.record import load_record
    from search.registry.standing import find_champion
    from search.reporting.page import write_page
    from search.reporting.stopped import describe_regret, estimate_regret
    from search.reporting.words import describe_search

    layout, console = SearchLayout(results, name), Console()
    if dry_run:
        stopped.plan_stopped(layout, trials, console)
        return
    finished = stopped.finish_stopped(layout, trials, console, data=data, address=address, allow_open=allow_open)
    record = load_record(layout)
    page = write_page(layout, record, describe_search(record), champion=find_champion(layout, record))
    if (regret := estimate_regret(record, finished)) is not None:
        console.print(plain(describe_regret(record, regret)))
    console.print(plain(f"wrote {page}"))
    send_written(layout, record, [page])


def send_written(layout: SearchLayout, record: SearchRecord, written: Sequence[Path]) -> None:
    """Send what was written again to MLflow, where that has the search; a note on stderr says where it does not answer.

    A search that runs sends its own at its end. What MLflow does not get of a search, such as photographs, is left out.
    """
    from search.registry.access import open_registry
    from search.tracking.resending import send_again

    if is_running(layout):
        return
    kept = set(layout.list_artifacts())
    try:
        uri = find_uri(layout)
        if uri.file is not None and not uri.file.is_file():
            return
        open_registry(uri, "MLflow must be a server or database")  # within seconds, where the rest takes minutes
        send_again(layout, record, [path for path in written if path in kept], uri)
    except SearchError as error:
        way = write_command("resend", layout)
        typer.echo(show_text(f"{first_line(error)}; send what was written there later: {way}"), err=True)


def find_uri(layout: SearchLayout, tracking_uri: str | None = None) -> Address:
    """Where MLflow has a search: as is said, or as the search did, or under the results."""
    from search.planning.options import load_options
    from search.tracking.store import default_uri

    own = load_options(layout).tracking_uri if layout.options.is_file() else None
    return Address.of(tracking_uri or own or default_uri(layout))


def effects(name: SearchName, results: Results = DEFAULT_RESULTS) -> None:
    """Write which parameters of a search mattered, with intervals: EFFECTS.md."""
    from search.records.record import load_record
    from search.reporting.effects import write_effects

    layout = SearchLayout(results, name)
    typer.echo(show_text(f"wrote {write_effects(layout, load_record(layout))}"))


def resend(name: SearchName, results: Results = DEFAULT_RESULTS, tracking_uri: OwnUri = None) -> None:
    """Send a search to MLflow again, from its ledger. What is there already stays as it is."""
    from search.tracking import resending
    from search.tracking.store import ui_command

    layout, started = SearchLayout(results, name), time.monotonic()
    sent = resending.resend(layout, find_uri(layout, tracking_uri))
    text = (
        f"{name}: {sent.events} events, {sent.trials} trials and {sent.files} files are in MLflow "
        f"({time.monotonic() - started:.1f} s); see them: {ui_command(layout, tracking_uri)}"
    )
    typer.echo(show_text(text))
