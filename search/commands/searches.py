"""The searches of a folder of results: all of them, one of them, and one of them deleted."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_core.errors import SearchError
from fashion_core.files import is_full
from fashion_core.metrics import ACCURACY
from search.address import Address
from search.cli import DEFAULT_RESULTS, AsJson, Results, SearchName, TrackingUri, print_json
from search.records.events import StopMode
from search.records.layout import SearchLayout
from search.records.locks import DELETE, hold_search, is_running
from search.reporting.terminal import draw_pairs, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.experiment.housekeeping import Glance, Removal
    from search.experiment.result import SearchResult
    from search.records.record import SearchRecord

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
WithRuns = Annotated[bool, typer.Option("--mlflow", help="Delete its runs in MLflow too.")]
Finish = Annotated[bool, typer.Option("--finish", help="Let the trials that run train to their end.")]
Now = Annotated[bool, typer.Option("--now", help="End the trials that run at once, in the midst of an epoch.")]
WHEN = {
    StopMode.AT_EPOCH: "its running trials end after their epoch",
    StopMode.AFTER_TRIALS: "its running trials train to their end, or pause where they would, and no more are started",
    StopMode.NOW: "its running trials end at once",
}
WIDE = 80  # columns that the times of a list need
SHORT = {"all trials ended": "done"}  # words of a list for states


# --------------------------------------------------------------------------------------------------------------- list


def list_(results: Results = DEFAULT_RESULTS, tracking_uri: TrackingUri = None, as_json: AsJson = False) -> None:
    """All searches: state, trials, best score, when, and whether the champion comes from it."""
    from search.experiment.housekeeping import glance_at

    found = glance_at(results)
    standings = find_standings([SearchLayout(results, each.name) for each in found], tracking_uri)
    if as_json:
        unknown = [None if standing == "?" else standing == "champion" for standing in standings]
        print_json([each.to_dict() | {"champion": is_it} for each, is_it in zip(found, unknown, strict=True)])
        return
    console = Console()
    if not found:
        console.print(plain(f"no search stands in {results}"))
        return
    console.print(render_list(found, standings, console.width))


def render_list(found: Sequence[Glance], standings: Sequence[str], width: int) -> Table:
    """A row a search. width: of the terminal, in columns."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", overflow="fold")
    for head, side in (("state", "left"), ("trials", "right"), ("best", "right"), ("started", "left"), ("", "left")):
        table.add_column(head, justify="right" if side == "right" else "left", no_wrap=True)
    for each, standing in zip(found, standings, strict=True):
        form = "%Y-%m-%d %H:%M" if width >= WIDE else "%m-%d"
        when = "" if each.started is None else time.strftime(form, time.localtime(each.started))
        best = "" if each.best is None else f"{each.best:.4f}"
        if best and each.objective != ACCURACY:
            best = f"{each.objective.removeprefix('val/')} {best}"
        cells = [each.name, SHORT.get(each.state, each.state), str(each.trials), best, when, standing]
        table.add_row(*map(plain, cells))
    return table


def find_standings(searches: Sequence[SearchLayout], tracking_uri: str | None) -> list[str]:
    """Of each search `champion`, `previous`, or nothing, by the model in use that comes from it; `?`: not known."""
    from search.registry.sources import find_sources

    known: dict[Address, dict[str, str] | None] = {}
    standings = []
    for layout in searches:
        if not layout.promotion_folder.is_dir():
            standings.append("")  # never promoted: no need to wait for MLflow
            continue
        uri = list_registries(layout, tracking_uri)[0]
        if uri not in known:
            try:
                known[uri] = find_sources(uri)
            except SearchError:
                known[uri] = None
        sources = known[uri]
        standings.append("?" if sources is None else sources.get(layout.name, ""))
    return standings


def list_registries(layout: SearchLayout, tracking_uri: str | None) -> list[Address]:
    """Where a search's model can be registered, the likeliest first: what was said, its own options, its results."""
    from search.planning.options import load_options
    from search.tracking.store import default_uri

    own = load_options(layout).tracking_uri if layout.options.is_file() else None
    found = [Address.of(uri) for uri in (tracking_uri, own, default_uri(layout)) if uri is not None]
    return list(dict.fromkeys(found))


# --------------------------------------------------------------------------------------------------------------- show


def show(name: SearchName, results: Results = DEFAULT_RESULTS, as_json: AsJson = False) -> None:
    """A search as far as it has come: its summary, state, options, and where its files are."""
    from search.experiment.result import load_search

    search = load_search(name, results)
    if as_json:
        print_json(search.to_dict())
    else:
        show_search(search, Console())


def show_search(search: SearchResult, console: Console) -> None:
    """Print it."""
    from search.experiment.steps import find_way, list_next_steps
    from search.planning.options import load_options
    from search.reporting.summary import render_summary
    from search.reporting.words import describe_search

    layout, rows = search.layout, [("state", search.state)]
    options = load_options(layout) if layout.options.is_file() else None
    steps = list_next_steps(layout, None if options is None else options.tracking_uri, record=search.record)
    way = find_way(layout, search.record)
    console.print(render_summary(describe_search(search.record), steps, way), crop=False)
    if options is not None:
        given = options.model_dump(mode="json", exclude_defaults=True)
        rows.append(("options", ", ".join(f"{name} {value}" for name, value in given.items())))
    files = {
        "ledger": layout.ledger,
        "report": layout.page,
        "in Markdown": layout.report,
        "trials": layout.trials_csv,
        "best model": layout.best_folder,
        "promoted model": layout.final.folder,
        "promotion": layout.promotion_report,
    }
    rows += [(what, str(path)) for what, path in files.items() if path.exists()]
    console.print(Text())
    console.print(draw_pairs(rows))


