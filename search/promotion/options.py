"""What a person asks of a promotion, as typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from search.registry.facts import FitOn
from search.registry.versions import DEFAULT_MODEL


class PromotionOptions(BaseModel):
    """What a person asks of a promotion. `top`, `seeds` and `baseline` cannot change once it has begun."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: int = Field(4, ge=1)
    seeds: int = Field(3, ge=1)
    baseline: str = "report"
    fit_on: FitOn = "train"
    budget_hours: float | None = Field(None, gt=0)
    max_ms: float | None = Field(None, gt=0)
    max_params: float | None = Field(None, gt=0)
    force: bool = False

    def build_key(self, promotion_id: str) -> str:
        """Names what comes of a promotion: by it, and by the options that may change while it goes on."""
        values = self.model_dump(exclude={"force", *LASTING})
        return " ".join([promotion_id, *(f"{name}={value}" for name, value in values.items() if value is not None)])


LASTING = ("top", "seeds", "baseline")


@dataclass(frozen=True)
class Workplace:
    """Where a promotion runs, and what it works with; None: as the search did, or chosen from what there is.

    Attributes:
        model: name of the registered model.
        address: of a Ray cluster; None: this machine.
    """

    data: Path | None = None
    cache_dir: Path | None = None
    tracking_uri: str | None = None
    model: str = DEFAULT_MODEL
    address: str | None = None
    concurrent: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
