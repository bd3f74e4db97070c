"""Mistakes that all rows share: told once, by what the numbers look like, with the remedy. N rows, K categories.

What is told is the one reading under which (almost) all rows are sound, where as they were read many are not.
"""

from __future__ import annotations

import re
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
MIN_ROWS_UNUSED = 20  # rows with labels: of fewer, none may have a first class by chance
SHARE_SLACK = 0.1  # by which a box in shares of the image may be off its border, for another rule to tell
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
DRIVE = re.compile(r"[A-Za-z]:[\\/]")


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
    """Whether boxes are shares of their images' sides: most are within 0 and 1, or nearly so, and not all are whole."""
    small = find_fractions(boxes)
    return bool(small.sum() > find_pixels(boxes).sum() and (boxes[small] % 1 != 0).any())


def find_fractions(boxes: np.ndarray) -> np.ndarray:
    """[N] bool: boxes whose numbers are 0 to 1, or nearly so."""
    small: np.ndarray = ((boxes >= -SHARE_SLACK) & (boxes <= 1 + SHARE_SLACK)).all(1) & (boxes != 0).any(1)
    return small


def find_pixels(boxes: np.ndarray) -> np.ndarray:
    """[N] bool: boxes with a number that no share of an image has."""
    large: np.ndarray = np.any(boxes > 1 + SHARE_SLACK, axis=1)
    return large


def find_mixed_mistake(boxes: np.ndarray) -> str | None:
    """What is wrong where some boxes are shares of their images and others pixels; None where it is a slip."""
    small, large = find_fractions(boxes) & (boxes % 1 != 0).any(1), find_pixels(boxes)
    if not (is_systematic(small) and is_systematic(large)):
        return None
    return (
        f"the boxes look like shares of the image in {small.sum():,} rows and like pixels in {large.sum():,}; write "
        "all of them in the one or the other"
    )


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
    if find_sound_boxes(np.rint(read), sizes + (sizes > 0)).mean() >= SOUND_SHARE:
        return f"the boxes look as if pixels were counted from 1: {start}, but end one pixel outside; count from 0"
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
    for k, (name, size) in enumerate(zip(schema.names, sizes.tolist(), strict=True)):
        own = labels[labels[:, k] != UNLABELLED, k]
        if len(own) and own.min() > 0 and own.max() == size and is_systematic(labels[:, k] == size):
            return f"the labels of {name} look as if counted from 1: {start}, none of it is 0; count all from 0"
    for first, second in combinations(range(len(sizes)), 2):
        order = list(range(len(sizes)))
        order[first], order[second] = second, first
        swapped = labels[:, order]
        if ((swapped >= UNLABELLED) & (swapped < sizes)).all(1).mean() >= SOUND_SHARE:
            names = f"{schema.names[first]} and {schema.names[second]}"
            return f"the columns of {names} look swapped: {start}; swap them, or the numbers in the list of classes"
    return None


def find_unused_mistake(labels: np.ndarray) -> str | None:
    """What labels look like that are in range, but never 0; None where they look like nothing."""
    given = labels[(labels != UNLABELLED).any(1)]
    if labels.shape[1] == 0 or len(given) < MIN_ROWS_UNUSED or (given == 0).any():
        return None
    return "no image has the first class of any category: see whether the labels are counted from 1, not from 0"


def find_missing_mistake(missing: Sequence[str], count: int, place: str, near: str | None = None) -> str | None:
    """What it looks like where most of `count` images are missing; None where most are there.

    Args:
        missing: names, in order; place: where they were looked for.
        near: a file that has nearly the first one's name.
    """
    if len(missing) < MIN_WRONG or len(missing) * 2 <= count:
        return None
    start = f"{len(missing):,} of {count:,} images are missing, the first is {missing[0]}"
    if ADDRESS.match(missing[0]):
        return f"{start}; images must be files: fetch them, and give their paths"
    if DRIVE.match(missing[0]):
        return f"{start}; that is a path of another machine: give them relative to {place}"
    if near is not None:
        return f"{start}; {near} is there: correct the names' capitals or endings"
    return f"{start}; they are looked for in {place}: unpack them there, or name the right folder"
