"""How a search waits for room on a full disk, or for its storage: until it can write, or until it is to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from fashion_core.files import retry_while_full
from search.records.events import LIMITS, StopMode
from search.records.requests import clear_request, read_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.records.events import EndReason
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.records.session import Session

PATIENCE_S = 30.0  # of what is to end anyway: a storage may be away for a moment
T = TypeVar("T")


class WaitEnded(BaseException):
    """A search ends while it waits, and its end is not written down. No `Exception`: for one, Tune would clean up."""


@dataclass
class Waiting:
    """The waits of one command that runs a search.

    Args:
        layout: of the search. tell: called with a line where it waits.
        record: its limits, and what it has spent before: see `go_on`.
        began: when the command did, by `time.monotonic`.

    Attributes:
        session: what happens since, once this command has written something down.
    """

    layout: SearchLayout
    tell: Callable[[str], None]
    record: SearchRecord
    began: float
    session: Session | None = None

    def go_on(self, record: SearchRecord) -> None:
        """Know what the search has spent in earlier commands; what ran in them, or was asked of them, is over."""
        self.record = replace(record, running=set(), asked=None)

    def follow(self, session: Session) -> None:
        """Know from now on what the search spends by what it writes down."""
        self.session, self.record = session, session.record

    def retry(self, write: Callable[[], T], folder: Path | None = None) -> T:
        """What `write` gives, once there is room. folder: where it writes; None: the search's.

        Raises:
            WaitEnded: the search is to end first.
        """
        return retry_while_full(write, self.layout.folder if folder is None else folder, self.tell, self.check)

    def check(self, fault: str, seconds: float) -> None:
        """See whether a search that waits is to end.

        Args:
            fault: what it waits for, and what to do. seconds: that it has waited.

        Raises:
            WaitEnded: it is.
        """
        if (why := self.find_end(seconds)) is not None:
            clear_request(self.layout)  # it was heard
            raise WaitEnded(f"{why} while it waits: {fault}, and {self.tell_way()}")

    def find_end(self, seconds: float) -> str | None:
        """Why the search is to end, in words, after so many seconds; None where it waits on.

        A request ends the wait at once. What was to end before it waited has a moment to write that down.
        """
        name, asked = self.layout.name, read_request(self.layout)
        is_late = seconds >= PATIENCE_S
        mode = self.record.asked if asked is None and is_late else asked
        if mode is not None and (mode != StopMode.AFTER_TRIALS or not self.record.running):
            return f"{name} was asked to stop"
        if not is_late:
            return None
        spent = self.session.find_spent() if self.session is not None else self.find_spent()
        return None if spent is None else f"the {spent} of {name} is spent"

    def find_spent(self) -> EndReason | None:
        """Which budget is spent before this command has written anything down; None where none is."""
        return self.record.find_spent(time.monotonic() - self.began)

    def tell_way(self) -> str:
        """How what is not written down comes to be."""
        name, ended = self.layout.name, self.record.ended
        if ended is not None and ended.reason in LIMITS:  # it goes on no more
            return f"write its report with `fashion-search report {name}`"
        return f"go on with --resume {name}" if self.layout.options.is_file() else "start it again"
