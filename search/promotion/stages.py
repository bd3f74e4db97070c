"""The stages of a promotion that choose: judgement, combination, and the model that ships.

They take seconds beside the training, and are done anew from what it left whenever a promotion goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from fashion_core.errors import SearchError
from fashion_core.files import write_whole
from fashion_core.hardware.device import choose_device
from fashion_core.models.ensemble import Saved
from fashion_core.models.saved import load_model
from search.jobs.reruns import FINISHED, Run, Training
from search.planning.resources import Resources
from search.promotion.candidates import BASELINE
from search.promotion.contenders import UNLIMITED, Contender, Cost, Judgement, judge_contenders
from search.promotion.final import Averager, build_final, measure_cost
from search.promotion.forms import Decision, Network, Pool, decide
from search.promotion.retraining import Retraining

COST_FILE = "cost.json"


class Stages(Retraining):
    """A promotion while it runs."""

    def build_contenders(self, runs: Mapping[str, list[Run]]) -> tuple[list[Contender], Contender | None]:
        """The candidates that were trained, and the baseline.

        Raises:
            SearchError: no candidate was, or none costs as little as is asked for.
        """
        candidates = {candidate.label: candidate for candidate in self.plan.everyone}
        everyone = {}
        for label, found in runs.items():
            everyone[label] = Contender(candidates[label], tuple(found), self.material.labels, self.find_cost(found[0]))
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

    def find_cost(self, run: Run) -> Cost:
        """What a network costs, measured once: a limit must not let it through today and not tomorrow."""
        path = run.folder / COST_FILE
        if not path.is_file():
            cost = measure_cost(load_model(run.folder, choose_device(None)), self.material)
            write_whole(path, json.dumps(asdict(cost)).encode())
        return Cost(**json.loads(path.read_text()))

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
        if self.options.fit_on == "train":
            folders = {(position, seed): contenders[position].runs[seed].folder for position, seed in networks}
        else:
            trainings = {network: self.build_last_training(contenders, network, len(networks)) for network in networks}
            self.train(list(trainings.values()), "final training on train and val", self.share_resources(len(networks)))
            diverged = [each.folder.name for each in trainings.values() if each.status != FINISHED]
            if diverged:
                raise SearchError(
                    f"the final training must end well, but {', '.join(diverged)} diverged; promote with --fit-on train"
                )
            folders = {network: training.folder for network, training in trainings.items()}
        models = {network: load_model(folder, choose_device(None)) for network, folder in folders.items()}
        if self.options.fit_on != "train":  # what they scored was on images they were trained on
            models = {network: replace(model, metrics={}, confusion=[]) for network, model in models.items()}
        return build_final(choice, models, self.material)

    def share_resources(self, count: int) -> Resources:
        """All that the re-runs had, for fewer networks: each gets more of the cores."""
        own, at_once = self.resources, min(count, self.resources.concurrent)
        cpus = own.cpus_per_trial * own.concurrent // at_once if not own.gpus_per_trial else own.cpus_per_trial
        return replace(own, concurrent=at_once, cpus_per_trial=cpus)

    def build_last_training(self, contenders: Sequence[Contender], network: Network, count: int) -> Training:
        """As the re-runs were, but on train and val, and stopped at the median of their best epochs."""
        contender = contenders[network[0]]
        stop_epoch = int(np.median(contender.choose_epochs(np.arange(len(self.material.val))))) + 1
        training = self.build_training(contender.candidate, network[1])
        both = np.concatenate([self.material.train, self.material.val])
        return replace(
            training,
            folder=self.layout.promotion_folder.resolve() / "final" / f"{training.folder.name}-epoch{stop_epoch}",
            selection=self.material.save_images("train-val", both),
            stop_epoch=stop_epoch,
            threads=self.share_resources(count).cpus_per_trial,
        )

    def read_example(self) -> bytes:
        """The file of a validation image."""
        return (self.material.folder / self.material.first.names[self.material.val[0]]).read_bytes()
