"""DeepFashion's annotation files -> one checked Arrow table.

`split/` holds, for each of train, val and test, `<split>.txt` (an image's path a line), `<split>_attr.txt` (a class index
a category) and `<split>_bbox.txt` (x1 y1 x2 y2 in pixels). Copies differ: some files begin with a header line, some end
without a newline; test files and test labels may be absent. K categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from PIL import Image

from fashion_core.attributes import LIST_FILE, AttributeSchema, load_schema
from fashion_core.errors import DataError, Fault

SPLITS = ("train", "val", "test")
MAX_FILE_BYTES = 1 << 28
MAX_PIXELS = 50_000_000  # of one image: more is a bomb, or no photograph of a garment
READERS = 8
UNLABELLED = -1


@dataclass(frozen=True)
class Annotations:
    """A data set's annotations, checked.

    Attributes:
        folder: of the data set.
        table: image (path below the folder), split, x1, y1, x2, y2 (int32 pixels, x2 and y2 excluded), labels
            (fixed_size_list<int16, K>, -1 where unlabelled), line (1-based, in the split's files).
        skipped: faults whose rows were left out.
    """

    folder: Path
    schema: AttributeSchema
    table: pa.Table
    skipped: tuple[Fault, ...] = ()


@dataclass
class Row:
    """One image of one split, as read."""

    split: str
    line: int
    image: str
    box: tuple[int, ...]
    labels: tuple[int, ...]


def load_annotations(folder: Path | str, *, skip_bad: bool = False, check_images: bool = True) -> Annotations:
    """Read and check a folder in DeepFashion's layout.

    Args:
        skip_bad: leave faulty rows out instead of raising; faults of whole files still raise.
        check_images: open every image's header, and compare its size with the box.

    Raises:
        DataError: lists every fault with file and line.
    """
    folder = Path(folder)
    if not (folder / "split").is_dir():
        raise DataError(
            f"a data set must be a folder with img/ and split/, but {folder} has no split/; "
            "draw a small one with `python -m fashion_core.sample_data DIR`"
        )
    schema = load_schema(folder / "split" / LIST_FILE)
    structural: list[Fault] = []
    faulty: dict[tuple[str, int], list[Fault]] = {}
    rows: list[Row] = []
    for split in SPLITS:
        if (folder / "split" / f"{split}.txt").is_file() or split != "test":
            rows += read_split(folder, split, schema, structural, faulty)
    if structural:
        raise DataError(f"the annotations of {folder.name} are at fault:", structural + flatten(faulty))
    if check_images:
        with ThreadPoolExecutor(READERS) as pool:
            for row, message in zip(rows, pool.map(lambda row: find_image_fault(folder, row), rows), strict=True):
                if message is not None:
                    faulty.setdefault((row.split, row.line), []).append(fault_at(row.split, row.line, *message))
    if faulty and not skip_bad:
        raise DataError(
            f"the annotations of {folder.name} are at fault (--skip-bad leaves these rows out):", flatten(faulty)
        )
    good = [row for row in rows if (row.split, row.line) not in faulty]
    for split in ("train", "val"):
        if not any(row.split == split for row in good):
            raise DataError(f"the split {split} must have at least one good row, but has none", flatten(faulty))
    return Annotations(folder, schema, build_table(good, len(schema.categories)), tuple(flatten(faulty)))


def read_split(
    folder: Path,
    split: str,
    schema: AttributeSchema,
    structural: list[Fault],
    faulty: dict[tuple[str, int], list[Fault]],
) -> list[Row]:
    """The rows of one split whose own text is sound; what is not goes to the two lists of faults."""
    columns = len(schema.categories)
    images = read_lines(folder, f"{split}.txt", structural, is_header=lambda words: "." not in words[0])
    boxes = read_lines(folder, f"{split}_bbox.txt", structural, is_header=lambda words: not is_whole(words[0]))
    has_labels = split != "test" or (folder / "split" / f"{split}_attr.txt").is_file()
    labels = None
    if has_labels:
        labels = read_lines(folder, f"{split}_attr.txt", structural, is_header=lambda words: not is_whole(words[0]))
    for name, lines in (("bbox", boxes), ("attr", labels)):
        if images is not None and lines is not None and len(lines) != len(images):
            structural.append(
                Fault(
                    f"split/{split}_{name}.txt",
                    None,
                    f"it must have a row for each of the {len(images)} images of {split}.txt, but has {len(lines)}",
                )
            )
    if images is None or boxes is None or (has_labels and labels is None) or structural:
        return []
    rows = []
    for index, (line, words) in enumerate(images):
        own: list[Fault] = []
        box = read_numbers(split, "bbox", *boxes[index], 4, own)
        values: tuple[int, ...] = (UNLABELLED,) * columns
        if labels is not None:
            values = read_numbers(split, "attr", *labels[index], columns, own)
            for category, value in zip(schema.categories, values, strict=False):
                if not 0 <= value < len(category.classes):
                    own.append(
                        fault_at(
                            split,
                            labels[index][0],
                            "attr",
                            f"the label of {category.name} must be 0 to {len(category.classes) - 1}, but is {value}",
                        )
                    )
        if len(words) != 1:
            own.append(fault_at(split, line, "", f"a row must be one path, but is {' '.join(words)[:80]!r}"))
        elif is_outside(words[0]):
            own.append(fault_at(split, line, "", f"an image must lie in the data set's folder, but is {words[0]!r}"))
        if len(box) == 4 and not (box[0] < box[2] and box[1] < box[3]):
            own.append(
                fault_at(split, boxes[index][0], "bbox", f"a box must have x1 < x2 and y1 < y2, but is {list(box)}")
            )
        if own:
            faulty[split, line] = own
        else:
            rows.append(Row(split, line, words[0], box, values))
    return rows


def read_lines(folder: Path, name: str, structural: list[Fault], *, is_header) -> list[tuple[int, list[str]]] | None:
    """(line number, words) of every row of a file in `split/`; None, with the reason, where it cannot be read.

    Leading lines that are no row are left out: a count of the rows, and a header.
    """
    path = folder / "split" / name
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            structural.append(Fault(f"split/{name}", None, f"it must be at most {MAX_FILE_BYTES} bytes, but is larger"))
            return None
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        structural.append(Fault(f"split/{name}", None, "it must be UTF-8 text, but is not"))
        return None
    except OSError as error:
        structural.append(Fault(f"split/{name}", None, f"it must be a readable file ({error.strerror})"))
        return None
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if rows and is_header(rows[0][1]):
        rows = rows[1:]
    return rows


def read_numbers(
    split: str, name: str, line: int, words: Sequence[str], count: int, faults: list[Fault]
) -> tuple[int, ...]:
    """`count` whole numbers of a row; none, with the reason, where there are others."""
    if len(words) == count and all(is_whole(word) for word in words):
        return tuple(map(int, words))
    faults.append(fault_at(split, line, name, f"a row must be {count} whole numbers, but is {' '.join(words)[:80]!r}"))
    return ()


def is_whole(word: str) -> bool:
    return len(word) < 10 and word.lstrip("+-").isdecimal()


def is_outside(image: str) -> bool:
    """Whether a path, as written, leaves the folder it is relative to."""
    path = PurePosixPath(image.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in image


def find_image_fault(folder: Path, row: Row) -> tuple[str, str] | None:
    """(file, message) of what is wrong with a row's image, from its header and its last bytes; None if nothing is."""
    path = folder / row.image
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return "", f"an image must lie in the data set's folder, but {row.image} is a link out of it"
        with path.open("rb") as file:
            with Image.open(file) as image:
                width, height = image.size
                is_jpeg = image.format == "JPEG"
            file.seek(-min(64, file.seek(0, 2)), 2)
            is_cut = is_jpeg and b"\xff\xd9" not in file.read()
    except FileNotFoundError:
        return "", f"the image must exist, but {row.image} does not"
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return "", f"the image must be readable, but {row.image} is not ({str(error).splitlines()[0][:120]})"
    if width * height > MAX_PIXELS:
        return "", f"an image must have at most {MAX_PIXELS:,} pixels, but {row.image} has {width} x {height}"
    if is_cut:
        return "", f"the image must be complete, but {row.image} is cut off"
    x1, y1, x2, y2 = row.box
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return "bbox", f"a box must lie in its image of {width} x {height} pixels, but is {[x1, y1, x2, y2]}"
    return None


def fault_at(split: str, line: int, name: str, message: str) -> Fault:
    """A fault in a row of `split/<split>_<name>.txt`, or of `split/<split>.txt`."""
    return Fault(f"split/{split}_{name}.txt" if name else f"split/{split}.txt", line, message)


def fault_of_row(annotations: Annotations, row: int, message: str) -> Fault:
    """A fault in the image of a row of the table."""
    split, line = (annotations.table[name][row].as_py() for name in ("split", "line"))
    return fault_at(split, line, "", message)


def flatten(faulty: dict[tuple[str, int], list[Fault]]) -> list[Fault]:
    """All faults, by split and line."""
    order = {split: index for index, split in enumerate(SPLITS)}
    return [fault for key in sorted(faulty, key=lambda key: (order[key[0]], key[1])) for fault in faulty[key]]


def build_table(rows: Sequence[Row], categories: int) -> pa.Table:
    """The checked rows as a table."""
    boxes = np.array([row.box for row in rows], np.int32).reshape(-1, 4)
    labels = np.array([row.labels for row in rows], np.int16).reshape(-1)
    columns = {
        "image": pa.array([PurePosixPath(row.image).as_posix() for row in rows], pa.string()),
        "split": pa.array([row.split for row in rows], pa.string()),
        **{name: pa.array(boxes[:, index]) for index, name in enumerate(("x1", "y1", "x2", "y2"))},
        "labels": pa.FixedSizeListArray.from_arrays(pa.array(labels), categories),
        "line": pa.array([row.line for row in rows], pa.int32()),
    }
    return pa.table(columns)
