"""Networks that accuracy, class accuracy and one category's accuracy rank otherwise. N images, K categories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.config import TrainConfig
from fashion_core.metrics import ACCURACY, CLASS_ACCURACY, Measure, Objective
from fashion_core.models.cost import Cost
from search.jobs.reruns import Run
from search.promotion.judgement import TrainedCandidate
from search.promotion.plan import Candidate
from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.ledger import Ledger, pack_correct
from search.statistics.crossfit import assign_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.layout import SearchLayout

NAMES, CLASSES, IMAGES = ("kind", "shade"), (3, 4), 240
LABELS = np.stack([np.repeat([0, 1, 2], [180, 40, 20]), np.arange(IMAGES) % 4], 1)
FOLDS = assign_folds(np.arange(IMAGES), 0)
# Share of right answers by class of `kind`, and in every class of `shade`.
STYLES = {
    "common": ((0.99, 0.0, 0.0), 0.6),  # best by accuracy: right where most images are
    "even": ((0.7, 0.7, 0.7), 0.6),  # best by class accuracy
    "shade": ((0.2, 0.2, 0.2), 0.9),  # best by the accuracy of `shade`
}
BEST = {"val/accuracy": "common", "val/class_accuracy": "even", "val/accuracy/shade": "shade"}  # by objective


def plant_answers(style: str, seed: int) -> np.ndarray:
    """[N, K] float: right in just these shares of each class, other images for each seed."""
    kinds, shade = STYLES[style]
    rng, right = np.random.default_rng(seed), np.zeros((IMAGES, 2))
    for index, shares in enumerate((kinds, (shade,) * 4)):
        for label, share in enumerate(shares):
            images = rng.permutation(np.flatnonzero(LABELS[:, index] == label))
            right[images[: round(share * len(images))], index] = 1
    return right


def plant_candidate(number: int, styles: tuple[str, ...], objective: str, seeds: int = 3) -> TrainedCandidate:
    """A candidate whose networks answer in another style in each epoch."""
    runs = []
    for seed in range(seeds):
        epochs = [plant_answers(style, 100 * number + seed) for style in styles]
        probabilities = []
        for index, size in enumerate(CLASSES):
            answers = [
                np.where(each[:, index] == 1, LABELS[:, index], (LABELS[:, index] + 1) % size) for each in epochs
            ]
            probabilities.append(np.eye(size, dtype=np.float32)[np.stack(answers)])
        row = {"train/seconds": 1.0, "val/seconds": 0.5}
        runs.append(Run(f"trial-{number:04d}", seed, (row,) * len(styles), probabilities, Path()))
    candidate = Candidate(f"trial-{number:04d}", number, 0.8, TrainConfig(objective=objective))
    measure = Measure(Objective(objective), LABELS, NAMES)
    return TrainedCandidate(candidate, tuple(runs), LABELS, Cost(1000, 1.0), measure)


def tell_search(
    layout: SearchLayout, objective: str, trials: Sequence[tuple[dict[str, Any], Sequence[np.ndarray]]]
) -> None:
    """Write a ledger of finished trials, each (parameters, answers [N, K] of each epoch)."""
    settings = {"objective": objective, "sampler": "random", "trials": len(trials), "max_epochs": len(trials[0][1])}
    categories = {name: [str(label) for label in range(size)] for name, size in zip(NAMES, CLASSES, strict=True)}
    selection: dict[str, Any] = {"select_on": "val", "select_count": IMAGES, "train_count": IMAGES}
    if objective == CLASS_ACCURACY:
        selection["select_labels"] = LABELS.tolist()
    with Ledger(layout.ledger) as ledger:
        data = {"categories": categories, "majority": 0.4}
        ledger.append(SearchStarted(name=layout.name, settings=settings, data=data, selection=selection))
        for number, (params, epochs) in enumerate(trials):
            ledger.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=False))
            rows = [score_all(correct) for correct in epochs]
            for epoch, row in enumerate(rows, 1):
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=row))
            scores = [row[objective] for row in rows]
            best = scores.index(max(scores))
            packed = pack_correct(epochs[best])
            fields = {"best": scores[best], "best_epoch": best + 1, "correct": packed}
            ledger.append(TrialEnded(trial=number, status="finished", reason="it finished", **fields))
        ledger.append(SearchEnded(reason="all trials ended", seconds=1.0))


def score_all(correct: np.ndarray) -> dict[str, float]:
    """Every objective that there is, with its error."""
    scores = {}
    for name in (ACCURACY, CLASS_ACCURACY, *(f"{ACCURACY}/{each}" for each in NAMES)):
        measure = Measure(Objective(name), LABELS, NAMES)
        scores[name] = float(measure.score(correct))
        scores[measure.objective.error_name] = float(measure.compute_standard_error(correct) or 0.0)
    return scores
