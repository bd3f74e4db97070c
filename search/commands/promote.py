"""Promote a search, compare two models, and go back to the champion of before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from search.cli import (
    DEFAULT_RESULTS,
    REFUSED,
    AsJson,
    Results,
    SearchName,
    TrackingUri,
    build,
    choose_output,
    print_json,
    take_fields,
)
from search.promotion.options import PromotionOptions, Workplace
from search.records.layout import SearchLayout
from search.reporting.terminal import plain

Replace = Annotated[bool, typer.Option("--replace", help="Forget an earlier promotion of this search, and begin anew.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be trained, and do nothing.")]
One = Annotated[
    str,
    typer.Argument(
        metavar="A", help="A search, SEARCH:TRIAL, models:/NAME@ALIAS, models:/NAME/VERSION, or a saved model's path."
    ),
]
Other = Annotated[str, typer.Argument(metavar="B", help="Another of these.")]
Data = Annotated[Path | None, typer.Option(help="The data set; default: that of the search.")]
CacheDir = Annotated[Path | None, typer.Option(help="Where prepared images are kept; default: as the search did.")]
RegisteredName = Annotated[
    str | None, typer.Option("--model", help="Name of the registered model; default: the only one that has a champion.")
]


@take_fields(PromotionOptions, Workplace)
def promote(
    values: dict[str, Any], name: SearchName, replace: Replace = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Train a search's best trials again, judge them, combine them, and register what is best.

    The same command goes on where it was cut off. Exit status: 0 promoted, 3 refused by the gate, 2 an error. Example:

    fashion-search promote my-search
    """
    options, place = build(PromotionOptions, values), build(Workplace, values)

    from search.promotion import pipeline  # Ray, torch and MLflow take seconds to import: not for --help

    if dry_run:
        pipeline.plan_promotion(
            SearchLayout(place.results, name), options, place, choose_output(as_json=as_json), replace=replace
        )
        return
    result = pipeline.promote(
        name, options, place=place, replace=replace, console=choose_output(as_json=as_json), command=sys.argv
    )
    if as_json:
        print_json(result.to_dict())
    if not result.is_champion:
        raise typer.Exit(REFUSED)


def compare(
    one: One,
    other: Other,
    data: Data = None,
    cache_dir: CacheDir = None,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Is model A better than model B? Both answer the same validation images."""
    from search.registry import comparing
    from search.registry.comparison_view import show_comparison

    console = choose_output(as_json=as_json)
    found = comparing.compare(
        one, other, results=results, data=data, tracking_uri=tracking_uri, cache_dir=cache_dir, console=console
    )
    if as_json:
        print_json(found.to_dict())
    else:
        show_comparison(found, console)


def rollback(
    model: RegisteredName = None, results: Results = DEFAULT_RESULTS, tracking_uri: TrackingUri = None
) -> None:
    """Make the previous champion the champion again."""
    from search.registry import versions

    now, before = versions.rollback(model, results=results, tracking_uri=tracking_uri)
    left = "there is no earlier one" if before is None else f"before it: version {before.number}"
    Console().print(plain(f"{now.name}: version {now.number} is the champion again; {left}"))
