"""What a challenger must beat: the registered champion, else the baseline. S seeds, N images, K categories."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.prepared import prepare_all
from fashion_core.errors import SearchError
from fashion_core.hardware.device import choose_device
from fashion_core.models.ensemble import as_ensemble, load_saved
from fashion_core.models.forward import predict_prepared
from search.jobs.material import Material
from search.promotion.contenders import Contender
from search.promotion.forms import SINGLE, Decision
from search.records.layout import FinalLayout
from search.registry.subjects import read_history
from search.registry.versions import KEY_TAG
from search.statistics.crossfit import cross_fit, cross_fit_seeds, find_best
from search.statistics.members import find_correct

if TYPE_CHECKING:
    from search.registry.versions import Registry, Version


@dataclass(frozen=True)
class Opponent:
    """What a challenger is judged against.

    Attributes:
        words: what it is.
        answers: [S, N, K] on the validation images, 1 for right.
        version: in the registry; None for a baseline.
        is_wanted: false where it stands in for a baseline that diverged: it proves nothing.
    """

    words: str
    answers: np.ndarray
    version: Version | None = None
    is_wanted: bool = True


def find_opponent(
    registry: Registry | None,
    material: Material,
    baseline: Contender | None,
    *,
    recipe: bool,
    key: str,
    has_baseline: bool,
) -> Opponent:
    """The champion of the registry where there is one, else the baseline, else the commonest class.

    Args:
        registry: None where it cannot be reached.
        has_baseline: whether one was asked for.
        key: of this promotion; where its own model is the champion already, the opponent is the one before.
        recipe: judge how it is trained, over all seeds, not its best network.

    Raises:
        SearchError: the champion has other categories, or was trained on images that are judged on.
    """
    from search.registry.versions import CHAMPION

    champion = None if registry is None else registry.find(CHAMPION)
    if registry is not None and champion is not None and champion.tags.get(KEY_TAG) == key:
        champion = None if champion.predecessor is None else registry.find(champion.predecessor)
    if registry is not None and champion is not None:
        words = f"the champion, version {champion.number}"
        return Opponent(words, answer_by_champion(registry, champion, material), champion)
    if baseline is None:  # none was asked for, or it diverged: see `Opponent.is_wanted`
        first = material.first
        counts = [np.bincount(first.labels[material.train, k]) for k in range(material.labels.shape[1])]
        commonest = np.array([count.argmax() for count in counts])
        answers = (material.labels == commonest)[None].astype(float)
        return Opponent("always answering the commonest class", answers, is_wanted=not has_baseline)
    if recipe:
        return Opponent("the baseline", cross_fit(baseline.answer, material.folds))
    return Opponent("the baseline", cross_fit(partial(answer_by_best_seed, baseline), material.folds))


def answer_by_best_seed(contender: Contender, images: np.ndarray) -> np.ndarray:
    """[1, N, K]: the network that is best on some images."""
    answers = contender.answer(images)
    seed = int(answers[:, images].mean((1, 2)).argmax())
    return answers[seed : seed + 1]


def answer_by_recipe(contenders: list[Contender], folds: np.ndarray) -> np.ndarray:
    """[S, N, K]: the best candidate's recipe, each image and each seed from a choice that was made without it.

    As the recipe has it, a network stops at the median of the best epochs, here those of the other seeds.
    """
    seeds = len(contenders[0].runs)

    def choose(images: np.ndarray, others: np.ndarray) -> np.ndarray:
        best = find_best([contender.answer(images) for contender in contenders], images, others)
        epoch = int(np.median(contenders[best].choose_epochs(images)[others]))
        return contenders[best].correct[:, epoch].astype(float)

    return cross_fit_seeds(choose, folds, seeds)


def find_challenger(decision: Decision, contenders: list[Contender], folds: np.ndarray, *, recipe: bool) -> np.ndarray:
    """[S, N, K] answers that the gate judges: of the whole procedure, or of the recipe of a single network."""
    if recipe and decision.chosen.choice.form == SINGLE and len(contenders[0].runs) > 1:
        return answer_by_recipe(contenders, folds)
    return decision.answers


def answer_by_champion(registry: Registry, champion: Version, material: Material) -> np.ndarray:
    """[S, N, K]: what was kept when it was judged, where that was on the same images; else its network is asked.

    Raises:
        SearchError: see `find_opponent`.
    """
    final = FinalLayout(registry.download(champion))
    digests = material.list_digests(material.val)
    with np.load(final.answers, allow_pickle=False) as kept:
        if kept["digests"].tolist() == digests and np.array_equal(kept["labels"], material.labels):
            return kept["correct"].astype(float)
    saved = load_saved(final.folder, choose_device(None))
    ensemble = as_ensemble(saved)
    if ensemble.schema != material.schema:
        raise SearchError(
            f"a challenger is judged against a champion of the same categories, but version {champion.number} of "
            f"{champion.name} answers {', '.join(ensemble.schema.names)}; register under another --model"
        )
    check_judgeable(final, champion, digests)
    annotations = load_annotations(material.folder, skip_bad=material.skip_bad)
    prepared = prepare_all(annotations, ensemble.views, material.cache_dir)
    return find_correct(predict_prepared(saved, prepared, material.val), material.labels)[None].astype(float)


def check_judgeable(final: FinalLayout, champion: Version, digests: list[str]) -> None:
    """Raises SearchError where the champion was trained on some of the images, or nobody knows."""
    trained_on = read_history(final).trained_on
    seen = len(digests) if trained_on is None else sum(digest in trained_on for digest in digests)
    if seen:
        raise SearchError(
            f"models are compared on images that neither was trained on, but version {champion.number} of "
            f"{champion.name} {'may have been' if trained_on is None else 'was'} trained on {seen} of these "
            f"{len(digests)}; judge on other validation images, or register under another --model"
        )
