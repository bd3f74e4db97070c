"""DeepFashion's annotation files -> one checked Arrow table.

`split/` holds, for each of train, val and test, `<split>.txt` (an image's path a line), `<split>_attr.txt` (a class
index a category) and `<split>_bbox.txt` (x1 y1 x2 y2 in pixels). Copies differ: some files begin with a header line,
some end without a newline; test files and test labels may be absent. K categories.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.decoding import measure_image
from fashion_core.data.lines import SplitText, TextRow, is_whole, read_splits
from fashion_core.data.schema import LIST_FILE, AttributeSchema, load_schema
from fashion_core.errors import DataError, Fault, ImageError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

READERS = 8  # threads: opening an image is in part waiting
UNLABELLED = -1


@dataclass(frozen=True)
class Annotations:
    """A data set's annotations, checked.

    Attributes:
        folder: of the data set.
        table: image (path below the folder), split, x1, y1, x2, y2 (int32 pixels, x2 and y2 excluded), labels
            (fixed_size_list<int16, K>, -1 where unlabelled in that category), line (1-based, in the split's list of
            images).
        skipped: faults whose rows were left out.
    """

    folder: Path
    schema: AttributeSchema
    table: pa.Table
    skipped: tuple[Fault, ...] = ()


@dataclass
class Row:
    """One image of one split, as read; None where a part is at fault or absent."""

    split: str
    line: int
    image: str | None
    box: tuple[int, ...] | None
    labels: tuple[int, ...] | None
    box_line: int = 0
    labels_line: int = 0
    faults: list[Fault] = field(default_factory=list)


def load_annotations(folder: Path | str, *, skip_bad: bool = False, check_images: bool = True) -> Annotations:
    """Read and check a folder in DeepFashion's layout.

    One image may be listed several times: with other boxes it shows several garments, and the same row again is for
    the audit to tell. The same box with another label in one category contradicts itself, and all such rows are at
    fault.

    Args:
        skip_bad: leave faulty rows out instead of raising; faults of whole files still raise.
        check_images: open every image, see that it is whole, and compare its size with the box.

    Raises:
        DataError: lists every fault with file and line.
    """
    folder = Path(folder)
    if not (folder / "split").is_dir():
        raise DataError(
            f"a data set must be a folder with img/ and split/, but {folder} has no split/; "
            "draw a small one with `python -m fashion_core.sample_data DIR`"
        )
    structural: list[Fault] = []  # of whole files
    schema = None
    try:
        schema = load_schema(folder / "split" / LIST_FILE)
    except DataError as error:
        structural += error.faults
    rows: list[Row] = []
    for text in read_splits(folder):
        structural += text.faults
        rows += parse_split(text, schema, structural)
    if check_images:
        check_all_images(folder, rows)
    faults = tuple(fault for row in rows for fault in row.faults)
    summary = f"the annotations of {folder.resolve().name} must be sound, but {{}} fault(s) were found"
    if structural or schema is None:
        raise DataError(summary.format(len(structural) + len(faults)) + ":", [*structural, *faults])
    if faults and not skip_bad:
        raise DataError(
            summary.format(len(faults)) + "; correct them, or leave these rows out with --skip-bad:", faults
        )
    good = [row for row in rows if not row.faults]
    for split in ("train", "val"):
        if not any(row.split == split for row in good):
            raise DataError(f"split/{split}.txt must have at least one sound row, but has none", faults)
    return Annotations(folder, schema, build_table(good, len(schema.categories)), faults)


def parse_split(text: SplitText, schema: AttributeSchema | None, structural: list[Fault]) -> list[Row]:
    """All rows of one split, each with its faults; files of different lengths go to `structural`."""
    split, images, boxes, labels = text.split, text.images, text.boxes, text.labels
    aligned = images is not None and boxes is not None
    for name, found in (("bbox", boxes), ("attr", labels)):
        if images is not None and found is not None and len(found) != len(images):
            aligned = False
            line = found[min(len(images), len(found) - 1)].line if found else None  # the first too many, or the last
            message = (
                f"it must have a row for each of the {len(images)} images of {split}.txt, but has {len(found)} "
                "(a header is not counted); add or remove rows in one of the two"
            )
            structural.append(Fault(f"split/{split}_{name}.txt", line, message))
    rows = []
    for image, box, label in zip_longest(images or [], boxes or [], labels or []):
        row = Row(split, image.line if image else 0, None, None, None)
        if image:
            row.image = parse_image(row, image)
        if box:
            row.box, row.box_line = parse_box(row, box), box.line
        if label and schema:
            row.labels, row.labels_line = parse_labels(row, label, schema), label.line
        elif schema:
            row.labels = (UNLABELLED,) * len(schema.categories)
        if not aligned:
            row.box = None  # it may be another image's
        rows.append(row)
    if aligned:
        find_contradictions(rows)
    return rows


def parse_image(row: Row, text: TextRow) -> str | None:
    """The image's path relative to the folder; None, with the fault noted, where it is none or leaves the folder."""
    shown = " ".join(text.words)[:120]
    if len(text.words) != 1:
        message = f"a row must be one path without spaces, but is {shown!r}; rename the file, or correct the row"
        row.faults.append(Fault(f"split/{row.split}.txt", text.line, message))
        return None
    path = PurePosixPath(text.words[0].replace("\\", "/"))
    if path.is_absolute() or not path.parts or ".." in path.parts or ":" in path.parts[0] or "\0" in shown:
        message = f"an image must lie in the data set's folder, but is {shown!r}; give its path relative to that"
        row.faults.append(Fault(f"split/{row.split}.txt", text.line, message))
        return None
    return str(PurePosixPath(text.words[0]))


