"""Boxes of many images, from a table or a data set's file, found by an image's path. N rows.

A row names an image by its path or the end of it: `img/0.jpg` is that of `data/img/0.jpg`. The longest end that has a
row counts.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.data.decoding import measure_image
from fashion_core.data.lines import parse_number, read_rows
from fashion_core.data.mistakes import are_fractions, convert_boxes
from fashion_core.data.reading import Reading
from fashion_core.data.rows import Draft, Files, Row
from fashion_core.data.spreadsheet import (
    IMAGE_COLUMNS,
    TABLE_ENDINGS,
    explain_no_image,
    find_box_columns,
    find_column,
    read_table,
    set_boxes,
)
from fashion_core.errors import DataError, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath

    from fashion_core.data.reading import BoxForm
    from fashion_core.inference.answers import Box

BOXES_ENDING = "_bbox.txt"  # of the challenge's files, whose images stand in another: `test_bbox.txt`, `test.txt`
NOBODY = 0  # stands for the image that no row has been found for yet
SUMMARY = "a file of boxes is at fault:"


class BoxTable:
    """Boxes by the paths of their images.

    Args:
        file: its name as the user knows it.
        names: [N] paths; two rows of one must have the same box.
        boxes: [N, 4] x1, y1, x2, y2, pixels or shares of the sides; NaN where an image has none.

    Raises:
        DataError: an image has two boxes.
    """

    def __init__(self, file: str, names: Sequence[str], boxes: np.ndarray) -> None:
        self.file, self.boxes = file, boxes
        self.is_relative = are_fractions(boxes[~np.isnan(boxes).any(1)])
        self.rows: dict[str, int] = {}
        self.asked = np.full(len(boxes), NOBODY, np.int64)  # hash of the image that each row was found for
        for row, name in enumerate(names):
            other = self.rows.setdefault(unify_name(name), row)
            if other != row and not np.array_equal(boxes[other], boxes[row], equal_nan=True):
                message = f"an image must have one box to be asked with, but {name[:120]!r} has two; leave one out"
                raise DataError(SUMMARY, [Fault(file, None, message)])

    def find(self, image: Path) -> Box | None:
        """The box of an image in whole pixels; None where no row names it, or the row has no box.

        Raises:
            DataError: another image was found by the same row before; or the image cannot be measured, where boxes are
                shares of its sides.
        """
        row = self.find_row(image)
        if row is None:
            return None
        number = hash(str(image))
        if self.asked[row] not in (NOBODY, number):
            raise DataError(
                f"an image must have a row of its own in {self.file}, but has one with another image, which ends in "
                "the same; give more of the paths there"
            )
        self.asked[row] = number
        sides = self.boxes[row]
        if np.isnan(sides).any():
            return None
        scale = np.tile(measure_image(image), 2) if self.is_relative else 1
        x1, y1, x2, y2 = np.rint(sides * scale).astype(int).tolist()
        return x1, y1, x2, y2

    def find_row(self, image: PurePath) -> int | None:
        """The row with the longest end of an image's path."""
        parts = unify_name(image.as_posix()).split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self.rows[end] for end in ends if end in self.rows), None)

    @property
    def unused(self) -> int:
        """How many rows name no image that was asked."""
        return int((self.asked[list(self.rows.values())] == NOBODY).sum())


def unify_name(name: str) -> str:
    """A path as it is compared: in one form of Unicode, without `./` before it."""
    plain = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return plain.removeprefix("./")


def load_boxes(path: Path, form: BoxForm | None = None) -> BoxTable:
    """A file of boxes: a table with names of columns, `NAME_bbox.txt` beside the images' `NAME.txt`, or rows of a path
    and four numbers, such as `list_bbox.txt`.

    Args:
        form: what the four numbers are; None: as the columns say, else x1 y1 x2 y2.

    Raises:
        DataError: lists what is wrong with it.
    """
    if path.suffix.lower() in TABLE_ENDINGS:
        return load_table(path, form)
    names_file = path.with_name(path.name.removesuffix(BOXES_ENDING) + ".txt")
    if path.name.endswith(BOXES_ENDING) and names_file.exists():
        return load_pair(names_file, path, form)
    return load_named(path, form)


