"""What the champion, another registered version, or a search's model says of images.

python -m search.predict models:/fashion-attributes@champion IMAGE... [--box x1,y1,x2,y2] [--json] [--explain DIR]
python -m search.predict models:/fashion-attributes/3 --submission DATA [--out DIR]
python -m search.predict NAME IMAGE...        # a search's promoted model, or else its best

All options are those of `fashion_core.predict`, which answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fashion_core import predict
from search.cli import DEFAULT_RESULTS
from search.registry.models import find_model


def build_parser() -> argparse.ArgumentParser:
    """The parser of `fashion_core.predict`, with what finds a model."""
    parser = predict.build_parser()
    parser.prog = "fashion-ask"
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


def run(given: argparse.Namespace) -> None:
    """Find the model, then do what the command line asks."""
    given.model = find_model(str(given.model), given.results, given.tracking_uri)
    predict.run(given)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-ask`."""
    predict.run_command(build_parser(), arguments, run)


if __name__ == "__main__":
    main()
