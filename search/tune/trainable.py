"""The Ray trainable around a training job: the only place that reports to Tune.

Nothing can fail between two trials, so the process stays warm for the next one: what goes wrong goes wrong in `step`,
and is a result (`status`, `error`, the worst score), not an exception. What a trial can go on from is saved here, on
the search's storage, and not by Ray, which knows of no checkpoint.
"""

from __future__ import annotations

import gc
import json
import math
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ray
import torch
from ray.tune import PlacementGroupFactory, Trainable

from fashion_core.config import build_config
from fashion_core.errors import CheckpointError, DivergedError, first_line
from fashion_core.files import RETRY_SECONDS, describe_full, is_full
from fashion_core.hardware.allocator import give_back_memory
from fashion_core.hardware.usage import UsageMeter
from fashion_core.models.saved import save_model
from fashion_core.training.checkpoint import save_training
from search.jobs.beats import BETWEEN, WAITING, Pulse
from search.jobs.nodes import find_misfit, leave_out
from search.jobs.training import SAVE_INTERVAL_S, describe_error
from search.records.events import TrialStatus
from search.records.ledger import pack_correct
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
    SCORE,
    STATUS,
    WORST_SCORE,
)
from search.tune.storage import CORRECT_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from fashion_core.training.loop import EpochResult
    from search.jobs.training import JobSite
    from search.tune.storage import TrialStore

SAVING = "saving its state"


@dataclass
class Pending:
    """A result that is not reported yet.

    Attributes:
        is_saved: whether a state is saved before.
        can_resume: whether the trial can go on from that, or its best model alone is kept.
    """

    result: dict[str, Any]
    is_saved: bool
    can_resume: bool = True


