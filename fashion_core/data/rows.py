"""What every layout of data is read to: rows as they stand in its files, then one checked Arrow table. K categories."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fashion_core.data.lines import SPLITS
from fashion_core.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from fashion_core.data.reading import BoxForm
    from fashion_core.data.schema import AttributeSchema

UNLABELLED = -1


class Files(NamedTuple):
    """The files that rows come from, as the user knows them."""

    images: str
    boxes: str
    labels: str


@dataclass(slots=True)
class Row:
    """One image of one split, as read; None where a part is at fault or absent.

    Attributes:
        split: train, val or test; empty where it is still to be dealt.
        line: 1-based, in the list of images.
        box: four numbers in the form that the layout says; None without a fault is the whole image.
        labels: a class index a category, not yet compared with the number of classes.
    """

    files: Files
    split: str
    line: int
    image: str | None = None
    box: tuple[float, ...] | None = None
    labels: tuple[int, ...] | None = None
    box_line: int = 0
    labels_line: int = 0
    faults: list[Fault] = field(default_factory=list)

    def blame_image(self, message: str) -> None:
        """Note a fault in the list of images."""
        self.faults.append(Fault(self.files.images, self.line, message))

    def blame_box(self, message: str) -> None:
        """Note a fault in the box."""
        self.faults.append(Fault(self.files.boxes, self.box_line, message))

    def blame_labels(self, message: str) -> None:
        """Note a fault in the labels."""
        self.faults.append(Fault(self.files.labels, self.labels_line, message))


@dataclass
class Draft:
    """A data set as its files say it, not yet compared with its images.

    Attributes:
        layout: which it is, in words.
        folder: that the images' names are relative to.
        schema: None where it cannot be read.
        box_form: what the four numbers of a box are.
        structural: faults of whole files.
        remarks: what was decided in reading, a sentence each.
        lists: split -> the file that lists its images.
        needs_split: the rows have no split yet; splits_file: where it is kept, None where nowhere.
    """

    layout: str
    folder: Path
    schema: AttributeSchema | None
    rows: list[Row] = field(default_factory=list)
    box_form: BoxForm = "xyxy"
    structural: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lists: dict[str, str] = field(default_factory=dict)
    needs_split: bool = False
    splits_file: Path | None = None


@dataclass(frozen=True)
class Annotations:
    """A data set's annotations, checked.

    Attributes:
        folder: of the data set; `folder / image` is an image's file.
        table: image (path below the folder), split, x1, y1, x2, y2 (int32 pixels, x2 and y2 excluded), labels
            (fixed_size_list<int16, K>, -1 where unlabelled in that category), line (1-based, in the list of images).
        skipped: faults whose rows were left out; skipped_splits: the split of each.
        layout: which layout it has, in words.
        remarks: what was decided in reading it, a sentence each.
        lists: split -> the file that lists its images.
        splits_file: where `keep_splits` keeps a split that was dealt; None where the data set has its own.
        source: the folder or file that was named.
        has_boxes: false where no row names a box, so that each is its whole image.
    """

    folder: Path
    schema: AttributeSchema
    table: pa.Table
    skipped: tuple[Fault, ...] = ()
    skipped_splits: tuple[str, ...] = ()
    layout: str = ""
    remarks: tuple[str, ...] = ()
    lists: dict[str, str] = field(default_factory=dict)
    splits_file: Path | None = None
    source: Path | None = None
    has_boxes: bool = True

    def labels(self) -> np.ndarray:
        """[N, K] int16."""
        values: np.ndarray = self.table["labels"].combine_chunks().flatten().to_numpy()
        return values.reshape(-1, len(self.schema.categories))

    def count_unlabelled(self) -> dict[str, int]:
        """Category -> images that are unlabelled in it, of those that have a label in another."""
        labels = self.labels()
        missing = (labels == UNLABELLED)[(labels != UNLABELLED).any(1)].sum(0)
        return dict(zip(self.schema.names, missing.tolist(), strict=True))


def build_table(rows: Sequence[Row], categories: int) -> pa.Table:
    """The sound rows as a table: by split, else in their order. Every box is whole numbers by now."""
    import pyarrow as pa  # a tenth of a second, and nothing before needs it

    rows = sorted(rows, key=lambda row: SPLITS.index(row.split))
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
