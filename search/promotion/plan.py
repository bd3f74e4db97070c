"""What a promotion is going to do, written down before anything is trained: one that was cut off goes on with it."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np

from fashion_core.config import build_config
from fashion_core.data.prepared import PreparedData
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.files import write_whole
from search.promotion.candidates import BASELINE, Candidate, build_baseline, build_shortlist
from search.promotion.options import LASTING, PromotionOptions
from search.records.layout import SearchLayout
from search.records.record import SearchRecord

FORMAT = "fashion-promotion/1"
PLAN_FILE = "plan.json"
SEED_STREAM = 1_000_003  # keeps the seeds of re-runs apart from those of trials: no search has as many


@dataclass(frozen=True)
class PromotionPlan:
    """What is trained again.

    Attributes:
        promotion_id: of this promotion alone; one that begins anew has another.
        created: unix seconds.
        search_id: names the search even where another had its name before.
        candidates: best first.
        baseline: None where none was asked for.
        seeds: of the re-runs, the same for all candidates.
        select_on: images that the search selected on, `val` or `heldout`.
        lasting: the options that cannot change, by name.
        data: fingerprint of the images' files and labels; "" before they are known.
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

    @property
    def everyone(self) -> tuple[Candidate, ...]:
        """All that is trained again: the candidates, then the baseline."""
        return self.candidates + ((self.baseline,) if self.baseline is not None else ())


def build_promotion(record: SearchRecord, options: PromotionOptions) -> PromotionPlan:
    """A new promotion of a search that has ended or was stopped.

    Raises:
        SearchError: it has no trial that reached its full budget, or the baseline is no configuration.
    """
    schema = AttributeSchema.from_dict(record.search["data"]["categories"])
    candidates = build_shortlist(record, schema, options.top)
    settings = record.search["settings"]
    seeds = np.random.SeedSequence([settings["seed"], SEED_STREAM]).generate_state(options.seeds, np.uint32)
    return PromotionPlan(
        promotion_id=uuid.uuid4().hex[:12],
        created=time.time(),
        search_id=record.search_id,
        candidates=candidates,
        baseline=build_baseline(options.baseline, candidates[0].config, schema),
        seeds=tuple(int(seed) for seed in seeds),
        select_on=settings["select_on"],
        lasting={name: getattr(options, name) for name in LASTING},
    )


def load_promotion(layout: SearchLayout, record: SearchRecord, options: PromotionOptions) -> PromotionPlan | None:
    """The promotion that was begun before; None where none was.

    Raises:
        SearchError: it began with other options, or was of another search of this name.
    """
    path = layout.promotion_folder / PLAN_FILE
    if not path.is_file():
        return None
    begun = json.loads(path.read_text())
    lasting = begun["options"]
    changed = [
        f"--{name.replace('_', '-')} {lasting[name]}" for name in LASTING if lasting[name] != getattr(options, name)
    ]
    if begun["search_id"] != record.search_id:
        changed.append("another search of this name")
    if begun["format"] != FORMAT:
        changed.append(f"the format {begun['format']}")
    if changed:
        raise SearchError(
            f"a promotion goes on with what it began with, but that of {layout.name} began with {', '.join(changed)}; "
            "give the same options, or begin anew with --replace"
        )
    known = {
        each["label"]: Candidate(each["label"], each["trial"], each["search_score"], build_config(each["config"]))
        for each in begun["candidates"]
    }
    return PromotionPlan(
        promotion_id=begun["promotion_id"],
        created=begun["created"],
        search_id=begun["search_id"],
        candidates=tuple(each for label, each in known.items() if label != BASELINE),
        baseline=known.get(BASELINE),
        seeds=tuple(begun["seeds"]),
        select_on=begun["select_on"],
        lasting=lasting,
        data=begun["data"],
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
        "select_on": plan.select_on,
        "data": plan.data,
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
