"""What a search's ledger adds up to."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fashion_core.errors import SearchError
from search.records.layout import SearchLayout
from search.records.ledger import CORRECT, read_events


@dataclass
class TrialRecord:
    """What is known of one trial.

    Attributes:
        params: flat, as shown.
        enqueued: a known configuration, not one the sampler drew.
        epochs: one {epoch, time, metrics} an epoch, ascending.
        status: running, or one of `STATUSES`.
        best, best_epoch: best val/accuracy of its epochs.
        correct: which images its best epoch answered right, in which category: see `unpack_correct`.
        started, ended: unix seconds.
    """

    number: int
    trial_id: str
    params: dict[str, Any]
    enqueued: bool
    started: float
    epochs: list[dict[str, Any]] = field(default_factory=list)
    status: str = "running"
    reason: str = ""
    rung: int | None = None
    cutoff: float | None = None
    best: float | None = None
    best_epoch: int | None = None
    error: str | None = None
    checkpoint: str | None = None
    correct: str | None = None
    ended: float | None = None


@dataclass
class SearchRecord:
    """A search as its ledger tells it.

    Attributes:
        search: fields of `search_started`; empty before it.
        trials: by number.
        ended: fields of `search_ended`; None while it runs.
    """

    search: dict[str, Any] = field(default_factory=dict)
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    ended: dict[str, Any] | None = None

    @property
    def search_id(self) -> str:
        """Names the search even where another had its name before."""
        return f"{self.search['name']}@{int(self.search['time'] * 1000)}"

    @property
    def next_number(self) -> int:
        """The first number that no trial has."""
        return max(self.trials, default=-1) + 1

    def apply(self, event: dict[str, Any]) -> None:
        """Take in the next event. Kinds it does not know, of later versions, change nothing."""
        match event["event"]:
            case "search_started":
                self.search = event
            case "search_resumed":
                self.ended = None
            case "search_ended":
                self.ended = event
            case "trial_started":
                trial = self.trials.get(event["trial"])
                if trial is None or trial.trial_id != event["trial_id"]:
                    trial = TrialRecord(
                        event["trial"], event["trial_id"], event["params"], event["enqueued"], event["time"]
                    )
                    self.trials[trial.number] = trial
                trial.status, trial.reason, trial.ended = "running", "", None
            case "epoch":
                epochs = self.trials[event["trial"]].epochs
                while epochs and epochs[-1]["epoch"] >= event["epoch"]:
                    epochs.pop()
                epochs.append({key: event[key] for key in ("epoch", "time", "metrics")})
            case "trial_ended":
                trial = self.trials[event["trial"]]
                for key in ("status", "reason", "rung", "cutoff", "best", "best_epoch", "error", "checkpoint", CORRECT):
                    setattr(trial, key, event.get(key))
                trial.ended = event["time"]


def replay(events: Iterable[dict[str, Any]]) -> SearchRecord:
    """What a sequence of events adds up to."""
    record = SearchRecord()
    for event in events:
        record.apply(event)
    return record


def load_record(layout: SearchLayout) -> SearchRecord:
    """What the ledger of a search tells.

    Raises:
        SearchError: there is no such search, it has not begun, or it still runs.
    """
    record = replay(read_events(layout.ledger))
    if not record.search:
        known = sorted(path.parent.name for path in layout.results.glob("*/ledger.jsonl"))
        raise SearchError(
            f"no search of the name {layout.name!r} stands in {layout.results}; known are {', '.join(known) or 'none'}"
        )
    with layout.ledger.open("rb") as file:  # who writes it holds a lock
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise SearchError(
                f"a search is promoted when it has ended, but {layout.name} still runs; wait for it, or "
                "stop it (Ctrl-C)"
            ) from None
    return record
