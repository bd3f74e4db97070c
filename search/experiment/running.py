"""All trials of a search, run in sight; and how they ended, where Tune did not say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.models.saved import read_score
from search.records.events import EndReason, SearchEnded, TrialEnded, TrialStatus
from search.reporting.live import LiveView
from search.tune.tuner import run_trials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from search.jobs.training import JobSite
    from search.planning.plan import Plan
    from search.records.events import Event
    from search.records.session import Session
    from search.tune.trainable import TrialTrainable


def run_session(
    plan: Plan,
    session: Session,
    site: JobSite,
    console: Console,
    trainable: type[TrialTrainable],
    events: Sequence[Event],
) -> None:
    """Run all trials in sight, and write down how the search ended.

    Args:
        events: of the ledger so far.
    """
    record = session.record
    with LiveView(console, record, plan.trials, plan.space.scheduler.max_epochs) as live:
        session.listeners.append(live.update)
        run_trials(plan, site, session, events, trainable=trainable)
    close_trials(session, "the search ended first")
    ended = [trial for trial in record.trials.values() if trial.status != TrialStatus.INTERRUPTED]
    reason, budget = EndReason.INTERRUPTED, plan.options.time_budget_s
    if len(ended) >= plan.trials:
        reason = EndReason.ALL_ENDED
    elif budget is not None and record.seconds >= budget:
        reason = EndReason.TIME_BUDGET
    session.append(SearchEnded(reason=reason, seconds=record.seconds))


def close_trials(session: Session, reason: str) -> None:
    """Write an end for every trial that has none. Its best is that of its kept model: a later epoch may be lost."""
    for trial in list(session.record.trials.values()):
        if trial.status == TrialStatus.RUNNING:
            best, best_epoch = trial.best, trial.best_epoch
            kept = session.layout.find_checkpoint(trial.number)
            if kept is not None:
                best, best_epoch = read_score(session.layout.checkpoint_folder(trial.number))
            session.append(
                TrialEnded(
                    trial=trial.number,
                    status=TrialStatus.INTERRUPTED,
                    reason=reason,
                    best=best,
                    best_epoch=best_epoch,
                    checkpoint=kept,
                )
            )
