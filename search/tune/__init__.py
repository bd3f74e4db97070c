"""Ray Tune's side of a search, on its public classes alone. What the ledger tells decides what runs next."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.tune.decisions import Rungs
    from search.tune.study import Study
    from search.tune.trainable import TrialTrainable
    from search.tune.tuner import run_trials

__all__ = [
    "Rungs",
    "Study",
    "TrialTrainable",
    "run_trials",
]
__getattr__ = attach(
    __name__,
    {
        "decisions": ["Rungs"],
        "study": ["Study"],
        "trainable": ["TrialTrainable"],
        "tuner": ["run_trials"],
    },
)
