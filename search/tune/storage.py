"""Where Ray keeps its own state of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from fashion_core.errors import SearchError

if TYPE_CHECKING:
    from search.planning.plan import Plan


def clear_storage(plan: Plan, *, replace: bool) -> None:
    """Delete what an earlier search of this name left in a storage of its own.

    Raises:
        SearchError: it left something, but may not be replaced.
    """
    if plan.options.storage is None:
        return  # it stands in the search's folder
    filesystem, path = pafs.FileSystem.from_uri(plan.experiment)
    if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
        return
    if not replace:
        raise SearchError(
            f"--storage must hold no search of the name {plan.layout.name}, but {plan.experiment} exists; give another "
            "--name, or delete the old one with --replace"
        )
    filesystem.delete_dir(path)
