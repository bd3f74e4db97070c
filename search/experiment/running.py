"""All trials of a search, run in sight; and how they ended, where Tune did not say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.errors import FashionError, RayLostError, SearchError, first_line
from fashion_core.models.saved import read_score
from search.planning.costs import price_finished
from search.records.events import LIMITS, EndReason, SearchEnded, TrialEnded, TrialStatus
from search.reporting.live import LiveView
from search.reporting.terminal import plain
from search.tune.storage import TrialStore
from search.tune.tuner import run_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from search.jobs.training import JobSite
    from search.planning.plan import Plan
    from search.records.events import Event
    from search.records.record import SearchRecord, TrialRecord
    from search.records.session import Session
    from search.tune.trainable import TrialTrainable

ENDED_FIRST = "the search ended first"


def run_session(
    plan: Plan,
    session: Session,
    site: JobSite,
    console: Console,
    trainable: type[TrialTrainable],
    events: Sequence[Event],
    *,
    goes_on: bool,
) -> SearchError | None:
    """Run all trials in sight, and write down how the search ended.

    Args:
        events: of the ledger so far.
        goes_on: the command begins again by itself where this process can use Ray no more.

    Returns:
        What broke it, to be raised once its report is written.

    Raises:
        RayLostError: the command is to begin again.
    """
    record, is_interrupted, fault = session.record, False, None
    with LiveView(console, record, plan.trials, plan.space.scheduler.max_epochs) as live:
        session.listeners.append(live.update)
        session.onlookers.append(live.look)
        try:
            is_interrupted = run_trials(plan, site, session, events, trainable=trainable)
        except SearchError as error:
            if goes_on and isinstance(error, RayLostError):
                raise
            fault = error
    close_trials(session, open_states(plan, session))
    reason = choose_reason(record, plan.trials, is_broken=fault is not None, is_interrupted=is_interrupted)
    if reason == EndReason.ALL_ENDED or reason in LIMITS:
        write_costs_of_trials(plan, session, console)
    session.append(SearchEnded(reason=reason, seconds=record.seconds))
    return fault


def write_costs_of_trials(plan: Plan, session: Session, console: Console) -> None:
    """Write down what the trials cost that trained to their end. Where that cannot be measured, the report lacks it."""
    try:
        found = price_finished(plan.space, plan.annotations.schema, session.record)
    except (FashionError, RuntimeError) as error:  # torch's, such as a GPU whose memory is full
        console.print(plain(f"what the trials cost could not be measured: {first_line(error)}", "yellow"))
        return
    if found is not None:
        session.append(found)


def choose_reason(record: SearchRecord, trials: int, *, is_broken: bool, is_interrupted: bool) -> str:
    """Why a search ended.

    Args:
        trials: how many it was to have.
        is_interrupted: a signal cut short what was to run still, after a limit or a request too: who sent it, or a
            script that waits, is not to take that for an end as asked.
    """
    ended = [trial for trial in record.trials.values() if trial.status.is_over]
    if len(ended) >= trials:
        return EndReason.ALL_ENDED
    if is_interrupted:
        return EndReason.INTERRUPTED
    if record.reached is not None:
        return record.reached
    if record.asked is not None:
        return EndReason.STOPPED
    return EndReason.BROKEN if is_broken else EndReason.INCOMPLETE


def open_states(plan: Plan, session: Session) -> TrialStore:
    """The saved states of a search's trials, in the process that holds it."""
    return TrialStore(plan.experiment, session.ledger.storage)


def close_trials(session: Session, store: TrialStore) -> None:
    """Write an end for every trial that is not over, and has none, or whose kept model is another than that tells.

    Its best is that of its kept model: a later epoch may be lost.

    Args:
        store: its states tell what that answered right.
    """
    for trial in [each for each in session.record.trials.values() if not each.status.is_over]:
        best, row = trial.best_trained, trial.find_row(trial.best_trained)
        best_epoch = None if row is None else row.epoch
        kept = session.layout.find_checkpoint(trial.number)
        if kept is not None:
            best, best_epoch = read_score(session.layout.checkpoint_folder(trial.number))
        told = trial.end
        if told is not None and (told.best, told.best_epoch, told.checkpoint) == (best, best_epoch, kept):
            continue
        paused = None if trial.pause is None else f"paused after epoch {trial.pause.rung}"
        session.append(
            TrialEnded(
                trial=trial.number,
                status=TrialStatus.INTERRUPTED if paused is None else TrialStatus.PAUSED,
                reason="; ".join(filter(None, [paused, ENDED_FIRST])),
                best=best,
                best_epoch=best_epoch,
                checkpoint=kept,
                correct=find_answers(trial, best_epoch, store),
            )
        )


def find_answers(trial: TrialRecord, best_epoch: int | None, store: TrialStore) -> str | None:
    """What an epoch of a trial answered right, packed; None where no state tells of that one, or none can be had, and
    where its pause has told.
    """
    if best_epoch is None or (trial.pause is not None and trial.pause.correct is not None):
        return None
    try:
        return store.read_correct(trial, best_epoch)
    except OSError:  # the disk is full: the end stands without
        return None
