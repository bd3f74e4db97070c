"""A search as it is written down: every event goes into the ledger, then into the record, then to all who listen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.records.events import EndReason, Event
    from search.records.layout import SearchLayout
    from search.records.ledger import Ledger
    from search.records.record import SearchRecord

Listener = Callable[["Event"], None]
Onlooker = Callable[[Mapping[int, str]], None]


@dataclass
class Session:
    """A search as it is written down.

    Args:
        record: the ledger so far, kept up to date.
        listeners: called with every new event; must not block.
        onlookers: called now and then with what each running trial is at, in words, by number; must not block.
    """

    layout: SearchLayout
    ledger: Ledger
    record: SearchRecord
    listeners: list[Listener] = field(default_factory=list)
    onlookers: list[Onlooker] = field(default_factory=list)

    def append(self, event: Event) -> None:
        """Write an event down, then tell it to all who listen."""
        event = self.ledger.append(event)
        self.record.apply(event)
        for listener in self.listeners:
            listener(event)

    def find_spent(self) -> EndReason | None:
        """Which budget is spent by now, whatever was written down last; None where none is."""
        return self.record.find_spent(time.monotonic() - self.ledger.last)
