"""Promoted models: the folder that ships with its card, versions and champion in MLflow, a name made into a model,
and whether one is better than another.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.registry.comparing import compare_subjects
    from search.registry.resolve import find_model
    from search.registry.shipped import ship
    from search.registry.versions import Registry, Version, default_registry

__all__ = ["Registry", "Version", "compare_subjects", "default_registry", "find_model", "ship"]
__getattr__ = attach(
    __name__,
    {
        "comparing": ["compare_subjects"],
        "resolve": ["find_model"],
        "shipped": ["ship"],
        "versions": ["Registry", "Version", "default_registry"],
    },
)
