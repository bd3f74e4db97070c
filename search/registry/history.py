"""What a model has seen of images: which it was trained on, and which ones chose it.

Images are known by the digests of their files, so that one is found again under another name and in another folder.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.fingerprints import compute_digest
from fashion_core.errors import SearchError
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
    selection = load_record(search).selection
    split = "train" if selection["select_on"] == "heldout" else "val"
    picked = {name for name, of in zip(names, splits, strict=True) if of == split} & set(selection["select_images"])
    trained = {name for name, of in zip(names, splits, strict=True) if of == "train"}
    if split == "train":
        trained -= picked
    return History(compute_digests(folder, trained), compute_digests(folder, picked), remark)


def read_history(final: FinalLayout) -> History:
    """What the folder of a promoted model says."""
    if not final.trained_on.is_file():
        return History(None, remark=f"{UNKNOWN} its folder has no {final.trained_on.name}.")
    trained = frozenset(json.loads(final.trained_on.read_text())["digests"])
    if not final.answers.is_file():
        return History(trained)
    with np.load(final.answers, allow_pickle=False) as arrays:
        return History(trained, frozenset(arrays["digests"].tolist()))


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
