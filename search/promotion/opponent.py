"""What is judged against what: the answers of what may ship, and of what it must beat. S seeds, N images, K categories.

That is the registered champion, else the baseline, else the commonest class.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.errors import SearchError
from fashion_core.metrics import find_commonest, mark_correct
from search.promotion.champion import answer_by_champion, find_champion
from search.promotion.options import SINGLE
from search.registry.versions import JUDGED_TAG, KEY_TAG, Registry, Version
from search.statistics.crossfit import cross_fit, cross_fit_seeds, find_best
from search.statistics.gate import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.jobs.material import Material
    from search.promotion.forms import Decision
    from search.promotion.judgement import Judgement, Trained, TrainedCandidate
    from search.promotion.running import Promotion


@dataclass(frozen=True)
class Opponent:
    """What must be beaten.

    Attributes:
        words: what it is.
        answers: [S, N, K] on the validation images, 1 for right, NaN where one is unlabelled in a category.
        version: in the registry; None for a baseline.
        is_wanted: false where it stands in for a baseline that diverged: it proves nothing.
        attempts: versions of other promotions that were judged against it before.
        trouble: why the registry could not be asked, or "".
    """

    words: str
    answers: np.ndarray
    version: Version | None = None
    is_wanted: bool = True
    attempts: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Gate:
    """What was judged against what, and what came of it.

    Attributes:
        answers: [S, N, K] that were judged, cross-fitted: of the whole procedure, or of a recipe over its seeds.
    """

    answers: np.ndarray
    opponent: Opponent
    verdict: Verdict


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
        best = candidates[find_best([candidate.answer(images) for candidate in candidates], images, others)]
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
        over_seeds=over_seeds,
        has_baseline=promotion.plan.baseline is not None,
    )
    pool = judgement.answers if over_seeds else ()  # the candidates tell how seeds vary
    verdict = judge(answers, opponent.answers, pool, material.schema.names)
    if not opponent.is_wanted:
        reason = "the baseline diverged with every seed, so there is nothing that this had to beat"
        verdict = replace(verdict, passed=False, reasons=(reason, *verdict.reasons))
    return Gate(answers, opponent, verdict)


# ---------------------------------------------------------------------------------------------------- whom it must beat


def find_opponent(
    registry: Registry, trained: Trained, material: Material, *, key: str, over_seeds: bool, has_baseline: bool
) -> Opponent:
    """The champion of the registry where there is one, else the baseline, else the commonest class.

    A registry that cannot be asked is told: the model can be shipped all the same, and registered later.

    Args:
        key: of this promotion; where its own model is the champion already, the opponent is the one before.
        over_seeds: judge how the baseline is trained, over all seeds, not its best network.
        has_baseline: whether one was asked for.

    Raises:
        SearchError: the champion has other categories, or was trained on images that are judged on.
    """
    try:
        versions = registry.list_versions()
    except SearchError as error:
        return replace(stand_in(trained, material, over_seeds, has_baseline), trouble=str(error))
    champion = find_champion(versions, key)
    if champion is None:
        opponent = stand_in(trained, material, over_seeds, has_baseline)
    else:
        answers = answer_by_champion(registry, champion, material)
        opponent = Opponent(f"the champion, version {champion.number}", answers, champion)
    judged = {version.tags.get(KEY_TAG) for version in versions if version.tags.get(JUDGED_TAG) == opponent.words}
    return replace(opponent, attempts=len(judged - {key}))


def stand_in(trained: Trained, material: Material, over_seeds: bool, has_baseline: bool) -> Opponent:
    """The baseline; the commonest class where none was asked for, or it diverged (see `Opponent.is_wanted`)."""
    baseline = trained.baseline
    if baseline is None:
        commonest = find_commonest(material.first.labels[material.train])
        answers = mark_correct(commonest, material.labels)[None].astype(float)
        return Opponent("always answering the commonest class", answers, is_wanted=not has_baseline)
    if over_seeds:
        return Opponent("the baseline", cross_fit(baseline.answer, material.folds))
    return Opponent("the baseline", cross_fit(lambda images: answer_by_best_seed(baseline, images), material.folds))


def answer_by_best_seed(candidate: TrainedCandidate, images: np.ndarray) -> np.ndarray:
    """[1, N, K]: the network that is best on some images."""
    seed = candidate.find_best_seed(images)
    return candidate.answer(images)[seed : seed + 1]
