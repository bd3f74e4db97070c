"""A table (CSV, Parquet, JSON lines) -> rows. One row an image, or a box of it; N rows.

Columns: `image` (`file_name` in the Hugging Face hub's imagefolder), a path relative to the table or absolute; `split`
(optional); four columns of a box (optional), whose names say what they are; every other column is a category, if it
looks like one: its values are names of classes, and where it is empty the image is unlabelled in it.
"""

from __future__ import annotations

import csv
import json
import math
import os
import posixpath
import re
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.data.lines import MAX_FILE_BYTES, SPLIT_NAMES, SPLITS, read_lines
from fashion_core.data.reading import BOX_FORMS
from fashion_core.data.rows import UNLABELLED, Draft, Files, Row
from fashion_core.data.schema import AttributeSchema, Category, explain_unprintable, is_printable
from fashion_core.errors import DataError, Fault, first_line
from fashion_core.escaping import show_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fashion_core.data.reading import BoxForm, Reading

TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl")
TABLE_NAMES = ("metadata", "labels")  # of a table in a folder of images
IMAGE_COLUMNS = ("image", "file_name", "filename", "image_path", "path", "file")
SPLIT_COLUMN = "split"
# Names of a box's columns, as `plain_name` has them; the first set that a table has is its box's.
CORNERS = [("x1", "y1"), ("xmin", "ymin"), ("left", "top"), ("x0", "y0"), ("x", "y")]
CENTRES = [("cx", "cy"), *((f"x{word}", f"y{word}") for word in ("c", "center", "centre"))]
CENTRES += [(f"{word}x", f"{word}y") for word in ("center", "centre")]
SIDES = [("w", "h"), ("width", "height")]
BOX_COLUMNS: dict[tuple[str, ...], BoxForm] = {
    ("x1", "y1", "x2", "y2"): "xyxy",
    ("x0", "y0", "x1", "y1"): "xyxy",
    ("xmin", "ymin", "xmax", "ymax"): "xyxy",
    ("left", "top", "right", "bottom"): "xyxy",
    **{(*corner, *sides): "xywh" for corner in CORNERS for sides in SIDES},
    **{(*centre, *sides): "cxcywh" for centre in CENTRES for sides in SIDES},
}
BOX_NAMES = ("bbox", "box")  # one column of four numbers, whose name does not say which
MAX_COORDINATE = 10**9  # fits int32
MAX_ROWS = 10_000_000
MAX_CLASSES = 200  # of one category, unless its column is asked for
MAX_CLASSES_ASKED = 2000
FEW_CLASSES = 20  # so many are no free text, though they were most of the values
MAX_NAME = 100  # letters of a class: longer is a text
WHOLE_FLOAT = re.compile(r"(-?[0-9]+)\.0+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
SEPARATORS = ",;\t|"
NO_CLASSES = {"-1", "nan", "na", "n/a", "#n/a", "<na>", "null", "?", "-", "--"}  # what often stands for no label


@dataclass
class Table:
    """One file, read.

    Args:
        file: its name as the user knows it; folder: that its images are relative to.
        split: of all its rows, where the folder says so.
        columns: name -> values, [N] each; lines: [N], 1-based (rows, in Parquet).
        faults: of rows that are none.
    """

    file: str
    folder: Path
    split: str | None
    columns: dict[str, list[Any]]
    lines: list[int]
    faults: list[Fault]


def find_tables(folder: Path) -> dict[Path, str | None]:
    """The tables of a folder of images: one in it, or one in each split's folder, with the split of all its rows."""
    if path := find_table(folder):
        return {path: None}
    below = {
        each: SPLIT_NAMES[each.name.lower()] for each in sorted(folder.iterdir()) if each.name.lower() in SPLIT_NAMES
    }
    return {path: split for each, split in below.items() if (path := find_table(each))}


def find_table(folder: Path) -> Path | None:
    """The table of a folder; None where it has none."""
    paths = (folder / f"{name}{ending}" for name in TABLE_NAMES for ending in TABLE_ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def read_tables(tables: Mapping[Path, str | None], root: Path, reading: Reading) -> Draft:
    """The rows of tables that have the same columns. root: what their names are shown relative to."""
    names = [path.relative_to(root).as_posix() for path in tables]
    layout = f"table {names[0]}" if len(names) == 1 else f"tables {' '.join(names)}"
    draft = Draft(layout, root, None)
    try:
        read = [read_table(path, name, split) for (path, split), name in zip(tables.items(), names, strict=True)]
    except DataError as error:
        draft.structural += error.faults
        return draft
    if not any(each.lines for each in read):
        draft.structural += [fault for each in read for fault in each.faults]
        return draft
    draft.lists = {split: next((each.file for each in read if each.split == split), names[0]) for split in SPLITS}
    columns = merge_columns(read)
    draft.structural += [fault for each in read for fault in each.faults]
    image = find_image_column(columns)
    if image is None:
        draft.structural.append(Fault(names[0], 1, explain_no_image(list(columns))))
        return draft
    split = find_split_column(columns, reading, draft)
    box = find_box_columns(columns, reading, names[0], draft)
    others = {name: values for name, values in columns.items() if name not in {image, split, *box}}
    draft.schema, labels = build_categories(others, len(columns[image]), reading, names[0], draft)
    draft.rows = [
        Row(Files(each.file, each.file, each.file), each.split or "", line, box_line=line, labels_line=line)
        for each in read
        for line in each.lines
    ]
    for row, label in zip(draft.rows, labels.tolist(), strict=True):
        row.labels = tuple(label)
    folders = [each.folder for each in read for _ in each.lines]
    if not any(isinstance(value, str) for value in columns[image]):
        message = (
            f"the column {show_value(image)} must hold paths of images, but holds {str(columns[image][0])[:60]!r}; "
            "save the images as files, and write their paths"
        )
        draft.structural.append(Fault(names[0], 1, message))
        draft.rows = []
        return draft
    draft.folder = place_images(draft.rows, columns[image], folders, root)
    set_splits(draft, None if split is None else columns[split], reading, root, names[0])
    if box:
        set_boxes(draft.rows, [columns[name] for name in box])
    return draft


# ---------------------------------------------------------------------------------------------------------- the file


def read_table(path: Path, file: str, split: str | None) -> Table:
    """A file's columns.

    Raises:
        DataError: it cannot be read.
    """
    readers: dict[str, Callable[[Path, str, list[Fault]], tuple[dict[str, list[Any]], list[int]]]] = {
        ".parquet": read_parquet,
        ".jsonl": read_json_lines,
    }
    faults: list[Fault] = []
    columns, lines = readers.get(path.suffix.lower(), read_csv)(path, file, faults)
    if not lines and not faults:
        faults.append(
            Fault(file, None, "a table must have rows below the names of its columns, but has none; add some")
        )
    return Table(file, path.parent, split, columns, lines, faults)


def read_csv(path: Path, file: str, faults: list[Fault]) -> tuple[dict[str, list[Any]], list[int]]:
    """Columns and lines of a text with commas, semicolons, tabs or bars between its values; the first line names them.

    Excel's `sep=;` may stand before it. Empty values behind the last column do not matter.
    """
    texts = [f"{line}\n" for line in read_lines(path)]
    first = next((index for index, text in enumerate(texts) if text.strip()), 0)
    told = re.fullmatch(r"sep=(.)\n", texts[first])
    if told:
        first += 1
    plain = re.sub(r'"[^"]*"', "", next((text for text in texts[first:] if text.strip()), ""))  # without quoted text
    separator = told[1] if told else max(SEPARATORS, key=plain.count)
    reader = csv.reader(texts[first:], delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    rows, lines, line = [], [], first + 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(line)
            line = first + reader.line_num + 1
    except csv.Error as error:
        message = f"it must be a table of quoted or plain values, but: {first_line(error)}; correct it"
        raise DataError("a table is at fault:", [Fault(file, line, message)]) from None
    names, rows, lines = (rows[0], rows[1:], lines[1:]) if rows else ([], [], [])
    names = unique_names(names, file)
    for row, line in zip(rows, lines, strict=True):
        while len(row) > len(names) and not row[-1].strip():
            row.pop()
        if len(row) != len(names):
            message = (
                f"a row must have a value for each of the {len(names)} columns, but has {len(row)}; "
                "put values with commas between quotes"
            )
            faults.append(Fault(file, line, message))
    widths = {len(row) for row in rows}
    if len(widths) == 1 and len(faults) > 1:
        message = (
            f"the first line must name the columns, but names {len(names)} where all rows have {widths.pop()} values; "
            "correct it, and remove what stands before it"
        )
        faults[:] = [Fault(file, lines[0] - 1, message)]
    if faults:
        rows, lines = [], []
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}, lines


def read_json_lines(path: Path, file: str, faults: list[Fault]) -> tuple[dict[str, list[Any]], list[int]]:
    """Columns and lines of a text with a JSON object a line; a key that a line lacks is empty there."""
    rows, lines = [], []
    for line, text in enumerate(read_lines(path), 1):
        if text.strip():
            try:
                row = json.loads(text)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                rows.append(row)
                lines.append(line)
            else:
                faults.append(Fault(file, line, f"a line must be a JSON object, but is {text[:60]!r}; correct it"))
    if faults and not rows:  # JSON, but over several lines or all in one
        faults[1:] = []
        faults[0] = Fault(file, faults[0].line, f"{faults[0].message}: write one object a line (JSON lines)")
    keys = list(dict.fromkeys(key for row in rows for key in row))
    values = [[row.get(key) for row in rows] for key in keys]
    return dict(zip(unique_names(keys, file), values, strict=True)), lines


def read_parquet(path: Path, file: str, faults: list[Fault]) -> tuple[dict[str, list[Any]], list[int]]:
    """Columns and 1-based rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            size = sum(parquet.metadata.row_group(index).total_byte_size for index in range(parquet.num_row_groups))
            if parquet.metadata.num_rows > MAX_ROWS or size > MAX_FILE_BYTES:
                message = (
                    f"it must have at most {MAX_ROWS:,} rows and {MAX_FILE_BYTES:,} bytes unpacked, but has "
                    f"{parquet.metadata.num_rows:,} and {size:,}; leave columns out that hold no labels"
                )
                raise DataError("a table is at fault:", [Fault(file, None, message)])
            table = parquet.read()
            is_single = [pa.types.is_float32(column.type) for column in table.columns]
            values = [
                # 0.1 of 32 bits is 0.10000000149 of 64; its text is 0.1
                (column.cast(pa.string()) if single else column).to_pylist()
                for column, single in zip(table.columns, is_single, strict=True)
            ]
    except (pa.ArrowException, OSError, ValueError) as error:
        message = f"it must be a whole Parquet file, but: {first_line(error)[:160]}; write it again"
        raise DataError("a table is at fault:", [Fault(file, None, message)]) from None
    lines = list(range(1, table.num_rows + 1))
    return dict(zip(unique_names(table.column_names, file), values, strict=True)), lines


def unique_names(names: Sequence[str], file: str) -> list[str]:
    """Names of columns, without blanks around them; one without a name is `column 3`.

    Raises:
        DataError: two are the same.
    """
    plain = [unicodedata.normalize("NFC", name).strip() or f"column {i}" for i, name in enumerate(names, 1)]
    if twice := [name for name, count in Counter(plain).items() if count > 1]:
        message = f"columns must have different names, but {twice[0][:60]!r} stands twice; rename one"
        raise DataError("a table is at fault:", [Fault(file, 1, message)])
    return plain


def merge_columns(tables: Sequence[Table]) -> dict[str, list[Any]]:
    """The columns of all tables, one below the other; what a table lacks is empty there."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    return {
        name: [value for table in tables for value in table.columns.get(name, [None] * len(table.lines))]
        for name in names
    }


def find_column(columns: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The column of the first of these names that there is, in small or capital letters."""
    own = {name.lower(): name for name in reversed(list(columns))}
    return next((own[name] for name in names if name in own), None)


def find_image_column(columns: Mapping[str, Sequence[Any]]) -> str | None:
    """The column of images: of those that have a name for it, the first whose values look like paths."""
    named = [name for each in IMAGE_COLUMNS if (name := find_column(columns, (each,))) is not None]
    paths = [name for name in named if any(isinstance(value, str) and "." in value for value in columns[name])]
    return next(iter(paths or named), None)


def find_split_column(columns: Mapping[str, Sequence[Any]], reading: Reading, draft: Draft) -> str | None:
    """The column of splits; one of another name, where it holds their words and is not asked for as a category.

    Taken for a category it would be learned, and images of its test would be trained on.
    """
    if own := find_column(columns, (SPLIT_COLUMN,)):
        return own if any(write_value(value) for value in columns[own]) else None
    for name, values in columns.items():
        words = set(values) if all(isinstance(value, str) for value in values) else set()
        splits = {SPLIT_NAMES.get(word.strip().lower()) for word in words}
        if name not in reading.categories and None not in splits and {"train", "val"} <= splits:
            draft.remarks.append(f"the column {show_value(name)} holds train and val: it is taken for the split")
            return name
    return None


def explain_no_image(names: Sequence[str]) -> str:
    """What is wrong with a table without a column of images."""
    shown = ", ".join(map(repr, names))[:160]
    if any(PurePosixPath(name).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp") for name in names):
        return f"the first line must name the columns, but looks like a row ({shown}); put names above it"
    return f"a table must have a column {IMAGE_COLUMNS[0]!r} (or {IMAGE_COLUMNS[1]!r}), but has {shown}; rename one"


# --------------------------------------------------------------------------------------------------------- its columns


def write_value(value: Any) -> str | None:
    """A cell as the name of a class; empty where nothing stands, None where it is no single value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (list, dict, bytes)):
        return None
    return unicodedata.normalize("NFC", str(value)).strip()


def write_values(values: Sequence[Any]) -> list[str] | None:
    """A column as names of classes, the same whichever file it came from: `1.0` is `1` among numbers.

    None where some are no single values.
    """
    texts = [text for value in values if (text := write_value(value)) is not None]
    if len(texts) < len(values):
        return None
    if all(NUMBER.fullmatch(text) for text in texts if text):
        texts = [match[1] if (match := WHOLE_FLOAT.fullmatch(text)) else text for text in texts]
    return texts


def build_categories(
    columns: Mapping[str, list[Any]], count: int, reading: Reading, file: str, draft: Draft
) -> tuple[AttributeSchema | None, np.ndarray]:
    """Categories of the columns that are some, and labels [N, K]; what is left out, and why, goes to the remarks.

    count: N.
    """
    left_out: list[str] = []
    categories, labels = [], []
    if unknown := [name for name in reading.categories if name not in columns]:
        known = ", ".join(map(repr, columns))
        message = f"--categories must name columns of the table, but {show_value(unknown[0])} is none; it has {known}"
        draft.structural.append(Fault(file, 1, message))
        return None, np.zeros((count, 0), np.int64)
    for name in reading.categories or columns:
        texts = write_values(columns.get(name, ()))
        reason = (
            "its values are lists, objects or bytes"
            if texts is None
            else explain_no_category(texts, asked=bool(reading.categories))
        )
        if texts is None or reason:
            left_out.append(f"{name[:60]!r} ({reason})")
            continue
        classes = sort_classes(set(texts) - {""})
        draft.remarks += find_odd_classes(name, classes)
        if bad := [text for text in (name, *classes) if not is_printable(text)]:
            draft.structural.append(Fault(file, None, explain_unprintable(bad[0])))
        positions = {"": UNLABELLED} | {text: index for index, text in enumerate(classes)}
        categories.append(Category(name, tuple(classes)))
        labels.append([positions[text] for text in texts])
    if left_out and reading.categories:
        message = f"--categories must name columns of classes, but got {'; '.join(left_out)}; leave them out"
        draft.structural.append(Fault(file, None, message))
    elif left_out:
        draft.remarks.append(
            f"columns left out, for they look like no categories: {'; '.join(left_out)}; --categories names what to use"
        )
    if not categories:
        message = (
            "a table must have a column of classes beside its images, but has none"
            f"{': ' + '; '.join(left_out) if left_out else ''}; add one, or name some with --categories"
        )
        draft.structural.append(Fault(file, 1, message))
        return None, np.zeros((count, 0), np.int64)
    return AttributeSchema(tuple(categories)), np.array(labels, np.int64).T.reshape(count, -1)


def find_odd_classes(name: str, classes: Sequence[str]) -> list[str]:
    """What to look at among a column's classes, a sentence each: they are taken as they are."""
    remarks = []
    if odd := [text for text in classes if text.lower() in NO_CLASSES]:
        remarks.append(
            f"{', '.join(map(repr, odd))} of {name[:60]!r} is a class like the others; leave cells empty to say that "
            "an image is unlabelled"
        )
    written: dict[str, list[str]] = {}
    for text in classes:
        written.setdefault(" ".join(text.casefold().split()), []).append(text)
    if alike := [texts for texts in written.values() if len(texts) > 1]:
        shown = "; ".join(" and ".join(map(repr, texts)) for texts in alike)[:160]
        remarks.append(
            f"classes of {name[:60]!r} differ in capitals or blanks alone: {shown}; write them alike if they are"
        )
    return remarks


def explain_no_category(texts: Sequence[str], *, asked: bool) -> str | None:
    """Why a column is no category: nothing to tell apart, or as good as a name for each image; None where it is one.

    Args:
        asked: a person named it, so that only the impossible counts.
    """
    given = [text for text in texts if text]
    count = len(set(given))
    if count < 2:
        return "it is empty" if not given else f"all its values are {given[0][:40]!r}"
    if count > (MAX_CLASSES_ASKED if asked else MAX_CLASSES):
        return f"{count:,} values differ, more than {MAX_CLASSES_ASKED if asked else MAX_CLASSES:,}"
    if asked:
        return None
    if count == len(given):
        return f"all its {count:,} values differ"
    if count > FEW_CLASSES and count * 2 > len(given):
        return f"{count:,} of its {len(given):,} values differ"
    if longest := max((len(text) for text in given if len(text) > MAX_NAME), default=0):
        return f"a text of {longest:,} letters stands in it"
    return None


def sort_classes(texts: set[str]) -> list[str]:
    """Classes in an order that does not depend on that of the rows: by number where all are numbers, else by name."""
    if all(NUMBER.fullmatch(text) for text in texts):
        return sorted(texts, key=lambda text: (float(text), text))
    return sorted(texts)


# ------------------------------------------------------------------------------------------------- images, split, boxes


def place_images(rows: Sequence[Row], values: Sequence[Any], folders: Sequence[Path], root: Path) -> Path:
    """Name every row's image, and the folder that all these names are relative to.

    That is the table's; or, where some images lie elsewhere, the nearest folder above all.
    """
    paths: list[str | None] = []
    is_amiss = not all(isinstance(value, str) and URL.match(value.strip()) for value in values)  # else told once
    for row, value, folder in zip(rows, values, folders, strict=True):
        path = None
        if not isinstance(value, str) or not value.strip():
            row.blame_image(f"a row must name its image, but has {str(value)[:60]!r}; give its path")
        elif not is_printable(value):
            row.blame_image(explain_unprintable(value))
        elif is_amiss and URL.match(value.strip()):
            row.blame_image(
                f"an image must be a file, but is the address {value.strip()[:120]}; fetch it, and give its path"
            )
        else:
            path = os.path.normpath(os.path.join(os.path.abspath(folder), value.strip()))
        paths.append(path)
    given = [path for path in paths if path is not None]
    top = Path(os.path.abspath(root))
    if not all(Path(path).is_relative_to(top) for path in given):
        top = Path(os.path.commonpath([posixpath.dirname(path) for path in given]))
    for row, path in zip(rows, paths, strict=True):
        row.image = None if path is None else os.path.relpath(path, top)
    return top


def name_splits(root: Path, table: str) -> str:
    """The file of a table's split: of its own, though another table, in a folder of the same name, has its name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", f"{root.name}-{table}")
    return f"{plain}-{zlib.crc32(os.fsencode(root / table)):08x}.csv"


def set_splits(draft: Draft, values: Sequence[Any] | None, reading: Reading, root: Path, file: str) -> None:
    """Give every row its split: that of its column, of its table's folder, of its image's folder; or none so far."""
    rows = draft.rows
    if all(row.split for row in rows):
        return
    if values is None:
        tops = [find_split_folder(str(row.image)) for row in rows]
        if not {"train", "val"} <= set(tops) or "" in tops:
            draft.needs_split = True
            if reading.splits is not None:
                draft.splits_file = reading.splits / name_splits(Path(os.path.abspath(root)), Path(file).stem)
            return
        draft.remarks.append("the table has no column split: the images' folders are named by it")
        values = tops
    words = [(write_value(value) or "").lower() for value in values]
    if unknown := sorted({word for word in words if word} - set(SPLIT_NAMES)):
        shown = ", ".join(map(repr, unknown))[:120]
        message = f"the column split must hold train, val and test, but holds {shown}; rename them"
        draft.structural.append(Fault(file, None, message))
    for row, word in zip(rows, words, strict=True):
        row.split = SPLIT_NAMES.get(word, "")
        if not word:
            row.blame_image("a row must have a split, but has none; write train, val or test, or drop the column")


def find_split_folder(image: str) -> str:
    """The split that an image's first folder is named by, or else one alone of those below; empty where none is."""
    first, *folders = image.replace("\\", "/").lower().split("/")[:-1] or [""]
    splits = {SPLIT_NAMES[folder] for folder in folders if folder in SPLIT_NAMES}
    return SPLIT_NAMES.get(first) or (splits.pop() if len(splits) == 1 else "")


def plain_name(name: str) -> str:
    """A name of a box's column without what varies: `bbox_x_min`, `X Min` and `xmin` are one."""
    return re.sub("^(bounding|b)?box(?=.)", "", re.sub("[^a-z0-9]", "", name.lower()))


def find_box_columns(columns: Mapping[str, Any], reading: Reading, file: str, draft: Draft) -> list[str]:
    """The columns of the boxes, four or one of four numbers; none where there are none. The draft gets their form."""
    own = {plain_name(name): name for name in reversed(list(columns))}
    for names, form in BOX_COLUMNS.items():
        if all(name in own for name in names):
            draft.box_form = reading.boxes or form
            return [own[name] for name in names]
    for names in BOX_COLUMNS:
        if len(lacking := [name for name in names if name not in own]) == 1:
            message = (
                f"a box needs the columns {' '.join(names)}, but {lacking[0]} is lacking; add it, or rename the others"
            )
            draft.structural.append(Fault(file, 1, message))
            return [own[name] for name in names if name in own]
    single = find_column(columns, BOX_NAMES)
    if single is None:
        return []
    if found := find_named_form(columns[single]):
        draft.box_form = reading.boxes or found
    elif reading.boxes is None:
        forms = ", ".join(f"{form} ({words})" for form, words in BOX_FORMS.items())
        draft.structural.append(
            Fault(file, 1, f"nothing says what the numbers of {show_value(single)} are; say it with --boxes: {forms}")
        )
    else:
        draft.box_form = reading.boxes
    return [single]


def find_named_form(cells: Sequence[Any]) -> BoxForm | None:
    """What the boxes of a column are whose numbers have names, all of them the same; None where they have none."""
    names = [frozenset(map(plain_name, cell)) for cell in cells if isinstance(cell, dict)]
    return next((form for known, form in BOX_COLUMNS.items() if {frozenset(known)} == set(names)), None)


def set_boxes(rows: Sequence[Row], columns: Sequence[Sequence[Any]]) -> None:
    """Give every row its box: of four columns, or of one of lists or of numbers by name; where all is empty it is the
    whole image."""
    for row, cells in zip(rows, zip(*columns, strict=True), strict=True):
        if len(cells) == 1:
            cells = split_box(cells[0])
        texts = [str(cell) if (text := write_value(cell)) is None else text for cell in cells]
        if not any(texts):
            continue
        numbers = [parse_decimal(text) for text in texts]
        box = tuple(number for number in numbers if number is not None)
        if len(box) == len(numbers) == 4:
            row.box = box
        else:
            row.blame_box(f"a box must be 4 numbers, but is {' '.join(texts)[:80]!r}; correct it")


def split_box(cell: Any) -> tuple[Any, ...]:
    """The numbers of a cell that holds a list, numbers by name, or the text of a list: `[1, 2, 3, 4]`, `1 2 3 4`."""
    if isinstance(cell, (list, tuple)):
        return tuple(cell)
    if isinstance(cell, dict):
        own = {plain_name(name): value for name, value in cell.items()}
        names = next((names for names in BOX_COLUMNS if set(names) == own.keys()), None)
        return (cell,) if names is None else tuple(own[name] for name in names)
    if isinstance(cell, bytes):
        return (cell,)
    return tuple(part for part in re.split(r"[\s,;\[\]()]+", write_value(cell) or "") if part)


def parse_decimal(text: str) -> float | None:
    """A number, with a point or a comma before its decimals; None where it is none, or no pixel's."""
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        return None
    return number if abs(number) < MAX_COORDINATE else None
