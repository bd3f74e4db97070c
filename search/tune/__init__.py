"""Ray Tune's side of a search: tuner, trainable, searcher, scheduler, callback. On Ray's public classes alone."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.tune.scheduler import ASHA
    from search.tune.searcher import TruthfulSearcher
    from search.tune.trainable import TrialTrainable
    from search.tune.tuner import run_trials

__all__ = [
    "ASHA",
    "TrialTrainable",
    "TruthfulSearcher",
    "run_trials",
]
__getattr__ = attach(
    __name__,
    {
        "scheduler": ["ASHA"],
        "searcher": ["TruthfulSearcher"],
        "trainable": ["TrialTrainable"],
        "tuner": ["run_trials"],
    },
)
