"""What a person asks of a promotion, as typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from fashion_core.data.reading import split_names
from fashion_core.escaping import show_value
from fashion_core.models.cost import MAX_MS, MAX_PARAMS
from search.address import Address
from search.cli import DEFAULT_RESULTS
from search.planning.options import (
    ALLOW_OPEN,
    MAX_AT_ONCE,
    MAX_CORES,
    MAX_TRIALS,
    TRIAL_TIMEOUT,
    Duration,
    Gpus,
    check_open,
    leave_out_local,
)

FitOn = Literal["train", "train+val"]
SINGLE, ENSEMBLE, SOUP = FORMS = ("single", "ensemble", "soup")
BEST = "best"  # of forms: that ships, whatever it costs
REPORT, OWN, NO_BASELINE = "report", "own", "none"  # of baselines, if no file
MAX_SEEDS, MAX_HOURS = 1_000, 87_600
LASTING = ("top", "seeds", "baseline")


def check_forms(text: str) -> str:
    """The same, in the order of `FORMS`; `best` alone is that of the default ones. Raises ValueError where it names
    something else, or leaves out `single`.
    """
    names = split_names(text) or ()
    if unknown := sorted(set(names) - {*FORMS, BEST}):
        raise ValueError(f"must be of {', '.join((*FORMS, BEST))}, but got {show_value(unknown[0])}")
    if names == (BEST,):
        names = (SINGLE, ENSEMBLE, BEST)
    if SINGLE not in names:
        raise ValueError(f"must name {SINGLE}, which the other forms are compared with, but got {show_value(text)}")
    return ",".join(name for name in (*FORMS, BEST) if name in names)


class PromotionOptions(BaseModel):
    """What a person asks of a promotion. `top`, `seeds` and `baseline` cannot change once it has begun."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: int = Field(default=4, ge=1, le=MAX_TRIALS, description="How many of the best trials are trained again.")
    seeds: int = Field(
        default=3,
        ge=1,
        le=MAX_SEEDS,
        description="How often each is trained, with fresh seeds; 1 says nothing of luck.",
    )
    baseline: str = Field(
        default=REPORT,
        description="What they must beat where there is no champion: `report` (its loss and optimizer on the best "
        "trial's backbone, images and epochs), `own` (the report's in its own protocol, 29 epochs at 224 px, as far as "
        "that runs here), a YAML file of training fields, or `none`.",
    )
    fit_on: FitOn = Field(
        default="train",
        description="Ship the best network of the re-runs, or train once more on train and val together.",
    )
    budget_hours: float | None = Field(
        default=None,
        gt=0,
        le=MAX_HOURS,
        allow_inf_nan=False,
        description="Hours for the re-runs: clear losers are dropped to keep to them.",
    )
    drop_error: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Train in rounds, a seed each, and drop on the way who is surely worse than the best so far; the "
        "truly best is dropped with this probability at most, like 0.05. Default: all are trained with every seed.",
    )
    max_ms: float | None = Field(
        default=None,
        gt=0,
        le=MAX_MS,
        allow_inf_nan=False,
        description="Milliseconds an image that the model may take here.",
    )
    max_params: float | None = Field(
        default=None,
        gt=0,
        le=MAX_PARAMS,
        allow_inf_nan=False,
        description="Parameters that the model may have, like 5e6.",
    )
    forms: Annotated[str, AfterValidator(check_forms)] = Field(
        default=f"{SINGLE},{ENSEMBLE}",
        description="What may ship: `single`, `ensemble`, and `soup`, for which each candidate is trained as often "
        "again, from one start. The cheapest that is not told apart from the best does; with `best`, the best one.",
    )
    judge_on: Path | None = Field(
        default=None,
        description="Another data set of the same categories, whose labelled images judge in place of val: fresh ones.",
    )
    force: bool = Field(default=False, description="Make it the champion whatever the gate says; a tag records it.")

    @model_validator(mode="after")
    def check_fresh(self) -> PromotionOptions:
        """Images that judge are no images to train on, where they were named for that alone."""
        if self.judge_on is not None and self.is_recipe:
            raise ValueError("--judge-on must go with --fit-on train, since its images judge, but got train+val")
        return self

    @model_validator(mode="after")
    def check_rounds(self) -> PromotionOptions:
        """Before two seeds nothing tells how seeds vary, and after the last there is nothing to save."""
        if self.drop_error is None:
            return self
        from search.statistics.rounds import LEAST_SEEDS  # scipy takes a third of a second: not for --help

        if self.seeds <= LEAST_SEEDS:
            raise ValueError(
                f"--drop-error must go with --seeds {LEAST_SEEDS + 1} or more, since nothing is dropped before "
                f"{LEAST_SEEDS} seeds each, but got --seeds {self.seeds}"
            )
        return self

    @property
    def is_recipe(self) -> bool:
        """Whether what ships is trained once more, so that its recipe is judged and not the network itself."""
        return self.fit_on == "train+val"

    @property
    def is_fresh(self) -> bool:
        """Whether other images than those of the search's data set judge."""
        return self.judge_on is not None

    @property
    def has_soup(self) -> bool:
        """Whether averages of weights may ship."""
        return SOUP in self.forms.split(",")

    @property
    def takes_best(self) -> bool:
        """Whether the best form ships, whatever it costs."""
        return BEST in self.forms.split(",")

    @property
    def has_ensemble(self) -> bool:
        """Whether ensembles may ship."""
        return ENSEMBLE in self.forms.split(",")

    def build_key(self, promotion_id: str) -> str:
        """Names what comes of a promotion: by it, and by the options that may change while it goes on."""
        values = self.model_dump(exclude={"force", *LASTING})
        return " ".join([promotion_id, *(f"{name}={value}" for name, value in values.items() if value is not None)])


class Workplace(BaseModel):
    """Where a promotion runs, and what it works with; None: as the search did, or chosen from what there is."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    results: Path = Field(default=DEFAULT_RESULTS, description="Folder that holds the folders of all searches.")
    storage: str | None = Field(
        default=None, description="The storage that holds the search, if these results know nothing of it."
    )
    data: Path | None = Field(default=None, description="The data set; default: that of the search.")
    cache_dir: Path | None = Field(
        default=None, description="Where prepared images are kept; default: as the search did."
    )
    tracking_uri: Address | None = Field(
        default=None, description="MLflow's tracking server or database, with its registry; default: the search's."
    )
    model: str | None = Field(
        default=None, description="Name of the registered model; default: that of the search's data set."
    )
    address: str | None = Field(default=None, description="Ray cluster to join; default: start Ray on this machine.")
    allow_open_cluster: bool | None = ALLOW_OPEN
    concurrent: int | None = Field(
        default=None, ge=1, le=MAX_AT_ONCE, description="Networks trained at once; default: what there is."
    )
    cpus_per_trial: int | None = Field(default=None, ge=1, le=MAX_CORES, description="CPU cores of one network.")
    gpus_per_trial: Gpus | None = Field(
        default=None,
        description="GPUs of one network; 0.5 puts two on one, auto as many as fit; default: 1 where there is one.",
    )

    trial_timeout_s: Duration | None = TRIAL_TIMEOUT

    _open = field_validator("storage", "address")(check_open)
    _local = field_validator("address")(leave_out_local)
