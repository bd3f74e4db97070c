"""Promoted models in MLflow: versions and the champion, a name made into a model, and whether one is better than
another.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.registry.champions import Term, list_champions
    from search.registry.comparing import Comparison, compare
    from search.registry.copying import copy_version
    from search.registry.models import Model, find_model, open_model
    from search.registry.sources import find_sources
    from search.registry.versions import Registry, Version, default_registry, rollback

__all__ = [
    "Comparison",
    "Model",
    "Registry",
    "Term",
    "Version",
    "compare",
    "copy_version",
    "default_registry",
    "find_model",
    "find_sources",
    "list_champions",
    "open_model",
    "rollback",
]
__getattr__ = attach(
    __name__,
    {
        "champions": ["Term", "list_champions"],
        "comparing": ["Comparison", "compare"],
        "copying": ["copy_version"],
        "models": ["Model", "find_model", "open_model"],
        "sources": ["find_sources"],
        "versions": ["Registry", "Version", "default_registry", "rollback"],
    },
)
