"""A search as it runs in this process: its ledger, its record, and who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.ranking import compute_best
from search.records.record import SearchRecord

Listener = Callable[[dict[str, Any]], None]

SESSIONS: dict[str, Session] = {}  # by name of the search


@dataclass
class Session:
    """A search as it runs in this process.

    Args:
        record: the ledger so far, kept up to date.
        listeners: called with every new event; must not block.

    Attributes:
        kept: best score of every trial whose model the search keeps, by number.
    """

    layout: SearchLayout
    ledger: Ledger
    record: SearchRecord
    max_epochs: int
    keep_best: int
    listeners: list[Listener] = field(default_factory=list)
    correct: dict[int, str] = field(default_factory=dict)  # of the best epoch of each running trial, packed

    def __post_init__(self) -> None:
        scores = {trial.number: compute_best(trial) for trial in self.record.trials.values()}
        self.kept: dict[int, float] = {
            number: score
            for number, score in scores.items()
            if score is not None and self.layout.find_checkpoint(number)
        }

    def append(self, event: str, **fields: Any) -> None:
        """Write an event down, then tell it to all who listen."""
        entry = self.ledger.append(event, **fields)
        self.record.apply(entry)
        for listener in self.listeners:
            listener(entry)
