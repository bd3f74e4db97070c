"""What a person asks of a promotion, as typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from search.cli import DEFAULT_RESULTS
from search.registry.versions import DEFAULT_MODEL

if TYPE_CHECKING:
    from pathlib import Path

FitOn = Literal["train", "train+val"]
LASTING = ("top", "seeds", "baseline")


class PromotionOptions(BaseModel):
    """What a person asks of a promotion. `top`, `seeds` and `baseline` cannot change once it has begun.

    Attributes:
        top: how many of the best trials are trained again.
        seeds: how often each is trained, with fresh seeds.
        baseline: what they must beat where there is no champion: `report`, `none`, or a YAML file of training fields.
        fit_on: what ships was trained on: train, or once more on train and val together.
        budget_hours: for the re-runs; None for as long as they take.
        max_ms, max_params: what the model may cost: milliseconds an image, and parameters.
        force: make it the champion whatever the gate says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: int = Field(default=4, ge=1)
    seeds: int = Field(default=3, ge=1)
    baseline: str = "report"
    fit_on: FitOn = "train"
    budget_hours: float | None = Field(default=None, gt=0)
    max_ms: float | None = Field(default=None, gt=0)
    max_params: float | None = Field(default=None, gt=0)
    force: bool = False

    @property
    def is_recipe(self) -> bool:
        """Whether what ships is trained once more, so that its recipe is judged and not the network itself."""
        return self.fit_on == "train+val"

    def build_key(self, promotion_id: str) -> str:
        """Names what comes of a promotion: by it, and by the options that may change while it goes on."""
        values = self.model_dump(exclude={"force", *LASTING})
        return " ".join([promotion_id, *(f"{name}={value}" for name, value in values.items() if value is not None)])


@dataclass(frozen=True)
class Workplace:
    """Where a promotion runs, and what it works with; None: as the search did, or chosen from what there is.

    Attributes:
        results: folder of all searches.
        model: name of the registered model.
        address: of a Ray cluster; None: this machine.
    """

    results: Path = DEFAULT_RESULTS
    data: Path | None = None
    cache_dir: Path | None = None
    tracking_uri: str | None = None
    model: str = DEFAULT_MODEL
    address: str | None = None
    concurrent: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
