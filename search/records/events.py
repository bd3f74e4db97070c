"""What happens in a search, as types: one class a kind of event, and the states that trials and searches can be in.

An event on the disk is one JSON object: `event` (its kind), `time` (unix seconds), `seq` (0, 1, 2, ...), `since`, and
its fields.
What is read is checked by the types that stand here: a ledger may be damaged, or a stranger's.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, create_model

from fashion_core.errors import SearchError
from fashion_core.files import check_form, make_line
from fashion_core.metrics import ACCURACY, CLASS_ACCURACY, OBJECTIVE_PATTERN
from fashion_core.models.cost import MAX_MS

MAX_SECONDS = 1e11  # a date of three thousand years from now
MAX_EPOCH = 10_000  # that of `TrainConfig`


class TrialStatus(StrEnum):
    """The state of a trial. All but the first are ends; a paused trial has one where its search ended first."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"  # by ASHA
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"  # the search ended first
    PAUSED = "paused"  # at a rung of ASHA's promotion form: see `TrialPaused`

    @property
    def is_over(self) -> bool:
        """Whether no later epoch can come: one that was interrupted, or is paused, may go on."""
        return self not in (TrialStatus.RUNNING, TrialStatus.PAUSED, TrialStatus.INTERRUPTED)


ENDS = tuple(status for status in TrialStatus if status is not TrialStatus.RUNNING)


class EndReason(StrEnum):
    """Why a search ended."""

    ALL_ENDED = "all trials ended"
    TIME_BUDGET = "time budget"
    GPU_BUDGET = "GPU budget"
    COST_BUDGET = "cost budget"
    NO_GAIN = "no gain"
    TARGET = "target"
    STOPPED = "stopped"  # as another process asked
    INTERRUPTED = "interrupted"  # by a person, or by the system
    BROKEN = "broken"  # Ray Tune could not go on
    INCOMPLETE = "incomplete"  # trials are missing, and nobody asked for that

    @property
    def is_limit(self) -> bool:
        """Whether a rule that a person gave ended it before all its trials had: see `search.records.limits`."""
        return self in LIMITS


LIMITS = (EndReason.TIME_BUDGET, EndReason.GPU_BUDGET, EndReason.COST_BUDGET, EndReason.NO_GAIN, EndReason.TARGET)


class StopMode(StrEnum):
    """How a search is asked to stop. It starts no more trials; those that run..."""

    AT_EPOCH = "at epoch"  # end after their epoch, and can go on
    AFTER_TRIALS = "after trials"  # train on to their own end
    NOW = "now"  # end at once; what they can go on from is the last state saved


# ------------------------------------------------------------------------------------------------- types of the fields


def check_scores(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """The same. Raises ValueError where an accuracy, or its error, is not 0 to 1."""
    for name, value in metrics.items():
        if value is not None and name.startswith((ACCURACY, CLASS_ACCURACY)) and not 0 <= value <= 1:
            raise ValueError(f"{name} must be 0 to 1")
    return metrics


FileName = Annotated[str, Field(pattern="^[^/\\x00]*$", max_length=255)]  # a part of a path
Moment = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
TrialNumber = Annotated[int, Field(ge=0, lt=2**31)]
Epoch = Annotated[int, Field(ge=1, le=MAX_EPOCH)]
Score = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=-1e38, le=1e38)]  # that a 32-bit float can have
Whole = Annotated[int, Field(gt=-(2**63), lt=2**63)]
Scalar = str | bool | Whole | Number | None
Params = dict[str, Scalar]
Metrics = Annotated[dict[str, Number | None], AfterValidator(check_scores)]
Status = Annotated[TrialStatus, BeforeValidator(TrialStatus)]


class Told(BaseModel):
    """A part of how a search began, of which a sparse ledger may lack any; what a later version adds stays."""

    model_config = ConfigDict(extra="allow")


def check_part(form: type[Told]) -> AfterValidator:
    """What checks a part by its form, and leaves it as it is."""

    def check(values: dict[str, Any]) -> dict[str, Any]:
        check_form(values, form)
        return values

    return AfterValidator(check)


