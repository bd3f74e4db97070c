"""The registered champion: who it is, whether a challenger can be judged against it, and what it answers.

S networks, N images, K categories, C classes of one category.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.prepared import prepare_all
from fashion_core.errors import SearchError
from fashion_core.files import read_arrays
from fashion_core.hardware.device import choose_device
from fashion_core.models.ensemble import Saved, as_ensemble, load_saved
from fashion_core.models.forward import predict_prepared
from search.records.layout import FinalLayout
from search.registry.history import read_answers, read_history
from search.registry.versions import CHAMPION, KEY_TAG, Registry, Version
from search.statistics.members import find_correct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.jobs.material import Material

RERUN = re.compile(r"(.+)-seed(\d+)/(.+)", re.DOTALL)  # names in `FinalLayout.predictions`: label, seed, category
BY_RECIPE = (
    "the champion is a single network, so it is compared by its recipe, in the mean of its re-runs on these images"
)
AS_IT_IS = "the champion is a single network, and compared as it is: {}"
SAME = 1e-3  # mean difference of probabilities, below which one network answers twice; two differ by ten times as much


@dataclass(frozen=True)
class Champion:
    """What a champion answers to the images that judge.

    Attributes:
        answers: [S, N, K]: of what ships, or of all re-runs of its recipe.
        shipped: [1, N, K] of what ships alone, where `answers` are those of its re-runs; else None.
        members: [M, N, K] of each of its networks; None where one was trained on some of the images, or may have been.
        count: M.
        remark: how a single champion is held against a challenger, and why; "" of an ensemble.
    """

    answers: np.ndarray
    members: np.ndarray | None
    count: int
    shipped: np.ndarray | None = None
    is_recipe: bool = False
    remark: str = ""

    @property
    def share(self) -> float:
        """Of one network's variance over seeds that is in `answers`, see `search.statistics.intervals.compare`."""
        return 1 / len(self.answers) if self.is_recipe else 1 / self.count

    @property
    def form(self) -> str:
        """`an ensemble of 3 networks`, or `the mean of its 3 re-runs`; "" of a single one as it is."""
        if self.is_recipe:
            return f"the mean of its {len(self.answers)} re-runs"
        return f"an ensemble of {self.count} networks" if self.count > 1 else ""


def find_champion(versions: Sequence[Version], key: str) -> Version | None:
    """The champion among a model's versions; the one before it where that is this promotion's own model."""
    champion = next((version for version in versions if CHAMPION in version.aliases), None)
    if champion is not None and champion.tags.get(KEY_TAG) == key:
        champion = next((version for version in versions if version.number == champion.predecessor), None)
    return champion


def check_champion(registry: Registry, key: str, schema: AttributeSchema) -> None:
    """Find out before anything is trained whether the champion answers the same categories.

    A registry that cannot be asked is told when its answer is needed: see `find_opponent`.

    Raises:
        SearchError: it has others.
    """
    try:
        champion = find_champion(registry.list_versions(), key)
    except SearchError:
        return
    if champion is not None:
        saved = load_saved(registry.download(champion), choose_device(None))
        check_categories(as_ensemble(saved).schema, schema, champion)


def check_categories(found: AttributeSchema, wanted: AttributeSchema, champion: Version) -> None:
    """Raises SearchError where a champion has other categories, or other classes in them, than its challenger."""
    if found != wanted:
        what = ", ".join(found.names)
        if found.names == wanted.names:
            pairs = zip(found.categories, wanted.categories, strict=True)
            what = f"other classes in {', '.join(one.name for one, other in pairs if one != other)}"
        raise SearchError(
            f"a challenger is judged against a champion of the same categories, but version {champion.number} of "
            f"{champion.name} answers {what}; register under another --model"
        )


