"""What the re-runs of each candidate showed: scores with intervals, how often each is the best, and what it costs.

Everything is judged on validation images. The epoch of a network is a choice as well: wherever a score is made without
some images, so is the choice of the epoch. S seeds, E epochs, N images, K categories, C classes of one category.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.metrics import Measure, score_answers
from search.statistics.calibration import compute_calibration
from search.statistics.crossfit import compute_best_shares, cross_fit, find_best
from search.statistics.gate import Difference, compare_answers
from search.statistics.intervals import ACCURACY, Estimate, SeedNoise, compute_gap, estimate_score, estimate_seed_noise
from search.statistics.members import find_correct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fashion_core.models.cost import Cost
    from search.jobs.reruns import Run
    from search.promotion.plan import Candidate


@dataclass(frozen=True)
class TrainedCandidate:
    """A candidate with its re-runs.

    Attributes:
        labels: [N, K] int64, negative where an image is unlabelled in a category.
        cost: of one of its networks.
        measure: the objective on the N images.
    """

    candidate: Candidate
    runs: tuple[Run, ...]
    labels: np.ndarray
    cost: Cost
    measure: Measure = ACCURACY

    @cached_property
    def correct(self) -> np.ndarray:
        """[S, E, N, K]: which answers are right, see `fashion_core.metrics.mark_correct`."""
        return np.stack(
            [
                np.stack(
                    [
                        find_correct([values[epoch] for values in run.probabilities], self.labels)
                        for epoch in range(len(run.scores))
                    ]
                )
                for run in self.runs
            ]
        )

    @cached_property
    def counted(self) -> np.ndarray:
        """[S, E, N, M]: what the objective averages of these."""
        return self.measure.select(self.correct)

    def choose_epochs(self, images: np.ndarray) -> np.ndarray:
        """[S] int64 from 0: the best epoch of each network on some images, the first of equals."""
        epochs: np.ndarray = score_answers(self.counted[:, :, images]).argmax(1)
        return epochs

    def answer(self, images: np.ndarray) -> np.ndarray:
        """[S, N, K] float: right or wrong, NaN for unlabelled, each network at its best epoch on some images."""
        answers: np.ndarray = self.correct[np.arange(len(self.runs)), self.choose_epochs(images)].astype(float)
        return answers

    def find_best_seed(self, images: np.ndarray) -> int:
        """Of its networks, each at its best epoch on some images, the best on these, the first of equals."""
        return int(self.measure.take(images).score(self.answer(images)[:, images]).argmax())

    def find_probabilities(self, seed: int, epoch: int) -> list[np.ndarray]:
        """K arrays [N, C_i] of one network."""
        return [values[epoch] for values in self.runs[seed].probabilities]

    def list_best(self) -> list[list[np.ndarray]]:
        """Of each network its probabilities at the epoch that is best on all images: K arrays [N, C_i] each."""
        epochs = self.choose_epochs(np.arange(len(self.labels)))
        return [self.find_probabilities(seed, int(epoch)) for seed, epoch in enumerate(epochs)]


def find_best_candidate(
    candidates: Sequence[TrainedCandidate], images: np.ndarray, seeds: np.ndarray | None = None
) -> int:
    """Position of the best by its mean over seeds on some images, each network at its best epoch on these.

    Args:
        seeds: those to look at; None: all.
    """
    return find_best([each.measure.select(each.answer(images)) for each in candidates], images, seeds)


@dataclass(frozen=True)
class Trained:
    """What the re-runs left.

    Attributes:
        candidates: those that were trained to their end with every seed and cost no more than is allowed; one or more.
        baseline: with the seeds that did not diverge; None where none is left, or none was asked for.
        ingredients: folders of the networks that soups are made of, all of one start, which tell nothing of how starts
            and seeds vary: by the position of the candidate, and a number behind those of its re-runs.
        notes: what a reader of the report must know, a sentence each.
    """

    candidates: tuple[TrainedCandidate, ...]
    baseline: TrainedCandidate | None
    notes: tuple[str, ...] = ()
    ingredients: Mapping[tuple[int, int], Path] = field(default_factory=dict)

    @property
    def everyone(self) -> tuple[TrainedCandidate, ...]:
        """The candidates, then the baseline."""
        return self.candidates + ((self.baseline,) if self.baseline is not None else ())

    @property
    def measure(self) -> Measure:
        """The objective on the images that judge."""
        return self.candidates[0].measure

    @property
    def folders(self) -> dict[tuple[int, int], Path]:
        """The saved models of all networks, by the position of the candidate and of its seed."""
        reruns = {
            (position, seed): run.folder
            for position, each in enumerate(self.candidates)
            for seed, run in enumerate(each.runs)
        }
        return reruns | dict(self.ingredients)


@dataclass(frozen=True)
class Row:
    """A candidate in the table.

    Attributes:
        score: cross-fitted over the choice of the epoch.
        best_share: share of resamples in which it is the best; 0 for the baseline, which is not among them.
        gap: the winner's curse: its score in the search less that on re-run; None for the baseline, or with one seed.
        versus: it less the baseline; None without one, and for it.
        calibration_error: ECE, mean over seeds; calibration_floor: what it would be of calibrated answers.
        best_epochs: from 1, of each seed.
        seconds: of training, over all seeds.
    """

    candidate: Candidate
    seeds: int
    score: Estimate
    best_share: float
    gap: Estimate | None
    versus: Difference | None
    calibration_error: float
    best_epochs: tuple[int, ...]
    cost: Cost
    seconds: float
    calibration_floor: float = 0.0


@dataclass(frozen=True)
class Judgement:
    """All candidates, best first, then the baseline.

    Attributes:
        noise: how seeds differ; None where no candidate has two.
        answers: [S, N, K] of every candidate and the baseline, cross-fitted: they tell how seeds vary.
    """

    rows: tuple[Row, ...]
    noise: SeedNoise | None
    answers: tuple[np.ndarray, ...]

    @property
    def seconds(self) -> float:
        """Of training, over all rows."""
        return sum(row.seconds for row in self.rows)

    @property
    def count(self) -> int:
        """Number of candidates, the baseline not among them."""
        return sum(row.candidate.trial is not None for row in self.rows)


def judge_candidates(
    trained: Trained, folds: np.ndarray, groups: np.ndarray, select_on: str, rng: np.random.Generator
) -> Judgement:
    """Score every candidate, and compare it with the baseline.

    Args:
        folds, groups: [N], see `search.statistics.crossfit`.
        select_on: what the search selected on: the gap is another thing on its own images.
    """
    everyone, baseline, count = trained.everyone, trained.baseline, len(trained.candidates)
    measure = trained.measure
    answers = {each.candidate.label: cross_fit(each.answer, folds) for each in everyone}
    scores = {label: measure.score_images(values) for label, values in answers.items()}
    noise, image_df = estimate_seed_noise(list(scores.values())), measure.count_freedom(next(iter(answers.values())))
    shares = compute_best_shares([scores[each.candidate.label] for each in trained.candidates], groups, rng)
    all_images = np.arange(len(folds))
    rows = []
    for index, each in enumerate(everyone):
        label, score = each.candidate.label, each.candidate.search_score
        gap = None
        if score is not None and (noise is not None or select_on != "val"):
            gap = compute_gap(score, scores[label], noise, same_images=select_on == "val", image_df=image_df)
        epochs = each.choose_epochs(all_images)
        calibrations = [compute_calibration(probabilities, each.labels) for probabilities in each.list_best()]
        versus = None
        if baseline is not None and each is not baseline:
            versus = compare_answers(answers[label], answers[baseline.candidate.label], list(answers.values()), measure)
        rows.append(
            Row(
                candidate=each.candidate,
                seeds=len(each.runs),
                score=estimate_score(scores[label], noise, image_df),
                best_share=float(shares[index]) if index < count else 0.0,
                gap=gap,
                versus=versus,
                calibration_error=float(np.mean([found.pooled for found in calibrations])),
                best_epochs=tuple(int(epoch) + 1 for epoch in epochs),
                cost=each.cost,
                seconds=sum(run.seconds for run in each.runs),
                calibration_floor=float(np.mean([found.floor for found in calibrations])),
            )
        )
    ranked = sorted(rows[:count], key=lambda row: -row.score.value)
    return Judgement((*ranked, *rows[count:]), noise, tuple(answers.values()))
