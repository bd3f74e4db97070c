"""The registered champion: who it is, whether a challenger can be judged against it, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.prepared import prepare_all
from fashion_core.errors import SearchError
from fashion_core.hardware.device import choose_device
from fashion_core.models.ensemble import Saved, as_ensemble, load_saved
from fashion_core.models.forward import predict_prepared
from search.records.layout import FinalLayout
from search.registry.history import read_answers, read_history
from search.registry.versions import CHAMPION, KEY_TAG, Registry, Version
from search.statistics.members import find_correct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.jobs.material import Material


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


def answer_by_champion(registry: Registry, champion: Version, material: Material) -> np.ndarray:
    """[S, N, K]: what was kept when it was judged, where that was on the same images; else its network is asked.

    Raises:
        SearchError: see `find_opponent`.
    """
    final = FinalLayout(registry.download(champion))
    digests = material.list_digests(material.val)
    kept = read_answers(final)
    if kept.digests == digests and np.array_equal(kept.labels, material.labels):
        return np.asarray(kept.correct, float)
    saved = load_saved(final.folder, choose_device(None))
    check_categories(as_ensemble(saved).schema, material.schema, champion)
    check_judgeable(final, champion, digests)
    return ask(saved, material)[None]


def answer_by_members(registry: Registry, champion: Version, material: Material) -> np.ndarray | None:
    """[M, N, K]: what each of its M networks answers; None where one was trained on some of the images, or may have
    been.
    """
    final = FinalLayout(registry.download(champion))
    trained_on = read_history(final).trained_on
    if trained_on is None or trained_on & set(material.list_digests(material.val)):
        return None
    members = as_ensemble(load_saved(final.folder, choose_device(None))).members
    return np.stack([ask(member, material) for member in members])


def count_members(registry: Registry, champion: Version) -> int:
    """Of how many networks a champion is made; an average of weights is one."""
    return len(as_ensemble(load_saved(registry.download(champion), choose_device(None))).members)


def ask(saved: Saved, material: Material) -> np.ndarray:
    """[N, K]: what a model answers to the validation images."""
    annotations = load_annotations(material.source, material.reading)
    data = prepare_all(annotations, as_ensemble(saved).views, material.cache_dir)
    return find_correct(predict_prepared(saved, data, material.val), material.labels).astype(float)


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
