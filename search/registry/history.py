"""What a model has seen of images: which it was trained on, and which ones chose it.

Images are known by the digests of their files, so that one is found again under another name and in another folder.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from fashion_core.data.annotations import load_annotations
from fashion_core.data.fingerprints import compute_digest
from fashion_core.errors import CheckpointError, SearchError
from fashion_core.files import build_damage, read_arrays, read_json
from fashion_core.models.ensemble import as_ensemble
from search.records.record import load_record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from fashion_core.data.prepared import PreparedData
    from fashion_core.data.rows import Annotations
    from search.records.layout import FinalLayout
    from search.registry.models import Model

READERS = 8  # threads: reading images is mostly waiting
UNKNOWN = "it is not known what it was trained on, so nobody can say whether it has seen the images it is judged on:"


@dataclass(frozen=True)
class History:
    """What a model has seen of images, by digest.

    Attributes:
        trained_on: None where nobody wrote it down.
        picked_on: images whose scores picked it; empty where none are known.
        remark: what a reader must know of this, or "".
    """

    trained_on: frozenset[str] | None
    picked_on: frozenset[str] = frozenset()
    remark: str = ""


def find_history(model: Model, judged: Annotations, prepared: PreparedData) -> History:
    """What a model has seen of images, as far as its folder or its search tells.

    Args:
        judged: the data set that it is to be judged on; stands in for its search's where that is gone.
        prepared: this data set as the model (of an ensemble, the first member) wants it.

    Raises:
        DataError: its search's data set can no longer be read.
    """
    if model.final is not None:
        return read_history(model.final)
    search, options = model.place.search, model.options
    if search is None or options is None:
        return History(None, remark=f"{UNKNOWN} a path alone does not tell. NAME or NAME:TRIAL of a search does.")
    home, remark = options.data, ""
    is_unchanged = prepared.fingerprint == as_ensemble(model.saved).members[0].data_fingerprint
    is_here = home.exists() and judged.source is not None and home.resolve() == judged.source.resolve()
    folder = judged.folder
    if not is_here and home.exists():
        own = load_annotations(home, options.build_reading(search), check_images=False)
        names, splits = own.table["image"].to_pylist(), own.table["split"].to_pylist()
        folder = own.folder
    elif is_here or is_unchanged:
        names, splits = prepared.names, prepared.splits.tolist()
    else:
        return History(None, remark=f"{UNKNOWN} its search's data set, {home}, is gone.")
    if is_here and not is_unchanged:
        remark = "its data set has changed since; taken for what it was trained on is what stands in train now."
    begun = load_record(search).begun
    split = "train" if begun.tell("selection", "select_on") == "heldout" else "val"
    picked = {name for name, of in zip(names, splits, strict=True) if of == split} & set(
        begun.tell("selection", "select_images")
    )
    trained = {name for name, of in zip(names, splits, strict=True) if of == "train"}
    if split == "train":
        trained -= picked
    return History(compute_digests(folder, trained), compute_digests(folder, picked), remark)


def read_history(final: FinalLayout) -> History:
    """What the folder of a promoted model says.

    Raises:
        CheckpointError: a file of it is damaged.
    """
    path = final.trained_on
    if not path.exists():
        return History(None, remark=f"{UNKNOWN} its folder has no {path.name}.")
    what = "name the images that the model was trained on"
    trained = frozenset(read_json(path, TrainedOn, what, "restore it from a backup", CheckpointError).digests)
    if not final.answers.exists():
        return History(trained)
    return History(trained, frozenset(read_answers(final).digests))


class TrainedOn(BaseModel):
    """What `trained_on.json` tells, checked by types."""

    digests: list[str]


@dataclass(frozen=True)
class Answers:
    """What a promoted model answered to the images that it was judged on. S networks, N images, K categories.

    Attributes:
        digests: N, of the images' files.
        correct: [S, N, K], 1 for right and 0 for wrong, or shares between; NaN where unlabelled.
        labels: [N, K] int64.
        recipe: the same as `correct` of a single network's recipe, one table a re-run, each from a choice made without
            that image and that re-run; None where another form ships, or an older version wrote the file.
    """

    digests: list[str]
    correct: np.ndarray
    labels: np.ndarray
    recipe: np.ndarray | None = None


def read_answers(final: FinalLayout) -> Answers:
    """What `search.promotion.release.ship` wrote down of a model's answers.

    Raises:
        CheckpointError: the file holds something else.
    """
    forms = {"digests": ("U", 1), "correct": ("biuf", 3), "labels": ("i", 2)}
    try:
        arrays = read_arrays(final.answers, forms, rest=forms["correct"])
        digests, correct, labels = arrays["digests"], arrays["correct"], arrays["labels"]
        recipe = arrays.get("recipe")
        for answers in (correct,) if recipe is None else (correct, recipe):
            if answers.shape[1:] != labels.shape or len(digests) != len(labels) or 0 in answers.shape:
                raise ValueError("its arrays must be of the same images and categories, but are not")
            if not ((answers >= 0) & (answers <= 1) | np.isnan(answers)).all():
                raise ValueError("an answer must be 0 for wrong to 1 for right, or missing, but is not")
    except (OSError, ValueError) as error:
        what, remedy = "hold what the model answered to the images it was judged on", "restore it from a backup"
        raise build_damage(final.answers, what, remedy, CheckpointError, error) from None
    return Answers(digests.tolist(), correct, labels, recipe)


def compute_digests(folder: Path, images: Iterable[str]) -> frozenset[str]:
    """Digests of image files. images: paths below the folder."""
    with ThreadPoolExecutor(READERS) as pool:
        return frozenset(pool.map(compute_digest, [folder / image for image in images]))


def check_unseen(
    sides: Sequence[str], models: Sequence[Model], histories: Sequence[History], judged: Collection[str], what: str
) -> None:
    """No model may be judged on an image that it was trained on.

    Args:
        judged: digests of the images.
        what: these images, in words.

    Raises:
        SearchError: names each side that was.
    """
    faults = []
    for side, model, history in zip(sides, models, histories, strict=True):
        if count := sum(digest in (history.trained_on or ()) for digest in judged):
            faults.append(f"{side} ({model.name}) was trained on {count:,} of them")
    if faults:
        raise SearchError(
            f"two models must be compared on images that neither was trained on, here the {len(judged):,} {what}, but "
            f"{' and '.join(faults)}; name another data set with --data, or a model that was trained on train alone"
        )
