"""The Ray trainable around `fit`: the only place that reports to Tune.

Nothing can fail between two trials, so the process stays warm for the next one: what goes wrong goes wrong in `step`,
and is a result (`status`, `error`, the worst score), not an exception.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable
from ray.tune.result import SHOULD_CHECKPOINT

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import DivergedError
from fashion_core.files import MODEL_FILE, TRAINING_FILE
from fashion_core.models.saved import Best, save_model
from fashion_core.training.checkpoint import save_training
from fashion_core.training.loop import EpochResult
from search.jobs.job import SAVE_INTERVAL_S, Job, describe_error, fit_trial
from search.jobs.results import METRICS, SCORE
from search.records.ledger import CORRECT, pack_correct

WORST_SCORE = 0.0


class TrialTrainable(Trainable):
    """One trial: an epoch a step. Its configuration is {number, enqueued, params, values, job}."""

    def setup(self, config: dict[str, Any]) -> None:
        gc.freeze()  # what the libraries made on import stays: else every trial's end looks through it for 0.2 s
        self.results: Iterator[EpochResult] | None = None
        self.last: EpochResult | None = None
        self.lost: tuple[Best, TrainConfig, AttributeSchema, str] | None = None
        self.resume: Path | None = None
        self.saved = 0.0  # when, in seconds

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        return True

    def step(self) -> dict[str, Any]:
        try:
            if self.results is None:
                job, self.saved = Job(**self.config["job"]), time.monotonic()
                self.results = fit_trial(job, self.config["number"], self.config["values"], resume=self.resume)
            self.last = next(self.results)
        except DivergedError as error:
            return self.give_up("diverged", str(error))
        except Exception as error:  # a trial that fails costs that trial and nothing else
            return self.give_up("failed", describe_error(error))
        finally:
            self.forget_resume()
        epochs = self.last.state.config.epochs
        best, done = self.last.state.best, self.last.epoch >= epochs
        result = {
            SCORE: best.metrics[metrics.ACCURACY],
            "status": "finished" if done else "running",
            METRICS: json.dumps(self.last.metrics),
            "done": done,
            SHOULD_CHECKPOINT: time.monotonic() - self.saved >= SAVE_INTERVAL_S,
        }
        return result | ({CORRECT: pack_correct(self.last.correct)} if best.epoch == self.last.epoch else {})

    def give_up(self, status: str, error: str) -> dict[str, Any]:
        """The last result of a trial that cannot go on. Its best model so far stays, to be saved with this result."""
        last = self.last
        self.cleanup()
        if last is not None and status == "failed":
            self.lost = (last.state.best, last.state.config, last.state.schema, last.state.data_fingerprint)
        return {SCORE: WORST_SCORE, "status": status, METRICS: "{}", "error": error, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.saved = time.monotonic()
        if self.last is None:
            if self.lost is not None:
                save_model(Path(checkpoint_dir), *self.lost)
            return
        state = self.last.state
        if state.epoch < state.config.epochs:
            save_training(Path(checkpoint_dir), state)
        else:  # nothing to go on with: the best model alone
            save_model(Path(checkpoint_dir), state.best, state.config, state.schema, state.data_fingerprint)

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        self.cleanup()
        folder = Path(str(checkpoint))
        if (folder / TRAINING_FILE).is_file():  # copied: the folder may be gone before the next step reads it
            self.resume = Path(tempfile.mkdtemp(prefix="trial-"))
            for name in (MODEL_FILE, TRAINING_FILE):
                shutil.copy(folder / name, self.resume / name)

    def restore(self, checkpoint_path: Any) -> None:
        try:
            super().restore(checkpoint_path)
        except (ValueError, OSError):  # deleted after Ray's last snapshot: the same training, from its first epoch
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
        if self.resume is not None:
            shutil.rmtree(self.resume, ignore_errors=True)
            self.resume = None
