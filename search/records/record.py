"""What a search's ledger adds up to: its trials, their best scores, their order and counts. Worked out here alone."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.errors import SearchError, first_line
from fashion_core.metrics import ACCURACY, Measure, Objective
from search.records.costs import read_costs
from search.records.events import (
    ENDS,
    CostsMeasured,
    EndReason,
    EpochAgain,
    EpochEnded,
    Event,
    LimitReached,
    SearchEnded,
    SearchResumed,
    SearchStarted,
    StopAsked,
    TrialEnded,
    TrialPaused,
    TrialProposed,
    TrialRetried,
    TrialSaved,
    TrialStarted,
    TrialStatus,
)
from search.records.ledger import read_events
from search.records.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fashion_core.models.cost import Cost
    from search.records.layout import SearchLayout
    from search.space.architectures import Architecture


@dataclass
class TrialRecord:
    """What is known of one trial.

    Attributes:
        params: flat, as shown.
        enqueued: a known configuration, not one the sampler drew.
        epochs: ascending.
        best: best score so far, of a diverged trial the worst there is; None before the first epoch.
        end: None while it runs, and again after it went on.
        started: unix seconds.
        saves: what it could go on from, the newest last.
        died_on: the nodes that its processes died on, see `TrialRetried`.
        again: epochs that were trained again.
        began, left: when it began, later by the length of its pauses, and last ended or paused; in seconds that the
            search ran.
        pause: where it waits; None where it does not. climbed: the last rung that it paused at; 0 before the first.
        objective: of the search: its score is what is meant by the trial's.
    """

    number: int
    trial_id: str
    params: dict[str, Any]
    enqueued: bool
    started: float
    epochs: list[EpochEnded] = field(default_factory=list)
    best: float | None = None
    end: TrialEnded | None = None
    saves: list[TrialSaved] = field(default_factory=list)
    died_on: list[str | None] = field(default_factory=list)
    again: list[EpochAgain] = field(default_factory=list)
    began: float = 0.0
    left: float = 0.0
    pause: TrialPaused | None = None
    climbed: int = 0
    objective: Objective = field(default_factory=Objective)

    @property
    def status(self) -> TrialStatus:
        """Its state now."""
        if self.end is not None:
            return self.end.status
        return TrialStatus.RUNNING if self.pause is None else TrialStatus.PAUSED

    @property
    def reason(self) -> str:
        """Why it ended or pauses, in one line; empty while it runs."""
        if self.end is not None:
            return first_line(self.end.reason)
        return "" if self.pause is None else f"paused after epoch {self.pause.rung}"

    @property
    def checkpoint(self) -> str | None:
        """Folder of its kept model, relative to the search's."""
        return None if self.end is None else self.end.checkpoint

    @property
    def cutoff(self) -> float | None:
        """The score below which ASHA stopped it; None where it did not."""
        return None if self.end is None else self.end.cutoff

    @property
    def rung(self) -> int | None:
        """The epoch after which ASHA stopped it, or it pauses; None where neither is so."""
        if self.pause is not None:
            return self.pause.rung
        return None if self.end is None else self.end.rung

    @property
    def correct(self) -> str | None:
        """What its best epoch answered right: see `unpack_correct`."""
        if self.pause is not None and self.pause.correct is not None:
            return self.pause.correct
        return None if self.end is None else self.end.correct

    @property
    def seconds(self) -> float | None:
        """From its start to its end, while the search ran, less its pauses; None while it runs."""
        return None if self.end is None and self.pause is None else self.left - self.began

    @property
    def differing(self) -> EpochAgain | None:
        """The first epoch that was scored otherwise when it was trained again; None where there is none."""
        if not self.again:
            return None
        scores = {row.epoch: row.metrics.get(self.objective.name) for row in self.epochs}
        return next((row for row in self.again if row.metrics.get(self.objective.name) != scores.get(row.epoch)), None)

    def read_score(self, row: EpochEnded | EpochAgain) -> float:
        """The score of one of its epochs; 0 where that was no number."""
        return row.metrics.get(self.objective.name) or 0.0

    def find_score(self, epoch: int) -> float:
        """Its score after an epoch, the first time that was trained."""
        return next(self.read_score(row) for row in self.epochs if row.epoch == epoch)

    @property
    def best_row(self) -> EpochEnded | None:
        """The first epoch that had its best score; None where none had, as in a diverged trial."""
        return self.find_row(self.best)

    def find_row(self, score: float | None) -> EpochEnded | None:
        """The first of its epochs that had a score; None where none had."""
        if score is None:
            return None
        return next((row for row in self.epochs if row.metrics.get(self.objective.name) == score), None)

    @property
    def best_epoch(self) -> int | None:
        """The number of that epoch."""
        return None if (row := self.best_row) is None else row.epoch

    def find_best_epoch(self, last: int) -> int | None:
        """The first epoch with the best score up to the epoch `last`; None where there is none."""
        best = max((row for row in self.epochs if row.epoch <= last), key=self.read_score, default=None)
        return None if best is None else best.epoch

    @property
    def best_metrics(self) -> dict[str, float | None]:
        """The metrics of that epoch."""
        return {} if (row := self.best_row) is None else row.metrics

    @property
    def standard_error(self) -> float | None:
        """Standard error of its best score over the images it was scored on."""
        return self.best_metrics.get(self.objective.error_name)

    @property
    def has_standing(self) -> bool:
        """Whether its score stands: not of a diverged trial, nor of one whose model went with its process."""
        lost = self.status == TrialStatus.FAILED and self.checkpoint is None
        return self.best is not None and self.status != TrialStatus.DIVERGED and not lost

    def go_on(self) -> None:
        """Take in that it runs again: its best is that of the epochs there are."""
        self.end, self.pause, self.best = None, None, self.best_trained

    @property
    def best_trained(self) -> float | None:
        """The best score of its epochs, whatever became of their models; None before the first."""
        return max(map(self.read_score, self.epochs), default=None)

    def take_epoch(self, event: EpochEnded) -> None:
        """Take in an epoch; one that was told before stays as it was."""
        if self.end is not None:
            self.go_on()
        if self.last_epoch < event.epoch:
            self.epochs.append(event)
            score = self.read_score(event)
            self.best = score if self.best is None else max(self.best, score)

    @property
    def last_epoch(self) -> int:
        """The last epoch that is known of it; 0 before the first."""
        return self.epochs[-1].epoch if self.epochs else 0


