"""What another process asks of a search that runs: a file beside its folder, which its holder looks for and takes.

A folder of results may be shared by machines, so a file reaches a holder on any of them; and it needs no lock.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fashion_core.errors import SearchError, first_line
from fashion_core.files import is_full, write_whole
from search.records.events import StopMode

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.layout import SearchLayout


def ask_to_stop(layout: SearchLayout, mode: StopMode) -> None:
    """Leave a request to the holder of a search; a later one takes the place of an earlier.

    Raises:
        SearchError: it cannot be left.
    """
    clear_request(layout)
    try:
        layout.stop_request.parent.mkdir(exist_ok=True)
        leave_request(layout, mode)
    except OSError as error:
        raise SearchError(
            f"a request to stop must be left beside the search, but {layout.stop_request.parent} takes none "
            f"({first_line(error.strerror or error)}); press Ctrl+C where the search runs"
        ) from None


def leave_request(layout: SearchLayout, mode: StopMode) -> None:
    """Write it: on a full disk as an empty file, whose name tells the mode."""
    try:
        write_whole(layout.stop_request, mode)
    except OSError as error:
        if not is_full(error):
            raise
        name_request(layout, mode).touch()


def name_request(layout: SearchLayout, mode: StopMode) -> Path:
    """The empty file that asks for it."""
    return layout.stop_request.with_name(f"{layout.stop_request.name}.{mode.replace(' ', '-')}")


def read_request(layout: SearchLayout) -> StopMode | None:
    """What is asked; None where nothing is, or in words that this version does not know."""
    with suppress(OSError, ValueError):
        return StopMode(layout.stop_request.read_text(encoding="utf-8"))
    return next((mode for mode in StopMode if name_request(layout, mode).exists()), None)


def clear_request(layout: SearchLayout) -> None:
    """Take the request away: it was heard, or was meant for an earlier run."""
    for path in (layout.stop_request, *(name_request(layout, mode) for mode in StopMode)):
        with suppress(OSError):
            path.unlink(missing_ok=True)
