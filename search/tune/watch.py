"""A running search: what was written down decides what runs next, and nothing else does.

Ray pickles what it is given, and works with copies. So its searcher, scheduler and callbacks hold the search's id only,
and find the search in this process by it.
"""

from __future__ import annotations

import json
import math
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fashion_core.errors import first_line
from search.records.events import (
    EpochAgain,
    EpochEnded,
    Event,
    LimitReached,
    SearchResumed,
    SearchStarted,
    StopAsked,
    StopMode,
    TrialEnded,
    TrialPaused,
    TrialRetried,
    TrialSaved,
    TrialStarted,
    TrialStatus,
)
from search.records.requests import clear_request, read_request
from search.space.seeds import draw_seeds
from search.tune.decisions import Promotions, Rungs
from search.tune.liveness import Liveness
from search.tune.results import (
    CORRECT,
    EPOCH,
    ERROR,
    FULL,
    LOST,
    METRICS,
    MISFIT,
    NODE,
    SAVED,
    STATUS,
    WORST_SCORE,
)
from search.tune.storage import CORRECT_FILE, list_saves
from search.tune.study import RungStudy, Study

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ray.tune.experiment import Trial

    from search.planning.plan import Plan
    from search.records.record import TrialRecord
    from search.records.session import Session
    from search.space.rungs import Scheduler
    from search.tune.checkpoints import BestModels

ANSWERS_LOST = "which images it answered right is lost with its state"
MAX_DEATHS = 1  # of a trial's process, on nodes that live: it goes on from its last state so often
MAX_LOSSES = 20  # with those on nodes that were lost: a trial that takes its nodes along comes to an end too


