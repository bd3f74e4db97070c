"""A search space: a YAML file -> what Optuna draws -> a `TrainConfig`; and the one rule of rungs."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.space.reading import load_space, parse_space
    from search.space.rungs import Scheduler, compute_cutoff, list_rungs
    from search.space.space import Parameter, Space

__all__ = ["Parameter", "Scheduler", "Space", "compute_cutoff", "list_rungs", "load_space", "parse_space"]
__getattr__ = attach(
    __name__,
    {
        "reading": ["load_space", "parse_space"],
        "rungs": ["Scheduler", "compute_cutoff", "list_rungs"],
        "space": ["Parameter", "Space"],
    },
)
