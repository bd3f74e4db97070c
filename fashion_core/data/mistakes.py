"""Mistakes that all rows share: told once, by what the numbers look like, with the remedy. N rows, K categories.

What is told is the one reading under which (almost) all rows are sound, where as they were read many are not.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.reading import BOX_FORMS, SKIP_SHARE
from fashion_core.data.rows import UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.reading import BoxForm
    from fashion_core.data.schema import AttributeSchema

MIN_WRONG = 3  # rows: fewer are slips
SOUND_SHARE = 0.99  # of the rows, read otherwise


def convert_boxes(boxes: np.ndarray, form: BoxForm) -> np.ndarray:
    """[N, 4] x1, y1, x2, y2 of boxes in some form."""
    a, b, c, d = boxes.T
    columns: dict[BoxForm, tuple[np.ndarray, ...]] = {
        "xyxy": (a, b, c, d),
        "xywh": (a, b, a + c, b + d),
        "yxyx": (b, a, d, c),
        "xxyy": (a, c, b, d),
        "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
    }
    converted: np.ndarray = np.stack(columns[form], 1)
    return converted


def are_fractions(boxes: np.ndarray) -> bool:
    """Whether boxes are shares of their images' sides: all numbers 0 to 1, and not whole ones alone."""
    return bool(len(boxes) and (boxes >= 0).all() and (boxes <= 1).all() and (boxes % 1 != 0).any())


def find_sound_boxes(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[N] bool: boxes x1 y1 x2 y2 that hold a pixel and lie in their images.

    Args:
        sizes: [N, 2] width and height; 0 where unknown.
    """
    x1, y1, x2, y2 = boxes.T
    inside = ((boxes[:, 2:] <= sizes) | (sizes == 0)).all(1)
    sound: np.ndarray = (x1 >= 0) & (x1 < x2) & (y1 >= 0) & (y1 < y2) & inside
    return sound


def is_systematic(wrong: np.ndarray) -> bool:
    """Whether so many rows are wrong that it is no slip. wrong: [N] bool."""
    return bool(wrong.sum() >= MIN_WRONG and wrong.mean() > SKIP_SHARE)


def find_box_mistake(boxes: np.ndarray, sizes: np.ndarray, form: BoxForm) -> str | None:
    """What boxes look like that are not what they are taken for; None where they are, or look like nothing else.

    Args:
        boxes: [N, 4] as they stand in the files, in pixels; sizes: as for `find_sound_boxes`.
        form: what they are taken for.
    """
    read = convert_boxes(boxes, form)
    wrong = ~find_sound_boxes(np.rint(read), sizes)
    if not is_systematic(wrong):
        return None
    start = f"{wrong.sum():,} of {len(wrong):,} boxes are none in their images as {BOX_FORMS[form]}"
    for other, words in BOX_FORMS.items():
        if other != form and find_sound_boxes(np.rint(convert_boxes(boxes, other)), sizes).mean() >= SOUND_SHARE:
            return f"the boxes look like {words}: {start}; read them so with --boxes {other}"
    x1, y1, x2, y2 = read.T
    outside = (x1 >= 0) & (y1 >= 0) & (x1 < x2) & (y1 < y2) & wrong
    if outside.mean() > 0.5:
        return f"the boxes look like those of larger images: {start}; scale them as the images were"
    return None


def find_label_mistake(labels: np.ndarray, schema: AttributeSchema) -> str | None:
    """What labels look like that are no positions in their categories; None where they are, or look like nothing else.

    Args:
        labels: [N, K], -1 where unlabelled.
    """
    sizes = np.array(schema.sizes)
    wrong: np.ndarray = np.any((labels < UNLABELLED) | (labels >= sizes), axis=1)
    if not is_systematic(wrong):
        return None
    start = f"{wrong.sum():,} of {len(wrong):,} rows are out of range"
    given = np.where(labels == UNLABELLED, 1, labels)
    if (given >= 0).all() and (given <= sizes).all():
        if (given > 0).all():
            return (
                f"the labels look as if counted from 1: {start}, none is 0 and the last is the number of classes; "
                "count from 0, a class's position in its category"
            )
        if (labels.max(0) == sizes).all():
            return (
                f"the labels look as if counted from 1, with 0 for unlabelled: {start}; count from 0, with -1 for "
                "unlabelled"
            )
    for first, second in combinations(range(len(sizes)), 2):
        order = list(range(len(sizes)))
        order[first], order[second] = second, first
        swapped = labels[:, order]
        if ((swapped >= UNLABELLED) & (swapped < sizes)).all(1).mean() >= SOUND_SHARE:
            names = f"{schema.names[first]} and {schema.names[second]}"
            return f"the columns of {names} look swapped: {start}; swap them, or the numbers in the list of classes"
    return None


def find_missing_mistake(missing: Sequence[str], count: int, place: str) -> str | None:
    """What it looks like where most of `count` images are missing; None where most are there.

    Args:
        missing: names, in order; place: where they were looked for.
    """
    if len(missing) < MIN_WRONG or len(missing) * 2 <= count:
        return None
    return (
        f"{len(missing):,} of {count:,} images are missing, the first is {missing[0]}; they are looked for in {place}: "
        "unpack them there, or name the right folder"
    )