def load_table(path: Path, form: BoxForm | None) -> BoxTable:
    """A table: its column of images, and those of the boxes."""
    table = read_table(path, path.name, None)
    draft = Draft("", path.parent, None, structural=list(table.faults))
    image = find_column(table.columns, IMAGE_COLUMNS)
    if image is None:
        draft.structural.append(Fault(path.name, 1, explain_no_image(list(table.columns))))
    columns = find_box_columns(table.columns, Reading(boxes=form), path.name, draft)
    if not columns and not draft.structural:
        message = "it must have the columns of a box, such as x1 y1 x2 y2, but has none; add them"
        draft.structural.append(Fault(path.name, 1, message))
    files = Files(path.name, path.name, path.name)
    rows = [Row(files, "", line, box_line=line) for line in table.lines]
    if image is not None and not draft.structural:
        set_boxes(rows, [table.columns[name] for name in columns])
        for row, name in zip(rows, table.columns[image], strict=True):
            row.image = name.strip() if isinstance(name, str) else None
            if not row.image:
                row.blame_image(f"a row must name its image, but has {name!r:.60}; give its path")
    return build_table(path.name, rows, draft.box_form, draft.structural)


def load_pair(names_file: Path, path: Path, form: BoxForm | None) -> BoxTable:
    """The challenge's two files: an image a line in one, its box on the same line of the other."""
    faults: list[Fault] = []
    names = read_rows(names_file, faults, numbers=False) or []
    found = read_rows(path, faults) or []
    if not faults and len(names) != len(found):
        message = f"it must have a row for each of the {len(names)} images of {names_file.name}, but has {len(found)}"
        faults.append(Fault(path.name, None, f"{message}; restore it"))
    rows = []
    for name, box in zip(names, found, strict=False):
        row = Row(Files(names_file.name, path.name, ""), "", name.line, " ".join(name.words), box_line=box.line)
        set_numbers(row, box.words)
        rows.append(row)
    return build_table(path.name, rows, form or "xyxy", faults)


def load_named(path: Path, form: BoxForm | None) -> BoxTable:
    """Rows of a path and four numbers; a count and names of columns may stand above."""
    faults: list[Fault] = []
    rows = []
    for text in read_rows(path, faults, numbers=False) or []:
        row = Row(Files(path.name, path.name, ""), "", text.line, " ".join(text.words[:-4]), box_line=text.line)
        if row.image:
            set_numbers(row, text.words[-4:])
        else:
            row.blame_box("a row must be a path and 4 numbers, but is " + repr(" ".join(text.words)[:80]))
        rows.append(row)
    return build_table(path.name, rows, form or "xyxy", faults)


def set_numbers(row: Row, words: Sequence[str]) -> None:
    """Give a row its box, or the fault of these words."""
    numbers = [number for word in words if (number := parse_number(word)) is not None]
    if len(numbers) == len(words) == 4:
        row.box = (numbers[0], numbers[1], numbers[2], numbers[3])
    else:
        row.blame_box(f"a box must be 4 numbers, but is {' '.join(words)[:80]!r}; correct it")


def build_table(file: str, rows: Sequence[Row], form: BoxForm, faults: list[Fault]) -> BoxTable:
    """The table of rows that are all sound.

    Raises:
        DataError: lists the faults of the file and of the rows.
    """
    faults = faults + [fault for row in rows for fault in row.faults]
    if not faults and not rows:
        faults.append(Fault(file, None, "it must have a row for each image, but has none; add some"))
    if faults:
        raise DataError(SUMMARY, faults)
    nothing: Any = (np.nan,) * 4
    boxes = np.array([nothing if row.box is None else row.box for row in rows], float)
    return BoxTable(file, [str(row.image) for row in rows], convert_boxes(boxes, form))
