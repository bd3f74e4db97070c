"""What is judged against what: the answers of what may ship, and of what it must beat. S seeds, N images, K categories.

That is the registered champion, else the baseline, else the commonest class. Like is held against like: a recipe for
one network against the baseline's, each in the mean of its networks; an ensemble against an ensemble of the baseline's
networks. Of recipes, how seeds vary counts: the gate opens for what would be better trained again. So it is against a
champion that is a single network, where its re-runs answered the same images: it was picked by its luck among them.
Any other champion is held against a challenger as both are, over images alone, but where new networks are trained for
that: a network that ships is better or not, whether or not its recipe is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.errors import SearchError
from fashion_core.metrics import find_commonest, mark_correct
from search.promotion.champion import ask_champion, find_champion
from search.promotion.forms import SEEDS, Pool, answer_by_form, choose_ensemble, choose_seeds
from search.promotion.judgement import find_best_candidate
from search.promotion.options import ENSEMBLE, SINGLE
from search.promotion.tries import digest_answers
from search.statistics.crossfit import cross_fit, cross_fit_seeds
from search.statistics.gate import Verdict, compare_answers, judge
from search.statistics.intervals import IMAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.jobs.material import Material
    from search.promotion.forms import Choice, Decision
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
        share: of one network's variance over seeds that is in its score: 1 of one network, 1 / M in the mean of M.
        version: in the registry; None for a baseline.
        is_wanted: false where it stands in for a baseline that diverged: it proves nothing.
        is_recipe: whether a champion's answers are those of its recipe's re-runs.
        shipped: [1, N, K] of the network that ships then, where that is known.
        remark: how a single champion is held against what may ship, and why; else "".
        trouble: why the registry could not be asked, or "".
    """

    words: str
    answers: np.ndarray
    one_network: np.ndarray | None = None
    share: float = 1.0
    version: Version | None = None
    is_wanted: bool = True
    trouble: str = ""
    is_recipe: bool = False
    shipped: np.ndarray | None = None
    remark: str = ""


@dataclass(frozen=True)
class Gate:
    """What was judged against what, and what came of it.

    Attributes:
        answers: [S, N, K] of what may ship, cross-fitted: of the whole procedure, or of a recipe over its seeds.
        attempts: the tries on these images so far, in order; this is the last.
        one_network: one network of what was found less one of the opponent, in the mean of those there are; None where
            one of both is not known.
        claim: what the comparison is of, in words.
        recipe: [S, N, K] of a single network's recipe, see `answer_by_recipe`; None of another form, or of one re-run.
        as_shipped: what ships less what shipped, as both are, where their recipes were compared.
    """

    answers: np.ndarray
    opponent: Opponent
    verdict: Verdict
    attempts: tuple[Attempt, ...] = ()
    one_network: Difference | None = None
    claim: str = ""
    recipe: np.ndarray | None = None
    as_shipped: Difference | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The verdict's, what was compared, and how one network compares with one."""
        first, *rest = self.verdict.reasons
        reasons = [first, *(text for text in (self.opponent.remark, self.claim) if text), *rest]
        if self.one_network is not None:
            like = f"one network against one, in the mean of those there are: {self.one_network.mean.render()}"
            reasons.append(like)
        if self.as_shipped is not None:
            reasons.append(f"what ships against what shipped, as both are: {self.as_shipped.mean.render()}")
        return tuple(reasons)


