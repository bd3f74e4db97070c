"""What a promotion found, made into what its report and its model's card show. S seeds, N images, K categories."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fashion_core.models.ensemble import Saved
from search.promotion.contenders import Contender, Judgement
from search.promotion.final import measure_cost
from search.promotion.forms import ENSEMBLE, SEEDS, SINGLE, SOUP, Choice, Decision
from search.promotion.opponent import Opponent
from search.promotion.report import Outcome
from search.promotion.stages import Stages
from search.records.ledger import compute_seconds, read_events
from search.records.provenance import collect_provenance, describe_command, describe_cpu
from search.records.record import SearchRecord
from search.registry.facts import DEEPFASHION_TERMS, Facts
from search.statistics.gate import Verdict
from search.statistics.intervals import Estimate, estimate_score, estimate_seed_noise


@dataclass(frozen=True)
class Finding:
    """What a promotion found, before it ships.

    Attributes:
        challenger: answers [S, N, K] that the gate judged.
        attempts: earlier versions that were judged against the same opponent.
        trouble: why the registry could not be asked, or "".
    """

    contenders: list[Contender]
    judgement: Judgement
    decision: Decision
    challenger: np.ndarray
    opponent: Opponent
    verdict: Verdict
    attempts: int
    trouble: str


def build_outcome(stages: Stages, finding: Finding) -> Outcome:
    """What the report shows."""
    plan, material, choice = stages.plan, stages.material, finding.decision.chosen.choice
    fit_on = stages.options.fit_on
    score, categories = estimate_scores(finding)
    return Outcome(
        name=stages.layout.name,
        category_names=tuple(material.schema.names),
        plan=plan,
        fit_on=fit_on,
        judgement=finding.judgement,
        decision=finding.decision,
        score=score,
        categories=categories,
        answers_of=describe_answers(finding, fit_on),
        origin=describe_origin(choice, finding.contenders, fit_on),
        opponent=finding.opponent.words,
        verdict=finding.verdict,
        forced=stages.options.force and not finding.verdict.passed,
        notes=list_notes(stages, finding),
        images=len(material.val),
        folds=len(np.unique(material.folds)),
        seconds=sum(row.seconds for row in finding.judgement.rows),
        machine=describe_machine(),
        command=describe_command(sys.argv),
        date=time.strftime("%Y-%m-%d"),
    )


def list_notes(stages: Stages, finding: Finding) -> tuple[str, ...]:
    """What a reader must know."""
    notes = list(stages.notes)
    if finding.decision.chosen.choice.form == SOUP:
        notes.append(
            "Of each network in the soup, the epoch was chosen on all validation images, the only one that is kept: "
            "the soup's score is a little too high for that, also where it is compared."
        )
    if finding.trouble:
        notes.append(f"The registry could not be asked, so a champion may exist: {finding.trouble}")
    return tuple(notes)


def estimate_scores(finding: Finding) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Of the challenger's answers: the mean, and each category's accuracy. Over seeds too, where it has several."""
    answers, pool = finding.challenger, finding.judgement.answers if len(finding.challenger) > 1 else ()
    mean = estimate_score(answers.mean(2), estimate_seed_noise([each.mean(2) for each in pool]))
    categories = []
    for index in range(answers.shape[2]):
        noise = estimate_seed_noise([each[:, :, index] for each in pool])
        categories.append(estimate_score(answers[:, :, index], noise))
    return mean, tuple(categories)


def describe_answers(finding: Finding, fit_on: str) -> str:
    """Whose scores these are."""
    if fit_on == "train":
        return (
            "Cross-fitted scores of the whole procedure: every image is scored by what would have been chosen (form, "
            "candidate, network, epoch, members) without it. What ships was chosen on all images."
        )
    whose = "its recipe over all seeds" if len(finding.challenger) > 1 else "the networks trained on train alone"
    return (
        f"**The model that ships was trained on these images too; the scores are those of {whose}**, cross-fitted: "
        "every image is scored by what would have been chosen without it."
    )


def describe_origin(choice: Choice, contenders: Sequence[Contender], fit_on: str) -> str:
    """Where the model's weights come from, in a sentence."""
    names = list(dict.fromkeys(contenders[position].candidate.words for position, _ in choice.networks))
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


def list_recipe_answers(choice: Choice, contenders: Sequence[Contender]) -> list[np.ndarray]:
    """Probabilities of what was trained on train alone, K arrays [S, N, C_i]: of all seeds of a single candidate, else
    of the one model of these networks."""
    if choice.form != SINGLE:
        return [values[None] for values in choice.probabilities]
    contender = contenders[choice.networks[0][0]]
    epochs = contender.choose_epochs(np.arange(len(contender.labels)))
    seeds = [contender.find_probabilities(seed, int(epoch)) for seed, epoch in enumerate(epochs)]
    return [np.stack(columns) for columns in zip(*seeds, strict=True)]


def list_predictions(contenders: Sequence[Contender], categories: Sequence[str]) -> dict[str, np.ndarray]:
    """Probabilities of every re-run at its best epoch, [N, C] each, by `LABEL-seedN/CATEGORY`."""
    found = {}
    for contender in contenders:
        epochs = contender.choose_epochs(np.arange(len(contender.labels)))
        for seed, epoch in enumerate(epochs):
            probabilities = contender.find_probabilities(seed, int(epoch))
            for name, values in zip(categories, probabilities, strict=True):
                found[f"{contender.candidate.label}-seed{seed}/{name}"] = values
    return found


def build_facts(
    stages: Stages,
    outcome: Outcome,
    finding: Finding,
    record: SearchRecord,
    saved: Saved,
    model_name: str,
    started: float,
) -> Facts:
    """What the model's card shows."""
    cost = measure_cost(saved, stages.material)
    gap = None
    choice = finding.decision.chosen.choice
    if choice.form == SINGLE:
        label = finding.contenders[choice.networks[0][0]].candidate.label
        gap = next(row.gap for row in finding.judgement.rows if row.candidate.label == label)
    folder = record.search["data"]["folder"]
    return Facts(
        name=stages.layout.name,
        model_name=model_name,
        origin=outcome.origin,
        fit_on=stages.options.fit_on,
        score=outcome.score,
        categories=outcome.categories,
        candidates=len(finding.contenders),
        seeds=len(stages.plan.seeds),
        folds=outcome.folds,
        opponent=outcome.opponent,
        verdict=outcome.verdict,
        forced=outcome.forced,
        attempts=finding.attempts,
        data_licence=DEEPFASHION_TERMS if folder.lower().startswith("fashiondataset") else f"that of {folder}",
        search={
            **record.search,
            "data": {
                **record.search["data"],
                "folder": stages.material.folder.resolve().name,
                "fingerprint": stages.material.first.fingerprint,
                "counts": stages.material.counts,
            },
        },
        search_seconds=compute_seconds(read_events(stages.layout.ledger)),
        provenance=collect_provenance(sys.argv),
        promoted=time.time(),
        seconds=time.time() - started,
        notes=outcome.notes,
        gap=gap,
        ms_per_image=cost.ms,
        machine=describe_machine(),
    )


def describe_machine() -> str:
    """Processor and cores."""
    return f"{len(os.sched_getaffinity(0))} cores of {describe_cpu()}"