class TrialTrainable(Trainable):
    """One trial, or what is left of it until its next pause: an epoch a step. Its configuration is what
    `Watch.hand_out` gives.

    Attributes:
        site: what all trials of the search share; a class of its own for each search has these, see `bind`.
        store: where states are saved.
        rungs: epochs after which a trial may be stopped: its model is saved by then.
        target: the score that ends the search: so is the model that has it; None: none does.
        collector, timeout_s: see `search.jobs.beats.Pulse`.
        libraries: versions on the machine that searches, which a node of a cluster must have too, also one that joined
            while the search ran; None: there is no other machine.
    """

    site: ClassVar[JobSite]
    store: ClassVar[TrialStore]
    rungs: ClassVar[Collection[int]]
    target: ClassVar[float | None]
    collector: ClassVar[str | None] = None
    timeout_s: ClassVar[float] = math.inf
    libraries: ClassVar[Mapping[str, str] | None] = None

    def setup(self, config: dict[str, Any]) -> None:
        """Begin a trial in a fresh process."""
        self.pulse = Pulse(self.collector, self.timeout_s)
        gc.freeze()  # what the libraries made on import stays: else every trial's end looks through it for 0.2 s
        self.begin()
        self.meter = UsageMeter(self.site.gpus)
        self.misfit = None if self.libraries is None else find_misfit(self.libraries)
        self.pulse.begin(config["number"])

    def begin(self) -> None:
        """Nothing is known of the trial yet."""
        self.results: Iterator[EpochResult] | None = None
        self.last: EpochResult | None = None
        self.correct = ""  # of the best epoch so far, packed
        self.lost: list[str] = []  # what could not be saved or read, in words
        self.saved = 0.0  # when, in seconds
        self.pending: Pending | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin a trial in a process that has run others."""
        self.cleanup()
        self.meter.restart()
        self.pulse.begin(new_config["number"])
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch, save what must be, and report it: see `search.tune.results`.

        Where a disk is full, report that instead. The next step then does what is left.
        """
        try:
            if self.pending is None:
                self.pending = self.train_epoch()
            result = self.pending.result
            if self.pending.is_saved:
                result |= self.save_state(result[EPOCH], can_resume=self.pending.can_resume)
        except OSError as error:
            return self.wait(error)
        finally:
            self.pulse.step(BETWEEN, 0, 0)
        self.pending = None
        result |= self.tell_lost()
        if ERROR in result:
            self.cleanup()
        return result

    def wait(self, error: OSError) -> dict[str, Any]:
        """Wait a moment for room on a full disk. Gives the result that says so."""
        self.pulse.step(WAITING, 0, 0)
        time.sleep(RETRY_SECONDS)
        last = self.last
        score, epoch = (WORST_SCORE, 0) if last is None else (read_best(last), last.epoch)
        told = {FULL: describe_full(self.store.find_full(), error)}
        return {SCORE: score, EPOCH: epoch, STATUS: str(TrialStatus.RUNNING), METRICS: "{}", "done": False} | told

    def train_epoch(self) -> Pending:
        """Train an epoch. Gives what to report of it.

        Raises:
            OSError: a disk is full.
        """
        if self.misfit is not None:
            return self.leave(self.misfit)
        try:
            is_first = self.results is None
            if self.results is None:
                self.results = self.open_results()
            self.last = next(self.results)
        except DivergedError as error:
            return self.give_up(TrialStatus.DIVERGED, str(error))
        except Exception as error:  # a trial that fails costs that trial and nothing else
            if self.results is None and isinstance(error, OSError) and is_full(error):
                raise
            return self.give_up(TrialStatus.FAILED, describe_error(error))
        last, epochs = self.last, self.last.state.config.epochs
        best, done = last.state.best, last.epoch >= self.config["until"]
        if is_best := best.epoch == last.epoch:
            self.correct = pack_correct(last.correct)
        result = {
            SCORE: read_best(last),
            EPOCH: last.epoch,
            STATUS: str(TrialStatus.FINISHED if last.epoch >= epochs else TrialStatus.RUNNING),
            METRICS: json.dumps(last.metrics | self.meter.read()),
            "done": done,
        }
        if (is_best or is_first) and self.correct:
            result[CORRECT] = self.correct
        is_good_enough = self.target is not None and read_best(last) >= self.target
        is_due = last.epoch in self.rungs or time.monotonic() - self.saved >= SAVE_INTERVAL_S
        is_due = is_due or self.pulse.is_leaving
        return Pending(result, is_saved=done or is_good_enough or is_due)

    def open_results(self) -> Iterator[EpochResult]:
        """Begin the training, or go on with it from the newest state that is whole."""
        self.saved = time.monotonic()
        job = self.site.build_job(build_config(self.config["values"]), self.pulse.step)
        usable = [epoch for epoch, _ in self.config["saves"]]
        for epoch, digests in self.config["saves"]:
            with tempfile.TemporaryDirectory(prefix="trial-") as name:
                folder = Path(name)
                fault = self.store.fetch(self.config["number"], epoch, digests, folder)
                if fault is None:
                    try:
                        results = job.run(folder, self.pulse.step)
                        self.last = first = next(results)
                    except CheckpointError as error:  # of another version, or of other data
                        fault = first_line(error)
                    else:
                        found = folder / CORRECT_FILE
                        self.correct = found.read_text() if found.is_file() else ""
                        self.forget_unusable(usable)
                        return chain((first,), results)
            usable.remove(epoch)
            self.lost.append(f"the state after epoch {epoch} could not be used: {fault}")
        self.forget_unusable(usable)
        return job.run(progress=self.pulse.step)

    def forget_unusable(self, usable: Collection[int]) -> None:
        """Delete states that are damaged, or that the ledger does not name: newer than new ones, they would stay."""
        if self.config["begun"]:
            with suppress(OSError):  # the storage is away: the training goes on without
                self.store.keep_only(self.config["number"], usable)

    def save_state(self, epoch: int, *, can_resume: bool = True) -> dict[str, str]:
        """Save what the trial can go on from, or its best model alone after its end. Gives what to report of it.

        Raises:
            OSError: a disk is full.
        """
        self.pulse.step(SAVING, 0, 0)
        self.saved = time.monotonic()
        digests: dict[str, str] = {}
        try:
            with self.store.save(self.config["number"], epoch, digests) as folder:
                self.write_state(folder, can_resume=can_resume)
                if self.correct:
                    (folder / CORRECT_FILE).write_text(self.correct)
        except OSError as error:  # the storage is away: the trial goes on without
            if is_full(error):
                raise
            self.lost.append(f"its state after epoch {epoch} could not be saved: {first_line(error)}")
            return {}
        return {SAVED: json.dumps(digests)}

    def write_state(self, folder: Path, *, can_resume: bool) -> None:
        """Write the files of a state."""
        assert self.last is not None
        state = self.last.state
        if can_resume and state.epoch < state.config.epochs:
            save_training(folder, state)
        else:
            save_model(folder, state.best, state.config, state.schema, state.data_fingerprint)

    def give_up(self, status: TrialStatus, error: str) -> Pending:
        """The last result of a trial that cannot go on. The best model so far of one that failed stays."""
        last = self.last
        result = {SCORE: WORST_SCORE, EPOCH: 0 if last is None else last.epoch, STATUS: str(status), METRICS: "{}"}
        is_saved = last is not None and status == TrialStatus.FAILED
        return Pending(result | {ERROR: error, "done": True}, is_saved=is_saved, can_resume=False)

    def leave(self, misfit: str) -> Pending:
        """The result of a trial that cannot train on this node, and goes elsewhere. misfit: why, in words."""
        result = {SCORE: WORST_SCORE, EPOCH: 0, STATUS: str(TrialStatus.RUNNING), METRICS: "{}", "done": True}
        told = {MISFIT: misfit, NODE: ray.get_runtime_context().get_node_id()}
        return Pending(result | told, is_saved=False)

    def tell_lost(self) -> dict[str, str]:
        """What was lost since the last result."""
        lost, self.lost = self.lost, []
        return {LOST: "; ".join(lost)} if lost else {}

    def cleanup(self) -> None:
        """Let go of the trial's network and its memory."""
        self.begin()
        gc.collect()
        give_back_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def build_request(cpus: float, gpus: float, config: Mapping[str, Any]) -> PlacementGroupFactory:
    """What Ray is to give a trial: cores, GPUs or a share of one, on a node that its configuration does not avoid."""
    avoided = config.get("avoided")
    selector = {"bundle_label_selector": [leave_out(avoided)]} if avoided else {}
    return PlacementGroupFactory([{"CPU": cpus, "GPU": gpus}], **selector)


def read_best(result: EpochResult) -> float:
    """The best score so far, of the objective."""
    return result.state.best.metrics[result.state.config.objective]


def bind(
    trainable: type[TrialTrainable],
    site: JobSite,
    store: TrialStore,
    rungs: Collection[int],
    target: float | None = None,
    *,
    name: str | None = None,
    **beats: Any,
) -> type[TrialTrainable]:
    """The trainable of one search: a class, which Ray sends to the workers with these in it.

    Args:
        name: of the class; default: the same.
        beats: `collector`, `timeout_s` and `libraries`.
    """
    shared = {"site": site, "store": store, "rungs": frozenset(rungs), "target": target}
    return type(name or trainable.__name__, (trainable,), shared | beats)
