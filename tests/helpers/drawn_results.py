"""A promotion's result and release with drawn answers, for what renders and ships them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from drawn_models import draw_model

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.models.cost import Cost
from search.promotion.forms import SINGLE, Choice, Decision, Form
from search.promotion.judgement import Judgement, Row
from search.promotion.licences import DEEPFASHION_TERMS
from search.promotion.opponent import Gate, Opponent
from search.promotion.options import PromotionOptions
from search.promotion.plan import BASELINE, Candidate, PromotionPlan
from search.promotion.release import Release, Source, ship
from search.promotion.result import PromotionResult, Shipped
from search.records.attempts import Attempt
from search.records.events import SearchStarted
from search.records.layout import SearchLayout
from search.statistics.gate import Verdict, compare_answers, judge
from search.statistics.intervals import Estimate, estimate_score, estimate_seed_noise

BOX, WHOLE = PrepareSettings(32, "box"), PrepareSettings(32, "whole")


@dataclass
class Stage:
    """Data to ship with: prepared both ways, and where it came from."""

    data: dict[PrepareSettings, PreparedData]
    source: Source

    @property
    def prepared(self) -> PreparedData:
        return self.data[BOX]

    def gather(self, split: str) -> dict[PrepareSettings, np.ndarray]:
        return {view: data.gather(data.indices(split)) for view, data in self.data.items()}


def open_stage(folder: Path, cache_dir: Path) -> Stage:
    """A data set, prepared."""
    return Stage(prepare_all(load_annotations(folder), [BOX, WHOLE], cache_dir), Source(folder, cache_dir))


def draw_answers(stage: Stage, share: float, seed: int) -> np.ndarray:
    """[3, N, K]: right in about this share."""
    shape = (3, len(stage.prepared.indices("val")), len(stage.prepared.schema.names))
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


def build_result(
    stage: Stage,
    *,
    fit_on: str = "train",
    force: bool = False,
    verdict: Verdict | None = None,
    opponent: str = "the baseline",
    attempts: int = 3,
    gap: Estimate | None = None,
    select_on: str = "heldout",
    objective: str = "val/accuracy",
) -> PromotionResult:
    """Four candidates of three seeds each, the first of which is chosen; nothing is shipped yet."""
    names = stage.prepared.schema.names
    answers, other = draw_answers(stage, 0.8, 0), draw_answers(stage, 0.5, 1)
    score = estimate_score(answers.mean(2), estimate_seed_noise([answers.mean(2), other.mean(2)]))
    candidates = tuple(
        Candidate(f"trial-{trial:04d}", trial, 0.9, TrainConfig(lr=1e-3 / trial, objective=objective))
        for trial in (12, 3, 5, 7)
    )
    baseline = Candidate(BASELINE, None, None, TrainConfig())
    cost = Cost(1000, 1.5)
    versus = compare_answers(answers, other, [answers, other])
    rows = [Row(each, 3, score, 0.25, gap, versus, 0.1, (1, 2, 3), cost, 20.0) for each in candidates]
    rows.append(Row(baseline, 3, score, 0.0, None, None, 0.2, (4, 4, 4), cost, 20.0))
    gain = compare_answers(answers[:1], answers, ()).mean
    form = Form(Choice(SINGLE, ((0, 1),), []), score, gain, cost, answers[:1])
    return PromotionResult(
        layout=SearchLayout(Path("results"), "drawn"),
        options=PromotionOptions(fit_on=fit_on, force=force),
        model_name="fashion-attributes",
        plan=PromotionPlan("id", 1.79e9, "drawn@0", candidates, baseline, (4, 5, 6), select_on, {}),
        search=SearchStarted(
            name="drawn",
            time=1.79e9,
            provenance={"command": "python search/run.py --data sample", "torch": "2.14.1"},
            data={"folder": "sample", "fingerprint": "f00d", "counts": {"train": 120, "val": 48}, "skipped": 0},
            selection={"select_on": select_on, "train_count": 102, "select_count": 18},
            space_hash="ab" * 32,
            space_name="tiny",
        ),
        search_seconds=4000.0,
        category_names=names,
        judgement=Judgement(tuple(rows), estimate_seed_noise([answers.mean(2), other.mean(2)]), (answers, other)),
        decision=Decision((form,), form, answers[:1], answers.mean(0, keepdims=True)),
        gate=Gate(
            answers,
            Opponent(opponent, other),
            verdict or judge(answers, other, [answers, other], names, attempts),
            tuple(
                Attempt(time=1.79e9, search=search, key=search, model="fashion-attributes", opponent=opponent)
                for search in ("before", "again", "drawn")[-attempts:]
            ),
        ),
        score=score,
        categories=tuple(
            estimate_score(answers[:, :, k], estimate_seed_noise([answers[:, :, k], other[:, :, k]]))
            for k in range(len(names))
        ),
        origin="Trial 12, trained again with a fresh seed.",
        gap=gap,
        folds=10,
        notes=(),
        data_licence=DEEPFASHION_TERMS,
        machine="2 cores of Some CPU, in batches of 32",
        provenance={"command": "python search/promote.py drawn", "git_commit": "c0ffee" * 6, "cpu": "Some CPU"},
        ended=1.79e9 + 5000,
        seconds=75.0,
    )


def build_release(stage: Stage, **changes: Any) -> Release:
    """One network, trained on train."""
    arguments: dict[str, Any] = {
        "model": draw_model(1, stage.prepared.schema, image_size=32),
        "data": stage.data,
        "images": stage.prepared.indices("val"),
        "folds": np.arange(len(stage.prepared.indices("val"))) % 10,
        "trained": stage.prepared.indices("train"),
        "answers": draw_answers(stage, 0.8, 0),
        "source": stage.source,
        "ms_per_image": 1.234,
    }
    return Release(**{**arguments, **changes})


def ship_single(stage: Stage, folder: Path, **changes: Any) -> Shipped:
    """The folder of one network, trained on train, from a search that left val unseen."""
    return ship(build_release(stage, **changes), build_result(stage), folder)
