"""One search, from its options to its report, and what it found as an object."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.experiment.housekeeping import Glance, Removal, delete_search, glance_at, plan_removal
    from search.experiment.replay import replay_trial
    from search.experiment.result import SearchResult, load_search
    from search.experiment.search import plan_search, run_search

__all__ = [
    "Glance",
    "Removal",
    "SearchResult",
    "delete_search",
    "glance_at",
    "load_search",
    "plan_removal",
    "plan_search",
    "replay_trial",
    "run_search",
]
__getattr__ = attach(
    __name__,
    {
        "housekeeping": ["Glance", "Removal", "delete_search", "glance_at", "plan_removal"],
        "replay": ["replay_trial"],
        "result": ["SearchResult", "load_search"],
        "search": ["plan_search", "run_search"],
    },
)