def find_answers(
    decision: Decision, candidates: Sequence[TrainedCandidate], folds: np.ndarray, *, is_recipe: bool
) -> np.ndarray:
    """[S, N, K] answers of what may ship: of the whole procedure, or of the recipe of a single network."""
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
    form = decision.choice.form
    opponent = find_opponent(
        promotion.registry,
        trained,
        material,
        key=promotion.key,
        form=None if form == SINGLE else form,
        has_baseline=promotion.plan.baseline is not None,
    )
    recipe = find_answers(decision, trained.candidates, material.folds, is_recipe=True)
    # where nobody chose among the opponent's networks, nobody chooses among these
    judged = recipe if opponent.version is None or opponent.is_recipe else answers
    is_as_shipped = opponent.version is not None and not is_recipe and not opponent.is_recipe
    noisy = () if is_as_shipped else judgement.answers  # they tell how seeds vary
    if opponent.is_recipe:
        noisy = (*noisy, opponent.answers)
    share = opponent.share + (1 / len(judged) if len(judged) > 1 else find_share(decision.choice))
    score = float(trained.measure.score(judged).mean())
    attempts = promotion.tries.enter(opponent.words, digest_answers(judged, opponent.answers), score)
    verdict = judge(
        judged,
        opponent.answers,
        noisy,
        material.schema.names,
        len(attempts),
        trained.measure,
        share,
    )
    if not opponent.is_wanted:
        reason = "the baseline diverged with every seed, so there is nothing that this had to beat"
        verdict = replace(verdict, passed=False, reasons=(reason, *verdict.reasons))
    one_network = None
    if opponent.one_network is not None and not (opponent.is_recipe and form == SINGLE):  # that is what was judged
        one_network = compare_answers(decision.one_network, opponent.one_network, (), trained.measure)
    as_shipped = None
    if opponent.shipped is not None and not is_recipe:
        as_shipped = compare_answers(answers, opponent.shipped, (), trained.measure)
    claim = "" if verdict.difference.mean.covers == IMAGES else describe_claim(len(judged), len(answers))
    kept = recipe if form == SINGLE and len(recipe) > 1 else None
    return Gate(answers, opponent, verdict, attempts, one_network, claim, kept, as_shipped)


def find_share(choice: Choice) -> float:
    """See `Opponent.share`: of an ensemble the sum of its members' squared weights, as of a mean; else 1.

    A soup counts as the one network that it is, which is more than its seeds can vary.
    """
    if choice.form not in (SEEDS, ENSEMBLE):
        return 1.0
    counts = np.array(list(Counter(choice.networks).values()))
    return float((counts**2).sum() / counts.sum() ** 2)


def describe_claim(judged: int, shipped: int) -> str:
    """What the gate compares, in words. judged, shipped: S of the answers judged, and of those of what may ship."""
    if judged == 1:
        return "the interval holds how seeds vary: it is of what would ship, were all trained again with other seeds"
    what = "" if shipped == judged else "; what ships is the best of them"
    return f"what is compared is the recipe, in the mean of its {judged} networks{what}"


# ---------------------------------------------------------------------------------------------------- whom it must beat


def find_opponent(
    registry: Registry, trained: Trained, material: Material, *, key: str, form: str | None, has_baseline: bool
) -> Opponent:
    """The champion of the registry where there is one, else the baseline, else the commonest class.

    A registry that cannot be asked is told: the model can be shipped all the same, and registered later.

    Args:
        key: of this promotion; where its own model is the champion already, the opponent is the one before.
        form: in which the baseline is judged; None: in the mean of its networks, one a seed.
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
    found = ask_champion(registry, champion, material)
    words = f"the champion, version {champion.number}"
    return Opponent(
        f"{words}, {found.form}" if found.form else words,
        found.answers,
        found.answers if found.is_recipe else found.members,
        found.share,
        champion,
        is_recipe=found.is_recipe,
        shipped=found.shipped,
        remark=found.remark,
    )


def stand_in(trained: Trained, material: Material, form: str | None, has_baseline: bool) -> Opponent:
    """The baseline; the commonest class where none was asked for, or it diverged (see `Opponent.is_wanted`)."""
    baseline = trained.baseline
    if baseline is None:
        commonest = find_commonest(material.first.labels[material.train])
        answers = mark_correct(commonest, material.labels)[None].astype(float)
        return Opponent("always answering the commonest class", answers, share=0.0, is_wanted=not has_baseline)
    seeds = cross_fit(baseline.answer, material.folds)
    count = len(baseline.runs)
    is_ensemble = form in (SEEDS, ENSEMBLE)
    words = f"the baseline, {'an ensemble' if is_ensemble else 'the mean'} of its {count} networks"
    if count == 1:
        words = "the baseline"
    if form is None:
        return Opponent(words, seeds, seeds, 1 / count)
    share = find_share(choose_for_baseline(baseline, form)) if is_ensemble else 1 / count
    return Opponent(words, answer_by_form(baseline, form, material.folds), seeds, share)


def choose_for_baseline(baseline: TrainedCandidate, form: str) -> Choice:
    """The ensemble of its networks, chosen on all images."""
    images = np.arange(len(baseline.labels))
    choose = choose_seeds if form == SEEDS else choose_ensemble
    return choose(Pool([baseline], baseline.labels, images), images)