# --------------------------------------------------------------------------------------------------------------- stop


def stop(name: SearchName, results: Results = DEFAULT_RESULTS, finish: Finish = False, now: Now = False) -> None:
    """Ask a search that runs, in another terminal or on another machine, to stop: it can go on with --resume.

    It starts no more trials, and ends those that run after their epoch; `--finish` and `--now` say otherwise.
    """
    from search.records.record import load_record
    from search.records.requests import ask_to_stop

    if finish and now:
        raise SearchError("one of --finish and --now may be given, but got both; leave one out")
    layout = SearchLayout(results, name)
    if not is_running(layout):
        load_record(layout)  # says which searches there are, where there is none of this name
        raise SearchError(f"a search must run to be stopped, but {name} does not; see `show {name}`")
    mode = StopMode.AFTER_TRIALS if finish else StopMode.NOW if now else StopMode.AT_EPOCH
    ask_to_stop(layout, mode)
    Console().print(plain(f"asked {name} to stop: {WHEN[mode]}; go on later with --resume {name}"))


# ------------------------------------------------------------------------------------------------------------- delete


def delete(
    name: SearchName,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: TrackingUri = None,
    runs: WithRuns = False,
    yes: Yes = False,
) -> None:
    """Delete a search: ledger, models, report, its storage, and prepared images that no other search uses.

    Refused while it runs, and where the champion or the one before it comes from it. Shows what goes, and asks.
    """
    from search.experiment.housekeeping import check_there, delete_search, plan_removal
    from search.experiment.stored import hold_stored
    from search.planning.options import load_options

    layout, console = SearchLayout(results, name), Console()
    check_there(layout)
    with ExitStack() as stack:
        stack.enter_context(hold_search(layout, DELETE))
        storage = None
        if layout.options.is_file():
            storage = stack.enter_context(hold_stored(load_options(layout), layout, DELETE, console.print))
        removal = plan_removal(layout, storage)
        refuse_source(layout, tracking_uri)
        console.print(draw_pairs(describe_removal(removal, runs=runs)))
        if not yes:
            ask(f"delete {name}?")
        record, registry = find_record(layout, needed=runs), list_registries(layout, tracking_uri)[0]
        is_left = remove_tracked(layout, record, registry, console, runs=runs, waits=True)
        gone = delete_search(removal)
        if is_left:  # the disk was full
            remove_tracked(layout, record, registry, console, runs=runs)
    if gone.kept != removal.kept:
        console.print(draw_pairs([("keeps", text) for text in gone.kept]))
    console.print(plain(f"deleted {name}: {format_bytes(gone.total_bytes)}"))


def refuse_source(layout: SearchLayout, tracking_uri: str | None) -> None:
    """Raise SearchError where a model in use comes from the search, or a registry does not say so."""
    from search.registry.sources import find_sources

    for uri in list_registries(layout, tracking_uri):
        if (standing := find_sources(uri).get(layout.name)) is not None:
            which = "the champion" if standing == "champion" else "the champion of before, to which one can go back,"
            raise SearchError(
                f"a search is deleted when no model in use comes from it, but {which} comes from {layout.name}; "
                "promote another search first"
            )


def describe_removal(removal: Removal, *, runs: bool) -> list[tuple[str, str]]:
    """What goes, with its size, and what stays."""
    folder, size = removal.folder
    rows = [("deletes", f"{folder}: {format_bytes(size)}")]
    if removal.storage is not None:
        storage, stored_bytes = removal.storage
        rows.append(("", f"{storage.uri}: {format_bytes(stored_bytes)}; no machine can go on with it then"))
    if removal.cache:
        caches = sorted({str(path.parent) for path, _ in removal.cache})
        count = len(removal.cache)
        files = f"{count} file{'s' if count > 1 else ''} of prepared data in {', '.join(caches)}"
        rows.append(("", f"{files}: {format_bytes(removal.cache_bytes)}"))
    if runs:
        rows.append(("", "its runs in MLflow; those of its promotions stay, since registered versions name them"))
    return rows + [("keeps", text) for text in removal.kept]


def ask(question: str) -> None:
    """Raise SearchError unless a person at a terminal says yes."""
    if not sys.stdin.isatty():
        raise SearchError("what is deleted must be agreed to at a terminal, but there is none; give --yes")
    if not typer.confirm(question):
        raise SearchError("nothing was deleted")


def find_record(layout: SearchLayout, *, needed: bool = False) -> SearchRecord | None:
    """What a search's ledger tells; None without a ledger, or with a damaged one, unless it is needed."""
    from search.records.record import load_record

    try:
        return load_record(layout)
    except SearchError:
        if needed:
            raise
        return None


def remove_tracked(
    layout: SearchLayout,
    record: SearchRecord | None,
    uri: Address,
    console: Console,
    *,
    runs: bool,
    waits: bool = False,
) -> bool:
    """Delete a search's models in MLflow, whose files go, and if wanted its runs.

    Args:
        waits: where its database has no room for that, it is left for later.

    Returns:
        Whether it was left.
    """
    from search.tracking.removal import delete_models, delete_runs

    try:
        delete_models(layout, record, uri)
        if runs and record is not None:
            count = delete_runs(record, uri)
            console.print(plain(f"deleted {count} runs in MLflow; `mlflow gc` frees their space"))
    except SearchError as error:
        if not (waits and is_full(error)):
            raise
        return True
    return False


def format_bytes(size: int) -> str:
    """`12.3 MiB`; of less than one, `3.4 KiB`."""
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
