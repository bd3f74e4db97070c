"""What happens to trials, as Ray Tune tells it: see `search.tune.watch`, where it is written down."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback

from search.tune.watch import find_watch

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from search.tune.watch import Watch


class Recorder(Callback):
    """Passes on every trial's start, results and end.

    Args:
        search_id: names the search, see `find_watch`.
    """

    def __init__(self, search_id: str) -> None:
        self.search_id = search_id

    @property
    def watch(self) -> Watch:
        """The search."""
        return find_watch(self.search_id)

    def setup(self, *_: Any, **__: Any) -> None:
        """Tune begins."""
        self.watch.liveness.open()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """About every 0.1 s, with results and without."""
        self.watch.look()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or goes on."""
        self.watch.start(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch ended. The scheduler was told before, but for a trial's last result."""
        self.watch.take_result(trial, result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ended, in whatever way but the death of its process."""
        self.watch.complete(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's process died."""
        self.watch.bury(trial, describe_death(trial))


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
