"""What a promotion is going to do, written down before anything is trained: one that was cut off goes on with it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from fashion_core.config import TrainConfig, build_config
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import ConfigError, SearchError
from fashion_core.files import build_damage, make_line, read_json, write_whole
from fashion_core.metrics import Objective
from search.promotion.baseline import build_baseline, describe_baseline, is_alike
from search.promotion.options import LASTING, REPORT, PromotionOptions
from search.records.events import Moment, Score, TrialNumber, TrialStatus
from search.records.own_space import load_own_space
from search.reporting.words import find_more, format_score, write_count
from search.space.weights import WEIGHT_PREFIX, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fashion_core.data.prepared import PreparedData
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

FORMAT = "fashion-promotion/1"
PLAN_FILE = "plan.json"
SEED_STREAM = 1_000_003  # keeps the seeds of re-runs apart from those of trials: no search has as many
BASELINE = "baseline"
FRESH = (
    "The images that judge are those of another data set (`--judge-on`): the search has not seen them, and no network "
    "was trained on one."
)
ONE_START = "All networks have one start of their new layers: what is said over seeds leaves out the luck of that."


@dataclass(frozen=True)
class Candidate:
    """A configuration that is trained again.

    Attributes:
        label: `trial-0012`, or `baseline`.
        trial: its number in the search; None for the baseline.
        search_score: its best in the search.
        config: of its training; its seeds are replaced by those of the re-runs.
    """

    label: str
    trial: int | None
    search_score: float | None
    config: TrainConfig

    @property
    def words(self) -> str:
        """How a table calls it."""
        return self.label if self.trial is None else f"trial {self.trial}"


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class CandidateDescription(BaseModel):
    """What `plan.json` tells of a candidate, checked by types. Its label is a part of file names."""

    label: str = Field(pattern=r"^(trial-\d{4,10}|baseline)$")
    trial: TrialNumber | None
    search_score: Score | None
    config: dict[str, Any]


class LastingDescription(BaseModel):
    """The options of a promotion that cannot change."""

    top: int
    seeds: int
    baseline: str


class PlanDescription(BaseModel):
    """What `plan.json` tells, checked by types."""

    format: str
    promotion_id: str = Field(pattern=r"^[0-9a-f]{12}$")
    created: Moment
    search_id: str
    options: LastingDescription
    seeds: list[Seed] = Field(min_length=1)
    start_seeds: list[Seed] = []  # of older promotions: all re-runs had one start
    soup_start: Seed | None = None
    select_on: Literal["val", "heldout"]
    data: str
    baseline_notes: list[str] = []
    candidates: list[CandidateDescription]

    @model_validator(mode="after")
    def check_candidates(self) -> PlanDescription:
        """Raises ValueError where none is to be trained but the baseline, or one stands there twice."""
        labels = [each.label for each in self.candidates]
        if not {*labels} - {BASELINE} or len({*labels}) < len(labels):
            raise ValueError("there must be a candidate or more, each of another label")
        return self


def flatten_config(config: TrainConfig) -> dict[str, Any]:
    """Its fields by name, with a `weight_<category>` for each category's weight."""
    values = config.model_dump()
    weights = values.pop(WEIGHTS)
    return values | {WEIGHT_PREFIX + name: value for name, value in weights.items()}


@dataclass(frozen=True)
class PromotionPlan:
    """What is trained again.

    Attributes:
        promotion_id: of this promotion alone; one that begins anew has another.
        created: unix seconds.
        search_id: names the search even where another had its name before.
        candidates: best first.
        baseline: None where none was asked for.
        seeds, start_seeds: of the re-runs, the same for all candidates; no `start_seeds` in older promotions, whose
            re-runs all have the architecture's start.
        soup_start: the one `start_seed` of the networks that a soup is made of.
        select_on: images that the search selected on, `val` or `heldout`.
        lasting: the options that cannot change, by name.
        data: fingerprint of the images' files and labels; "" before they are known.
        baseline_notes: what of the baseline's own protocol could not be run here, a sentence each.
    """

    promotion_id: str
    created: float
    search_id: str
    candidates: tuple[Candidate, ...]
    baseline: Candidate | None
    seeds: tuple[int, ...]
    select_on: str
    lasting: dict[str, Any]
    data: str = ""
    start_seeds: tuple[int, ...] = ()
    soup_start: int | None = None
    baseline_notes: tuple[str, ...] = ()

    @property
    def everyone(self) -> tuple[Candidate, ...]:
        """All that is trained again: the candidates, then the baseline."""
        return self.candidates + ((self.baseline,) if self.baseline is not None else ())

    @property
    def baseline_words(self) -> str:
        """What the baseline is, and how its protocol differs from that of the best candidate."""
        if self.baseline is None:
            return "none"
        best = self.candidates[0]
        return describe_baseline(
            self.lasting.get("baseline", REPORT), self.baseline.config, best.config, best.words, self.baseline_notes
        )

    @property
    def is_baseline_alike(self) -> bool:
        """Whether an epoch of the baseline is as long as one of the best candidate: same network and images."""
        return self.baseline is None or is_alike(self.baseline.config, self.candidates[0].config)

    @property
    def objective(self) -> Objective:
        """That of the search: by it the candidates were chosen, and they are judged by it."""
        return Objective(self.candidates[0].config.objective)

    def choose_seeds(self, number: int) -> dict[str, int]:
        """`seed` and `start_seed` of re-run `number` of every candidate."""
        start = {"start_seed": self.start_seeds[number]} if self.start_seeds else {}
        return {"seed": self.seeds[number], **start}

    def choose_soup_seeds(self, number: int) -> dict[str, int]:
        """The same of network `number` that soups are made of: all have one start."""
        return {"seed": self.seeds[number], "start_seed": self.soup_start or 0}


