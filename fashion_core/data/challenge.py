"""The layout of DeepFashion's attribute challenge -> rows.

`split/` holds, for each of train, val and test, `<split>.txt` (an image's path a line), `<split>_attr.txt` (a class
index a category, -1 where unlabelled) and `<split>_bbox.txt` (x1 y1 x2 y2 in pixels). Copies differ: some files begin
with a header line, some end without a newline; test files and test labels may be absent. `list_category.txt` may name
the categories. K categories.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fashion_core.data.lines import (
    SPLITS,
    SplitText,
    TextRow,
    could_be_path,
    has_number,
    parse_number,
    parse_whole,
    read_splits,
)
from fashion_core.data.rows import UNLABELLED, Draft, Files, Row
from fashion_core.data.schema import LIST_FILE, NAMES_FILE, AttributeSchema, load_schema, rename_categories
from fashion_core.errors import DataError, Fault
from fashion_core.escaping import show_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fashion_core.data.reading import Reading

LAYOUT = "the challenge's layout, split/"
MIN_ROWS = 5  # of a file: where so many are all no rows, it is the file that has another form


def read_challenge(folder: Path, reading: Reading) -> Draft:
    """The rows of all splits, in the order of train, val and test."""
    draft = Draft(
        LAYOUT, folder, None, box_form=reading.boxes or "xyxy", lists={split: f"split/{split}.txt" for split in SPLITS}
    )
    try:
        draft.schema = load_schema(folder / "split" / LIST_FILE)
        if (folder / "split" / NAMES_FILE).exists():
            draft.schema = rename_categories(draft.schema, folder / "split" / NAMES_FILE)
    except DataError as error:
        draft.structural += error.faults
    for text in read_splits(folder):
        draft.structural += text.faults
        draft.rows += parse_split(text, draft.schema, draft.structural)
    return draft


def parse_split(text: SplitText, schema: AttributeSchema | None, structural: list[Fault]) -> list[Row]:
    """All rows of one split, each with its faults; files of other lengths or another form go to `structural`."""
    files = Files(*(f"split/{text.split}{kind}.txt" for kind in ("", "_bbox", "_attr")))
    images, boxes, labels = text.images, text.boxes, text.labels
    for file, found in ((files.boxes, boxes), (files.labels, labels)):
        is_other = found is not None and not any(has_number(row.words) for row in found)  # than numbers: told below
        if images is not None and found is not None and len(found) != len(images) and not is_other:
            structural.append(build_count_fault(file, found, f"{text.split}.txt", len(images)))
    rows = []
    for image, box, label in zip_longest(images or [], boxes or [], labels or []):
        row = Row(files, text.split, image.line if image else 0)
        if image:
            row.image = parse_image(row, image)
        if box:
            row.box_line = box.line
            row.box = parse_box(row, box)
        if label and schema:
            row.labels_line = label.line
            row.labels = parse_labels(row, label, len(schema.categories))
        elif schema:
            row.labels = (UNLABELLED,) * len(schema.categories)
        rows.append(row)
    for file, found in zip(files, (images, boxes, labels), strict=True):
        find_other_form(file, found or [], rows, structural)
    return rows


def build_count_fault(file: str, found: Sequence[TextRow], listed: str, count: int) -> Fault:
    """What is wrong with a file that has not a row for each of the `count` images that the file `listed` has."""
    line = found[min(count, len(found) - 1)].line if found else None  # the first too many, or the last
    message = (
        f"it must have a row for each of the {count} images of {listed}, but has {len(found)} "
        "(a header is not counted); add or remove rows in one of the two"
    )
    return Fault(file, line, message)


def parse_image(row: Row, text: TextRow) -> str | None:
    """The image's path relative to the folder; None, with the fault noted, where it is none or leaves the folder."""
    shown = " ".join(text.words)[:120]
    if len(text.words) != 1:
        row.blame_image(
            f"a row must be one path without spaces, but is {show_value(shown)}; rename the file, or correct the row"
        )
        return None
    path = PurePosixPath(text.words[0].replace("\\", "/"))
    if not is_inside(path):
        row.blame_image(
            f"an image must lie in the data set's folder, but is {show_value(shown)}; give its path relative to that"
        )
        return None
    return str(PurePosixPath(text.words[0]))


def is_inside(path: PurePosixPath) -> bool:
    """Whether a path is that of a file below some folder, by its words alone."""
    return bool(path.parts) and not (
        path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in str(path)
    )


def parse_box(row: Row, text: TextRow) -> tuple[float, ...] | None:
    """Four numbers; None, with the fault noted, where they are none."""
    numbers = [parse_number(word) for word in text.words]
    box = tuple(number for number in numbers if number is not None)
    if len(box) == len(numbers) == 4:
        return box
    row.blame_box(f"a row must be 4 numbers, but is {' '.join(text.words)[:80]!r}; correct it")
    return None


def parse_labels(row: Row, text: TextRow, count: int) -> tuple[int, ...] | None:
    """`count` whole numbers; None, with the fault noted, where there are others."""
    numbers = [parse_whole(word) for word in text.words]
    labels = tuple(number for number in numbers if number is not None)
    if len(labels) == len(numbers) == count:
        return labels
    row.blame_labels(f"a row must be {count} whole numbers, but is {' '.join(text.words)[:80]!r}; correct it")
    return None


def find_other_form(file: str, found: Sequence[TextRow], rows: Sequence[Row], structural: list[Fault]) -> None:
    """Where no row of a file is one, say so once, with what it looks like, in place of every row's fault."""
    own = [next((fault for fault in row.faults if fault.file == file), None) for row in rows[: len(found)]]
    if len(found) < MIN_ROWS or None in own:
        return
    for row in rows:
        row.faults = [fault for fault in row.faults if fault.file != file]
    first = next(fault for fault in own if fault is not None)
    structural.append(Fault(file, first.line, f"none of its {len(found)} rows is one: {guess_form(found, first)}"))


def guess_form(found: Sequence[TextRow], first: Fault) -> str:
    """What the rows of a file look like, with the remedy. first: the fault of the first of them."""
    words = found[0].words
    shown = repr(" ".join(words)[:80])
    if any(mark in word for word in words for mark in ",;"):
        return f"{shown} looks like values between commas; write blanks for them, or give a table with column names"
    if len(words) == 1 and could_be_path(words):
        return first.message
    if could_be_path(words[:1]) and could_be_path(words[-1:]) and parse_number(words[-1]) is None:
        return f"{shown} looks like a path with blanks, which this layout has not; rename the files, or give a table"
    if could_be_path(words[:1]) and parse_number(words[0]) is None:
        return f"{shown} looks like a path with more behind it; leave the one or the other out"
    if all(parse_number(word) is None for word in words):
        return f"{shown} looks like names; write each class's position among its category's, counted from 0"
    return f"{first.message.removesuffix('; correct it')}; see which file stands in its place"
