"""Candidates with drawn re-runs: networks that are right in a known share of their answers."""

from pathlib import Path

import numpy as np

from fashion_core.config import TrainConfig
from fashion_core.models.cost import Cost
from search.jobs.reruns import Run
from search.promotion.judgement import TrainedCandidate
from search.promotion.plan import Candidate
from search.statistics.crossfit import assign_folds

IMAGES, CLASSES, EPOCHS = 120, (3, 4), 3
RNG = np.random.default_rng
LABELS = np.stack([RNG(7).integers(0, size, IMAGES) for size in CLASSES], 1)
folds = assign_folds(np.arange(IMAGES), 0)


def draw_run(label, seed, skill, rng):
    """A network that is right in about a share `skill` of its answers, in each epoch anew."""
    probabilities = []
    for column, size in zip(LABELS.T, CLASSES, strict=True):
        values = rng.dirichlet(np.ones(size), (EPOCHS, IMAGES))
        right = rng.random((EPOCHS, IMAGES)) < skill
        epochs, images = np.nonzero(right)
        values[epochs, images, column[images]] += 1
        probabilities.append((values / values.sum(2, keepdims=True)).astype(np.float32))
    row = {"train/seconds": 1.0, "val/seconds": 0.5}
    return Run(label, seed, tuple(dict(row) for _ in range(EPOCHS)), probabilities, Path())


def draw_candidate(number, skill, *, seeds=3, score=0.8, cost=Cost(1000, 1.0), labels=LABELS):
    rng = RNG(100 + number)
    candidate = Candidate(f"trial-{number:04d}", number, score, TrainConfig())
    runs = tuple(draw_run(candidate.label, seed, skill, rng) for seed in range(seeds))
    return TrainedCandidate(candidate, runs, labels, cost)
