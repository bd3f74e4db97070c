"""The stages of a promotion: re-runs, judgement, combination, final training. `search.promoting` puts them together.

What takes long is kept in the promotion's folder, so that the same command goes on where it was cut off. What takes
seconds (choosing and judging) is done anew from what was kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console

from fashion_core import metrics
from fashion_core.checkpoint import load_model
from fashion_core.ensemble import Saved
from fashion_core.errors import SearchError
from fashion_core.pixels import build_settings
from search.combining import Decision, Network, Pool, decide
from search.contenders import UNLIMITED, Contender, Cost, Judgement, judge_contenders
from search.final_model import Averager, build_final, measure_cost
from search.layout import SearchLayout
from search.material import Material
from search.promotion import BASELINE, Candidate, PromotionPlan
from search.promotion_options import PromotionOptions
from search.promotion_tracking import PromotionTracker
from search.promotion_view import RerunView
from search.reruns import FINISHED, Run, Training, load_run, train_all
from search.resources import Resources

SECONDS_AN_HOUR = 3600


class Stages:
    """A promotion while it runs.

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
        self.layout, self.plan, self.options = layout, plan, options
        self.material, self.tracker, self.resources, self.console = material, tracker, resources, console
        self.names = {candidate.label: candidate for candidate in plan.everyone}
        self.notes: list[str] = []

    # ------------------------------------------------------------------------------------------------------- training

    def train_candidates(self) -> dict[str, list[Run]]:
        """Every candidate on every seed; the runs of those that ended well on all of theirs, by label."""
        rounds = [[self.build_training(each, number) for each in self.plan.everyone] for number in self.seed_numbers]
        dropped: set[str] = set()
        if self.options.budget_hours is None:
            self.train([training for each in rounds for training in each], "re-runs")
        else:  # a round a seed, so that clear losers can be dropped in between
            for number, trainings in enumerate(rounds):
                dropped |= self.find_losers(rounds[:number], len(rounds) - number, dropped)
                left = [training for training in trainings if training.label not in dropped]
                self.train(left, f"re-runs, seed {number}")
        everything = [training for each in rounds for training in each if training.label not in dropped]
        self.send(everything)
        return self.collect(everything)

    @property
    def seed_numbers(self) -> range:
        return range(len(self.plan.seeds))

    def build_training(self, candidate: Candidate, seed_number: int) -> Training:
        config = candidate.config.model_copy(update={"seed": self.plan.seeds[seed_number]})
        return Training(
            label=candidate.label,
            seed_number=seed_number,
            config=config,
            folder=(self.layout.promotion_folder / "reruns" / f"{candidate.label}-seed{seed_number}").resolve(),
            prepared=str(self.material.paths[build_settings(config)].resolve()),
            selection=self.material.save_images("train", self.material.train),
            features=self.material.find_features(config),
            threads=self.resources.cpus_per_trial,
        )

    def train(self, trainings: Sequence[Training], title: str) -> None:
        """Train what is not trained yet, in sight.

        Raises:
            SearchError: one failed for a reason that trying again may mend.
        """
        with RerunView(self.console, title, trainings, self.names) as view:
            train_all(trainings, self.resources, view.update)
        failed = [training.folder.name for training in trainings if training.outcome is None]
        if failed:
            raise SearchError(
                f"every network must be trained before it is judged, but {', '.join(failed)} failed (above); mend the "
                f"cause, then give the same command again: the others stay"
            )

    def collect(self, trainings: Sequence[Training]) -> dict[str, list[Run]]:
        """Runs by label; a label with a diverged run has none, and a note says so."""
        runs: dict[str, list[Run]] = {}
        for training in trainings:
            outcome = training.outcome
            assert outcome is not None
            if outcome["status"] == FINISHED:
                runs.setdefault(training.label, []).append(load_run(training))
            else:
                words = self.names[training.label].words
                self.notes.append(f"{words} is out: {outcome['status']} with seed {training.seed_number}.")
        lost = {training.label for training in trainings if training.outcome["status"] != FINISHED}  # type: ignore[index]
        return {label: found for label, found in runs.items() if label not in lost}

    def send(self, trainings: Sequence[Training]) -> None:
        """Tell MLflow of all of them."""
        for training in trainings:
            outcome = training.outcome
            if outcome is not None:
                scores = load_run(training).scores if outcome["status"] == FINISHED else ()
                self.tracker.send_training(training, outcome["status"], scores)

    def find_losers(self, done: Sequence[Sequence[Training]], rounds_left: int, dropped: set[str]) -> set[str]:
        """Labels to drop now, to keep to the budget."""
        ended = [training for each in done for training in each if training.label not in dropped]
        runs: dict[str, list[Run]] = {}
        for training in ended:
            if training.outcome is not None and training.outcome["status"] == FINISHED:
                runs.setdefault(training.label, []).append(load_run(training))
        if not runs or self.options.budget_hours is None:
            return set()
        means = {
            label: float(np.mean([max(row[metrics.ACCURACY] for row in run.scores) for run in each]))
            for label, each in runs.items()
        }
        seconds = {label: float(np.mean([run.seconds for run in each])) for label, each in runs.items()}
        spent = sum(run.seconds for each in runs.values() for run in each) / self.resources.concurrent
        left = self.options.budget_hours * SECONDS_AN_HOUR - spent
        found = choose_losers(means, seconds, rounds_left / self.resources.concurrent, left)
        for label in found:
            self.notes.append(
                f"{self.names[label].words} was dropped after {len(runs[label])} of {len(self.plan.seeds)} seeds to "
                f"keep to the budget: mean {means[label]:.4f}."
            )
        return set(found)

    # ------------------------------------------------------------------------------------------------------- choosing

    def build_contenders(self, runs: Mapping[str, list[Run]]) -> tuple[list[Contender], Contender | None]:
        """The candidates that were trained, and the baseline.

        Raises:
            SearchError: no candidate was, or none costs as little as is asked for.
        """
        everyone = {}
        for label, found in runs.items():
            cost = measure_cost(load_model(found[0].folder), self.material)
            everyone[label] = Contender(self.names[label], tuple(found), self.material.labels, cost)
        baseline = everyone.pop(BASELINE, None)
        if not everyone:
            raise SearchError(
                f"a promotion needs a candidate that trains to its end, but of {self.layout.name} none did: "
                f"{' '.join(self.notes)}"
            )
        allowed = [each for each in everyone.values() if each.cost.fits(self.limit)]
        if not allowed:
            costs = "; ".join(
                f"{each.candidate.words} {each.cost.parameters / 1e6:.1f} M, {each.cost.ms:.1f} ms"
                for each in everyone.values()
            )
            raise SearchError(
                f"--max-ms and --max-params must let a candidate through, but none costs as little: {costs}"
            )
        for each in everyone.values():
            if each not in allowed:
                self.notes.append(f"{each.candidate.words} costs more than --max-ms or --max-params allow.")
        return allowed, baseline

    @property
    def limit(self) -> Cost:
        """What the model may cost."""
        parameters = self.options.max_params
        return Cost(
            UNLIMITED.parameters if parameters is None else int(parameters), self.options.max_ms or UNLIMITED.ms
        )

    def judge(self, contenders: Sequence[Contender], baseline: Contender | None) -> Judgement:
        material = self.material
        rng = np.random.default_rng(0)
        return judge_contenders(contenders, baseline, material.folds, material.groups, self.plan.select_on, rng)

    def combine(self, contenders: Sequence[Contender]) -> Decision:
        """Choose between a single network, a soup and an ensemble."""
        material = self.material
        folders = {
            (position, seed): run.folder
            for position, contender in enumerate(contenders)
            for seed, run in enumerate(contender.runs)
        }
        averager = Averager(folders, material)
        reason = averager.explain_none()
        if reason is not None:
            self.notes.append(f"No soup was tried: {reason}.")
        groups = averager.groups if reason is None else []
        pool = Pool(contenders, material.labels, material.folds, groups, averager.predict, self.limit)
        with self.console.status("choosing between a single network, a soup and an ensemble"):
            return decide(pool)

    # -------------------------------------------------------------------------------------------------- what is shipped

    def build_model(self, decision: Decision, contenders: Sequence[Contender]) -> Saved:
        """The model that ships: of the re-runs, or trained again on train and val."""
        choice = decision.chosen.choice
        networks = list(dict.fromkeys(choice.networks))
        if self.plan.fit_on == "train":
            folders = {(position, seed): contenders[position].runs[seed].folder for position, seed in networks}
        else:
            trainings = {network: self.build_last_training(contenders, network) for network in networks}
            self.train(list(trainings.values()), "final training on train and val")
            diverged = [each.folder.name for each in trainings.values() if each.outcome["status"] != FINISHED]  # type: ignore[index]
            if diverged:
                raise SearchError(
                    f"the final training must end well, but {', '.join(diverged)} diverged; promote with --fit-on train"
                )
            folders = {network: training.folder for network, training in trainings.items()}
        models = {network: load_model(folder) for network, folder in folders.items()}
        return build_final(choice, models, self.material)

    def build_last_training(self, contenders: Sequence[Contender], network: Network) -> Training:
        """As the re-runs were, but on train and val, and stopped at the median of their best epochs."""
        contender = contenders[network[0]]
        epochs = contender.choose_epochs(np.arange(len(self.material.val))) + 1
        training = self.build_training(contender.candidate, network[1])
        both = np.concatenate([self.material.train, self.material.val])
        return replace(
            training,
            folder=self.layout.promotion_folder.resolve() / "final" / training.folder.name,
            selection=self.material.save_images("train-val", both),
            stop_epoch=int(np.median(epochs)),
        )

    def read_example(self) -> bytes:
        """The file of a validation image."""
        return (self.material.folder / self.material.first.names[self.material.val[0]]).read_bytes()


def choose_losers(
    means: Mapping[str, float], seconds: Mapping[str, float], rounds_left: float, seconds_left: float
) -> list[str]:
    """Labels to drop, the worst first, until what is left fits into the time; never the best, nor the baseline.

    Args:
        means: score so far, by label.
        seconds: of one training, by label.
        rounds_left: trainings that each still has to come, divided by how many run at once.
        seconds_left: of the budget.
    """
    candidates = sorted((label for label in means if label != BASELINE), key=means.__getitem__)
    dropped: list[str] = []
    for label in candidates[:-1]:
        if rounds_left * sum(seconds[each] for each in means if each not in dropped) <= seconds_left:
            break
        dropped.append(label)
    return dropped
