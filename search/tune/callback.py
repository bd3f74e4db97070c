"""What happens to trials, written down as it happens: Tune's callback -> ledger -> tracker and live view.

Ray pickles its callbacks, and brings back copies after a restart. So the callback holds a name only, and finds the
files, threads and screens of the search in this process by it.
"""

from __future__ import annotations

import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.experiment import Trial

from fashion_core.files import MODEL_FILE
from search.jobs.results import EPOCH, METRICS, SCORE
from search.records.ledger import CORRECT
from search.records.ranking import compute_best, find_best_epoch
from search.records.session import SESSIONS, Session
from search.tune.scheduler import RecordedASHA

CHECKPOINT_PREFIX = "checkpoint_"  # of the folders Ray makes


class Recorder(Callback):
    """Writes every trial's start, epochs and end into the ledger, and keeps the models of the best.

    Args:
        name: of the search, a key of `SESSIONS`.
        scheduler: asked why a trial was stopped, and given its rungs back after a restart; None where none is stopped.
    """

    def __init__(self, name: str, scheduler: RecordedASHA | None) -> None:
        self.name, self.scheduler = name, scheduler
        self.over: set[int] = set()  # trials that had ended before Tune began, by the ledger

    @property
    def session(self) -> Session:
        return SESSIONS[self.name]

    def setup(self, **info: Any) -> None:
        """Ray's last snapshot may be older than the ledger: then it runs a trial again that has ended. That run is for
        Ray and Optuna, which lack its end; the ledger has it, and keeps it.
        """
        self.over = {
            trial.number
            for trial in self.session.record.trials.values()
            if trial.status not in ("running", "interrupted")
        }
        if self.scheduler is not None:
            self.scheduler.load_scores(self.session.record)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        config = trial.config
        if config["number"] in self.over:
            return
        known = self.session.record.trials.get(config["number"])
        if known is None or known.status != "running":
            self.session.append(
                "trial_started",
                trial=config["number"],
                trial_id=trial.trial_id,
                params=config["params"],
                enqueued=config["enqueued"],
            )

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.config["number"] not in self.over:
            self.session.append("trial_retried", trial=trial.config["number"], error=describe_death(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        values = json.loads(result[METRICS])
        if values and trial.config["number"] not in self.over:
            self.session.append("epoch", trial=trial.config["number"], epoch=result[EPOCH], metrics=values)
            if CORRECT in result:
                self.session.correct[trial.config["number"]] = result[CORRECT]

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        number, result = trial.config["number"], trial.last_result or {}
        if number in self.over:
            return
        stop = self.scheduler.stops.get(trial.trial_id) if self.scheduler is not None else None
        status = result.get("status", "interrupted")
        fields: dict[str, Any] = {"reason": f"reached {self.session.max_epochs} epochs"}
        if status in ("failed", "diverged"):
            fields = {"reason": result["error"].splitlines()[0], "error": result["error"]}
        elif status == "running" and stop is not None:
            status = "stopped"
            fields = {"reason": str(stop), "rung": stop.rung, "cutoff": stop.cutoff}
        elif status != "finished":
            status, fields = "interrupted", {"reason": "the search ended first"}
        known = self.session.record.trials[number]
        best, best_epoch = compute_best(known), find_best_epoch(known)
        if status == "diverged":
            best = result[SCORE]
        if (correct := self.session.correct.pop(number, None)) is not None and status != "diverged":
            fields[CORRECT] = correct
        kept = None
        if best is not None and best_epoch is not None and status != "diverged":
            try:
                kept = self.keep_model(trial, number, best)
            except OSError as error:  # the storage is full, or away: the trial's result stands without its model
                fields["reason"] += f" (its model could not be kept: {error})"
        self.session.append(
            "trial_ended", trial=number, status=status, best=best, best_epoch=best_epoch, checkpoint=kept, **fields
        )

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        number = trial.config["number"]
        if number in self.over:
            return
        if number not in self.session.record.trials:  # died before it began
            self.on_trial_start(iteration, trials, trial)
        known = self.session.record.trials[number]
        best, best_epoch = compute_best(known), find_best_epoch(known)
        error = describe_death(trial)
        self.session.append(
            "trial_ended",
            trial=number,
            status="failed",
            reason=error.splitlines()[0],
            error=error,
            best=best,
            best_epoch=best_epoch,
        )

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Time is up, or the user stopped the search: keep the models of trials that still train."""
        for trial in trials:
            known = self.session.record.trials.get((trial.config or {}).get("number", -1))
            if known is not None and known.status == "running" and (best := compute_best(known)) is not None:
                with suppress(OSError):
                    self.keep_model(trial, known.number, best, can_resume=True)

    def keep_model(self, trial: Trial, number: int, best: float, *, can_resume: bool = False) -> str | None:
        """Copy the trial's best model out of Ray's checkpoint if it is among the best of the search; drop the rest.

        Args:
            can_resume: leave Ray's checkpoint, for the trial to go on from.

        Returns:
            The kept model's folder, relative to the search's; None if not kept.
        """
        layout, checkpoint, kept = self.session.layout, trial.checkpoint, self.session.kept
        if checkpoint is None:
            return None
        ranked = sorted((kept | {number: best}).items(), key=lambda item: item[1], reverse=True)
        if number in dict(ranked[: self.session.keep_best]):
            folder = layout.checkpoint_folder(number)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                copy_model(checkpoint.filesystem, f"{checkpoint.path}/{MODEL_FILE}", folder / MODEL_FILE)
            except OSError:
                shutil.rmtree(folder)
                raise
            kept[number] = best
        for dropped, _ in ranked[self.session.keep_best :]:
            if kept.pop(dropped, None) is not None:
                shutil.rmtree(layout.checkpoint_folder(dropped), ignore_errors=True)
        if not can_resume:
            delete_checkpoints(trial)
        return layout.find_checkpoint(number)


def delete_checkpoints(trial: Trial) -> None:
    """Delete what Ray keeps of a trial to go on from."""
    filesystem, path = trial.checkpoint.filesystem, trial.checkpoint.path
    for entry in filesystem.get_file_info(pafs.FileSelector(path.rsplit("/", 1)[0])):
        if entry.base_name.startswith(CHECKPOINT_PREFIX):
            filesystem.delete_dir(entry.path)


def describe_death(trial: Trial) -> str:
    """Why the process of a trial ended, in words."""
    error = load_error(trial)
    text = (str(error).strip() if error is not None else "") or "no reason known"
    if isinstance(error, RayActorError) or "died" in text:
        return (
            "the trial's process died, or the machine it was on; out of memory is the usual cause of the first, so try "
            f"a smaller batch_size or fewer trials at once\n{text}"
        )
    return text


def load_error(trial: Trial) -> Exception | str | None:
    """What ended a trial's process, from the driver's own copy: Ray brings it to the storage only later."""
    for name in (trial.pickled_error_file, trial.error_file):
        if name is not None and (path := Path(name)).is_file():
            return pickle.loads(path.read_bytes()) if path.suffix == ".pkl" else path.read_text()
    return None


def copy_model(filesystem: pafs.FileSystem, source: str, target: Path) -> None:
    """Copy one file from the search's storage to this machine, complete or absent."""
    temporary = target.with_suffix(".tmp")
    pafs.copy_files(source, str(temporary), source_filesystem=filesystem, destination_filesystem=pafs.LocalFileSystem())
    temporary.replace(target)