@dataclass
class Watch:
    """A search while it runs: hands out its trials, and writes down what becomes of them.

    Attributes:
        rungs, study: what was decided and drawn, as the ledger tells it.
        waiting: numbers of trials that are proposed, neither over nor paused, and that no process has.
        running: number of each trial that a process has, by Ray's id.
        taken: Ray's id and epoch of the last result taken in, by number: Ray tells of one in two places.
        correct: of the best epoch of each running trial, packed.
        lost: why a trial's model or state could not be saved, by number.
        full: numbers of trials that wait for room on a disk, and have said so.
        silent: why a trial's process was ended, by number.
        avoided: nodes that lack libraries, or have others, as Ray names them: no trial is handed out for them.
        liveness: of the Tune that runs now.
    """

    plan: Plan
    session: Session
    models: BestModels
    rungs: Rungs
    study: Study
    waiting: deque[int] = field(default_factory=deque)
    running: dict[str, int] = field(default_factory=dict)
    taken: dict[int, tuple[str, int]] = field(default_factory=dict)
    correct: dict[int, str] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    full: set[int] = field(default_factory=set)
    silent: dict[int, str] = field(default_factory=dict)
    avoided: set[str] = field(default_factory=set)
    liveness: Liveness = field(default_factory=lambda: Liveness("", math.inf))

    @property
    def max_epochs(self) -> int:
        """Of a trial that is not stopped."""
        return self.plan.space.scheduler.max_epochs

    # ------------------------------------------------------------------------------------------------ what runs next

    def begin(self) -> None:
        """Work out from the ledger what there is to do; end the trials that were over but for the word."""
        record = self.session.record
        self.running.clear()
        self.look_for_request()
        for trial in list(record.trials.values()):
            if not trial.status.is_over and trial.number in record.proposed:
                self.settle(trial)
        self.waiting = deque(sorted(record.proposed.keys() - self.idle))
        self.end_unpromoted()
        self.judge(record.trials.values())
        over = {number for number, trial in record.trials.items() if trial.status.is_over}
        with suppress(OSError):
            self.models.store.delete_all_but(record.proposed.keys() - over)

    def settle(self, trial: TrialRecord) -> None:
        """End or pause a trial whose last epoch was its last, or its last for now, where that was not written down."""
        stop = self.rungs.stops.get(trial.number)
        if trial.pause is not None:
            return
        if (fault := self.find_fault(trial)) is not None:
            self.end(trial, TrialStatus.FAILED, keep=False, reason=fault, error=fault)
        elif stop is not None:
            self.end(trial, TrialStatus.STOPPED, reason=str(stop), rung=stop.rung, cutoff=stop.cutoff)
        elif trial.last_epoch >= self.max_epochs:
            self.end(trial, TrialStatus.FINISHED, reason=f"reached {self.max_epochs} epochs")
        elif trial.last_epoch >= self.find_until(trial):
            self.pause(trial)

    def find_until(self, trial: TrialRecord | None) -> int:
        """The epoch that a trial trains to: a rung in the promotion form, else its end. None: it has not begun."""
        if isinstance(self.rungs, Promotions):
            return self.rungs.find_next(0 if trial is None else trial.climbed)
        return self.max_epochs

    def find_fault(self, trial: TrialRecord) -> str | None:
        """Why none of a trial's scores can be relied on, in one line: an epoch that was trained again scored otherwise,
        where it must not. None where all is well.
        """
        again = trial.differing
        if again is None or not self.session.record.is_repeatable:
            return None
        return (
            f"an epoch that is trained again on one CPU worker must score the same, but epoch {again.epoch} of trial "
            f"{trial.number} scored {again.metrics.get(trial.objective.name)} after {trial.find_score(again.epoch)}; "
            "suspect its saved state, the memory of this machine, or a library that is not deterministic"
        )

    def hand_out(self, trial_id: str) -> dict[str, Any] | None:
        """What the next trial of Ray is to do; None where there is nothing to do now.

        Returns:
            number, enqueued, params (flat, as shown), values (of a `TrainConfig`), saves (epoch, digests: what it can
            go on from, the newest first), until (the epoch that it trains to), begun (whether it did before), avoided
            (nodes that it is not to be on).
        """
        record = self.session.record
        if record.reached is not None or record.asked is not None:
            return None
        number = self.choose_known()
        if number is None and record.next_number < self.plan.trials:
            proposal = self.study.draw(self.session.ledger.seq - 1)
            self.session.append(proposal)
            number = proposal.trial
        if number is None:
            self.end_unpromoted()
            return None
        self.running[trial_id] = number
        self.silent.pop(number, None)
        self.liveness.begin(number)
        proposal, trial = record.proposed[number], record.trials.get(number)
        values = self.plan.space.build_values(proposal.params, self.plan.annotations.schema)
        return {
            "number": number,
            "enqueued": proposal.enqueued,
            "params": proposal.params,
            "values": values | draw_seeds(self.plan.options.seed, number, with_start=record.has_start_seeds),
            "saves": list_saves(trial) if trial is not None else [],
            "until": self.find_until(trial),
            "begun": trial is not None,
            "avoided": sorted(self.avoided),
        }

    def choose_known(self) -> int | None:
        """Which trial that has begun goes on now: one that was interrupted, then one that is promoted; None: none."""
        if self.waiting:
            return self.waiting.popleft()
        return self.choose_promoted()

    def choose_promoted(self) -> int | None:
        """Which paused trial goes on now; None where none does."""
        if not isinstance(self.rungs, Promotions):
            return None
        return self.rungs.choose(self.session.record.trials, self.running.values(), is_last=self.is_settled)

    @property
    def is_settled(self) -> bool:
        """Whether all trials are drawn, and each is over or paused."""
        record = self.session.record
        return not self.running and record.next_number >= self.plan.trials and not record.proposed.keys() - self.idle

    @property
    def idle(self) -> set[int]:
        """Numbers of the trials that are over or paused."""
        trials = self.session.record.trials
        return {number for number, trial in trials.items() if trial.status.is_over or trial.pause is not None}

    @property
    def is_over(self) -> bool:
        """Whether all trials have ended, or those that ran when the search was to end early."""
        record = self.session.record
        is_last = record.reached is not None or record.asked is not None
        is_drawn = not self.waiting and record.next_number >= self.plan.trials
        return not self.running and (is_last or (is_drawn and self.choose_promoted() is None))

    def look_for_request(self) -> None:
        """Write down what another process asks of the search, if that is new."""
        mode = read_request(self.plan.layout)
        if mode is not None and mode != self.session.record.asked:
            self.session.append(StopAsked(mode=mode))
        if mode is not None:
            clear_request(self.plan.layout)

    @property
    def ends_now(self) -> bool:
        """Whether trials that run are to end at once."""
        return self.session.record.asked == StopMode.NOW

    # --------------------------------------------------------------------------------------------- what becomes of it

    def take(self, event: Event) -> None:
        """Take in what the ledger tells."""
        self.study.take(event)
        if isinstance(event, (EpochEnded, EpochAgain, TrialPaused, TrialEnded)):
            self.judge([self.session.record.trials[event.trial]])

    def judge(self, trials: Iterable[TrialRecord]) -> None:
        """Write down by which rule the search ends early, once one is. trials: see `SearchRecord.find_reached`."""
        record = self.session.record
        if record.reached is None and (reason := record.find_reached(trials)) is not None:
            self.session.append(LimitReached(reason=reason))

    def judge_spent(self) -> None:
        """Write down that a budget is spent, also while nothing ends: a trial may wait for room on a disk."""
        if self.session.record.reached is None and (reason := self.session.find_spent()) is not None:
            self.session.append(LimitReached(reason=reason))

    def look(self) -> None:
        """See that trials get on and no budget is spent, and tell those who look on what each is at.

        Raises:
            RayDied: Ray is not there any more.
        """
        self.silent |= self.liveness.look(self.running.values())
        for onlooker in self.session.onlookers:
            onlooker(self.liveness.doing)
        self.judge_spent()

    def start(self, trial: Trial) -> None:
        """A trial begins, or goes on."""
        config = trial.config
        known = self.session.record.trials.get(config["number"])
        if known is None or known.status != TrialStatus.RUNNING:
            self.session.append(
                TrialStarted(
                    trial=config["number"],
                    trial_id=trial.trial_id,
                    params=config["params"],
                    enqueued=config["enqueued"],
                )
            )

    def take_result(self, trial: Trial, result: dict[str, Any]) -> bool:
        """Write an epoch down, and decide.

        Returns:
            Whether the trial is to end.
        """
        number, epoch, values = trial.config["number"], result[EPOCH], json.loads(result[METRICS])
        known = self.session.record.trials[number]
        if FULL in result:
            if number not in self.full:
                self.session.ledger.tell(result[FULL])
            self.full.add(number)
            return self.must_stop(known)
        self.full.discard(number)
        if MISFIT in result:
            self.avoid(result[NODE], result[MISFIT])
            return True
        if self.taken.get(number) == (trial.trial_id, epoch):
            return self.must_stop(known)
        self.taken[number] = (trial.trial_id, epoch)
        self.silent.pop(number, None)  # it gets on
        if LOST in result:
            self.lost[number] = result[LOST]
        if CORRECT in result:
            self.correct[number] = result[CORRECT]
        if SAVED in result:  # first: a trial that the next line ends has its model then
            self.session.append(TrialSaved(trial=number, epoch=epoch, digests=json.loads(result[SAVED])))
        if values and epoch <= known.last_epoch:
            self.session.append(EpochAgain(trial=number, epoch=epoch, metrics=values))
        elif values:
            self.session.append(EpochEnded(trial=number, epoch=epoch, metrics=values))
            self.rungs.take(number, epoch, known.best or 0.0)
        return self.must_stop(known)

    def avoid(self, node: str, why: str) -> None:
        """Use a node no more, and say so once. Its trials are handed out again for other nodes."""
        if node in self.avoided:
            return
        self.avoided.add(node)
        self.session.ledger.tell(why)
        if (none_left := self.liveness.tell_none_left(self.avoided)) is not None:
            self.session.ledger.tell(none_left)

    def must_stop(self, trial: TrialRecord) -> bool:
        """Whether the epoch that a trial has ended is its last, for now."""
        record = self.session.record
        ends_early = record.reached is not None or record.asked == StopMode.AT_EPOCH
        return ends_early or trial.number in self.rungs.stops or self.find_fault(trial) is not None

    def complete(self, trial: Trial) -> None:
        """A trial ended, in whatever way but the death of its process."""
        number, result = trial.config["number"], trial.last_result or {}
        if MISFIT in result:
            self.waiting.appendleft(number)
            return
        known = self.session.record.trials[number]
        status = TrialStatus(result.get(STATUS, TrialStatus.INTERRUPTED))
        if status in (TrialStatus.FAILED, TrialStatus.DIVERGED):
            self.end(known, status, reason=first_line(result[ERROR]), error=result[ERROR])
        else:
            self.settle(known)
            self.end_unpromoted()
        # a trial that has no end now: the search ends first, and says so of all that still run

    def bury(self, trial: Trial, error: str) -> None:
        """A trial's process died: it goes on from its last state, or has failed.

        A node that is lost costs no trial: whether one was, Ray knows by the next death of the same trial. Nor does one
        of a cluster that lacks what trainings need.
        """
        number = trial.config["number"]
        has_nodes = self.plan.options.address is not None
        if has_nodes and (unloaded := self.liveness.find_unloaded(error)) is not None:
            self.avoid(*unloaded)
            self.waiting.appendleft(number)
            return
        error, node = self.silent.pop(number, error), self.liveness.find_node(number)
        self.start(trial)  # where it died before it began
        known = self.session.record.trials[number]
        lost = self.liveness.list_lost([each for each in known.died_on if each is not None])
        own = [each for each in known.died_on if each not in lost]
        if len(own) < MAX_DEATHS and len(known.died_on) < MAX_LOSSES:
            self.session.append(TrialRetried(trial=number, error=error, node=node))
            self.waiting.appendleft(number)
        else:
            self.end(known, TrialStatus.FAILED, keep=False, reason=first_line(error), error=error)

    def pause(self, trial: TrialRecord) -> None:
        """Write down that a trial waits at its rung. Its newest state stays, its process does something else."""
        found = self.find_correct(trial)
        self.session.append(TrialPaused(trial=trial.number, rung=self.find_until(trial), correct=found))
        if saves := list_saves(trial):
            with suppress(OSError):
                self.models.store.keep_only(trial.number, [saves[0][0]])

    def end_unpromoted(self) -> None:
        """End the paused trials that will never go on: those too far behind, and all once nothing can change any more.

        So at most trials // reduction_factor wait at a rung, and as many states are kept.
        """
        if not isinstance(self.rungs, Promotions):
            return
        trials = self.session.record.trials
        ends = self.rungs.list_hopeless(trials, self.plan.trials)
        if self.is_settled and self.choose_promoted() is None:
            ends |= {
                number: self.rungs.describe(number, trial.climbed)
                for number, trial in trials.items()
                if trial.status is TrialStatus.PAUSED and number not in ends
            }
        for number, reason in ends.items():
            self.end(trials[number], TrialStatus.STOPPED, reason=reason, rung=trials[number].climbed)

    def keep_running(self, *, waits: bool = True) -> None:
        """The search ends first: keep the models of trials that are not over, and what they can go on from.

        Args:
            waits: for room on a full disk; else it does without.
        """
        for trial in self.session.record.trials.values():
            if not trial.status.is_over:
                with suppress(OSError):
                    self.keep(trial) if waits else self.models.keep(trial)

    def keep(self, trial: TrialRecord) -> str | None:
        """See `BestModels.keep`; it waits for room on a full disk."""
        return self.session.ledger.wait(lambda: self.models.keep(trial), self.models.layout.folder)

    def end(self, known: TrialRecord, status: TrialStatus, *, keep: bool = True, reason: str, **fields: Any) -> None:
        """Write an end down, and keep the model if it is one of the best."""
        # not `known.best`: after an interruption that is the score of the model that was kept then
        best, kept, correct = known.best_trained, None, self.find_correct(known)
        row = known.find_row(best)
        self.correct.pop(known.number, None)
        if status == TrialStatus.DIVERGED:
            best, correct = WORST_SCORE, None
        elif keep:
            try:
                kept = self.keep(known)
            except OSError as error:  # the storage is away: the trial's result stands without its model
                reason += f" (its model could not be kept: {error})"
            if correct is None and any(CORRECT_FILE in save.digests for save in known.saves):
                reason += f" ({ANSWERS_LOST})"  # with its state: the ledger lost the line that told its end
        if (lost := self.lost.pop(known.number, None)) is not None:
            reason += f" ({lost})"
        self.session.append(
            TrialEnded(
                trial=known.number,
                status=status,
                best=best,
                best_epoch=None if row is None else row.epoch,
                reason=reason,
                correct=correct,
                checkpoint=kept,
                **fields,
            )
        )
        with suppress(OSError):  # after the end is written down: until then a search that goes on needs them
            self.models.store.delete(known.number)

    def find_correct(self, known: TrialRecord) -> str | None:
        """What the best epoch of a trial answered right, packed; None where nothing tells."""
        if found := self.correct.get(known.number) or (known.pause and known.pause.correct):
            return found
        row, end, store = known.find_row(known.best_trained), known.end, self.models.store
        if row is not None and end is not None and end.best_epoch == row.epoch and end.correct is not None:
            return end.correct  # it was interrupted
        epoch = None if row is None else row.epoch
        return self.session.ledger.wait(lambda: store.read_correct(known, epoch), store.find_full())