@dataclass
class SearchRecord:
    """A search as its ledger tells it.

    Attributes:
        search: how it began; None before it did.
        trials: by number.
        proposed: what was drawn, by number; ledgers of version 0.2 do not tell.
        ended: None while it runs.
        changed: what it went on with that was not so when it began: see `SearchResumed`.
        asked: how it was asked to stop, a `StopMode`; None where it was not, and after it went on.
        seconds: how long it ran, without the time between an interruption and going on.
        preparing_seconds: before that, from the start of each of its commands.
        training_seconds: how long at least one trial ran; trial_seconds: the same summed over trials; gpu_seconds: with
            the GPUs that each had then: a search that goes on may have others.
        running: trials that run, open: those that have begun and are not over, by number.
        limits: when it ends early. reached: the rule of these that it ends by.
        spent_before: seconds of the search, and of its trials' GPUs, when it was last extended, which limits do not
            count.
        extended: it was given more than it began with: `settings` and `limits` tell it.
        without_gain: how many trials in a row ended, or paused for the first time, without a gain over `mark`, the best
            score at the last gain.
        costs: what architectures cost that were measured. architectures: of its trials, by number, where known.
    """

    search: SearchStarted | None = None
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    proposed: dict[int, TrialProposed] = field(default_factory=dict)
    ended: SearchEnded | None = None
    asked: str | None = None
    seconds: float = 0.0
    changed: dict[str, str] = field(default_factory=dict)
    last: Event | None = None
    preparing_seconds: float = 0.0
    training_seconds: float = 0.0
    trial_seconds: float = 0.0
    gpu_seconds: float = 0.0
    running: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    limits: Limits = field(default_factory=Limits)
    reached: str | None = None
    without_gain: int = 0
    spent_before: tuple[float, float] = (0.0, 0.0)
    mark: float | None = None
    extended: bool = False
    costs: dict[Architecture, Cost] = field(default_factory=dict)
    architectures: dict[int, Architecture] = field(default_factory=dict)

    @property
    def begun(self) -> SearchStarted:
        """How it began, where it must have."""
        assert self.search is not None
        return self.search

    @property
    def name(self) -> str:
        """Its name; empty before it began."""
        return self.search.name if self.search is not None else ""

    @property
    def settings(self) -> dict[str, Any]:
        """See `SearchStarted`; empty before it began."""
        return self.search.settings if self.search is not None else {}

    @property
    def data(self) -> dict[str, Any]:
        """See `SearchStarted`; empty before it began."""
        return self.search.data if self.search is not None else {}

    @property
    def provenance(self) -> dict[str, str]:
        """See `SearchStarted`; with what has changed since."""
        return (self.search.provenance if self.search is not None else {}) | self.changed

    @property
    def selection(self) -> dict[str, Any]:
        """See `SearchStarted`; empty before it began."""
        return self.search.selection if self.search is not None else {}

    @property
    def objective(self) -> Objective:
        """The score that it maximises; older searches had one."""
        return Objective(self.settings.get("objective", ACCURACY))

    @property
    def measure(self) -> Measure:
        """The same on the images that it selects on, in their order.

        Raises:
            SearchError: it is of other categories.
        """
        names, rows = self.category_names, self.selection.get("select_labels", [])
        if any(len(row) != len(names) for row in rows) or self.objective.category not in (None, *names):
            raise SearchError(
                f"objective and labels of a search must be of its categories, {', '.join(names)}, but those of "
                f"{self.name} are not; restore the ledger from a backup"
            )
        return Measure(self.objective, np.array(rows, np.int64).reshape(len(rows), len(names)), tuple(names))

    @property
    def search_id(self) -> str:
        """Names the search even where another had its name before."""
        return f"{self.begun.name}@{int(self.begun.time * 1000)}"

    @property
    def next_number(self) -> int:
        """The first number that no trial has."""
        return max([*self.trials, *self.proposed], default=-1) + 1

    def apply(self, event: Event) -> None:
        """Take in the next event.

        Raises:
            SearchError: it is of a trial that never started.
        """
        self.take_time(event)
        match event:
            case SearchStarted():
                self.search, self.limits = event, Limits.read(event.limits)
                self.take_costs(event)
            case SearchResumed():
                self.ended, self.asked, self.limits = None, None, Limits.read(event.limits)
                self.changed |= event.changed
                self.running.clear()
                if event.extended:
                    self.extend(event)
            case CostsMeasured():
                self.take_costs(event)
            case LimitReached():
                self.reached = event.reason
            case StopAsked():
                self.asked = event.mode
            case SearchEnded():
                self.ended = event
            case TrialStarted():
                trial = self.trials.get(event.trial)
                if trial is None or trial.params != event.params:
                    trial = TrialRecord(event.trial, event.trial_id, event.params, event.enqueued, event.time)
                    trial.objective = self.objective
                    trial.began = self.seconds
                    self.trials[trial.number] = trial
                else:
                    if trial.pause is not None:
                        trial.began += self.seconds - trial.left
                    trial.go_on()
                self.running.add(trial.number)
                self.open.add(trial.number)
            case TrialProposed():
                self.proposed[event.trial] = event
            case TrialSaved():
                self.find_started(event).saves.append(event)
            case TrialPaused():
                self.pause(self.find_started(event), event)
            case TrialRetried():
                self.find_started(event).died_on.append(event.node)
            case EpochEnded():
                self.find_started(event).take_epoch(event)
            case EpochAgain():
                trial = self.find_started(event)
                if any(row.epoch == event.epoch for row in trial.epochs):
                    trial.again.append(event)
            case TrialEnded():
                trial = self.find_started(event)
                trial.end, trial.best = event, event.best
                trial.left = self.seconds if trial.pause is None else trial.left
                self.running.discard(event.trial)
                if event.status.is_over:
                    self.open.discard(event.trial)
                    self.count_gain(trial, is_first=not trial.climbed)

    def take_costs(self, event: SearchStarted | CostsMeasured) -> None:
        """Take in what architectures cost, and which trials have them."""
        for architecture, cost, trials in read_costs(event.costs):
            self.costs[architecture] = cost
            self.architectures |= dict.fromkeys(trials, architecture)

    def pause(self, trial: TrialRecord, event: TrialPaused) -> None:
        """Take in that a trial waits at its rung."""
        is_first, trial.climbed = not trial.climbed, event.rung
        if trial.end is not None:  # the search was interrupted before it could say so
            trial.go_on()
        trial.pause, trial.left = event, self.seconds
        self.running.discard(event.trial)
        self.count_gain(trial, is_first=is_first)

    def extend(self, event: SearchResumed) -> None:
        """Take in that it was given more: limits count from here on."""
        more = {"trials": event.trials} | ({} if event.max_epochs is None else {"max_epochs": event.max_epochs})
        self.search = replace(self.begun, settings=self.settings | more)
        self.reached, self.without_gain, self.extended = None, 0, True
        self.spent_before = self.preparing_seconds + self.seconds - (event.elapsed or 0.0), self.gpu_seconds

    def take_time(self, event: Event) -> None:
        """Count the time since the event before: it was spent on what the search did then."""
        if isinstance(event, (SearchStarted, SearchResumed)):
            self.preparing_seconds += event.elapsed or 0.0
        elif self.last is not None:
            passed = measure(self.last, event)
            self.seconds += passed
            self.training_seconds += passed if self.running else 0.0
            self.trial_seconds += passed * len(self.running)
            self.gpu_seconds += passed * len(self.running) * self.gpus_per_trial
        self.last = event

    def count_gain(self, trial: TrialRecord, *, is_first: bool) -> None:
        """Take in that a trial is over, or pauses. is_first: it did not before; a trial without gain counts once."""
        if self.is_gain(trial):
            self.mark, self.without_gain = trial.best, 0
        elif is_first:
            self.without_gain += 1

    def is_gain(self, trial: TrialRecord) -> bool:
        """Whether a trial's score is a gain over the best before."""
        if not trial.has_standing or trial.best is None:
            return False
        return self.mark is None or (trial.best > self.mark and trial.best >= self.mark + self.limits.gain)

    def find_started(
        self, event: EpochAgain | EpochEnded | TrialEnded | TrialPaused | TrialRetried | TrialSaved
    ) -> TrialRecord:
        """The trial that something happened in."""
        trial = self.trials.get(event.trial)
        if trial is None:
            raise SearchError(
                f"an event {event.kind} must come after its trial has started, but trial {event.trial} has not; "
                "restore the ledger from a backup"
            )
        return trial

    # ------------------------------------------------------------------------------------------------ what was spent

    @property
    def spent_seconds(self) -> float:
        """From the start of its command, over all its commands since it was last extended."""
        return self.preparing_seconds + self.seconds - self.spent_before[0]

    @property
    def gpu_hours(self) -> float:
        """Of all trials together."""
        return self.gpu_seconds / 3600

    def count_gpu_hours(self, trial_seconds: float) -> float:
        """Of so many seconds of trials, each with the GPUs that it has now."""
        return trial_seconds * self.gpus_per_trial / 3600

    @property
    def gpus_per_trial(self) -> float:
        """What each trial has now: as the search went on last, see `SearchResumed.changed`, or began."""
        with suppress(ValueError):  # words of a later version
            now = float(self.changed.get("gpus_per_trial", ""))
            if math.isfinite(now):
                return now
        return float(self.settings.get("gpus_per_trial") or 0.0)

    @property
    def cost(self) -> float | None:
        """Of these; None where no price is known."""
        price = self.limits.price_per_gpu_hour
        return None if price is None else self.gpu_hours * price

    @property
    def may_gain(self) -> bool:
        """Whether a trial that is not over has made a gain already."""
        return any(self.is_gain(self.trials[number]) for number in self.open)

    def find_reached(self, trials: Iterable[TrialRecord]) -> EndReason | None:
        """By which rule the search is to end now; None where it goes on.

        Args:
            trials: those that may have reached the target.
        """
        limits = self.limits
        if limits.target is not None and any(
            trial.has_standing and (trial.best_trained or 0.0) >= limits.target for trial in trials
        ):
            return EndReason.TARGET
        if (spent := self.find_spent()) is not None:
            return spent
        if limits.patience is not None and self.without_gain >= limits.patience and not self.may_gain:
            return EndReason.NO_GAIN
        return None

    def find_spent(self, passed: float = 0.0) -> EndReason | None:
        """Which budget is spent so many seconds after the last event; None where none is."""
        limits = self.limits
        if limits.seconds is not None and self.spent_seconds + passed >= limits.seconds:
            return EndReason.TIME_BUDGET
        gpu_hours = (self.gpu_seconds - self.spent_before[1]) / 3600
        gpu_hours += self.count_gpu_hours(passed * len(self.running))
        if limits.gpu_hours is not None and gpu_hours >= limits.gpu_hours:
            return EndReason.GPU_BUDGET
        if limits.cost is not None and gpu_hours * (limits.price_per_gpu_hour or 0.0) >= limits.cost:
            return EndReason.COST_BUDGET
        return None

    # ------------------------------------------------------------------------------------------------- how it stands

    def rank(self) -> list[TrialRecord]:
        """Trials with a score that stands, the best first; of equal ones the earlier."""
        standing = [trial for trial in self.trials.values() if trial.has_standing]
        return sorted(standing, key=lambda trial: (-(trial.best or 0.0), trial.number))

    def find_candidate(self) -> TrialRecord | None:
        """The best of the trials that were trained to their end, with which a promotion begins; None: there is none."""
        return next((trial for trial in self.rank() if trial.status == TrialStatus.FINISHED), None)

    def count_statuses(self) -> dict[str, int]:
        """Number of trials by status: those of all ends, also where it is 0, then of those that run."""
        counts = Counter(trial.status for trial in self.trials.values())
        return {str(status): counts[status] for status in (*ENDS, TrialStatus.RUNNING)}

    def count_epochs(self) -> int:
        """Epochs that count: one that was run twice, counts once."""
        return sum(len(trial.epochs) for trial in self.trials.values())

    @property
    def has_start_seeds(self) -> bool:
        """Whether each trial's new layers have a start of their own; in older searches all have one."""
        return bool(self.settings.get("start_seeds"))

    @property
    def is_repeatable(self) -> bool:
        """Whether an epoch that is trained again must score the same: on one CPU worker, with nothing changed since, on
        this machine alone: another node's CPU may add up in another order.
        """
        settings = self.settings
        has_others = settings.get("gpus_per_trial") or settings.get("nodes")
        return settings.get("concurrent") == 1 and not has_others and not self.changed

    def compare_again(self) -> tuple[int, float]:
        """How many epochs were trained again, and the largest difference of their scores to those of the first time."""
        found = [
            abs(trial.read_score(row) - trial.find_score(row.epoch))
            for trial in self.trials.values()
            for row in trial.again
        ]
        return len(found), max(found, default=0.0)

    def count_saved(self, max_epochs: int) -> int:
        """Epochs that stopping the weak trials saved."""
        stopped = [trial for trial in self.trials.values() if trial.status == TrialStatus.STOPPED]
        return sum(max_epochs - len(trial.epochs) for trial in stopped)

    @property
    def category_names(self) -> list[str]:
        """Names of the categories: the data's, or where the ledger lacks them, those that epochs were scored on."""
        if self.search is not None and self.search.categories:
            return list(self.search.categories)
        prefix = ACCURACY + "/"
        rows = (row for trial in self.trials.values() for row in trial.epochs)
        return list(
            dict.fromkeys(key.removeprefix(prefix) for row in rows for key in row.metrics if key.startswith(prefix))
        )

    @property
    def param_names(self) -> list[str]:
        """Flat names of all parameters, in the order in which trials have them."""
        return list(dict.fromkeys(name for _, trial in sorted(self.trials.items()) for name in trial.params))


