"""Promoted models in MLflow: versions and the champion, a name made into a model, and whether one is better than
another.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.registry.comparing import Comparison, compare
    from search.registry.models import Model, find_model, open_model
    from search.registry.sources import find_sources
    from search.registry.versions import Registry, Version, default_registry, rollback

__all__ = [
    "Comparison",
    "Model",
    "Registry",
    "Version",
    "compare",
    "default_registry",
    "find_model",
    "find_sources",
    "open_model",
    "rollback",
]
__getattr__ = attach(
    __name__,
    {
        "comparing": ["Comparison", "compare"],
        "models": ["Model", "find_model", "open_model"],
        "sources": ["find_sources"],
        "versions": ["Registry", "Version", "default_registry", "rollback"],
    },
)
