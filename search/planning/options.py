"""What a person asks of a search; kept beside the search so that it can go on. Stated here and nowhere else."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from fashion_core.command import share
from fashion_core.data.reading import BoxForm, Reading, split_names
from fashion_core.errors import SearchError
from fashion_core.escaping import show_value
from fashion_core.files import MAX_JSON_BYTES, build_damage, describe_faults, parse_json, read_plain, write_whole
from fashion_core.models.cost import MAX_MS, MAX_PARAMS, Cost
from search.address import Address
from search.planning.resources import AUTO
from search.records.layout import IMAGES, SearchLayout, unique_name
from search.records.limits import DEFAULT_PATIENCE, Limits
from search.space.architectures import build_limit

if TYPE_CHECKING:
    from search.space.space import Space

MAX_TRIALS, MAX_EPOCHS = 1_000_000, 10_000  # as a space may have
MAX_SECONDS = 3650 * 86400.0  # ten years
MAX_AMOUNT = 1e9  # GPU hours, and what they cost
MAX_CORES, MAX_GPUS, MAX_AT_ONCE = 4096, 1024, 10_000
MIN_GPU_SHARE = 0.001
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: Any) -> Any:
    """Seconds of `90s`, `45m`, `8h` or `2d`; what is no text, such as a number of seconds, stays as it is.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"must be a number with a unit, like 90s, 45m, 8h or 2d, but got {show_value(text)}")
    return float(match[1]) * SECONDS[match[2]]


def parse_share(text: Any) -> Any:
    """What `--skip-bad` was given; what is no text stays as it is.

    Raises:
        ValueError: it is no share.
    """
    return share(str(text)) if isinstance(text, (str, float)) else text


Share = Annotated[bool | float, BeforeValidator(parse_share)]


def parse_gpus(value: Any) -> float | str:
    """GPUs of one training; text is read as a number, but for `auto`.

    Raises:
        ValueError: it is neither, or Ray could not give so many to one process.
    """
    if value == AUTO:
        return AUTO
    try:
        count = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        count = -1.0
    if not 0 <= count <= MAX_GPUS or not (count == 0 or MIN_GPU_SHARE <= count <= 1 or count == int(count)):
        raise ValueError(
            f"must be {AUTO}, 0, a share from {MIN_GPU_SHARE:g} to 1, or a whole number up to {MAX_GPUS}, but got "
            f"{show_value(value)}"
        )
    return count


Gpus = Annotated[float | str, PlainValidator(parse_gpus)]


def check_price(cost: float | None, info: ValidationInfo) -> float | None:
    """The same. Raises ValueError where it is not known what a GPU hour costs."""
    if cost is not None and info.data.get("price_per_gpu_hour") is None:
        raise ValueError(f"must come with --price-per-gpu-hour, but got {cost:g} alone")
    return cost


def check_path(path: Path | None) -> Path | None:
    """The same. Raises ValueError where no system has such a path."""
    if path is not None and "\0" in str(path):
        raise ValueError("must be a path, but has a null character")
    return path


