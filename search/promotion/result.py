"""What a promotion found and what came of it: one result, which the report, the card, the terminal and MLflow read.

S seeds, N validation images, K categories, C classes of one category.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.data.pixels import build_settings
from fashion_core.errors import SearchError
from search.promotion.forms import SEEDS, Choice, Decision
from search.promotion.licences import find_data_licence
from search.promotion.options import ENSEMBLE, SINGLE, SOUP
from search.records.provenance import collect_provenance, describe_cpu
from search.registry.models import Model, open_model
from search.registry.versions import CHAMPION, Version
from search.statistics.gate import count_labelled, list_scarce
from search.statistics.intervals import Estimate, estimate_answers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fashion_core.config import TrainConfig
    from fashion_core.data.schema import AttributeSchema
    from fashion_core.metrics import Measure, Objective
    from search.promotion.judgement import Judgement, Row, Trained, TrainedCandidate
    from search.promotion.opponent import Gate, Opponent
    from search.promotion.options import PromotionOptions
    from search.promotion.plan import PromotionPlan
    from search.promotion.running import Promotion
    from search.records.events import SearchStarted
    from search.records.layout import AttemptLayout, FinalLayout, SearchLayout
    from search.statistics.calibration import Calibration
    from search.statistics.coverage import Coverage
    from search.statistics.gate import Verdict


@dataclass(frozen=True)
class Member:
    """One network of the model: how it was trained, the epoch that was kept (from 1), its share in the answer."""

    config: TrainConfig
    epoch: int
    share: float


@dataclass(frozen=True)
class Shipped:
    """What shipping found in the model and the data.

    Attributes:
        layout: where the model stands.
        trained: number of images it was trained on.
        images: N.
        duplicates: how many of the N have the very file of an image that it was trained on.
        reruns: S, of the recipe, whose answers are counted below; None: those of the model itself.
        confusion: K matrices [C, C] of the images labelled in a category, row = truth, summed over the S networks.
        majority: accuracy of always answering the commonest class of train, by category; majority_score: that of the
            objective.
        before, after: calibration of the answers without and with the temperatures.
        temperatures: K.
        coverage: K, of the answers with temperatures that were fitted without them.
        parameters, model_bytes: of all members.
        ms_per_image: time of an answer on this machine; None where it was not measured.
        weights_licences: (what, terms) of what they started from.
        onnx_difference: largest of probabilities, on `onnx_images` images; None where `onnx_error` says why there is
            no file.
        submission_error: why there is no submission; None where there is one.
    """

    layout: FinalLayout
    schema: AttributeSchema
    members: tuple[Member, ...]
    trained: int
    images: int
    duplicates: int
    reruns: int | None
    confusion: tuple[np.ndarray, ...]
    majority: tuple[float, ...]
    majority_score: float
    before: Calibration
    after: Calibration
    temperatures: tuple[float, ...]
    coverage: tuple[Coverage, ...]
    parameters: int
    model_bytes: int
    ms_per_image: float | None
    weights_licences: tuple[tuple[str, str], ...]
    onnx_images: int
    onnx_difference: float | None
    onnx_error: str | None
    submission_error: str | None

    @property
    def needs_box(self) -> bool:
        """Whether it looks at a part of the image that somebody must name."""
        return any(build_settings(member.config).needs_box for member in self.members)

    @property
    def whose(self) -> str:
        """Whose answers were counted, in words."""
        if self.reruns is None:
            return "this model"
        return "the recipe's re-run" if self.reruns == 1 else f"{self.reruns} re-runs of the recipe, taken together"


@dataclass(frozen=True)
class PromotionResult:
    """A promotion that was judged, and what came of it.

    Attributes:
        model_name: in the registry.
        search: how it began, with the data that it was promoted on.
        search_seconds: how long the search ran.
        category_names: K.
        score, categories: of the answers that the gate judged: the objective, between 0 and 1, and the accuracy of each
            category.
        origin: where the model's weights come from, in a sentence.
        gap: the winner's curse of its recipe, see `search.statistics.intervals.compute_gap`; None where it is not
            known.
        folds: of the cross-fitting.
        notes: what a reader must know, a sentence each.
        data_licence: the terms of the data.
        machine, provenance: where and how it ran, see `collect_provenance`.
        ended: unix seconds.
        seconds: how long it took, to then.
        attempt: of promoting its search, from 1; stands: whether its report and model are those of the search.
        shipped: None where nothing was shipped.
        version: in the registry; None where it was not registered.
    """

    layout: SearchLayout
    options: PromotionOptions
    model_name: str
    plan: PromotionPlan
    search: SearchStarted
    search_seconds: float
    category_names: tuple[str, ...]
    judgement: Judgement
    decision: Decision
    gate: Gate
    score: Estimate
    categories: tuple[Estimate, ...]
    origin: str
    gap: Estimate | None
    folds: int
    notes: tuple[str, ...]
    data_licence: str
    machine: str
    provenance: Mapping[str, str]
    ended: float
    seconds: float
    attempt: int = 1
    stands: bool = True
    shipped: Shipped | None = None
    version: Version | None = None

    @property
    def objective(self) -> Objective:
        """The score that candidates, forms and the gate compare."""
        return self.plan.objective

    @property
    def opponent(self) -> Opponent:
        """What had to be beaten."""
        return self.gate.opponent

    @property
    def verdict(self) -> Verdict:
        """What the gate said."""
        return self.gate.verdict

    @property
    def passed(self) -> bool:
        """Whether the model may take the champion's place: the gate let it pass, or it was forced."""
        return self.verdict.passed or self.options.force

    @property
    def forced(self) -> bool:
        """Whether it passed although the gate did not let it."""
        return self.options.force and not self.verdict.passed

    @property
    def is_champion(self) -> bool:
        """Whether the registered version was the champion in the end."""
        return self.version is not None and CHAMPION in self.version.aliases

    @property
    def name(self) -> str:
        """Of the search."""
        return self.layout.name

    @property
    def files(self) -> AttemptLayout:
        """The folder of the attempt."""
        return self.layout.attempt(self.attempt)

    @property
    def report(self) -> Path:
        """PROMOTION.md: of the search where the attempt stands for it, else of the attempt alone."""
        return self.layout.promotion_report if self.stands else self.files.report

    @property
    def final(self) -> FinalLayout:
        """Where its model goes: see `report`."""
        return self.layout.final if self.stands else self.files.final

    @property
    def images(self) -> int:
        """Number of validation images that it was judged on."""
        return int(self.gate.answers.shape[1])

    @property
    def labelled(self) -> tuple[int, ...]:
        """How many of them are labelled in each category; empty where all are in all."""
        known = ~np.isnan(self.gate.answers[0])
        return () if known.all() else tuple(known.sum(0).tolist())

    @property
    def scarce(self) -> list[tuple[str, int]]:
        """(name, labelled images) of the categories that few of these images are labelled in."""
        return list_scarce(self.category_names, count_labelled(self.gate.answers))

    @property
    def scored(self) -> int:
        """How many images the score is of: of one category's accuracy, those labelled in it."""
        if self.objective.category is None or not self.labelled:
            return self.images
        return self.labelled[self.category_names.index(self.objective.category)]

    @property
    def answers_of(self) -> str:
        """Whose scores these are."""
        if not self.options.is_recipe:
            return (
                "Cross-fitted scores of the whole procedure: every image is scored by what would have been chosen "
                "(form, candidate, network, epoch, members) without it. What ships was chosen on all images."
            )
        whose = "its recipe over all seeds" if len(self.gate.answers) > 1 else "the networks trained on train alone"
        return (
            "**The model that ships was trained on these images too; the scores are those of "
            f"{whose}**, cross-fitted: every image is scored by what would have been chosen without it."
        )

    @property
    def metrics(self) -> dict[str, float]:
        """What MLflow shows of it."""
        gain = self.verdict.difference.mean
        values = {"promotion/score": self.score.value, "promotion/gain": gain.value}
        values["promotion/p_value"] = gain.p_value
        values |= {"promotion/try": self.verdict.attempt, "promotion/p_value_allowed": self.verdict.allowed}
        pairs = zip(self.category_names, self.categories, strict=True)
        return values | {f"promotion/score/{name}": each.value for name, each in pairs}

    def model(self, device: str | None = None) -> Model:
        """The model that was shipped, with its temperatures, ready to be asked.

        Args:
            device: that it answers on; None: a GPU where there is one.

        Raises:
            SearchError: nothing was shipped.
        """
        if self.shipped is None:
            raise SearchError(
                f"a model was shipped where the gate let it pass, but it did not let that of {self.name}: "
                f"{'; '.join(self.verdict.reasons)}; `force` ships it all the same"
            )
        return open_model(str(self.shipped.layout.folder), device=device)

    def to_dict(self) -> dict[str, Any]:
        """What came of it, with intervals; JSON-able."""
        difference = self.verdict.difference
        pairs = zip(self.category_names, difference.categories, strict=True)
        return {
            "search": self.name,
            "attempt": self.attempt,
            "stands": self.stands,
            "passed": self.passed,
            "forced": self.forced,
            "champion": self.is_champion,
            "model_name": self.model_name,
            "version": None if self.version is None else self.version.number,
            "fit_on": self.options.fit_on,
            "objective": self.objective.name,
            "score": self.score.to_dict(),
            "categories": {
                name: each.to_dict() for name, each in zip(self.category_names, self.categories, strict=True)
            },
            "origin": self.origin,
            "gate": {
                "opponent": self.opponent.words,
                "passed": self.verdict.passed,
                "gain": difference.mean.to_dict(),
                "categories": {name: each.to_dict(difference.category_level) for name, each in pairs},
                "p_value": difference.mean.p_value,
                "p_value_allowed": self.verdict.allowed,
                "try": self.verdict.attempt,
                "tries": [each.model_dump(exclude={"answers"}) for each in self.gate.attempts],
                "detectable": self.verdict.detectable,
                "detectable_losses": dict(zip(self.category_names, self.verdict.detectable_losses, strict=True)),
                "reasons": list(self.gate.reasons),
                "one_network": None if self.gate.one_network is None else self.gate.one_network.mean.to_dict(),
                "as_shipped": None if self.gate.as_shipped is None else self.gate.as_shipped.mean.to_dict(),
            },
            "candidates": [describe_row(row) for row in self.judgement.rows],
            "forms": [
                {
                    "form": form.choice.form,
                    "networks": len(set(form.choice.networks)),
                    "score": form.score.to_dict(),
                    "gain": form.gain.to_dict(),
                    "parameters": form.cost.parameters,
                    "ms_per_image": form.cost.ms,
                    "state": self.decision.describe_state(form),
                }
                for form in self.decision.forms
            ],
            "images": self.images,
            **({"labelled": dict(zip(self.category_names, self.labelled, strict=True))} if self.labelled else {}),
            "scarce": dict(self.scarce),
            "folds": self.folds,
            "notes": list(self.notes),
            "seconds": self.seconds,
            "report": str(self.report),
            "model": None if self.shipped is None else str(self.shipped.layout.folder),
        }


