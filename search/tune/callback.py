"""What happens to trials, written down as it happens: Tune's callback -> session -> ledger, tracker and live view.

Ray pickles its callbacks, and brings back copies after a restart. So the callback holds the search's id only, and finds
the files, threads and screens of the search in this process by it.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback

from fashion_core.errors import first_line
from search.records.events import EpochEnded, TrialEnded, TrialRetried, TrialStarted, TrialStatus
from search.tune.results import CORRECT, EPOCH, ERROR, METRICS, SCORE, STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.tune.experiment import Trial

    from search.records.record import TrialRecord
    from search.records.session import Session
    from search.tune.checkpoints import BestModels
    from search.tune.scheduler import ASHA


@dataclass
class Watch:
    """A running search, as its callback needs it.

    Attributes:
        max_epochs: of a trial that is not stopped.
        correct: of the best epoch of each running trial, packed.
    """

    session: Session
    models: BestModels
    max_epochs: int
    correct: dict[int, str] = field(default_factory=dict)


WATCHED: dict[str, Watch] = {}  # the searches that run in this process, by their ids


@contextmanager
def watch(session: Session, models: BestModels, max_epochs: int) -> Iterator[None]:
    """Let the callbacks of a search find it, while Tune runs."""
    search_id = session.record.search_id
    WATCHED[search_id] = Watch(session, models, max_epochs)
    try:
        yield
    finally:
        del WATCHED[search_id]


class Recorder(Callback):
    """Writes every trial's start, epochs and end into the ledger, and keeps the models of the best.

    Args:
        search_id: a key of `WATCHED`.
        scheduler: asked why a trial was stopped, and given its rungs back after a restart; None where none is stopped.
    """

    def __init__(self, search_id: str, scheduler: ASHA | None) -> None:
        self.search_id, self.scheduler = search_id, scheduler
        self.over: set[int] = set()  # trials that had ended before Tune began, by the ledger

    @property
    def watched(self) -> Watch:
        """The search."""
        return WATCHED[self.search_id]

    @property
    def session(self) -> Session:
        """Where it is written down."""
        return self.watched.session

    def setup(self, **info: Any) -> None:
        """Ray's last snapshot may be older than the ledger: then it runs a trial again that has ended. That run is for
        Ray and Optuna, which lack its end; the ledger has it, and keeps it.
        """
        record = self.session.record
        self.over = {trial.number for trial in record.trials.values() if trial.status.is_over}
        if self.scheduler is not None:
            self.scheduler.load_scores(record)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or goes on."""
        config = trial.config
        if config["number"] in self.over:
            return
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

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's process died, and Ray starts another."""
        if trial.config["number"] not in self.over:
            self.session.append(TrialRetried(trial=trial.config["number"], error=describe_death(trial)))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch ended."""
        number, values = trial.config["number"], json.loads(result[METRICS])
        if values and number not in self.over:
            self.session.append(EpochEnded(trial=number, epoch=result[EPOCH], metrics=values))
            if CORRECT in result:
                self.watched.correct[number] = result[CORRECT]

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ended, in whatever way but the death of its process."""
        number, result = trial.config["number"], trial.last_result or {}
        if number in self.over:
            return
        known = self.session.record.trials[number]
        status = TrialStatus(result.get(STATUS, TrialStatus.INTERRUPTED))
        stop = self.scheduler.stops.get(trial.trial_id) if self.scheduler is not None else None
        correct = self.watched.correct.pop(number, None)
        fields: dict[str, Any] = {"reason": f"reached {self.watched.max_epochs} epochs", "correct": correct}
        best = known.best
        if status in (TrialStatus.FAILED, TrialStatus.DIVERGED):
            fields |= {"reason": first_line(result[ERROR]), "error": result[ERROR]}
        elif status == TrialStatus.RUNNING and stop is not None:
            status = TrialStatus.STOPPED
            fields |= {"reason": str(stop), "rung": stop.rung, "cutoff": stop.cutoff}
        elif status != TrialStatus.FINISHED:
            status, fields["reason"] = TrialStatus.INTERRUPTED, "the search ended first"
        if status == TrialStatus.DIVERGED:
            best, fields["correct"] = result[SCORE], None
        elif best is not None:
            try:
                fields["checkpoint"] = self.watched.models.keep(trial, number, best)
            except OSError as error:  # the storage is full, or away: the trial's result stands without its model
                fields["reason"] += f" (its model could not be kept: {error})"
        self.end(known, status, best=best, **fields)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's process died, more often than Ray tries again."""
        number = trial.config["number"]
        if number in self.over:
            return
        if number not in self.session.record.trials:  # died before it began
            self.on_trial_start(iteration, trials, trial)
        known, error = self.session.record.trials[number], describe_death(trial)
        self.end(known, TrialStatus.FAILED, best=known.best, reason=first_line(error), error=error)

    def end(self, known: TrialRecord, status: TrialStatus, **fields: Any) -> None:
        """Write an end down."""
        self.session.append(TrialEnded(trial=known.number, status=status, best_epoch=known.best_epoch, **fields))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Time is up, or the user stopped the search: keep the models of trials that still train."""
        for trial in trials:
            known = self.session.record.trials.get((trial.config or {}).get("number", -1))
            if known is not None and known.status == TrialStatus.RUNNING and known.best is not None:
                with suppress(OSError):
                    self.watched.models.keep(trial, known.number, known.best, can_resume=True)


def describe_death(trial: Trial) -> str:
    """Why the process of a trial ended, in words."""
    text = read_death(trial) or "no reason known"
    if text.startswith("The actor ") or "died" in text:
        return (
            "the trial's process died, or the machine it was on; out of memory is the usual cause of the first, so try "
            f"a smaller batch_size or fewer trials at once\n{text}"
        )
    return text


def read_death(trial: Trial) -> str:
    """What ended a trial's process last, in Ray's words, from the driver's own copy: the storage has it only later.

    Ray keeps the exception too, as a pickle; a text cannot do anything when it is read.
    """
    if trial.error_file is None or not Path(trial.error_file).is_file():
        return ""
    text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    return re.split(r"^Failure # .*\n", text, flags=re.MULTILINE)[-1].strip()
