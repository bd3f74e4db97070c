"""A split for a table that has none: dealt once, then kept beside the results, so that all that is compared shares it.

N images, K categories.
"""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.decoding import open_image
from fashion_core.data.duplicates import compute_thumbnail, group_near_duplicates
from fashion_core.data.fingerprints import compute_digest
from fashion_core.data.lines import read_lines
from fashion_core.data.splits import HELDOUT_SHARE, hold_out
from fashion_core.errors import DataError, first_line
from fashion_core.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fashion_core.data.rows import Annotations, Draft, Row

SEED = 0  # one for all searches: they are compared on the same images
HEADER = ["image", "split"]
MAX_GROUP = 10  # near duplicates of one picture that are kept together in any case
MAX_REASON = 160  # characters of what a decoder says


def deal_splits(draft: Draft, rows: Sequence[Row]) -> None:
    """Give rows their split: the one that is kept for their image, or train or val.

    15% are dealt to val, stratified over the classes of all categories, with near duplicates kept together; those of
    an image whose split is kept go where that is.

    Raises:
        DataError: images cannot be decoded, or the kept file is at fault.
    """
    known = read_kept(draft.splits_file) if draft.splits_file is not None else {}
    if any(row.image not in known for row in rows):
        groups = group_images(draft.folder, [str(row.image) for row in rows])
        of_group: dict[int, str] = {}
        for row, group in zip(rows, groups.tolist(), strict=True):
            if row.image in known:
                of_group.setdefault(group, known[row.image])
        fresh = np.array([group not in of_group for group in groups.tolist()])
        labels = np.array([row.labels for row in rows], np.int64)[fresh]
        labels = np.where(labels < 0, labels.max(0, initial=-1) + 1, labels)  # unlabelled is a class to be dealt too
        held = np.zeros(len(rows), bool)
        if fresh.any():
            held[fresh] = hold_out(labels, groups[fresh], HELDOUT_SHARE, np.random.default_rng(SEED))
        dealt = ["val" if is_held else "train" for is_held in held.tolist()]
        for row, group, split in zip(rows, groups.tolist(), dealt, strict=True):
            row.split = known.get(str(row.image), of_group.get(group, split))
    else:
        for row in rows:
            row.split = known[str(row.image)]
    where = f"kept in {draft.splits_file}" if draft.splits_file is not None else "the same each time"
    draft.remarks.append(
        f"the table has no column split: {HELDOUT_SHARE:.0%} are dealt to val, stratified, with near duplicates "
        f"together; {where}"
    )


def group_images(folder: Path, names: Sequence[str]) -> np.ndarray:
    """[N] int64: images of one group go to one split. Each file is decoded once.

    They are near duplicates. Where so many are like each other that no split could be made of them, as pictures taken
    by one machine are, those are told apart, but for byte-identical files.

    Raises:
        DataError: an image cannot be decoded.
    """

    def read(name: str) -> tuple[np.ndarray, str]:
        try:
            return compute_thumbnail(open_image(folder / name)), compute_digest(folder / name)
        except Exception as error:  # a decoder may raise anything on damaged bytes
            reason = first_line(error)[:MAX_REASON]
            raise DataError(f"the image must decode, but {name} does not: {reason}; replace it") from None

    unique = list(dict.fromkeys(names))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = dict(zip(unique, pool.map(read, unique), strict=True))
    groups = group_near_duplicates(np.stack([found[name][0] for name in names]))
    firsts: dict[str, int] = {}
    same = np.array([firsts.setdefault(found[name][1], index) for index, name in enumerate(names)])
    counts = np.bincount(groups, minlength=len(names))
    is_large = (counts > MAX_GROUP) & (counts > HELDOUT_SHARE * len(names))
    answer: np.ndarray = np.where(is_large[groups], same, groups)
    return answer


def read_kept(path: Path) -> dict[str, str]:
    """Image -> split, as `keep_splits` wrote it; empty where there is no such file.

    Raises:
        DataError: it is something else.
    """
    if not path.exists():
        return {}
    rows = [row for row in csv.reader(read_lines(path)) if row]
    if not rows or rows[0] != HEADER or any(len(row) != 2 or row[1] not in ("train", "val") for row in rows[1:]):
        raise DataError(f"{path} must hold rows `image,split`, but does not; restore it, or delete it to deal anew")
    return {image: split for image, split in rows[1:]}


def keep_splits(annotations: Annotations) -> None:
    """Write which split each image was dealt to, if any was, for all who read the table later.

    Images that stand in the file already, and no longer in the table, stay there.
    """
    path = annotations.splits_file
    if path is None:
        return
    kept = read_kept(path)
    images, splits = (annotations.table[name].to_pylist() for name in HEADER)
    if not dict(zip(images, splits, strict=True)).items() <= kept.items():
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [HEADER, *(kept | dict(zip(images, splits, strict=True))).items()]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.getvalue())