def describe_row(row: Row) -> dict[str, Any]:
    """A candidate in the table, JSON-able."""
    return {
        "candidate": row.candidate.label,
        "trial": row.candidate.trial,
        "search_score": row.candidate.search_score,
        "score": row.score.to_dict(),
        "gap": None if row.gap is None else row.gap.to_dict(),
        "less_the_baseline": None if row.versus is None else row.versus.mean.to_dict(),
        "best_share": row.best_share,
        "calibration_error": row.calibration_error,
        "calibration_floor": row.calibration_floor,
        "best_epochs": list(row.best_epochs),
        "parameters": row.cost.parameters,
        "ms_per_image": row.cost.ms,
    }


# ------------------------------------------------------------------------------------------------------- how it is made


def build_result(
    promotion: Promotion, trained: Trained, judgement: Judgement, decision: Decision, gate: Gate
) -> PromotionResult:
    """What the stages of a promotion found, before anything ships."""
    material, search = promotion.material, promotion.search.begun
    score, categories = estimate_scores(gate.answers, judgement, trained.measure)
    own, options = promotion.own, promotion.options
    passed = gate.verdict.passed or options.force
    notes = [*trained.notes, *decision.notes]
    if gate.opponent.trouble:
        notes.append(f"The registry could not be asked, so a champion may exist: {gate.opponent.trouble}")
    if promotion.tries.trouble:
        notes.append(f"Tries that the registry alone knows of are not counted: {promotion.tries.trouble}")
    here = {
        "folder": material.source.resolve().name,
        "fingerprint": material.first.fingerprint,
        "counts": material.counts,
    }
    return PromotionResult(
        layout=promotion.layout,
        options=options,
        model_name=promotion.registry.model,
        plan=promotion.plan,
        search=replace(search, data={**search.data, **here}),
        search_seconds=promotion.search.seconds,
        category_names=tuple(material.schema.names),
        judgement=judgement,
        decision=decision,
        gate=gate,
        score=score,
        categories=categories,
        origin=describe_origin(decision.choice, trained.candidates, promotion.options.fit_on),
        gap=find_gap(decision.choice, trained.candidates, judgement),
        folds=len(np.unique(material.folds)),
        notes=tuple(notes),
        data_licence=find_data_licence(search.tell("data", "folder"), material.schema.names),
        machine=f"{len(os.sched_getaffinity(0))} cores of {describe_cpu()}",
        provenance=collect_provenance(promotion.command),
        ended=time.time(),
        seconds=time.monotonic() - promotion.started,
        attempt=own.number,
        stands=own.takes_place(passed=passed, ships=passed or not options.is_recipe),
    )