def find_plan(layout: SearchLayout, record: SearchRecord, options: PromotionOptions, *, anew: bool) -> PromotionPlan:
    """The promotion that was begun before; a new one where none was, or where it begins anew."""
    begun = None if anew else load_promotion(layout, record, options)
    return begun or build_promotion(record, options, layout.list_starts())


def settle_plan(layout: SearchLayout, plan: PromotionPlan, data: PreparedData) -> PromotionPlan:
    """The plan with its data. One that was begun goes on with the same; a new one is written down.

    Nothing of an earlier promotion goes before all is known to be in order.

    Raises:
        SearchError: the data is not what the promotion began with.
    """
    found = fingerprint_data(data)
    if plan.data:
        check_data(layout, plan, found)
        return plan
    for name in ("reruns", "final"):
        shutil.rmtree(layout.promotion_folder / name, ignore_errors=True)
    plan = replace(plan, data=found)
    save_promotion(layout, plan)
    return plan


def build_promotion(
    record: SearchRecord, options: PromotionOptions, starts: Mapping[str, str] | None = None
) -> PromotionPlan:
    """A new promotion of a search that has ended or was stopped.

    Args:
        starts: folders of the registered models that the search started from, see `SearchLayout.list_starts`.

    Raises:
        SearchError: it has no trial that reached its full budget, or the baseline is no configuration.
    """
    schema = AttributeSchema.from_dict(record.begun.categories)
    candidates = build_shortlist(record, schema, options.top, starts or {})
    seed = record.begun.tell("settings", "seed")
    baseline, baseline_notes = build_baseline(options.baseline, candidates[0].config, schema)
    stream = np.random.SeedSequence([seed, SEED_STREAM]).generate_state(2 * options.seeds + 1, np.uint32).tolist()
    return PromotionPlan(
        promotion_id=uuid.uuid4().hex[:12],
        created=time.time(),
        search_id=record.search_id,
        candidates=candidates,
        baseline=None if baseline is None else Candidate(BASELINE, None, None, baseline),
        baseline_notes=baseline_notes,
        seeds=tuple(stream[: options.seeds]),
        start_seeds=tuple(stream[options.seeds : -1]),
        soup_start=stream[-1],
        select_on=record.begun.tell("settings", "select_on"),
        lasting={name: getattr(options, name) for name in LASTING},
    )


def load_promotion(layout: SearchLayout, record: SearchRecord, options: PromotionOptions) -> PromotionPlan | None:
    """The promotion that was begun before; None where none was.

    Raises:
        SearchError: it began with other options, or was of another search of this name.
    """
    path = layout.promotion_folder / PLAN_FILE
    if not path.exists():
        return None
    what, remedy = "hold the plan of a promotion", "begin anew with --replace"
    begun = read_json(path, PlanDescription, what, remedy, SearchError)
    lasting = begun.options.model_dump()
    changed = [
        f"--{name.replace('_', '-')} {make_line(lasting[name])}"
        for name in LASTING
        if lasting[name] != getattr(options, name)
    ]
    if begun.search_id != record.search_id:
        changed.append("another search of this name")
    if begun.format != FORMAT:
        changed.append(f"the format {make_line(begun.format)}")
    if changed:
        raise SearchError(
            f"a promotion goes on with what it began with, but that of {layout.name} began with {', '.join(changed)}; "
            "give the same options, or begin anew with --replace"
        )
    try:
        known = {
            each.label: Candidate(each.label, each.trial, each.search_score, build_config(each.config))
            for each in begun.candidates
        }
    except ConfigError as error:
        raise build_damage(path, what, remedy, SearchError, error) from None
    return PromotionPlan(
        promotion_id=begun.promotion_id,
        created=begun.created,
        search_id=begun.search_id,
        candidates=tuple(each for label, each in known.items() if label != BASELINE),
        baseline=known.get(BASELINE),
        seeds=tuple(begun.seeds),
        start_seeds=tuple(begun.start_seeds),
        soup_start=begun.soup_start,
        select_on=begun.select_on,
        baseline_notes=tuple(begun.baseline_notes),
        lasting=lasting,
        data=begun.data,
    )