def parse_numbers(row: Row, name: str, text: TextRow, count: int) -> tuple[int, ...] | None:
    """`count` whole numbers; None, with the fault noted, where there are others."""
    if len(text.words) == count and all(map(is_whole, text.words)):
        return tuple(map(int, text.words))
    message = f"a row must be {count} whole numbers, but is {' '.join(text.words)[:80]!r}; correct it"
    row.faults.append(Fault(f"split/{row.split}_{name}.txt", text.line, message))
    return None


def parse_box(row: Row, text: TextRow) -> tuple[int, ...] | None:
    """x1, y1, x2, y2; None, with the fault noted, where they are no box."""
    box = parse_numbers(row, "bbox", text, 4)
    if box is not None and not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
        message = f"a box must have 0 <= x1 < x2 and 0 <= y1 < y2, but is {list(box)}; correct it"
        row.faults.append(Fault(f"split/{row.split}_bbox.txt", text.line, message))
        return None
    return box


def parse_labels(row: Row, text: TextRow, schema: AttributeSchema) -> tuple[int, ...] | None:
    """A class index a category, `UNLABELLED` for none; None, with every fault noted, where one is out of range."""
    labels = parse_numbers(row, "attr", text, len(schema.categories))
    if labels is None:
        return None
    pairs = zip(schema.categories, labels, strict=True)
    wrong = [(c, value) for c, value in pairs if not UNLABELLED <= value < len(c.classes)]
    for category, value in wrong:
        message = (
            f"a label of {category.name} must be 0 to {len(category.classes) - 1}, or {UNLABELLED} for none, but is "
            f"{value}; correct it"
        )
        row.faults.append(Fault(f"split/{row.split}_attr.txt", text.line, message))
    return None if wrong else labels


def find_contradictions(rows: Sequence[Row]) -> None:
    """Note a fault in every row whose image and box stand in its split again with other labels."""
    groups = defaultdict(list)
    for row in rows:
        if not row.faults:
            groups[row.image, row.box].append(row)
    for group in groups.values():
        for row in group:
            other = next((other for other in group if contradict(row, other)), None)
            if other is not None:
                message = (
                    f"one box of one image must have one set of labels, but {row.image} has others in line "
                    f"{other.labels_line}; keep the right row"
                )
                row.faults.append(Fault(f"split/{row.split}_attr.txt", row.labels_line, message))


def contradict(one: Row, other: Row) -> bool:
    """Whether in some category both are labelled, and not alike."""
    pairs = zip(one.labels or (), other.labels or (), strict=True)
    return any(mine != theirs and UNLABELLED not in (mine, theirs) for mine, theirs in pairs)


def check_all_images(folder: Path, rows: Sequence[Row]) -> None:
    """Note in each row what is wrong with its image, and with its box in that image."""
    root = folder.resolve()
    rows = [row for row in rows if row.image is not None]
    with ThreadPoolExecutor(READERS) as pool:
        for row, (size, message) in zip(rows, pool.map(lambda row: check_image(root, row.image), rows), strict=True):
            if message:
                row.faults.append(Fault(f"split/{row.split}.txt", row.line, message))
            elif row.box is not None and (row.box[2] > size[0] or row.box[3] > size[1]):
                message = (
                    f"a box must lie in its image of {size[0]} x {size[1]} pixels, but is {list(row.box)}; correct it"
                )
                row.faults.append(Fault(f"split/{row.split}_bbox.txt", row.box_line, message))


def check_image(root: Path, name: str) -> tuple[tuple[int, int], str | None]:
    """An image's width and height, upright, and what is wrong with it; None if nothing is.

    Args:
        root: the data set's folder, resolved.
    """
    path, size = root / name, (0, 0)
    try:
        if not path.resolve().is_relative_to(root):
            return size, f"an image must lie in the data set's folder, but {name} is a link out of it; copy it there"
        return measure_image(path, name), None
    except ImageError as error:
        return size, str(error)
    except (OSError, RuntimeError) as error:  # of a link to itself
        reason = first_line(getattr(error, "strerror", None) or error)
        return size, f"the image must be a file, but {name} cannot be found ({reason}); restore it"


def build_table(rows: Sequence[Row], categories: int) -> pa.Table:
    """The sound rows as a table."""
    import pyarrow as pa  # a tenth of a second, and nothing before needs it

    boxes = np.array([row.box for row in rows], np.int32).reshape(-1, 4)
    labels = np.array([row.labels for row in rows], np.int16).reshape(-1)
    columns = {
        "image": pa.array([row.image for row in rows], pa.string()),
        "split": pa.array([row.split for row in rows], pa.string()),
        **{name: pa.array(boxes[:, index]) for index, name in enumerate(("x1", "y1", "x2", "y2"))},
        "labels": pa.FixedSizeListArray.from_arrays(pa.array(labels), categories),
        "line": pa.array([row.line for row in rows], pa.int32()),
    }
    return pa.table(columns)
