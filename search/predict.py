"""What the champion, another registered version, or a search's model says of images.

python -m search.predict models:/fashion-attributes@champion IMAGE... [--box x1,y1,x2,y2] [--json] [--explain DIR]
python -m search.predict models:/fashion-attributes/3 --submission DATA [--out DIR]
python -m search.predict NAME IMAGE...        # a search's promoted model, or else its best

All options are those of `fashion_core.predict`, which answers.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from fashion_core import predict
from fashion_core.checkpoint import MODEL_FILE
from fashion_core.ensemble import ENSEMBLE_FILE
from fashion_core.errors import SearchError
from search.command import DEFAULT_RESULTS
from search.layout import NAME_PATTERN, SearchLayout

SCHEME = "models:"
MODEL_URI = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))")


def find_model(text: str, results: Path, tracking_uri: str | None) -> Path:
    """The local folder or file that a person means.

    Args:
        text: `models:/NAME@ALIAS`, `models:/NAME/NUMBER`, a search's name, or a path.
        results: folder of the searches.
        tracking_uri: of the registry; None for SQLite under the results.

    Raises:
        SearchError: the registry has no such version, or cannot be reached; or the search has no model yet.
    """
    if text.startswith(SCHEME):
        return find_registered(text, results, tracking_uri)
    if NAME_PATTERN.fullmatch(text) and (layout := SearchLayout(results, text)).ledger.is_file():
        for folder in (layout.final.folder, layout.best_folder):
            if any((folder / name).is_file() for name in (MODEL_FILE, ENSEMBLE_FILE)):
                return folder
        raise SearchError(
            f"a search can be asked once a trial of it has saved a model, but {text} has none in {layout.folder}; "
            f"go on with it: search/run.py --resume {text}"
        )
    return Path(text)


def find_registered(text: str, results: Path, tracking_uri: str | None) -> Path:
    """The local folder of a registered version."""
    from search.registry import Registry, default_registry
    from search.registry_access import hide_password

    match = MODEL_URI.fullmatch(text)
    if match is None:
        raise SearchError(
            f"a registered model is models:/NAME@ALIAS or models:/NAME/NUMBER, but got {text!r}; "
            "for example models:/fashion-attributes@champion"
        )
    uri = tracking_uri or default_registry(results)
    registry = Registry(uri, match[1])
    version = registry.find(match[2] or match[3])
    if version is None:
        held = [f"{each.number}{''.join(f' @{alias}' for alias in each.aliases)}" for each in registry.list_versions()]
        raise SearchError(
            f"a registered version must be in the registry, but {text} is not in {hide_password(uri)}, which has "
            f"{', '.join(held) or 'nothing'} of this model; promote a search, or name another registry by "
            "--tracking-uri or --results"
        )
    return registry.download(version)


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
