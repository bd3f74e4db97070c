"""What another process asks of a search, told to Ray Tune on its public base: see `search.records.requests`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ray.tune import Stopper

from search.tune.watch import find_watch

if TYPE_CHECKING:
    from search.tune.watch import Watch

LOOK_INTERVAL_S = 1.0  # between two looks for a request


class RequestStopper(Stopper):
    """Looks for a request about every second, and ends all trials at once where that is asked.

    Args:
        search_id: names the search, see `find_watch`.
    """

    def __init__(self, search_id: str) -> None:
        self.search_id = search_id
        self.looked = 0.0  # when, in seconds

    @property
    def watch(self) -> Watch:
        """The search."""
        return find_watch(self.search_id)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: the scheduler ends single trials."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials are to end now. Tune asks several times a second."""
        if time.monotonic() - self.looked >= LOOK_INTERVAL_S:
            self.looked = time.monotonic()
            self.watch.look_for_request()
        return self.watch.ends_now