class Settings(Told):
    """See `SearchStarted.settings`."""

    trials: TrialNumber = 0
    objective: str = Field(ACCURACY, pattern=OBJECTIVE_PATTERN)
    sampler: str = ""
    scheduler: str = ""
    scheduler_form: str = "stopping"
    max_epochs: Epoch = 1
    grace_epochs: Epoch | None = None
    reduction_factor: Count | None = None
    seed: Count = 0
    start_seeds: bool = False  # whether each trial's new layers have a start of their own
    select_on: Literal["val", "heldout"] = "val"
    max_ms: float | None = None
    max_params: float | None = None
    concurrent: Count = 0
    cpus_per_trial: Count = 0
    gpus_per_trial: FiniteFloat = 0.0
    nodes: Count = 0  # of a cluster, when it began; 0: it ran on one machine, or the ledger is older


class Data(Told):
    """See `SearchStarted.data`."""

    folder: str = ""
    fingerprint: str = Field("", pattern="^[0-9A-Za-z]*$")  # a part of file names
    counts: dict[str, Count] = {}
    skipped: Count = 0
    majority: Score | None = None  # of the objective
    majority_by_category: dict[str, Score] = {}
    categories: dict[str, list[str]] = {}
    has_boxes: bool = True
    weights: dict[str, str] = {}


class Selected(Told):
    """See `SearchStarted.selection`."""

    select_on: Literal["val", "heldout"] = "val"
    seed: Count = 0
    train_count: Count = 0
    select_count: Annotated[int, Field(ge=0, lt=2**31)] = 0
    select_images: list[str] = []
    select_labels: list[list[Whole]] = []  # of these, where the objective is the mean over classes
    seen_by_starts: dict[str, Count] = {}


class Observed(Told):
    """A trial of another search, as this search's sampler is told of it.

    Attributes:
        search, trial: which one.
        drawn: its configuration, as this search would have drawn it.
        score: its best; rung: where ASHA stopped it.
    """

    search: str = ""
    trial: TrialNumber = 0
    drawn: Params = {}
    status: Status = TrialStatus.FINISHED
    score: Score = 0.0
    rung: Epoch | None = None


class OtherSearch(Told):
    """What was taken over from another search.

    Attributes:
        fingerprint: of its data.
        observed, tried: how many of its trials the sampler is told of; how many are tried first.
        left_out: how many of its trials the sampler is not told of, by the reason.
    """

    name: str = ""
    fingerprint: str = ""
    observed: Count = 0
    tried: Count = 0
    left_out: dict[str, Count] = {}


class PricedArchitecture(Told):
    """What the networks of an architecture cost: see `fashion_core.models.cost.Cost`.

    Attributes:
        architecture: fields of `search.space.architectures.Architecture`.
        ms, spread: None where it was not measured.
        trials: of which it is known that they have it.
    """

    architecture: Params = {}
    parameters: Count = 0
    ms: Annotated[float, Field(ge=0, le=MAX_MS)] | None = None
    spread: Annotated[float, Field(ge=0, le=MAX_MS)] | None = None
    trials: list[TrialNumber] = []


class TakenOver(Told):
    """See `SearchStarted.taken_over`."""

    tried_first: list[Params] = []
    observed: list[Observed] = []
    others: list[OtherSearch] = []


PricedPart = Annotated[dict[str, Any], check_part(PricedArchitecture)]