def check_open(address: str | None) -> str | None:
    """The same. Raises ValueError where it holds a password: workers, and Ray's files, would have it."""
    if address is not None and "://" in address and Address(address).has_secrets:
        raise ValueError(
            f"must hold no password or key, but got {Address(address)}; give them by the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return address


def leave_out_local(address: str | None) -> str | None:
    """The same; None for `local`, Ray's word for this machine."""
    return None if address == "local" else address


Duration = Annotated[float, BeforeValidator(parse_duration)]
TRIAL_TIMEOUT: Any = Field(
    default=None,
    gt=0,
    le=MAX_SECONDS,
    allow_inf_nan=False,
    description="End a training's process that takes no step for this time, such as 90s; it goes on from its last "
    "state, once; default: 5m.",
    json_schema_extra={"option": "--trial-timeout"},
)

ALLOW_OPEN: Any = Field(
    default=None,
    description="Join a Ray cluster that asks for no token: whoever reaches its ports runs code as you.",
    json_schema_extra={"option": "--allow-open-cluster"},
)


class SearchOptions(BaseModel):
    """What a person asks of a search; None means chosen from the space, the data or the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data: Path = Field(description="Folder of a data set, or its table (.csv, .parquet, .jsonl).")
    space: str = Field(description="Search space: a YAML file, or the name of a shipped one.")
    trials: int | None = Field(
        default=None, ge=1, le=MAX_TRIALS, description="Number of trials; default: the space's own."
    )
    max_epochs: int | None = Field(
        default=None, ge=1, le=MAX_EPOCHS, description="Epochs of a trial that is not stopped; default: the space's."
    )
    time_budget_s: Duration | None = Field(
        default=None,
        gt=0,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description="End the search after this time from the command's start, within an epoch: 90s, 45m, 8h, 2d.",
        json_schema_extra={"option": "--time-budget"},
    )
    budget_gpu_hours: float | None = Field(
        default=None,
        gt=0,
        le=MAX_AMOUNT,
        allow_inf_nan=False,
        description="End the search when its trials have had this many GPU hours, within an epoch.",
    )
    price_per_gpu_hour: float | None = Field(
        default=None,
        gt=0,
        le=MAX_AMOUNT,
        allow_inf_nan=False,
        description="What a GPU hour costs: the report says what was spent.",
    )
    budget_cost: float | None = Field(
        default=None,
        gt=0,
        le=MAX_AMOUNT,
        allow_inf_nan=False,
        description="End the search when its GPU hours have cost this much; with --price-per-gpu-hour.",
    )
    stop_after: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TRIALS,
        description="End the search after this many trials in a row without gain; "
        f"default with --without-gain: {DEFAULT_PATIENCE}.",
    )
    without_gain: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="By how much the best score must rise to be a gain; default with --stop-after: by anything.",
    )
    target: float | None = Field(
        default=None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="End the search when a trial has this score, such as 0.85.",
    )
    trial_timeout_s: Duration | None = TRIAL_TIMEOUT
    cpus_per_trial: int | None = Field(
        default=None, ge=1, le=MAX_CORES, description="CPU cores of one trial; default: what there is, shared evenly."
    )
    gpus_per_trial: Gpus | None = Field(
        default=None,
        description="GPUs of one trial; 0.5 puts two on one, auto as many as fit by a short measurement; default: 1 "
        "where there is one.",
    )
    concurrent: int | None = Field(
        default=None, ge=1, le=MAX_AT_ONCE, description="Trials at once; default: as many as the resources allow."
    )
    warm_start: str | None = Field(
        default=None,
        description="Other searches under the results, as A,B: the sampler learns from their trials; their best are "
        "tried first.",
    )
    enqueue: Path | None = Field(
        default=None,
        description="JSON file of configurations to try first: one, a list, or the best_config.json of a search.",
    )
    max_ms: float | None = Field(
        default=None,
        gt=0,
        le=MAX_MS,
        allow_inf_nan=False,
        description="Milliseconds an image that a trial's network may take here; what takes more is not trained; "
        "default: the space's.",
    )
    max_params: float | None = Field(
        default=None,
        ge=1,
        le=MAX_PARAMS,
        allow_inf_nan=False,
        description="Parameters that a trial's network may have, like 5e6; default: the space's.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of proposals, selection and training.")
    name: str | None = Field(
        default=None, description="Name of the search and its folder; default: the space's name and the time."
    )
    storage: str | None = Field(
        default=None,
        description="Where the search stands, so that any machine can go on with it: a folder all nodes share, "
        "s3://..., gs://...; default: in the search's folder.",
    )
    tracking_uri: Address | None = Field(
        default=None, description="MLflow's tracking server or database; default: SQLite under the results."
    )
    address: str | None = Field(
        default=None,
        description="Ray cluster to join (`auto` on one of its nodes); default, and `local`: Ray on this machine.",
    )
    allow_open_cluster: bool | None = ALLOW_OPEN
    select_on: Literal["val", "heldout"] = Field(
        default="val",
        description="Images that scores are compared on: val, or 15% held out of train, so that val stays unseen.",
    )
    skip_bad: Share | None = Field(
        default=None,
        description="Leave faulty rows out instead of stopping: up to 5% of all, or up to the share given (0.2).",
    )
    follow_links: bool = Field(default=False, description="Read images that are links out of the data set's folder.")
    attributes: Path | None = Field(
        default=None, description="YAML file that makes categories of the downloaded DeepFashion's attributes."
    )
    garments: bool = Field(
        default=False, description="Take the downloaded DeepFashion's kinds of garment as one more category."
    )
    boxes: BoxForm | None = Field(
        default=None, description="What a box's four numbers are; default: as the layout or a table's columns say."
    )
    categories: str | None = Field(
        default=None, description="A table's columns that are categories, as A,B; default: those that look like some."
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Where prepared images are kept, for all searches; default: .prepared under the results.",
    )
    results: Path = Field(default=Path("results"), description="Folder that holds the folders of all searches.")
    keep_best: int = Field(default=3, ge=1, le=MAX_TRIALS, description="How many of the best trials' models are kept.")

    _price = field_validator("budget_cost")(check_price)
    _open = field_validator("storage", "address")(check_open)
    _local = field_validator("address")(leave_out_local)
    _paths = field_validator("data", "cache_dir", "results", "enqueue")(check_path)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        write_whole(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> SearchOptions:
        """Read what `save` wrote.

        Raises:
            SearchError: it is something else.
        """
        try:
            content = read_plain(path, MAX_JSON_BYTES)
            parse_json(content)  # tells a key that stands twice
            return cls.model_validate_json(content, strict=True)
        except (OSError, ValueError) as error:
            reason = describe_faults(error) if isinstance(error, ValidationError) else error
            raise build_damage(
                path, "hold the options of a search", "restore it from a backup", SearchError, reason
            ) from None

    @property
    def limits(self) -> Limits:
        """When the search ends early."""
        patience = self.stop_after
        if patience is None and self.without_gain is not None:
            patience = DEFAULT_PATIENCE
        return Limits(
            seconds=self.time_budget_s,
            gpu_hours=self.budget_gpu_hours,
            cost=self.budget_cost,
            price_per_gpu_hour=self.price_per_gpu_hour,
            patience=patience,
            gain=self.without_gain or 0.0,
            target=self.target,
        )

    def find_limit(self, space: Space) -> Cost:
        """What the networks of trials may cost."""
        return build_limit(self.max_ms, self.max_params, space.limit)

    def build_reading(self, layout: SearchLayout) -> Reading:
        """How the data set is read. layout: of the search, beside which the splits of tables are kept."""
        return Reading(
            skip_bad=self.skip_bad or False,
            follow_links=self.follow_links,
            attributes=self.attributes,
            garments=self.garments,
            boxes=self.boxes,
            categories=split_names(self.categories),
            splits=layout.splits_folder,
        )

    def locate_experiment(self, layout: SearchLayout) -> str:
        """Where the states of trials are saved: a URI, what it says behind `?` at its end, or an absolute path."""
        if self.storage is None:
            return str(layout.states.resolve())
        place = self.locate_stored(layout.name)
        return str(layout.states.resolve()) if place == str(layout.folder.resolve()) else place

    def locate_stored(self, name: str) -> str:
        """What stands under a name on the storage, which is given: a URI, or an absolute path."""
        assert self.storage is not None
        if "://" in self.storage:
            place, mark, query = self.storage.partition("?")
            return f"{place.rstrip('/')}/{name}{mark}{query}"
        return str(Path(self.storage).expanduser().resolve() / name)

    @property
    def travels(self) -> str | None:
        """Where on the storage images stand for the nodes of a cluster; None where nodes open them where they are."""
        return None if self.address is None or self.storage is None else self.locate_stored(IMAGES)

    def build_layout(self) -> SearchLayout:
        """The paths of the search: of the name given, or of one made from the space and the time."""
        name = self.name or unique_name(self.results, Path(self.space).stem, time.time())
        return SearchLayout(self.results, name)


# What an extension of a search may be given: what ends it, and nothing that decides its results.
EXTENDED = (
    "time_budget_s", "budget_gpu_hours", "budget_cost", "price_per_gpu_hour", "target", "stop_after", "without_gain"
)  # fmt: skip
# What a search, or an extension of one, may be given anew where it goes on: where things are now, and what to run on.
MOVED = ("data", "cache_dir", "address", "allow_open_cluster", "concurrent", "cpus_per_trial", "gpus_per_trial")
MOVED_DATA: Any = (Path | None, Field(default=None, description="The same data set, where it is now."))
MORE_TRIALS: Any = (int | None, Field(default=None, ge=1, le=MAX_TRIALS, description="How many trials more."))
LIMITS: dict[str, Any] = {name: (field.annotation, field) for name, field in SearchOptions.model_fields.items()}
LONGER: Any = (
    int | None,
    Field(
        default=None,
        ge=1,
        le=MAX_EPOCHS,
        description="Epochs of a trial that is not stopped, from now on; needs a constant `schedule`, no warm-up.",
    ),
)
Extension = create_model(
    "Extension",
    trials=MORE_TRIALS,
    max_epochs=LONGER,
    **{name: LIMITS[name] for name in (*EXTENDED, *MOVED)} | {"data": MOVED_DATA},
)


def load_options(layout: SearchLayout) -> SearchOptions:
    """The options an earlier search was started with.

    Raises:
        SearchError: there is no such search.
    """
    if not layout.options.is_file():
        known = sorted(path.parent.name for path in layout.results.glob("*/options.json"))
        raise SearchError(
            f"no search of the name {layout.name!r} stands in {layout.results}; known are {', '.join(known) or 'none'}"
        )
    return SearchOptions.load(layout.options)
