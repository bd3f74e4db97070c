"""Networks that accuracy, class accuracy and one category's accuracy rank otherwise. N images, K categories."""

from pathlib import Path

import numpy as np

from fashion_core.config import TrainConfig
from fashion_core.metrics import Measure, Objective
from search.jobs.reruns import Run
from search.promotion.judgement import Cost, TrainedCandidate
from search.promotion.plan import Candidate
from search.statistics.crossfit import assign_folds

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
