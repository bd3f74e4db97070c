"""What promoting a search is going to do: which configurations are trained again, and what they must beat.

The plan is written down before anything is trained, so that a promotion which was cut off goes on with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fashion_core.attributes import AttributeSchema
from fashion_core.config import TrainConfig, build_config
from fashion_core.errors import SearchError
from fashion_core.prepared import write_whole
from search.layout import SearchLayout
from search.ledger import SearchRecord, read_events, replay
from search.promotion_options import LASTING, FitOn, PromotionOptions
from search.space import Space, parse_space
from search.standing import compute_best, rank_trials

FORMAT = "fashion-promotion/1"
BASELINE = "baseline"
SEED_STREAM = 1_000_003  # keeps the seeds of re-runs apart from those of trials: no search has as many

# The report's loss, optimizer and FC depth, and its category weights in the order of the data's categories.
REPORT: dict[str, Any] = {
    "fc_layers": 0,
    "dropout": 0.1,
    "focal_gamma": 2.0,
    "optimizer": "adam",
    "lr": 1e-3,
    "probe_lr": 1e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup_fraction": 0.0,
    "batch_size": 32,
    "flip": 0.5,
}
REPORT_WEIGHTS = (0.95, 0.85, 0.85, 0.9, 1.0, 0.9)
# What a baseline shares with the best candidate: the network it starts from, its pixels, and its budget.
SHARED_FIELDS = (
    "image_size",
    "crop",
    "crop_margin",
    "backbone",
    "weights",
    "feature",
    "epochs",
    "probe_epochs",
    "precision",
    "channels_last",
    "eval_batch_size",
    "eval_flip",
)


@dataclass(frozen=True)
class Candidate:
    """A configuration that is trained again.

    Attributes:
        label: `trial-0012`, or `baseline`.
        trial: its number in the search; None for the baseline.
        search_score: its best val/accuracy in the search.
        config: of its training; the seed is replaced by those of the re-runs.
    """

    label: str
    trial: int | None
    search_score: float | None
    config: TrainConfig

    @property
    def words(self) -> str:
        """How a table calls it."""
        return self.label if self.trial is None else f"trial {self.trial}"


@dataclass(frozen=True)
class PromotionPlan:
    """What is trained again.

    Attributes:
        search_id: names the search even where another had its name before.
        candidates: best first.
        baseline: None where there is none to be had.
        seeds: of the re-runs, the same for all candidates.
        select_on: images that the search selected on, `val` or `heldout`.
    """

    search_id: str
    candidates: tuple[Candidate, ...]
    baseline: Candidate | None
    seeds: tuple[int, ...]
    select_on: str
    fit_on: FitOn

    @property
    def everyone(self) -> tuple[Candidate, ...]:
        """All that is trained again: the candidates, then the baseline."""
        return self.candidates + ((self.baseline,) if self.baseline is not None else ())


def build_promotion(layout: SearchLayout, record: SearchRecord, options: PromotionOptions) -> PromotionPlan:
    """Choose the candidates of a search that has ended or was stopped.

    Raises:
        SearchError: it has no trial that reached its full budget, or the baseline is no configuration.
    """
    schema = AttributeSchema.from_dict(record.search["data"]["categories"])
    space = load_own_space(record)
    candidates: list[Candidate] = []
    for trial in rank_trials(record):
        config = build_config(space.build_values(trial.params, schema))
        if trial.status != "finished" or any(config == other.config for other in candidates):
            continue
        candidates.append(Candidate(f"trial-{trial.number:04d}", trial.number, compute_best(trial), config))
    if not candidates:
        states = ", ".join(f"trial {trial.number} {trial.status}" for trial in list(record.trials.values())[:8])
        raise SearchError(
            f"a promotion starts from trials that reached their full budget, but none of {layout.name} did "
            f"({states or 'it has no trials'}); go on with it: search/run.py --resume {layout.name}"
        )
    candidates = candidates[: options.top]
    settings = record.search["settings"]
    seeds = np.random.SeedSequence([settings["seed"], SEED_STREAM]).generate_state(options.seeds, np.uint32)
    return PromotionPlan(
        search_id=f"{record.search['name']}@{int(record.search['time'] * 1000)}",
        candidates=tuple(candidates),
        baseline=build_baseline(options.baseline, candidates[0].config, schema),
        seeds=tuple(int(seed) for seed in seeds),
        select_on=settings["select_on"],
        fit_on=options.fit_on,
    )


def load_own_space(record: SearchRecord) -> Space:
    """The space of a search as it ran, from its ledger."""
    space = parse_space(record.search["space"], record.search["space_name"])
    settings = record.search["settings"]
    return space.with_scheduler(max_epochs=settings["max_epochs"])


def build_baseline(wanted: str, best: TrainConfig, schema: AttributeSchema) -> Candidate | None:
    """What the candidates must beat where there is no champion.

    Args:
        wanted: `report`, `none`, or a YAML file of `TrainConfig` fields; what it leaves out is the report's.
        best: configuration of the best candidate: backbone, pixels and budget are taken from it.

    Raises:
        SearchError, ConfigError: no such file, or no possible configuration.
    """
    if wanted == "none":
        return None
    values = {name: getattr(best, name) for name in SHARED_FIELDS} | REPORT
    if len(schema.names) == len(REPORT_WEIGHTS):
        values["category_weights"] = dict(zip(schema.names, REPORT_WEIGHTS, strict=True))
    if wanted != "report":
        try:
            given = yaml.safe_load(Path(wanted).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SearchError(
                f"--baseline must be `report`, `none` or a YAML file of training fields, but {wanted!r} cannot be read "
                f"({str(error).splitlines()[0]})"
            ) from None
        if not isinstance(given, dict):
            raise SearchError(f"a baseline's file must map training fields to values, but {wanted} does not")
        values |= given
    return Candidate(BASELINE, None, None, build_config(values))


def begin_promotion(layout: SearchLayout, record: SearchRecord, options: PromotionOptions) -> PromotionPlan:
    """The plan of this promotion: the one that was written down before, or a new one.

    Raises:
        SearchError: an earlier promotion of this search began with other options; or see `build_promotion`.
    """
    path = layout.promotion_folder / "plan.json"
    plan = build_promotion(layout, record, options)
    if path.is_file():
        begun = json.loads(path.read_text())
        lasting = {name: getattr(options, name) for name in LASTING}
        changed = [
            f"--{name.replace('_', '-')} {begun['options'][name]}"
            for name in LASTING
            if begun["options"][name] != lasting[name]
        ]
        if begun["search_id"] != plan.search_id:
            changed.append("another search of this name")
        if changed:
            raise SearchError(
                f"a promotion goes on with what it began with, but that of {layout.name} began with "
                f"{', '.join(changed)}; give the same options, or begin anew with --replace"
            )
        known = {each["label"]: each for each in begun["candidates"]}
        plan = PromotionPlan(
            plan.search_id,
            tuple(load_candidate(each) for label, each in known.items() if label != BASELINE),
            load_candidate(known[BASELINE]) if BASELINE in known else None,
            tuple(begun["seeds"]),
            plan.select_on,
            plan.fit_on,
        )
        return plan
    path.parent.mkdir(parents=True, exist_ok=True)
    description = {
        "format": FORMAT,
        "search_id": plan.search_id,
        "options": {name: getattr(options, name) for name in LASTING},
        "seeds": plan.seeds,
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
    write_whole(path, (json.dumps(description, indent=2) + "\n").encode())
    return plan


def load_candidate(entry: dict[str, Any]) -> Candidate:
    return Candidate(entry["label"], entry["trial"], entry["search_score"], build_config(entry["config"]))


def load_record(layout: SearchLayout) -> SearchRecord:
    """What the ledger of a search tells.

    Raises:
        SearchError: there is no such search, or it has not begun.
    """
    record = replay(read_events(layout.ledger))
    if not record.search:
        known = sorted(path.parent.name for path in layout.results.glob("*/ledger.jsonl"))
        raise SearchError(
            f"no search of the name {layout.name!r} stands in {layout.results}; known are {', '.join(known) or 'none'}"
        )
    return record
