"""A model as a person names it -> its folder on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from fashion_core.errors import SearchError
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE
from search.records.layout import NAME_PATTERN, SearchLayout

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
    from search.registry.access import hide_password
    from search.registry.versions import Registry, default_registry

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