def estimate_scores(
    answers: np.ndarray, judgement: Judgement, measure: Measure
) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Of what the gate judged: the objective, and each category's accuracy. Over seeds too, where it has several."""
    return estimate_answers(answers, judgement.answers if len(answers) > 1 else (), measure)


def find_gap(choice: Choice, candidates: Sequence[TrainedCandidate], judgement: Judgement) -> Estimate | None:
    """The winner's curse of the candidate that ships; None where several do."""
    if choice.form != SINGLE:
        return None
    label = candidates[choice.networks[0][0]].candidate.label
    return next(row.gap for row in judgement.rows if row.candidate.label == label)


def describe_origin(choice: Choice, candidates: Sequence[TrainedCandidate], fit_on: str) -> str:
    """Where the model's weights come from, in a sentence."""
    names = list(dict.fromkeys(candidates[position].candidate.words for position, _ in choice.networks))
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    count = len(set(choice.networks))
    how = "with fresh seeds" if count > 1 else "with a fresh seed"
    again = f"trained again {how} on {'train and val' if fit_on == 'train+val' else 'train'}"
    whole = {
        SINGLE: f"{listed}, {again}.",
        SOUP: f"The average of the weights of {count} networks: {listed}, {again}.",
        SEEDS: f"An ensemble of {count} networks, the seeds of one candidate: {listed}, {again}.",
        ENSEMBLE: f"An ensemble of {count} networks: {listed}, {again}.",
    }[choice.form]
    return whole[0].upper() + whole[1:]
