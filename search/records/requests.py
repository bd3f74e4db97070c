"""What another process asks of a search that runs: a file beside its folder, which its holder looks for and takes.

A folder of results may be shared by machines, so a file reaches a holder on any of them; and it needs no lock.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fashion_core.files import write_whole
from search.records.events import StopMode

if TYPE_CHECKING:
    from search.records.layout import SearchLayout


def ask_to_stop(layout: SearchLayout, mode: StopMode) -> None:
    """Leave a request to the holder of a search; a later one takes the place of an earlier."""
    layout.stop_request.parent.mkdir(exist_ok=True)
    write_whole(layout.stop_request, mode)


def read_request(layout: SearchLayout) -> StopMode | None:
    """What is asked; None where nothing is, or in words that this version does not know."""
    with suppress(OSError, ValueError):
        return StopMode(layout.stop_request.read_text(encoding="utf-8"))
    return None


def clear_request(layout: SearchLayout) -> None:
    """Take the request away: it was heard, or was meant for an earlier run."""
    with suppress(OSError):
        layout.stop_request.unlink(missing_ok=True)