WATCHED: dict[str, Watch] = {}  # the searches that run in this process, by their ids


def find_watch(search_id: str) -> Watch:
    """The search of this id, which runs in this process."""
    return WATCHED[search_id]


@contextmanager
def watch(plan: Plan, session: Session, models: BestModels, events: Sequence[Event]) -> Iterator[Watch]:
    """Let Ray's parts find the search, while Tune runs.

    Args:
        events: of the ledger so far.
    """
    record = session.record
    study = build_study(plan, events)
    for event in events:
        study.take(event)
    rungs = build_rungs(plan.space.scheduler)
    rungs.take_all(record)
    found = WATCHED[record.search_id] = Watch(plan, session, models, rungs, study)
    session.listeners.append(found.take)
    try:
        yield found
    finally:
        session.listeners.remove(found.take)
        del WATCHED[record.search_id]


def build_study(plan: Plan, events: Iterable[Event] = ()) -> Study:
    """What the sampler of a search knows before its first trial.

    Args:
        events: of the ledger before this command. Once trials have had several ends, scores at an end are no longer
            alike in the stopping form either.
    """
    ends = list_ends(events, plan.space.scheduler.max_epochs)
    scheduler, schema, given = plan.space.scheduler, plan.annotations.schema, plan.taken.observed
    if not scheduler.promotes and len(ends) < 2:
        return Study(plan.space, schema, plan.first, seed=plan.options.seed, observed=given)
    epochs = sorted({*scheduler.rungs(), *(() if scheduler.promotes else ends), scheduler.max_epochs})
    return RungStudy(
        plan.space, schema, plan.first, seed=plan.options.seed, observed=given, epochs=epochs, first_end=ends[0]
    )


def list_ends(events: Iterable[Event], now: int) -> list[int]:
    """Epochs of a trial that is not stopped, ascending: of when the search began, of each time that it was lengthened,
    and `now`.
    """
    given = (
        event.settings.get("max_epochs") if isinstance(event, SearchStarted) else event.max_epochs
        for event in events
        if isinstance(event, (SearchStarted, SearchResumed))
    )
    return sorted({now, *(epochs for epochs in given if epochs is not None)})


def build_rungs(scheduler: Scheduler) -> Rungs:
    """What decides about the trials of a search, before its first."""
    if scheduler.promotes:
        assert scheduler.reduction_factor is not None
        return Promotions(scheduler.rungs(), scheduler.reduction_factor, scheduler.max_epochs)
    return Rungs(scheduler.rungs(), scheduler.reduction_factor)
