"""Do the studies of the report again."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from fashion_core.errors import SearchError
from search.cli import build, take_fields
from search.commands.again import begin_again, can_begin_again
from search.reproduction.levers import LEVERS
from search.reproduction.options import ALL, STUDIES, ReproductionOptions

StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help=f"Which study: {', '.join(STUDIES)}; or {ALL} of them; or {LEVERS}, which is none of the report's: what "
        "raises the score of a recipe.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be trained, and how long that takes.")]


@take_fields(ReproductionOptions)
def reproduce(values: dict[str, Any], study: StudyArgument, dry_run: DryRun = False) -> None:
    """Do a study of the report again with seeds, and say whether what it claims holds.

    The same command goes on where it was cut off; what two studies share is trained once. Example:

    fashion-search reproduce all --data FashionDataset
    """
    if study not in (*STUDIES, ALL, LEVERS):
        raise SearchError(f"STUDY must be one of {', '.join((*STUDIES, ALL, LEVERS))}, but got {study}; see --help")
    options = build(ReproductionOptions, values)

    from search.reproduction import running  # Ray, torch and MLflow take seconds to import: not for --help

    running.reproduce(
        study,
        options,
        dry_run=dry_run,
        console=Console(),
        command=sys.argv,
        goes_on=begin_again if can_begin_again() else None,
    )
