"""What the registry holds: who was champion when, and a version copied to another registry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.cli import DEFAULT_RESULTS, AsJson, Results, TrackingUri, print_json
from search.reporting.terminal import FoldingTable, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.registry.champions import Term

ModelOrSearch = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="A registered model, or a search that was promoted to one; default: the only model with a champion.",
    ),
]
VersionName = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME, NAME@ALIAS or NAME/NUMBER; NAME alone: its champion.")
]
To = Annotated[str, typer.Option("--to", help="MLflow's server or database that it is copied to.")]
NameThere = Annotated[
    str | None, typer.Option("--model", help="Name of the registered model there; default: the same.")
]
AsChampion = Annotated[
    bool, typer.Option("--champion", help="Make it the champion there; refused where there is another.")
]
RUN_LETTERS = 8  # of a run's id, in a table
WIDE = 100  # columns that a table needs for times to the minute


def champions(
    name: ModelOrSearch = None,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Who was champion when, and by which evidence: search, score with interval, verdict of the gate, run in MLflow."""
    from search.registry.champions import list_champions

    registry, terms = list_champions(name, results=results, tracking_uri=tracking_uri)
    if as_json:
        print_json({"model": registry.model, "champions": [each.to_dict() for each in terms]})
        return
    console = Console()
    console.print(plain(f"champions of {registry.model} in {registry.uri}, the newest first"))
    console.print(render_champions(terms, console.width))
    if not all(each.is_exact for each in terms):
        console.print(plain("~ when it was registered, moments before: an earlier version did not write down more"))


def render_champions(terms: Sequence[Term], width: int) -> FoldingTable:
    """A row a time, the newest first; a block where the terminal is too narrow. width: of the terminal, in columns."""
    table = FoldingTable()
    for head in ("version", "since", "search", "score [95%]", "verdict", "run"):
        table.add_column(head, overflow="fold")
    for each in reversed(terms):
        run = "" if each.version is None else each.version.run_id[:RUN_LETTERS]
        number = f"{each.number}" + (" now" if each.is_champion else " deleted" if each.version is None else "")
        cells = [number, format_since(each, width), each.search, each.score, each.verdict, run]
        table.add_row(*map(plain, cells))
    return table


def format_since(term: Term, width: int) -> str:
    """Its day, with the minute where there is room; `?` where it is not known."""
    if term.since is None:
        return "?"
    form = "%Y-%m-%d %H:%M" if width >= WIDE else "%Y-%m-%d"
    return ("" if term.is_exact else "~") + time.strftime(form, time.localtime(term.since))


def copy(
    name: VersionName,
    to: To,
    model: NameThere = None,
    champion: AsChampion = False,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: TrackingUri = None,
) -> None:
    """Copy a registered version to another registry, with its evidence: files, tags, card, run.

    Every file is compared after the copy. Where it is already, nothing is changed; no champion there is overwritten.
    """
    from search.registry.copying import copy_version

    done = copy_version(name, to, model=model, champion=champion, results=results, tracking_uri=tracking_uri)
    there = f"{done.version.uri} in {done.registry.uri}"
    what = f"copied {done.source.uri} to {there}" if done.is_new else f"{done.source.uri} is there already: {there}"
    size = f"{done.files} files, {done.total_bytes / 2**20:,.1f} MiB, each compared"
    state = "the champion there" if "champion" in done.version.aliases else "not the champion there"
    Console().print(plain(f"{what}; {size}; it is {state}"), soft_wrap=True)