def save_promotion(layout: SearchLayout, plan: PromotionPlan) -> None:
    """Write it down."""
    description = {
        "format": FORMAT,
        "promotion_id": plan.promotion_id,
        "created": plan.created,
        "search_id": plan.search_id,
        "options": plan.lasting,
        "seeds": plan.seeds,
        "start_seeds": plan.start_seeds,
        "soup_start": plan.soup_start,
        "select_on": plan.select_on,
        "data": plan.data,
        "baseline_notes": plan.baseline_notes,
        "candidates": [
            {
                "label": each.label,
                "trial": each.trial,
                "search_score": each.search_score,
                "config": each.config.model_dump(mode="json"),
            }
            for each in plan.everyone
        ],
    }
    layout.promotion_folder.mkdir(parents=True, exist_ok=True)
    write_whole(layout.promotion_folder / PLAN_FILE, (json.dumps(description, indent=2) + "\n").encode())


def check_data(layout: SearchLayout, plan: PromotionPlan, data: str) -> None:
    """Finished re-runs count only on the images and labels they were trained and scored on.

    Raises:
        SearchError: the data is not what the promotion began with.
    """
    if plan.data != data:
        raise SearchError(
            f"a promotion goes on with the images and labels it began with, but those of {layout.name} have changed "
            f"(fingerprint {data}, not {plan.data}); give the data it began with, or begin anew with --replace"
        )


def fingerprint_data(data: PreparedData) -> str:
    """Of the files, boxes, splits and labels of all images, however they were prepared."""
    digest = hashlib.blake2b(digest_size=8)
    for values in (data.sha256, data.splits.tolist(), data.boxes.tolist(), data.labels.tolist()):
        digest.update(json.dumps(values).encode())
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------- what is trained again


def build_shortlist(
    record: SearchRecord, schema: AttributeSchema, top: int, starts: Mapping[str, str]
) -> tuple[Candidate, ...]:
    """The best trials that reached their full budget, best first; of equal configurations the better one.

    Raises:
        SearchError: none did.
    """
    space = load_own_space(record).with_starts(starts)
    candidates: list[Candidate] = []
    for trial in record.rank():
        config = build_config(space.build_values(trial.params, schema))
        if trial.status == "finished" and all(config != other.config for other in candidates):
            candidates.append(Candidate(f"trial-{trial.number:04d}", trial.number, trial.best, config))
    if not candidates:
        states = ", ".join(f"trial {trial.number} {trial.status}" for trial in list(record.trials.values())[:8])
        raise SearchError(
            f"a promotion starts from trials that reached their full budget, but none of {record.name} did "
            f"({states or 'it has no trials'}); {describe_remedy(record)}"
        )
    return tuple(candidates[:top])


def describe_remedy(record: SearchRecord) -> str:
    """How a search without a candidate gets one."""
    if find_more(record) == "":
        return "all of its grid was run: start a new search"
    return f"{describe_ended_early(record) or 'go on with it'}: {name_way(record)}"


def describe_left_out(record: SearchRecord) -> str:
    """That the best trial is no candidate, since its search ended first, and what to do; empty where it is one."""
    told = describe_ended_early(record)
    return f"{told}: {name_way(record)}; or promote the others, as they are" if told else ""


def describe_ended_early(record: SearchRecord) -> str:
    """That the search ended before its best trial did; empty where that is not so."""
    best = next(iter(record.rank()), None)
    if best is None or best.status not in (TrialStatus.INTERRUPTED, TrialStatus.PAUSED):
        return ""
    epochs, full = best.last_epoch, record.settings.get("max_epochs")
    ended = f"{epochs} of {full} epochs" if full else write_count(epochs, "epoch")
    return (
        f"the best, trial {best.number} ({format_score(best.best)}), was ended after {ended}, with its search, and is "
        "no candidate; finish it first"
    )


def name_way(record: SearchRecord) -> str:
    """The command by which a search goes on, or is given more."""
    more = find_more(record)
    return f"search/run.py --resume {record.name}" if more is None else f"fashion-search extend {record.name} {more}"
