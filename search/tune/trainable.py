"""The Ray trainable around a training job: the only place that reports to Tune.

Nothing can fail between two trials, so the process stays warm for the next one: what goes wrong goes wrong in `step`,
and is a result (`status`, `error`, the worst score), not an exception.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from ray.tune import Trainable
from ray.tune.result import SHOULD_CHECKPOINT

from fashion_core import metrics
from fashion_core.config import TrainConfig, build_config
from fashion_core.errors import DivergedError
from fashion_core.files import MODEL_FILE, TRAINING_FILE
from fashion_core.models.saved import Best, save_model
from fashion_core.training.checkpoint import save_training
from search.jobs.training import SAVE_INTERVAL_S, describe_error
from search.records.events import TrialStatus
from search.records.ledger import pack_correct
from search.tune.results import CORRECT, ERROR, METRICS, SCORE, STATUS, WORST_SCORE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fashion_core.data.schema import AttributeSchema
    from fashion_core.training.loop import EpochResult
    from search.jobs.training import JobSite


class TrialTrainable(Trainable):
    """One trial: an epoch a step. Its configuration is {number, enqueued, params, values}.

    Attributes:
        site: what all trials of the search share; a class of its own for each search has it, see `bind`.
    """

    site: ClassVar[JobSite]

    def setup(self, config: dict[str, Any]) -> None:
        """Begin a trial in a fresh process."""
        gc.freeze()  # what the libraries made on import stays: else every trial's end looks through it for 0.2 s
        self.results: Iterator[EpochResult] | None = None
        self.last: EpochResult | None = None
        self.lost: tuple[Best, TrainConfig, AttributeSchema, str] | None = None
        self.resume: Path | None = None
        self.saved = 0.0  # when, in seconds

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin a trial in a process that has run others."""
        self.cleanup()
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch, and report it: see `search.tune.results`."""
        try:
            if self.results is None:
                self.saved = time.monotonic()
                job = self.site.build_job(build_config(self.config["values"]))
                self.results = job.run(self.resume)
            self.last = next(self.results)
        except DivergedError as error:
            return self.give_up(TrialStatus.DIVERGED, str(error))
        except Exception as error:  # a trial that fails costs that trial and nothing else
            return self.give_up(TrialStatus.FAILED, describe_error(error))
        finally:
            self.forget_resume()
        epochs = self.last.state.config.epochs
        best, done = self.last.state.best, self.last.epoch >= epochs
        result = {
            SCORE: best.metrics[metrics.ACCURACY],
            STATUS: str(TrialStatus.FINISHED if done else TrialStatus.RUNNING),
            METRICS: json.dumps(self.last.metrics),
            "done": done,
            SHOULD_CHECKPOINT: time.monotonic() - self.saved >= SAVE_INTERVAL_S,
        }
        return result | ({CORRECT: pack_correct(self.last.correct)} if best.epoch == self.last.epoch else {})

    def give_up(self, status: TrialStatus, error: str) -> dict[str, Any]:
        """The last result of a trial that cannot go on. Its best model so far stays, to be saved with this result."""
        last = self.last
        self.cleanup()
        if last is not None and status == TrialStatus.FAILED:
            self.lost = (last.state.best, last.state.config, last.state.schema, last.state.data_fingerprint)
        return {SCORE: WORST_SCORE, STATUS: str(status), METRICS: "{}", ERROR: error, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write what the trial can go on from; after its end, its best model alone."""
        self.saved = time.monotonic()
        if self.last is None:
            if self.lost is not None:
                save_model(Path(checkpoint_dir), *self.lost)
            return
        state = self.last.state
        if state.epoch < state.config.epochs:
            save_training(Path(checkpoint_dir), state)
        else:
            save_model(Path(checkpoint_dir), state.best, state.config, state.schema, state.data_fingerprint)

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        """Go on from what `save_checkpoint` wrote, with the next step."""
        self.cleanup()
        folder = Path(str(checkpoint))
        if (folder / TRAINING_FILE).is_file():  # copied: the folder may be gone before the next step reads it
            self.resume = Path(tempfile.mkdtemp(prefix="trial-"))
            for name in (MODEL_FILE, TRAINING_FILE):
                shutil.copy(folder / name, self.resume / name)

    def restore(self, checkpoint_path: Any) -> None:
        """As Ray's; where the checkpoint was deleted after Ray's last snapshot, the same training from its start."""
        try:
            super().restore(checkpoint_path)
        except (ValueError, OSError):
            self.cleanup()
            self._iteration = 0

    def cleanup(self) -> None:
        """Let go of the trial's network and its memory."""
        self.results = self.last = self.lost = None
        self.forget_resume()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def forget_resume(self) -> None:
        """Delete the copy of the state that the trial went on from."""
        if self.resume is not None:
            shutil.rmtree(self.resume, ignore_errors=True)
            self.resume = None


def bind(trainable: type[TrialTrainable], site: JobSite) -> type[TrialTrainable]:
    """The trainable of one search: a class of the same name, which Ray sends to the workers with the site in it."""
    return type(trainable.__name__, (trainable,), {"site": site})