# --------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. The ledger sets what stands here.

    Attributes:
        time: unix seconds, for people.
        elapsed: seconds since the start of the command that wrote it, by a clock that does not jump; None in older
            ledgers.
    """

    kind: ClassVar[str]
    time: Moment = 0.0
    seq: Whole = -1
    elapsed: Moment | None = None


@dataclass(frozen=True, kw_only=True)
class SearchStarted(Event):
    """A search began.

    Attributes:
        settings: trials, sampler, scheduler with its numbers, seed, select_on, resources.
        space, space_name, space_hash: its YAML text, and what names it.
        data: folder, fingerprint, counts, categories; majority, what always answering the commonest class of what is
            trained on scores, `majority_by_category` its accuracy in each; `has_boxes`, false where no image has one;
            `weights`, SHA-256 of the files that networks start from, by name.
        selection: which images are trained and selected on; `labelled`, where labels are missing among those selected
            on, how many of them are labelled in each category; `seen_by_starts`, where a saved model that networks
            start from was trained on some of these, on how many, by its name.
        limits: when it ends early, see `search.records.limits.Limits`.
        taken_over: what came from elsewhere: configurations that are tried before those of the space (as drawn), trials
            of other searches that the sampler is told of, and which searches these were.
        costs: of all architectures that its space can have, where they are limited: none over the limit is trained.
    """

    kind: ClassVar[str] = "search_started"
    name: str
    settings: Annotated[dict[str, Any], check_part(Settings)] = field(default_factory=dict)
    space: str = ""
    space_name: FileName = ""
    space_hash: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    data: Annotated[dict[str, Any], check_part(Data)] = field(default_factory=dict)
    selection: Annotated[dict[str, Any], check_part(Selected)] = field(default_factory=dict)
    limits: dict[str, Number] = field(default_factory=dict)
    taken_over: Annotated[dict[str, Any], check_part(TakenOver)] = field(default_factory=dict)
    costs: list[PricedPart] = field(default_factory=list)

    @property
    def categories(self) -> dict[str, list[str]]:
        """Classes of the data by category; empty where the ledger lacks them."""
        found: dict[str, list[str]] = self.data.get("categories", {})
        return found

    def tell(self, part: str, name: str) -> Any:
        """A value of `settings`, `data`, `selection` or `provenance` that a sparse ledger may lack, and this must not.

        Raises:
            SearchError: it does lack it.
        """
        values: dict[str, Any] = getattr(self, part)
        if name not in values:
            raise SearchError(
                f"the ledger of {self.name or 'this search'} must tell `{name}` among its {part}, but does not; "
                "restore it from a backup"
            )
        return values[name]


@dataclass(frozen=True, kw_only=True)
class SearchResumed(Event):
    """A search went on.

    Attributes:
        limits: when it ends early from now on, as in `SearchStarted`.
        extended: with more than it was begun with: what it had spent before does not count to these limits.
        max_epochs: of a trial that is not stopped, from now on; None: as before.
        changed: what was no longer as before, of code, machine and resources, as it is now: by its name in `provenance`
            or `settings`.
    """

    kind: ClassVar[str] = "search_resumed"
    trials: Count
    limits: dict[str, Number] = field(default_factory=dict)
    extended: bool = False
    max_epochs: Epoch | None = None
    changed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SearchBroke(Event):
    """Ray Tune raised, and was restarted."""

    kind: ClassVar[str] = "search_broke"
    error: str
    restarts: Count


@dataclass(frozen=True, kw_only=True)
class LimitReached(Event):
    """A rule was reached by which a search ends early: nothing begins any more, what runs ends at its next epoch."""

    kind: ClassVar[str] = "limit_reached"
    reason: str  # an `EndReason`, or a word of a later version


@dataclass(frozen=True, kw_only=True)
class StopAsked(Event):
    """Another process asked the search to stop."""

    kind: ClassVar[str] = "stop_asked"
    mode: str  # a `StopMode`, or a word of a later version


@dataclass(frozen=True, kw_only=True)
class CostsMeasured(Event):
    """What architectures cost was measured: of its trials, at its end, or of those that it can have from now on."""

    kind: ClassVar[str] = "costs_measured"
    costs: list[PricedPart]


@dataclass(frozen=True, kw_only=True)
class SearchEnded(Event):
    """A search ended, after so many seconds of running."""

    kind: ClassVar[str] = "search_ended"
    reason: str  # an `EndReason`, or a word of a later version
    seconds: Moment


@dataclass(frozen=True, kw_only=True)
class TrialProposed(Event):
    """A configuration was drawn. Nothing runs it before this is written down, so none is drawn twice.

    Attributes:
        params: flat, as shown.
        drawn: the same as they were drawn: category weights are shown divided by their mean.
        enqueued: a known configuration, not one the sampler drew.
        after: `seq` of the last event that the sampler knew.
    """

    kind: ClassVar[str] = "trial_proposed"
    trial: TrialNumber
    params: Params
    drawn: Params
    enqueued: bool
    after: Whole


@dataclass(frozen=True, kw_only=True)
class TrialStarted(Event):
    """A trial began; again, with the same number and parameters, where it went on after a restart.

    Attributes:
        params: flat, as shown.
        enqueued: a known configuration, not one the sampler drew.
    """

    kind: ClassVar[str] = "trial_started"
    trial: TrialNumber
    trial_id: str
    params: Params
    enqueued: bool


@dataclass(frozen=True, kw_only=True)
class TrialPaused(Event):
    """A trial has reached its rung, and waits there without a process: see `search.space.rungs`.

    Attributes:
        rung: the epoch that it paused after.
        correct: see `TrialEnded`.
    """

    kind: ClassVar[str] = "trial_paused"
    trial: TrialNumber
    rung: Epoch
    correct: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRetried(Event):
    """A trial's process died; it goes on from the last epoch saved.

    Attributes:
        node: that it was on, as Ray names it; None where it had told nothing yet, or in older ledgers.
    """

    kind: ClassVar[str] = "trial_retried"
    trial: TrialNumber
    error: str
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialSaved(Event):
    """What a trial can go on from was saved: see `search.tune.storage`.

    Attributes:
        epoch: after which.
        digests: SHA-256 of each of its files, by name.
    """

    kind: ClassVar[str] = "trial_saved"
    trial: TrialNumber
    epoch: Epoch
    digests: dict[FileName, str]


@dataclass(frozen=True, kw_only=True)
class EpochAgain(Event):
    """An epoch was trained again, since what came after the last saved state was lost. The first time counts."""

    kind: ClassVar[str] = "epoch_again"
    trial: TrialNumber
    epoch: Epoch
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """An epoch was trained and evaluated. Where a ledger tells one of a trial twice, the first time counts."""

    kind: ClassVar[str] = "epoch"
    trial: TrialNumber
    epoch: Epoch
    metrics: Metrics


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """A trial ended.

    Attributes:
        reason: one line. error: the whole of it, where it failed.
        best, best_epoch: its best score, of the objective, and in which epoch.
        checkpoint: folder of its kept model, relative to the search's.
        rung, cutoff: where and below what ASHA stopped it; in the promotion form there is no cutoff.
        correct: which labelled images its best epoch answered right, in which category: see `unpack_correct`.
    """

    kind: ClassVar[str] = "trial_ended"
    trial: TrialNumber
    status: Status
    reason: str = ""
    best: Score | None = None
    best_epoch: Epoch | None = None
    checkpoint: str | None = None
    rung: Epoch | None = None
    cutoff: Number | None = None
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
        LimitReached,
        StopAsked,
        CostsMeasured,
        SearchEnded,
        TrialProposed,
        TrialStarted,
        TrialPaused,
        TrialRetried,
        TrialSaved,
        EpochEnded,
        EpochAgain,
        TrialEnded,
    )
}
FIELDS = {each: tuple(known.name for known in fields(each)) for each in KINDS.values()}
NEEDED = {
    each: {known.name for known in fields(each) if known.default is MISSING and known.default_factory is MISSING}
    for each in KINDS.values()
}
# left out of an event on the disk where they are None
OPTIONAL = ("elapsed", "max_epochs", "rung", "cutoff", "error", "correct", "node")


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
        SearchError: it is no event, lacks a field, or has one of another type.
    """
    if not isinstance(values, dict) or not isinstance(values.get("event"), str):
        raise SearchError("an event must be a JSON object with its kind as `event`")
    kind = KINDS.get(values["event"])
    if kind is None:
        return None
    if missing := sorted(NEEDED[kind] - values.keys()):
        raise SearchError(f"an event {kind.kind} must have {', '.join(missing)}, but lacks it")
    given = {name: values[name] for name in FIELDS[kind] if name in values}
    try:
        check_form(given, build_form(kind))  # type: ignore[arg-type]  # mypy takes no class for hashable
    except ValueError as error:
        raise SearchError(f"an event {kind.kind} must be possible, but: {make_line(error)}") from None
    return kind(**given)


@cache
def build_form(kind: Any) -> type[BaseModel]:
    """What checks the fields of an event by the types that its class tells."""
    hints = get_type_hints(kind, include_extras=True)
    made: dict[str, Any] = {name: (hints[name], ... if name in NEEDED[kind] else None) for name in FIELDS[kind]}
    return create_model(kind.__name__, **made)
