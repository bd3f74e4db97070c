"""The studies of the report, trained again with seeds: what it claims, what comes out here, and a verdict on each."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.reproduction.options import ReproductionOptions
    from search.reproduction.running import reproduce
    from search.reproduction.studies import build_studies
    from search.reproduction.verdicts import Finding, Verdict

__all__ = ["Finding", "ReproductionOptions", "Verdict", "build_studies", "reproduce"]
__getattr__ = attach(
    __name__,
    {
        "options": ["ReproductionOptions"],
        "running": ["reproduce"],
        "studies": ["build_studies"],
        "verdicts": ["Finding", "Verdict"],
    },
)
