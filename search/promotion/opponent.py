"""What is judged against what: the answers of what may ship, and of what it must beat. S seeds, N images, K categories.

That is the registered champion, else the baseline, else the commonest class. Like is held against like: one network
against one, in the mean of those that were trained; an ensemble against an ensemble of the baseline's networks; what is
to be champion against what is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.errors import SearchError
from fashion_core.metrics import find_commonest, mark_correct
from search.promotion.champion import answer_by_champion, answer_by_members, find_champion
from search.promotion.forms import SEEDS, answer_by_form
from search.promotion.judgement import find_best_candidate
from search.promotion.options import ENSEMBLE, SINGLE
from search.promotion.tries import digest_answers
from search.statistics.crossfit import cross_fit, cross_fit_seeds
from search.statistics.gate import Verdict, compare_answers, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.jobs.material import Material
    from search.promotion.forms import Decision
    from search.promotion.judgement import Judgement, Trained, TrainedCandidate
    from search.promotion.running import Promotion
    from search.records.attempts import Attempt
    from search.registry.versions import Registry, Version
    from search.statistics.gate import Difference


@dataclass(frozen=True)
class Opponent:
    """What must be beaten.

    Attributes:
        words: what it is.
        answers: [S, N, K] on the validation images, 1 for right, NaN where one is unlabelled in a category.
        one_network: [S, N, K] or [1, N, K]: what one of its networks answers in the mean; None where nobody knows.
        version: in the registry; None for a baseline.
        is_wanted: false where it stands in for a baseline that diverged: it proves nothing.
        trouble: why the registry could not be asked, or "".
    """

    words: str
    answers: np.ndarray
    one_network: np.ndarray | None = None
    version: Version | None = None
    is_wanted: bool = True
    trouble: str = ""


@dataclass(frozen=True)
class Gate:
    """What was judged against what, and what came of it.

    Attributes:
        answers: [S, N, K] that were judged, cross-fitted: of the whole procedure, or of a recipe over its seeds.
        attempts: the tries on these images so far, in order; this is the last.
        one_network: one network of what was found less one of the opponent, in the mean of those there are; None where
            one of both is not known.
    """

    answers: np.ndarray
    opponent: Opponent
    verdict: Verdict
    attempts: tuple[Attempt, ...] = ()
    one_network: Difference | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The verdict's, and how one network compares with one."""
        if self.one_network is None:
            return self.verdict.reasons
        like = f"one network against one, in the mean of those there are: {self.one_network.mean.render()}"
        return (*self.verdict.reasons, like)


def find_answers(
    decision: Decision, candidates: Sequence[TrainedCandidate], folds: np.ndarray, *, is_recipe: bool
) -> np.ndarray:
    """[S, N, K] answers that the gate judges: of the whole procedure, or of the recipe of a single network."""
    if is_recipe and decision.choice.form == SINGLE and len(candidates[0].runs) > 1:
        return answer_by_recipe(candidates, folds)
    return decision.answers


def answer_by_recipe(candidates: Sequence[TrainedCandidate], folds: np.ndarray) -> np.ndarray:
    """[S, N, K]: the best candidate's recipe, each image and each seed from a choice that was made without it.

    As the recipe has it, a network stops at the median of the best epochs, here those of the other seeds.
    """
    seeds = len(candidates[0].runs)

    def choose(images: np.ndarray, others: np.ndarray) -> np.ndarray:
        best = candidates[find_best_candidate(candidates, images, others)]
        epoch = int(np.median(best.choose_epochs(images)[others]))
        return best.correct[:, epoch].astype(float)

    return cross_fit_seeds(choose, folds, seeds)


def ask_gate(promotion: Promotion, trained: Trained, judgement: Judgement, decision: Decision) -> Gate:
    """Whether what was decided on may take the place of its opponent.

    Raises:
        SearchError: the champion has other categories, or was trained on images that are judged on.
    """
    material, is_recipe = promotion.material, promotion.options.is_recipe
    answers = find_answers(decision, trained.candidates, material.folds, is_recipe=is_recipe)
    over_seeds = len(answers) > 1
    opponent = find_opponent(
        promotion.registry,
        trained,
        material,
        key=promotion.key,
        form=None if over_seeds else decision.choice.form,
        has_baseline=promotion.plan.baseline is not None,
    )
    pool = judgement.answers if over_seeds else ()  # the candidates tell how seeds vary
    attempts = promotion.tries.enter(opponent.words, digest_answers(answers, opponent.answers))
    verdict = judge(answers, opponent.answers, pool, material.schema.names, len(attempts), trained.measure)
    if not opponent.is_wanted:
        reason = "the baseline diverged with every seed, so there is nothing that this had to beat"
        verdict = replace(verdict, passed=False, reasons=(reason, *verdict.reasons))
    one_network = None
    if opponent.one_network is not None:
        one_network = compare_answers(decision.one_network, opponent.one_network, (), trained.measure)
    return Gate(answers, opponent, verdict, attempts, one_network)


# ---------------------------------------------------------------------------------------------------- whom it must beat


def find_opponent(
    registry: Registry, trained: Trained, material: Material, *, key: str, form: str | None, has_baseline: bool
) -> Opponent:
    """The champion of the registry where there is one, else the baseline, else the commonest class.

    A registry that cannot be asked is told: the model can be shipped all the same, and registered later.

    Args:
        key: of this promotion; where its own model is the champion already, the opponent is the one before.
        form: in which the baseline is judged; None: how it is trained, over all seeds.
        has_baseline: whether one was asked for.

    Raises:
        SearchError: the champion has other categories, or was trained on images that are judged on.
    """
    try:
        versions = registry.list_versions()
    except SearchError as error:
        return replace(stand_in(trained, material, form, has_baseline), trouble=str(error))
    champion = find_champion(versions, key)
    if champion is None:
        return stand_in(trained, material, form, has_baseline)
    answers = answer_by_champion(registry, champion, material)
    members = answer_by_members(registry, champion, material)
    words = f"the champion, version {champion.number}"
    if members is not None and len(members) > 1:
        words += f", an ensemble of {len(members)} networks"
    return Opponent(words, answers, members, champion)


def stand_in(trained: Trained, material: Material, form: str | None, has_baseline: bool) -> Opponent:
    """The baseline; the commonest class where none was asked for, or it diverged (see `Opponent.is_wanted`)."""
    baseline = trained.baseline
    if baseline is None:
        commonest = find_commonest(material.first.labels[material.train])
        answers = mark_correct(commonest, material.labels)[None].astype(float)
        return Opponent("always answering the commonest class", answers, is_wanted=not has_baseline)
    seeds = cross_fit(baseline.answer, material.folds)
    if form is None:
        return Opponent("the baseline", seeds, seeds)
    count = len(baseline.runs)
    kind = "an ensemble" if form in (SEEDS, ENSEMBLE) else "the mean"
    words = f"the baseline, {kind} of its {count} networks" if count > 1 else "the baseline"
    return Opponent(words, answer_by_form(baseline, form, material.folds), seeds)
