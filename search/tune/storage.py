"""Where Ray keeps its own state of a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from fashion_core.errors import SearchError

if TYPE_CHECKING:
    from search.planning.plan import Plan

TUNE_NAME = "tune"


def locate_experiment(plan: Plan) -> str:
    """Where Ray keeps the state of this search: a URI, or an absolute path."""
    storage = plan.options.storage
    if storage is None:
        return str(plan.layout.ray.resolve() / TUNE_NAME)
    if "://" not in storage:
        storage = str(Path(storage).expanduser().resolve())
    return f"{storage.rstrip('/')}/{plan.layout.name}"


def clear_storage(plan: Plan, *, replace: bool) -> None:
    """Delete what an earlier search of this name left in a storage of its own.

    Raises:
        SearchError: it left something, but may not be replaced.
    """
    if plan.options.storage is None:
        return  # it stands in the search's folder
    experiment = locate_experiment(plan)
    filesystem, path = pafs.FileSystem.from_uri(experiment)
    if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
        return
    if not replace:
        raise SearchError(
            f"--storage must hold no search of the name {plan.layout.name}, but {experiment} exists; give another "
            "--name, or delete the old one with --replace"
        )
    filesystem.delete_dir(path)
