"""What the champion, another registered version, or a search's model says of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core import predict
from fashion_core.command import run_command
from search.cli import DEFAULT_RESULTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def build_parser(program: str) -> argparse.ArgumentParser:
    """The parser of `fashion_core.predict`, with what finds a model."""
    parser = predict.build_parser(program)
    parser.description = (
        "Print the attributes of garments, or write the challenge's submission. MODEL is models:/NAME@ALIAS or "
        "models:/NAME/NUMBER, a search's name (its promoted model, or else its best), or a saved model's path."
    )
    parser.add_argument("--tracking-uri", help="MLflow's server or database; default: SQLite under the results")
    parser.add_argument(
        "--results",
        type=Path,
        default=DEFAULT_RESULTS,
        metavar="DIR",
        help="folder of the searches; default: %(default)s",
    )
    return parser


def ask(given: argparse.Namespace) -> None:
    """Find the model, then do what the command line asks."""
    from search.registry.models import find_model

    given.model = find_model(str(given.model), given.results, given.tracking_uri)
    predict.run(given)


def main(arguments: Sequence[str] | None = None, program: str = "fashion-ask") -> None:
    """The command `fashion-ask`. program: its name in the help."""
    given = predict.parse(build_parser(program), arguments)
    run_command(lambda: ask(given))
