"""What happens in a search, as types: one class a kind of event, and the states that trials and searches can be in.

An event on the disk is one JSON object: `event` (its kind), `time` (unix seconds), `seq` (0, 1, 2, ...), its fields.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar

from fashion_core.errors import SearchError


class TrialStatus(StrEnum):
    """The state of a trial. All but the first are ends."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # by ASHA
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"  # the search ended first

    @property
    def is_over(self) -> bool:
        """Whether no later epoch can come: one that was interrupted may go on."""
        return self not in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)


ENDS = tuple(status for status in TrialStatus if status is not TrialStatus.RUNNING)


class EndReason(StrEnum):
    """Why a search ended."""

    ALL_ENDED = "all trials ended"
    TIME_BUDGET = "time budget"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. The ledger sets `time` and `seq`."""

    kind: ClassVar[str]
    time: float = 0.0
    seq: int = -1


@dataclass(frozen=True, kw_only=True)
class SearchStarted(Event):
    """A search began.

    Attributes:
        settings: trials, sampler, scheduler with its numbers, seed, select_on, resources.
        space, space_name, space_hash: its YAML text, and what names it.
        data: folder, fingerprint, counts, majority, categories.
        selection: which images are trained and selected on; `labelled`, where labels are missing among those selected
            on, how many of them are labelled in each category.
    """

    kind: ClassVar[str] = "search_started"
    name: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    space: str = ""
    space_name: str = ""
    space_hash: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)

    @property
    def categories(self) -> dict[str, list[str]]:
        """Classes of the data by category; empty where the ledger lacks them."""
        found: dict[str, list[str]] = self.data.get("categories", {})
        return found


@dataclass(frozen=True, kw_only=True)
class SearchResumed(Event):
    """A search went on."""

    kind: ClassVar[str] = "search_resumed"
    trials: int


@dataclass(frozen=True, kw_only=True)
class SearchBroke(Event):
    """Ray Tune raised, and was restarted."""

    kind: ClassVar[str] = "search_broke"
    error: str
    restarts: int


@dataclass(frozen=True, kw_only=True)
class SearchEnded(Event):
    """A search ended, after so many seconds of running."""

    kind: ClassVar[str] = "search_ended"
    reason: str  # an `EndReason`, or a word of a later version
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrialStarted(Event):
    """A trial began; again, with the same number and id, where it went on after a restart.

    Attributes:
        params: flat, as shown.
        enqueued: a known configuration, not one the sampler drew.
    """

    kind: ClassVar[str] = "trial_started"
    trial: int
    trial_id: str
    params: dict[str, Any]
    enqueued: bool


@dataclass(frozen=True, kw_only=True)
class TrialRetried(Event):
    """A trial's process died; it goes on from the last epoch saved."""

    kind: ClassVar[str] = "trial_retried"
    trial: int
    error: str


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """An epoch was trained and evaluated; again, where it was run again: the last one counts."""

    kind: ClassVar[str] = "epoch"
    trial: int
    epoch: int
    metrics: dict[str, float | None]

    def __post_init__(self) -> None:
        if not isinstance(self.metrics, dict):
            raise ValueError(f"metrics must be values by name, but are {self.metrics!r}")


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """A trial ended.

    Attributes:
        reason: one line. error: the whole of it, where it failed.
        best, best_epoch: its best val/accuracy, and in which epoch.
        checkpoint: folder of its kept model, relative to the search's.
        rung, cutoff: where and below what ASHA stopped it.
        correct: which labelled images its best epoch answered right, in which category: see `unpack_correct`.
    """

    kind: ClassVar[str] = "trial_ended"
    trial: int
    status: TrialStatus
    reason: str = ""
    best: float | None = None
    best_epoch: int | None = None
    checkpoint: str | None = None
    rung: int | None = None
    cutoff: float | None = None
    error: str | None = None
    correct: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", TrialStatus(self.status))


KINDS: dict[str, type[Event]] = {
    each.kind: each
    for each in (
        SearchStarted,
        SearchResumed,
        SearchBroke,
        SearchEnded,
        TrialStarted,
        TrialRetried,
        EpochEnded,
        TrialEnded,
    )
}
FIELDS = {each: tuple(known.name for known in fields(each)) for each in KINDS.values()}
NEEDED = {
    each: {known.name for known in fields(each) if known.default is MISSING and known.default_factory is MISSING}
    for each in KINDS.values()
}
# left out of an event on the disk where they are None
OPTIONAL = ("rung", "cutoff", "error", "correct")


def write_event(event: Event) -> dict[str, Any]:
    """An event as a JSON object."""
    values = vars(event)
    written = {"event": event.kind, "time": event.time, "seq": event.seq}
    for name in FIELDS[type(event)]:
        if name not in written and not (values[name] is None and name in OPTIONAL):
            written[name] = values[name]
    return written


def read_event(values: Any) -> Event | None:
    """The event of a JSON object; None where its kind is of a later version.

    Raises:
        SearchError: it is no event, or lacks a field.
    """
    if not isinstance(values, dict) or not isinstance(values.get("event"), str):
        raise SearchError("an event must be a JSON object with its kind as `event`")
    kind = KINDS.get(values["event"])
    if kind is None:
        return None
    if missing := sorted(NEEDED[kind] - values.keys()):
        raise SearchError(f"an event {kind.kind} must have {', '.join(missing)}, but lacks it")
    try:
        return kind(**{name: values[name] for name in FIELDS[kind] if name in values})
    except ValueError as error:  # no status of a trial
        raise SearchError(f"an event {kind.kind} must be possible, but: {error}") from None