def ask_champion(registry: Registry, version: Version, material: Material) -> Champion:
    """What it answers: what was kept when it was judged, where that was on the same images; else its network is asked.

    A single network was picked among its re-runs; where their answers to these images were kept too, they stand for
    its recipe.

    Raises:
        SearchError: see `find_opponent`.
    """
    final = FinalLayout(registry.download(version))
    digests = material.list_digests(material.val)
    kept = read_answers(final)
    saved = load_saved(final.folder, choose_device(None))
    networks = as_ensemble(saved).members
    is_same = kept.digests == digests and np.array_equal(kept.labels, material.labels)
    trained_on = read_history(final).trained_on
    is_clean = trained_on is not None and not trained_on & set(digests)
    if not is_same:
        check_categories(as_ensemble(saved).schema, material.schema, version)
        check_judgeable(final, version, digests)
    answers = np.asarray(kept.correct, float) if is_same else ask(saved, material)[None]
    own = [predict(network, material) for network in networks] if is_clean else []
    members = np.stack([mark_right(each, material) for each in own]) if own else None
    if len(networks) > 1:
        return Champion(answers, members, len(networks))
    if not is_same:
        return Champion(answers, members, 1, remark=AS_IT_IS.format("its re-runs have not answered these images"))
    if len(answers) > 1:  # trained on these images too: its recipe is all that could be judged
        return Champion(answers, members, 1, is_recipe=True, remark=BY_RECIPE)
    if kept.recipe is not None:
        return Champion(np.asarray(kept.recipe, float), members, 1, answers, is_recipe=True, remark=BY_RECIPE)
    found = find_reruns(final, own[0], material) if own else None
    if found is None or len(found) < 2:
        return Champion(answers, members, 1, remark=AS_IT_IS.format("there are no answers of two re-runs of it"))
    remark = f"{BY_RECIPE}, at the epochs that were best on these images, which flatters it a little"
    return Champion(found, members, 1, answers, is_recipe=True, remark=remark)


def find_reruns(final: FinalLayout, own: Sequence[np.ndarray], material: Material) -> np.ndarray | None:
    """[S, N, K]: what the re-runs of a single network's candidate answered; None where they are not there.

    Its candidate is the one with a re-run that answers as it does: an average of weights answers as none.

    Args:
        own: what the network answers, K arrays [N, C_i].
    """
    try:
        arrays = read_arrays(final.predictions, {}, rest=("f", 2))
    except (OSError, ValueError):  # it was kept for this alone, so a champion without it is whole
        return None
    runs = sort_reruns(arrays, material.schema.names)
    forms = [values.shape for values in own]
    runs = {label: seeds for label, seeds in runs.items() if all([v.shape for v in each] == forms for each in seeds)}
    gaps = {
        label: min(np.mean([np.abs(a - b).mean() for a, b in zip(each, own, strict=True)]) for each in seeds)
        for label, seeds in runs.items()
    }
    label = min(gaps, key=lambda name: gaps[name], default=None)
    if label is None or gaps[label] > SAME:
        return None
    return np.stack([mark_right(each, material) for each in runs[label]])


def sort_reruns(arrays: Mapping[str, np.ndarray], categories: Sequence[str]) -> dict[str, list[list[np.ndarray]]]:
    """Probabilities of the re-runs by the label of their candidate: of each K arrays [N, C_i].

    One that lacks a category is left out.
    """
    found: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    for name, values in arrays.items():
        if match := RERUN.fullmatch(name):
            label, seed, category = match.groups()
            found.setdefault(label, {}).setdefault(int(seed), {})[category] = values
    return {
        label: [[each[name] for name in categories] for _, each in sorted(seeds.items()) if {*categories} <= {*each}]
        for label, seeds in found.items()
    }


def ask(saved: Saved, material: Material) -> np.ndarray:
    """[N, K]: which of a model's answers to the validation images are right."""
    return mark_right(predict(saved, material), material)


def mark_right(probabilities: Sequence[np.ndarray], material: Material) -> np.ndarray:
    """[N, K]: 1 where the probabilities, K arrays [N, C_i], name the right class, else 0."""
    return find_correct(probabilities, material.labels).astype(float)


def predict(saved: Saved, material: Material) -> list[np.ndarray]:
    """K arrays [N, C_i]: a model's probabilities of the validation images."""
    data = prepare_all(material.load_annotations(), as_ensemble(saved).views, material.cache_dir)
    return predict_prepared(saved, data, material.val)


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
