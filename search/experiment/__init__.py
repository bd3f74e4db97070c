"""One search, from its options to its report."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.experiment.replay import replay_trial
    from search.experiment.search import launch

__all__ = ["launch", "replay_trial"]
__getattr__ = attach(__name__, {"search": ["launch"], "replay": ["replay_trial"]})
