"""The training stages of a promotion: every candidate on every seed, and what ships once more on more images.

What takes long is kept in the promotion's folder, so that the same command goes on where it was cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from fashion_core import metrics
from fashion_core.data.pixels import build_settings
from fashion_core.errors import SearchError
from search.jobs.material import Material
from search.jobs.reruns import DIVERGED, FINISHED, Run, Training, load_run, train_all
from search.planning.resources import Resources
from search.promotion.candidates import BASELINE, Candidate
from search.promotion.options import PromotionOptions
from search.promotion.plan import PromotionPlan
from search.promotion.tracking import PromotionTracker
from search.promotion.view import RerunView
from search.records.layout import SearchLayout

SECONDS_AN_HOUR = 3600


class Retraining:
    """Trains the networks of a promotion.

    Attributes:
        notes: what a reader of the report must know, a sentence each.
    """

    def __init__(
        self,
        layout: SearchLayout,
        plan: PromotionPlan,
        options: PromotionOptions,
        material: Material,
        tracker: PromotionTracker,
        resources: Resources,
        console: Console,
    ) -> None:
        self.layout, self.plan, self.options, self.material = layout, plan, options, material
        self.tracker, self.resources, self.console = tracker, resources, console
        self.words = {candidate.label: candidate.words for candidate in plan.everyone}
        self.notes: list[str] = []
        self.selection = material.save_images("train", material.train)

    def train_candidates(self) -> dict[str, list[Run]]:
        """Every candidate on every seed: runs by label.

        A candidate with a run that diverged is left out, with a note; of the baseline, what did not diverge stays.
        """
        rounds = [
            [self.build_training(each, number) for each in self.plan.everyone] for number in range(len(self.plan.seeds))
        ]
        dropped: set[str] = set()
        if self.options.budget_hours is None:
            self.train([training for each in rounds for training in each], "re-runs")
        else:  # a round a seed, so that losers can be dropped in between
            for number, trainings in enumerate(rounds):
                dropped |= self.find_losers(rounds[:number], len(rounds) - number, dropped)
                left = [training for training in trainings if training.label not in dropped]
                self.train(left, f"re-runs, seed {number}")
        kept = [training for each in rounds for training in each if training.label not in dropped]
        lost = {each.label for each in kept if each.status == DIVERGED}
        for label in sorted(lost):
            seeds = ", ".join(str(each.seed_number) for each in kept if each.label == label and each.status == DIVERGED)
            end = "." if label == BASELINE else ", and is out."
            self.notes.append(f"{self.words[label]} diverged with seed {seeds}{end}")
        runs: dict[str, list[Run]] = {}
        for training in kept:
            if training.status == FINISHED and (training.label not in lost or training.label == BASELINE):
                runs.setdefault(training.label, []).append(load_run(training))
        return runs

    def build_training(self, candidate: Candidate, seed_number: int) -> Training:
        config = candidate.config.model_copy(update={"seed": self.plan.seeds[seed_number]})
        return Training(
            label=candidate.label,
            seed_number=seed_number,
            config=config,
            folder=(self.layout.promotion_folder / "reruns" / f"{candidate.label}-seed{seed_number}").resolve(),
            prepared=str(self.material.paths[build_settings(config)].resolve()),
            selection=self.selection,
            features=self.material.find_features(config),
            threads=self.resources.cpus_per_trial,
            gpus=self.resources.gpus_per_trial,
        )

    def train(self, trainings: Sequence[Training], title: str, resources: Resources | None = None) -> None:
        """Train what is not trained yet, in sight.

        Raises:
            SearchError: one failed for a reason that trying again may mend.
        """
        for training in trainings:
            if training.status is not None:  # of before an interruption: MLflow may lack it
                self.send(training)

        def listen(training: Training, event: dict[str, Any]) -> None:
            view.update(training, event)
            if "status" in event:
                self.send(training)

        with RerunView(self.console, title, trainings, self.words) as view:
            train_all(trainings, resources or self.resources, listen)
        failed = [training.folder.name for training in trainings if training.status is None]
        if failed:
            raise SearchError(
                f"every network must be trained before it is judged, but {', '.join(failed)} failed (above); mend the "
                "cause and give the same command again, the others stay; or begin anew with a smaller --top (--replace)"
            )

    def send(self, training: Training) -> None:
        """Tell MLflow of one that ended."""
        if training.status is not None:
            scores = load_run(training).scores if training.status == FINISHED else ()
            self.tracker.send_training(training, training.status, scores)

    def find_losers(self, done: Sequence[Sequence[Training]], rounds_left: int, dropped: set[str]) -> set[str]:
        """Labels to drop now, to keep to the budget; one that diverged is out anyway, and not counted."""
        everything = [load_run(each) for trainings in done for each in trainings if each.status == FINISHED]
        diverged = {each.label for trainings in done for each in trainings if each.status == DIVERGED} - {BASELINE}
        runs: dict[str, list[Run]] = {}
        for run in everything:
            if run.label not in dropped | diverged:
                runs.setdefault(run.label, []).append(run)
        if not runs or self.options.budget_hours is None:
            return set()
        means = {
            label: float(np.mean([max(row[metrics.ACCURACY] for row in run.scores) for run in each]))
            for label, each in runs.items()
        }
        seconds = {label: float(np.mean([run.seconds for run in each])) for label, each in runs.items()}
        concurrent = self.resources.concurrent
        left = self.options.budget_hours * SECONDS_AN_HOUR - sum(run.seconds for run in everything) / concurrent
        found = choose_losers(means, seconds, rounds_left, concurrent, left)
        for label in found:
            self.notes.append(
                f"{self.words[label]} was dropped after {len(runs[label])} of {len(self.plan.seeds)} seeds to keep to "
                f"the budget: mean {means[label]:.4f}, on the images that score the others."
            )
        return set(found)


def choose_losers(
    means: Mapping[str, float], seconds: Mapping[str, float], rounds: int, concurrent: int, seconds_left: float
) -> list[str]:
    """Labels to drop, the worst first, until what is left fits into the time; never the best, nor the baseline.

    Args:
        means: score so far, by label.
        seconds: of one training, by label.
        rounds: trainings that each still has to come; a round ends before the next begins.
        concurrent: how many run at once.
        seconds_left: of the budget.
    """
    candidates = sorted((label for label in means if label != BASELINE), key=means.__getitem__)
    dropped: list[str] = []
    for label in candidates[:-1]:
        left = [seconds[each] for each in means if each not in dropped]
        if rounds * max(sum(left) / concurrent, *left) <= seconds_left:
            break
        dropped.append(label)
    return dropped
