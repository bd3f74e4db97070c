"""What Ray Tune is to run next, on its public base: see `search.tune.watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.tune.search import Searcher

from search.tune.results import SCORE
from search.tune.watch import find_watch

if TYPE_CHECKING:
    from search.tune.watch import Watch


class LedgerSearcher(Searcher):
    """Hands out the trials of a search as its ledger tells them.

    Args:
        search_id: names the search, see `find_watch`.
    """

    def __init__(self, search_id: str) -> None:
        super().__init__(metric=SCORE, mode="max")
        self.search_id = search_id

    @property
    def watch(self) -> Watch:
        """The search."""
        return find_watch(self.search_id)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial; None while others run that may have to go on; `FINISHED` after the last."""
        work = self.watch.hand_out(trial_id)
        if work is None and self.watch.is_over:
            finished: str = self.FINISHED
            return finished
        return work

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """No process has it any more."""
        self.watch.running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all that counts stands in the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""
