"""What was decided, told to Ray Tune on its public base: see `search.tune.watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.tune.watch import find_watch

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

# Ray's words for what becomes of a trial
STOP: str = TrialScheduler.STOP
CONTINUE: str = TrialScheduler.CONTINUE


class LedgerScheduler(FIFOScheduler):
    """Tells Ray Tune what was decided: see `search.tune.watch`.

    Args:
        search_id: names the search, see `find_watch`.
    """

    def __init__(self, search_id: str) -> None:
        super().__init__()
        self.search_id = search_id

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Write the epoch down, then decide."""
        is_over = find_watch(self.search_id).take_result(trial, result)
        return STOP if is_over else CONTINUE
