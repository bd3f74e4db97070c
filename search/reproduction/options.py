"""What a person asks of a reproduction, as typed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from search.planning.options import MAX_AT_ONCE, MAX_CORES, Gpus, check_path
from search.reproduction.levers import LEVERS, SPACE
from search.reproduction.studies import StudyName

STUDIES: tuple[StudyName, ...] = get_args(StudyName)  # of the report
ALL = "all"  # of these
REPORT_SPACE = "report_lite"
MAX_SEEDS = 100
DEFAULT_FOLDER = Path("results/reproduction")


class ReproductionOptions(BaseModel):
    """What is trained, of what, and where it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path | None = Field(
        default=None,
        description="Folder of the data set; left out, nothing is trained, and the report is written of what there is.",
    )
    space: str | None = Field(
        default=None,
        description="The protocol: a space with three backbones, such as report_table2, the report's own; default: "
        f"{REPORT_SPACE}, and {SPACE} for {LEVERS}, whose space may have one.",
    )
    on: str | None = Field(
        default=None, description="Backbone of the studies of one factor; default: the space's first."
    )
    seeds: int = Field(
        default=3,
        ge=1,
        le=MAX_SEEDS,
        description="How often each configuration is trained, from a new start each time.",
    )
    results: Path = Field(
        default=DEFAULT_FOLDER,
        description=f"Folder of the report, and of the searches that train for it; of {LEVERS}: a folder in it.",
    )
    cache_dir: Path | None = Field(
        default=None, description="Where prepared images are kept; default: .prepared under the results."
    )
    concurrent: int | None = Field(
        default=None, ge=1, le=MAX_AT_ONCE, description="Trainings at once; default: as many as the resources allow."
    )
    cpus_per_trial: int | None = Field(
        default=None,
        ge=1,
        le=MAX_CORES,
        description="CPU cores of one training; default: all, shared evenly.",
    )
    gpus_per_trial: Gpus | None = Field(
        default=None,
        description="GPUs of one training; 0.5 puts two on one, auto as many as fit; default: 1 where there is one.",
    )
    allow_changed: Literal["code"] | None = Field(
        default=None, description="Go on though the code, or a library, is not that which a study began with."
    )

    def settle(self, study: str) -> ReproductionOptions:
        """The same with the space and the folder of a study, or of `ALL`."""
        if study == LEVERS:
            return self.model_copy(update={"space": self.space or SPACE, "results": self.results / LEVERS})
        return self.model_copy(update={"space": self.space or REPORT_SPACE})

    _paths = field_validator("data", "cache_dir", "results")(check_path)