def measure(first: Event, second: Event) -> float:
    """Seconds between two events of one command; by the clock on the wall where an older ledger has no other."""
    if first.elapsed is None or second.elapsed is None:
        return max(second.time - first.time, 0.0)
    return max(second.elapsed - first.elapsed, 0.0)


@dataclass(frozen=True)
class Outcome:
    """How the trials of a search came out, so far.

    Attributes:
        ranked: those with a score that stands, the best first; others: those without, by number.
        statuses: see `SearchRecord.count_statuses`.
        epochs, full_epochs, saved_epochs: trained; if no trial were stopped, and saved by stopping (0 where unknown).
    """

    ranked: list[TrialRecord]
    others: list[TrialRecord]
    statuses: dict[str, int]
    epochs: int
    full_epochs: int
    saved_epochs: int


def sum_up(record: SearchRecord) -> Outcome:
    """How a search came out, worked out once."""
    ranked, max_epochs = record.rank(), record.settings.get("max_epochs", 0)
    standing = {trial.number for trial in ranked}
    return Outcome(
        ranked=ranked,
        others=[trial for number, trial in sorted(record.trials.items()) if number not in standing],
        statuses=record.count_statuses(),
        epochs=record.count_epochs(),
        full_epochs=len(record.trials) * max_epochs,
        saved_epochs=record.count_saved(max_epochs) if max_epochs else 0,
    )


def replay(events: Iterable[Event]) -> SearchRecord:
    """What a sequence of events adds up to."""
    record = SearchRecord()
    for event in events:
        record.apply(event)
    return record


def load_record(layout: SearchLayout) -> SearchRecord:
    """What the ledger of a search tells, also of one that runs.

    Raises:
        SearchError: there is no such search, or it has not begun.
    """
    record = replay(read_events(layout.ledger))
    if record.search is None and (layout.ledger.exists() or layout.options.exists()):
        raise SearchError(
            f"a search's ledger must tell how it began, but {layout.ledger} does not: {layout.name} has not come that "
            f"far, or its ledger was cut off; restore it from a backup, or go on with --resume {layout.name}"
        )
    if record.search is None:
        raise SearchError(
            f"no search of the name {layout.name!r} stands in {layout.results}; known are "
            f"{', '.join(list_searches(layout.results)) or 'none'}"
        )
    return record


def list_searches(results: Path) -> list[str]:
    """Names of the searches that have a ledger in a folder of results, sorted."""
    return sorted(path.parent.name for path in results.glob("*/ledger.jsonl"))
