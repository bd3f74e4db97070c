"""The networks of a promotion: every candidate trained on every seed, and what ships once more on more images.

What takes long is kept in the promotion's folder, so that the same command goes on where it was cut off.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from fashion_core.errors import CheckpointError, SearchError
from fashion_core.files import read_json, write_whole
from fashion_core.hardware.device import choose_device
from fashion_core.models.cost import UNLIMITED, Cost
from fashion_core.models.saved import load_model
from search.jobs.reruns import DIVERGED, FINISHED, Run, Training, load_run, train_all
from search.promotion.judgement import Trained, TrainedCandidate
from search.promotion.networks import build_final, measure_cost
from search.promotion.plan import BASELINE, Candidate, describe_left_out
from search.promotion.view import RerunView
from search.statistics.crossfit import cross_fit
from search.statistics.rounds import LEAST_SEEDS, find_sure_losers, share_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fashion_core.models.ensemble import Saved
    from search.planning.resources import Resources
    from search.promotion.forms import Choice, Network
    from search.promotion.running import Promotion

SECONDS_AN_HOUR = 3600
COST_FILE = "cost.json"


class CostDescription(BaseModel):
    """What `cost.json` tells, checked by types."""

    parameters: int = Field(ge=0, lt=2**63)
    ms: float = Field(ge=0, allow_inf_nan=False)
    spread: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Retraining:
    """Trains the networks of a promotion.

    Attributes:
        notes: what a reader of the report must know, a sentence each.
    """

    def __init__(self, promotion: Promotion) -> None:
        """Nothing is trained yet."""
        self.promotion, self.plan, self.material = promotion, promotion.plan, promotion.material
        self.folder = promotion.layout.promotion_folder.resolve()
        self.words = {candidate.label: candidate.words for candidate in self.plan.everyone}
        left_out = describe_left_out(promotion.search)
        self.notes = [f"{left_out[0].upper()}{left_out[1:]}."] if left_out else []
        self.site = self.material.build_site("train", self.material.train, promotion.resources)

    # --------------------------------------------------------------------------------------------------- the candidates

    def train_candidates(self) -> Trained:
        """Every candidate on every seed.

        Raises:
            SearchError: no candidate was trained to its end, or none costs as little as is asked for.
        """
        runs, candidates = self.train_seeds(), {candidate.label: candidate for candidate in self.plan.everyone}
        everyone = {}
        measure = self.promotion.measure
        for label, found in runs.items():
            cost = self.find_cost(found[0])
            everyone[label] = TrainedCandidate(candidates[label], tuple(found), self.material.labels, cost, measure)
        baseline = everyone.pop(BASELINE, None)
        if not everyone:
            raise SearchError(
                f"a promotion needs a candidate that trains to its end, but of {self.promotion.layout.name} none did: "
                f"{' '.join(self.notes)}"
            )
        limit = self.promotion.limit
        allowed = tuple(each for each in everyone.values() if each.cost.fits(limit))
        if not allowed:
            costs = "; ".join(f"{each.candidate.words} {each.cost}" for each in everyone.values())
            raise SearchError(
                f"--max-ms and --max-params must let a candidate through, but none costs as little: {costs}"
            )
        costly = [
            f"{each.candidate.words} costs more than --max-ms or --max-params allow."
            for each in everyone.values()
            if not each.cost.fits(limit)
        ]
        ingredients = self.train_ingredients(allowed, runs) if self.promotion.options.has_soup else {}
        return Trained(allowed, baseline, (*self.notes, *costly), ingredients)

    def train_ingredients(
        self, candidates: Sequence[TrainedCandidate], runs: Mapping[str, Sequence[Run]]
    ) -> dict[Network, Path]:
        """What soups are made of: every candidate as often again, all from one start. Probes are left out.

        They tell nothing of how starts vary, so nothing is scored by them but soups.

        Args:
            runs: all re-runs by label: they tell how long one takes, and what is left of the hours.
        """
        count = len(self.plan.seeds)
        trainings = {
            (position, number): self.build_training(each.candidate, number)
            for position, each in enumerate(candidates)
            for number in range(count, 2 * count)
            if not each.candidate.config.is_probe
        }
        if not trainings:
            self.notes.append(
                "No soup was tried: probes share one frozen backbone, and averaging their heads is an ensemble in all "
                "but name."
            )
            return {}
        seconds = {label: [run.seconds for run in found] for label, found in runs.items()}
        more = [float(np.mean(seconds[each.label])) for each in trainings.values()]
        expected = sum(more) + sum(map(sum, seconds.values()))
        hours, concurrent = self.promotion.options.budget_hours, self.promotion.resources.concurrent
        if hours is not None and expected / concurrent > hours * SECONDS_AN_HOUR:
            self.notes.append("No soup was tried: its networks would take longer than --budget-hours allows.")
            return {}
        self.train(list(trainings.values()), "networks for soups")
        return {network: each.folder for network, each in trainings.items() if each.status == FINISHED}

    def train_seeds(self) -> dict[str, list[Run]]:
        """Runs by label.

        A candidate with a run that diverged is left out, with a note; of the baseline, what did not diverge stays.
        """
        rounds = [
            [self.build_training(each, number) for each in self.plan.everyone] for number in range(len(self.plan.seeds))
        ]
        dropped: set[str] = set()
        options = self.promotion.options
        if options.budget_hours is None and options.drop_error is None:
            self.train([training for each in rounds for training in each], "re-runs")
        else:  # a round a seed, so that losers can be dropped in between
            for number, trainings in enumerate(rounds):
                dropped |= self.find_sure_losers(rounds[:number], dropped)
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

    def build_training(self, candidate: Candidate, number: int) -> Training:
        """One network of a candidate: a re-run, or behind these, as `Network` counts, one that soups are made of."""
        count = len(self.plan.seeds)
        is_ingredient, number = number >= count, number % count
        seeds = self.plan.choose_soup_seeds(number) if is_ingredient else self.plan.choose_seeds(number)
        name = f"{candidate.label}-{'soup' if is_ingredient else 'seed'}{number}"
        return Training(
            label=candidate.label,
            seed_number=number,
            job=self.site.build_job(candidate.config.model_copy(update=seeds)),
            folder=self.folder / "reruns" / name,
        )

    def find_sure_losers(self, done: Sequence[Sequence[Training]], dropped: set[str]) -> set[str]:
        """Labels of the candidates that are surely worse than the best so far; none before all have two seeds."""
        error = self.promotion.options.drop_error
        if error is None or len(done) < LEAST_SEEDS:
            return set()
        out = dropped | {each.label for trainings in done for each in trainings if each.status != FINISHED}
        left = [each for each in self.plan.candidates if each.label not in out]
        measure, folds, labels = self.promotion.measure, self.material.folds, self.material.labels
        runs = [tuple(load_run(own) for one in done for own in one if own.label == each.label) for each in left]
        trained = [
            TrainedCandidate(each, own, labels, UNLIMITED, measure) for each, own in zip(left, runs, strict=True)
        ]
        scores = [measure.score_images(cross_fit(each.answer, folds)) for each in trained]
        level = share_error(error, len(self.plan.candidates), len(self.plan.seeds))
        found = [left[place] for place in find_sure_losers(scores, folds, level)] if len(left) > 1 else []
        for each in found:
            self.notes.append(
                f"{each.words} was dropped after {len(done)} of {len(self.plan.seeds)} seeds: surely worse than the "
                f"best so far (p <= {level:.3g} in one test; the best is dropped in at most {error:.3g} of cases)."
            )
        return {each.label for each in found}

    def find_losers(self, done: Sequence[Sequence[Training]], rounds_left: int, dropped: set[str]) -> set[str]:
        """Labels to drop now, to keep to the budget; one that diverged is out anyway, and not counted."""
        everything = [load_run(each) for trainings in done for each in trainings if each.status == FINISHED]
        diverged = {each.label for trainings in done for each in trainings if each.status == DIVERGED} - {BASELINE}
        runs: dict[str, list[Run]] = {}
        for run in everything:
            if run.label not in dropped | diverged:
                runs.setdefault(run.label, []).append(run)
        if not runs or self.promotion.options.budget_hours is None:
            return set()
        means = {
            label: float(np.mean([max(row[self.plan.objective.name] for row in run.scores) for run in each]))
            for label, each in runs.items()
        }
        seconds = {label: float(np.mean([run.seconds for run in each])) for label, each in runs.items()}
        concurrent = self.promotion.resources.concurrent
        left = (
            self.promotion.options.budget_hours * SECONDS_AN_HOUR - sum(run.seconds for run in everything) / concurrent
        )
        found = choose_losers(means, seconds, rounds_left, concurrent, left)
        for label in found:
            self.notes.append(
                f"{self.words[label]} was dropped after {len(runs[label])} of {len(self.plan.seeds)} seeds to keep to "
                f"the budget: mean {means[label]:.4f}, on the images that score the others."
            )
        return set(found)

    def find_cost(self, run: Run) -> Cost:
        """What a network costs, measured once: a limit must not let it through today and not tomorrow."""
        path = run.folder / COST_FILE
        if not path.is_file():
            cost = measure_cost(load_model(run.folder, choose_device(None)), self.material)
            self.promotion.wait(lambda: write_whole(path, json.dumps(asdict(cost)).encode()))
        return read_cost(path)

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

        with RerunView(self.promotion.console, title, trainings, self.words) as view:
            own = resources or self.promotion.resources
            train_all(trainings, own, listen, view.look, self.promotion.timeout_s, self.promotion.libraries)
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
            self.promotion.tracker.send_training(training, training.status, scores)

    # -------------------------------------------------------------------------------------------------- what is shipped

    def build_model(self, choice: Choice, trained: Trained) -> Saved:
        """The model that ships: of the re-runs, or trained again on train and val."""
        networks = list(dict.fromkeys(choice.networks))
        if self.promotion.options.is_recipe:
            folders = self.train_last(networks, trained.candidates)
        else:
            folders = {network: trained.folders[network] for network in networks}
        models = {network: load_model(folder, choose_device(None)) for network, folder in folders.items()}
        if self.promotion.options.is_recipe:  # what they scored was on images they were trained on
            models = {network: replace(model, metrics={}, confusion=[]) for network, model in models.items()}
        return build_final(choice, models, self.material)

    def train_last(self, networks: Sequence[Network], candidates: Sequence[TrainedCandidate]) -> dict[Network, Path]:
        """Train on train and val. Returns the folders of the saved models.

        Raises:
            SearchError: one diverged.
        """
        trainings = {network: self.build_last_training(candidates, network, len(networks)) for network in networks}
        self.train(list(trainings.values()), "final training on train and val", self.share_resources(len(networks)))
        diverged = [each.folder.name for each in trainings.values() if each.status != FINISHED]
        if diverged:
            raise SearchError(
                f"the final training must end well, but {', '.join(diverged)} diverged; promote with --fit-on train"
            )
        return {network: training.folder for network, training in trainings.items()}

    def share_resources(self, count: int) -> Resources:
        """All that the re-runs had, for fewer networks: each gets more of the cores."""
        own, at_once = self.promotion.resources, min(count, self.promotion.resources.concurrent)
        cpus = own.cpus_per_trial * own.concurrent // at_once if not own.gpus_per_trial else own.cpus_per_trial
        return replace(own, concurrent=at_once, cpus_per_trial=cpus)

    def build_last_training(self, candidates: Sequence[TrainedCandidate], network: Network, count: int) -> Training:
        """As the re-runs were, but on train and val, and stopped at the median of their best epochs."""
        candidate = candidates[network[0]]
        stop_epoch = int(np.median(candidate.choose_epochs(np.arange(len(self.material.val))))) + 1
        training = self.build_training(candidate.candidate, network[1])
        both = np.concatenate([self.material.train, self.material.val])
        return replace(
            training,
            folder=self.folder / "final" / f"{training.folder.name}-epoch{stop_epoch}",
            job=self.material.build_site("train-val", both, self.share_resources(count)).build_job(training.config),
            stop_epoch=stop_epoch,
        )


def read_cost(path: Path) -> Cost:
    """What a network costs, as it was measured once.

    Raises:
        CheckpointError: the file holds something else.
    """
    found = read_json(path, CostDescription, "hold what a network costs", "delete it", CheckpointError)
    return Cost(found.parameters, found.ms, found.spread)


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
