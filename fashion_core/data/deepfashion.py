"""DeepFashion as it is downloaded ("Category and Attribute Prediction Benchmark") -> rows. N images, A attributes.

`Anno_fine/` holds 26 attributes of 20,000 images: for each of train, val and test `<split>.txt` (a path a line),
`<split>_attr.txt` (a 0 or 1 an attribute), `<split>_bbox.txt`, `<split>_cate.txt` (a kind of garment, counted from 1).
`Anno_coarse/`, in older copies `Anno/`, holds 1,000 attributes of 289,222 images: `list_attr_img.txt` (a path, then -1,
0 or 1 an attribute, 0 where it is unknown), `list_bbox.txt`, `list_category_img.txt`; `Eval/list_eval_partition.txt` or
one beside them says each image's split. Images stand in `Img/img/` or `img/`.

Attributes are many to an image; a category takes one class. A category is a group of attributes: those of one number in
the list of attributes, or those that a small YAML file names:

    pattern: [floral, striped, graphic]
    sleeve: {attributes: [long sleeve, sleeveless], none: other sleeve}

An image with one of a category's attributes is labelled; with several, or with none, it is unlabelled in that category.
`none` names a class for images that have none of them for certain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from yaml.constructor import ConstructorError

from fashion_core.data.challenge import build_count_fault, find_other_form, parse_box
from fashion_core.data.lines import SPLIT_NAMES, SPLITS, TextRow, parse_whole, read_lines, read_rows
from fashion_core.data.rows import UNLABELLED, Draft, Files, Row
from fashion_core.data.schema import (
    LIST_FILE,
    MAX_BYTES,
    AttributeSchema,
    Category,
    explain_unprintable,
    is_printable,
    load_schema,
    read_names,
)
from fashion_core.errors import DataError, Fault
from fashion_core.escaping import show_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fashion_core.data.reading import Reading

ATTRIBUTES_FILE = "attributes.yaml"  # in the data set's folder, where no other is named
GARMENT = "garment"  # the category of kinds of garment
PLACES = ("", "Anno_fine", "Anno_coarse", "Anno", "Anno/Anno_fine", "Anno/Anno_coarse")
COARSE_FILE = "list_attr_img.txt"
PARTITION_FILE = "list_eval_partition.txt"
BLOCK_BYTES = 1 << 24  # of the list of attributes, which is near a gigabyte
BOM = b"\xef\xbb\xbf"
ABSENT, UNKNOWN, PRESENT = -1, 0, 1


@dataclass(frozen=True)
class Group:
    """A category made of attributes.

    Args:
        columns: of its attributes, in the order of its classes.
        has_none: one more class, the last, is for images that have none of them for certain.
    """

    category: Category
    columns: tuple[int, ...]
    has_none: bool = False


@dataclass(frozen=True)
class Listed:
    """What the lists say that stand beside the rows.

    Args:
        count: A, of all attributes.
        groups: the categories made of them.
        garments: the kinds of garment; empty unless asked for.
    """

    count: int
    groups: tuple[Group, ...]
    garments: tuple[str, ...]

    @property
    def schema(self) -> AttributeSchema:
        """All categories; the kinds of garment are the last."""
        categories = [group.category for group in self.groups]
        return AttributeSchema((*categories, *([Category(GARMENT, self.garments)] if self.garments else [])))

    @property
    def columns(self) -> tuple[int, ...]:
        """The attributes that the categories are made of, each once."""
        return tuple(sorted({column for group in self.groups for column in group.columns}))


# ------------------------------------------------------------------------------------------------------ where files are


def find_fine(path: Path) -> Path | None:
    """The folder with the files of the 26 attributes, at or below a path; None where there is none."""
    return next((place for place in find_places(path) if (place / "train_attr.txt").is_file()), None)


def find_coarse(path: Path) -> Path | None:
    """The folder with the files of the 1,000 attributes, at or below a path; None where there is none."""
    return next((place for place in find_places(path) if (place / COARSE_FILE).is_file()), None)


def find_places(path: Path) -> Iterator[Path]:
    """The folders that annotations may stand in, at or below a path."""
    for place in PLACES:
        folder = path
        for name in filter(None, place.split("/")):
            folder = find_folder(folder, name)
        yield folder


def find_folder(parent: Path, name: str) -> Path:
    """A folder of this name; where there is none, the one whose name differs in small and capital letters alone."""
    if (parent / name).is_dir() or not parent.is_dir():
        return parent / name
    return next((each for each in sorted(parent.iterdir()) if each.name.lower() == name.lower()), parent / name)


def find_root(anno: Path) -> Path:
    """The data set's folder: above the one with the annotations, and above `Anno/` where that lies within."""
    root = anno.parent if anno.name.lower().startswith("anno") else anno
    return root.parent if root.name.lower() == "anno" else root


def find_prefix(root: Path, names: Sequence[str]) -> str:
    """What stands before `img/...`: `Img/` where the images lie in that, or `img/` where they were unpacked in one.

    names: of images; one of them tells, where it is there.
    """
    own = sorted(each.name for each in root.iterdir() if each.name.lower() == "img")
    places = ["", "Img/", "img/", *(f"{name}/" for name in own)]
    found = [place for place in places for name in names[:1] if (root / place / name.replace("\\", "/")).exists()]
    return found[0] if found else "Img/" if (root / "Img").is_dir() and not (root / "img").is_dir() else ""


def find_partition(anno: Path) -> Path:
    """The file with every image's split: in `Eval/` beside the annotations or in the root, or among them."""
    folders = [anno, find_folder(anno.parent, "Eval"), find_folder(find_root(anno), "Eval"), anno.parent]
    found = [folder / PARTITION_FILE for folder in folders if (folder / PARTITION_FILE).is_file()]
    return found[0] if found else find_root(anno) / "Eval" / PARTITION_FILE


# ------------------------------------------------------------------------------------------------------- the lists


def load_listed(anno: Path, reading: Reading) -> Listed:
    """The lists of attributes and garments, and the categories that are to be made of them.

    Raises:
        DataError: they are at fault; or nothing says how to make categories of 1,000 attributes.
    """
    faults: list[Fault] = []
    rows = read_names(anno / LIST_FILE, faults, "attributes")
    if faults:
        raise DataError("the list of attributes is at fault:", faults)
    names = [" ".join(row.words[:-1]) for row in rows]
    own = find_root(anno) / ATTRIBUTES_FILE
    chosen = reading.attributes or (own if own.is_file() else None)
    if chosen is not None:
        groups = load_groups(chosen, names, anno)
        if reading.garments and any(group.category.name == GARMENT for group in groups):
            message = (
                f"the name {GARMENT!r} is that of --garments; name this category otherwise, or leave the option out"
            )
            raise DataError("the file of attributes is at fault:", [Fault(chosen.name, None, message)])
    elif (anno / COARSE_FILE).is_file():
        message = (
            f"categories must be made of its {len(names):,} attributes, but no file says how; write one, a category "
            "and its attributes a line (`pattern: [floral, striped]`), and name it with --attributes, or "
            f"{ATTRIBUTES_FILE} in the data set's folder"
        )
        raise DataError("nothing says which attributes to use:", [Fault(f"{anno.name}/{LIST_FILE}", None, message)])
    else:
        schema = load_schema(anno / LIST_FILE)
        numbers = [int(row.words[-1]) for row in rows]
        groups = tuple(
            Group(category, tuple(np.flatnonzero(np.array(numbers) == number).tolist()))
            for number, category in zip(sorted(set(numbers)), schema.categories, strict=True)
        )
    return Listed(len(names), groups, load_garments(anno) if reading.garments else ())


def load_garments(anno: Path) -> tuple[str, ...]:
    """The kinds of garment, in the order of their numbers, which begin at 1.

    Raises:
        DataError: the list is at fault.
    """
    path = anno / "list_category_cloth.txt"
    faults: list[Fault] = []
    names = [" ".join(row.words[:-1]) for row in read_names(path, faults, "kinds")]
    faults += [Fault(f"{anno.name}/{path.name}", None, explain_unprintable(n)) for n in names if not is_printable(n)]
    if len(set(names)) < len(names) or len(names) < 2:
        message = f"it must be two different kinds or more, but has {len(names)}, {len(set(names))} of them different"
        faults.append(Fault(f"{anno.name}/{path.name}", None, f"{message}; correct it"))
    if faults:
        raise DataError("the list of garments is at fault:", faults)
    return tuple(names)


class TextLoader(yaml.BaseLoader):
    """YAML whose values are text as they stand there (`no` is no False), in mappings that have no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping.

        Raises:
            ConstructorError: a key stands twice.
        """
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ConstructorError(problem=f"{twice[0][:60]!r} stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def load_groups(path: Path, names: Sequence[str], anno: Path) -> tuple[Group, ...]:
    """The categories that a YAML file makes of attributes. names: of all attributes, in their order.

    Raises:
        DataError: lists every fault.
    """
    try:
        content = yaml.load("\n".join(read_lines(path, MAX_BYTES)), TextLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        message = f"it must be YAML, but is not ({' '.join(str(error).split())[:160]}); correct it"
        raise DataError("the file of attributes is at fault:", [Fault(path.name, None, message)]) from None
    faults: list[Fault] = []
    groups = []
    for name, value in content.items() if isinstance(content, dict) else ():
        try:
            groups.append(build_group(name, value, names, f"{anno.name}/{LIST_FILE}"))
        except ValueError as error:
            faults.append(Fault(path.name, None, str(error)))
    if not groups and not faults:
        message = "it must be a category and its attributes a line, like `pattern: [floral, striped]`; write some"
        faults.append(Fault(path.name, None, message))
    if faults:
        raise DataError("the file of attributes is at fault:", faults)
    return tuple(groups)


def build_group(name: Any, value: Any, names: Sequence[str], listed: str) -> Group:
    """One category of the YAML file.

    Args:
        value: a list of attributes, or a mapping of `attributes` and, optionally, `none`.
        listed: the file that lists the attributes `names`.

    Raises:
        ValueError: the category is at fault.
    """
    has_none = isinstance(value, dict) and "none" in value
    chosen = value.get("attributes") if isinstance(value, dict) else value
    if (isinstance(value, dict) and set(value) - {"attributes", "none"}) or not isinstance(chosen, list):
        raise ValueError(
            f"the category {str(name)[:60]!r} must be a list of attributes, or have `attributes` and `none`, but is "
            f"{str(value)[:60]!r}; correct it"
        )
    classes = [*chosen, *([value["none"]] if has_none else [])]
    for text in (name, *classes):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"names must be text, but {str(text)[:60]!r} is not; put it between quotes")
        if not is_printable(text):
            raise ValueError(explain_unprintable(text))
    if unknown := [each for each in chosen if each not in names]:
        raise ValueError(
            f"attributes must stand in {listed}, but {show_value(unknown[0])} of {name} does not; correct it, or name "
            "the folder of annotations that has it as --data"
        )
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ValueError(f"a category must have two different classes or more, but {name} has {classes}; correct it")
    return Group(Category(name, tuple(classes)), tuple(names.index(each) for each in chosen), has_none)


# ----------------------------------------------------------------------------------------------------------- labels


def label_rows(draft: Draft, listed: Listed, values: np.ndarray, garments: np.ndarray | None) -> None:
    """Give the rows their labels, and say how many have none for lack, or for too much, of attributes.

    Args:
        values: [N, len(listed.columns)] -1, 0 or 1.
        garments: [N] the number of the kind of garment, counted from 1; 0 where unknown.
    """
    labels = []
    is_given = (values != UNKNOWN).any(1)
    for group in listed.groups:
        own = values[:, np.searchsorted(listed.columns, group.columns)]
        counts = (own == PRESENT).sum(1)
        label = np.where(counts == 1, own.argmax(1), UNLABELLED)
        is_none = group.has_none & (own == ABSENT).all(1)
        label[is_none] = len(group.columns)
        labels.append(label)
        several, none = int((counts > 1).sum()), int((is_given & (counts == 0) & ~is_none).sum())
        if several or none:
            draft.remarks.append(
                f"{group.category.name}: {several:,} images have several of its attributes and {none:,} none; they are "
                "unlabelled in it"
            )
    if garments is not None:
        labels.append(garments - 1)
    for row, label in zip(draft.rows, np.stack(labels, 1).tolist(), strict=True):
        row.labels = tuple(label)
    draft.schema = listed.schema


def parse_garment(row: Row, text: TextRow, file: str, count: int) -> int:
    """The number of a kind of garment, the last word of a row; 0, with the fault noted, where it is none."""
    number = parse_whole(text.words[-1])
    if number is not None and 1 <= number <= count:
        return number
    row.faults.append(
        Fault(file, text.line, f"a kind of garment must be 1 to {count}, but is {text.words[-1][:80]!r}; correct it")
    )
    return 0


# ------------------------------------------------------------------------------------------------------ 26 attributes


def read_fine(anno: Path, reading: Reading) -> Draft:
    """The rows of `Anno_fine`, in the order of train, val and test."""
    draft = begin_draft(anno, reading, {split: f"{anno.name}/{split}.txt" for split in SPLITS})
    try:
        listed = load_listed(anno, reading)
    except DataError as error:
        draft.structural += error.faults
        return draft
    values: list[np.ndarray] = []
    garments: list[int] = []
    for split in SPLITS:
        if split != "test" or (anno / "test.txt").exists():
            values += read_fine_split(anno, split, draft, listed, garments)
    all_values = np.stack(values)[:, listed.columns] if values else np.zeros((0, len(listed.columns)), np.int8)
    label_rows(draft, listed, all_values, np.array(garments, np.int64) if listed.garments else None)
    return draft


def begin_draft(anno: Path, reading: Reading, lists: dict[str, str]) -> Draft:
    """A draft without rows. lists: split -> the file that lists its images."""
    layout = f"DeepFashion as downloaded, {anno.name}/"
    return Draft(layout, find_root(anno), None, box_form=reading.boxes or "xyxy", lists=lists)


def read_fine_split(anno: Path, split: str, draft: Draft, listed: Listed, garments: list[int]) -> list[np.ndarray]:
    """Add the rows of one split to the draft; their values are the answer, an [A] each.

    Args:
        garments: gets the number of every row's kind, where these are asked for.
    """
    files = Files(*(f"{anno.name}/{split}{kind}.txt" for kind in ("", "_bbox", "_attr")))
    kinds = {"_bbox": files.boxes, "_attr": files.labels}
    if listed.garments:
        kinds["_cate"] = f"{anno.name}/{split}_cate.txt"
    images = read_rows(anno / f"{split}.txt", draft.structural, numbers=False)
    columns: dict[str, list[TextRow]] = {}
    for kind, file in kinds.items():
        if split == "test" and kind != "_bbox" and not (anno / f"{split}{kind}.txt").exists():
            continue
        found = read_rows(anno / f"{split}{kind}.txt", draft.structural)
        if found is not None and images is not None and len(found) != len(images):
            draft.structural.append(build_count_fault(file, found, f"{split}.txt", len(images)))
        elif found is not None:
            columns[kind] = found
    if images is None:
        return []
    prefix = find_prefix(draft.folder, [" ".join(image.words) for image in images[:1]])
    values = np.full((len(images), listed.count), UNKNOWN, np.int8)
    rows = [Row(files, split, image.line, prefix + " ".join(image.words)) for image in images]
    for row, text in zip(rows, columns.get("_bbox", ()), strict=False):
        row.box_line = text.line
        row.box = parse_box(row, text)
    for row, text, value in zip(rows, columns.get("_attr", ()), values, strict=False):
        row.labels_line = text.line
        bits = [parse_whole(word) for word in text.words]
        if len(bits) == listed.count and all(bit in (0, 1, -1) for bit in bits):
            value[:] = [PRESENT if bit == 1 else ABSENT for bit in bits]
        else:
            row.blame_labels(
                f"a row must be {listed.count} times 0 or 1, but is {' '.join(text.words)[:80]!r}; correct it"
            )
    for file, found in ((files.boxes, columns.get("_bbox")), (files.labels, columns.get("_attr"))):
        find_other_form(file, found or (), rows, draft.structural)
    if listed.garments:
        known = columns.get("_cate")
        garments += (
            [
                parse_garment(row, text, kinds["_cate"], len(listed.garments))
                for row, text in zip(rows, known, strict=True)
            ]
            if known
            else [0] * len(rows)
        )
    draft.rows += rows
    return list(values)


# ---------------------------------------------------------------------------------------------------- 1,000 attributes


def read_coarse(anno: Path, reading: Reading) -> Draft:
    """The rows of `Anno_coarse`, by split as `list_eval_partition.txt` has them, else in its order."""
    partition = find_partition(anno)
    shown = f"{partition.parent.name}/{partition.name}"
    draft = begin_draft(anno, reading, dict.fromkeys(SPLITS, shown))
    structural = draft.structural
    try:
        listed = load_listed(anno, reading)
        attributes, lines, values = read_values(anno / COARSE_FILE, listed)
    except DataError as error:
        structural += error.faults
        return draft
    files = Files(shown, f"{anno.name}/list_bbox.txt", f"{anno.name}/{COARSE_FILE}")
    partition_rows = read_rows(partition, structural, numbers=False) or ()
    prefix = find_prefix(draft.folder, [" ".join(text.words[:-1]) for text in partition_rows[:1]])
    draft.rows = [
        Row(
            files,
            SPLIT_NAMES.get(text.words[-1].lower(), text.words[-1]),
            text.line,
            prefix + " ".join(text.words[:-1]),
        )
        for text in partition_rows
    ]
    for row in draft.rows:
        if row.split not in SPLITS:
            row.blame_image(f"a row must end with train, val or test, but does with {row.split[:40]!r}; correct it")
    names = [str(row.image)[len(prefix) :] for row in draft.rows]
    boxes = find_named(anno / "list_bbox.txt", 4, names, structural)
    for row, text in zip(draft.rows, boxes, strict=True):
        if text is not None:
            row.box_line = text.line
            row.box = parse_box(row, text)
    positions = {name: index for index, name in enumerate(attributes)}
    found = [positions.get(name) for name in names]
    tell_unnamed(files.labels, [name for name, index in zip(names, found, strict=True) if index is None], structural)
    order = np.array([0 if index is None else index for index in found], np.int64)
    for row, line in zip(draft.rows, lines[order].tolist(), strict=True):
        row.labels_line = line
    garments = None
    if listed.garments:
        file = "list_category_img.txt"
        kinds = find_named(anno / file, 1, names, structural)
        garments = np.array(
            [
                0 if text is None else parse_garment(row, text, f"{anno.name}/{file}", len(listed.garments))
                for row, text in zip(draft.rows, kinds, strict=True)
            ]
        )
    if not structural:
        label_rows(draft, listed, values[order], garments)
    return draft


def find_named(path: Path, count: int, names: Sequence[str], structural: list[Fault]) -> list[TextRow | None]:
    """For each name the row `name value...` of a file, without the name; None where it has none.

    Args:
        count: of the values; a name is all before them, and may hold blanks.
    """
    read = read_rows(path, structural, numbers=False)
    if read is None:
        return [None] * len(names)
    rows = {" ".join(row.words[:-count]): TextRow(row.line, row.words[-count:]) for row in read}
    if len(rows) < len(read):
        structural.append(Fault(f"{path.parent.name}/{path.name}", None, explain_twice(len(read) - len(rows))))
    found = [rows.get(name) for name in names]
    tell_unnamed(
        f"{path.parent.name}/{path.name}", [n for n, row in zip(names, found, strict=True) if row is None], structural
    )
    return found


def explain_twice(count: int) -> str:
    """What is wrong with a list of which so many rows are of images that it has already."""
    return f"it must have one row for each image, but has {count:,} more; keep the right ones"


def tell_unnamed(file: str, missing: Sequence[str], structural: list[Fault]) -> None:
    """Say which images a file has no row for, if there are some."""
    if missing:
        message = (
            f"it must have a row for every image of {PARTITION_FILE}, but has none for {len(missing):,}, the first is "
            f"{missing[0][:120]!r}; restore it"
        )
        structural.append(Fault(file, None, message))


def read_values(path: Path, listed: Listed) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of images, lines [N] and values [N, len(listed.columns)] int8 of a list `name value...`.

    The file is read in blocks, and of each row only what is used: all of it would be 289 million words.

    Raises:
        DataError: rows are at fault.
    """
    file, parts, names, faults = f"{path.parent.name}/{path.name}", [], [], []
    line = 1
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                block += stream.readline()  # to the end of a line
                if line == 1:
                    start, skipped = find_first_row(block.removeprefix(BOM))
                    block, line = block.removeprefix(BOM)[start:], 1 + skipped
                part = parse_values(block if block.endswith(b"\n") else block + b"\n", line, listed)
                names += part.names
                faults += [Fault(file, number, part.message) for number in part.wrong.tolist()]
                parts.append(part)
                line += block.count(b"\n")
    except OSError as error:
        raise DataError(
            "a list is at fault:", [Fault(file, None, f"it must be readable, but: {error.strerror}")]
        ) from None
    except UnicodeDecodeError as error:
        message = f"it must be UTF-8 text, but is not ({error.reason}); convert it"
        raise DataError("a list is at fault:", [Fault(file, None, message)]) from None
    if not names and not faults:
        faults.append(Fault(file, None, "it must hold rows, but is empty; restore it"))
    if (twice := len(names) - len(set(names))) > 0:
        faults.append(Fault(file, None, explain_twice(twice)))
    if names and names[0].split()[-1] in ("-1", "0", "1"):
        message = f"a row must have a value for each of the {listed.count:,} attributes of {LIST_FILE}, but has more"
        faults.append(Fault(file, int(parts[0].lines[0]), f"{message}; restore the one or the other"))
    if faults:
        raise DataError("a list is at fault:", faults)
    return names, np.concatenate([part.lines for part in parts]), np.concatenate([part.values for part in parts])


def find_first_row(block: bytes) -> tuple[int, int]:
    """Where rows begin, in bytes and in lines, behind a count and a header."""
    start = lines = heads = 0
    for text in block.splitlines(keepends=True):
        words = text.split()
        is_row = len(words) > 1 and parse_whole(words[-1].decode("utf-8", "replace")) is not None
        if words and (is_row or heads == 2):
            break
        start, lines, heads = start + len(text), lines + 1, heads + bool(words)
    return start, lines


@dataclass(frozen=True)
class Values:
    """Rows of one block: names; lines [N], values [N, columns]; lines of rows at fault, and what is wrong with them."""

    names: list[str]
    lines: np.ndarray
    values: np.ndarray
    wrong: np.ndarray
    message: str


def parse_values(block: bytes, first_line: int, listed: Listed) -> Values:
    """The rows of whole lines of text. first_line: number of the first of them.

    Raises:
        UnicodeDecodeError: a name is not UTF-8.
    """
    count = listed.count
    letters = np.frombuffer(block, np.uint8)
    blank = letters <= ord(" ")
    words = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))  # where each begins
    line_ends = np.flatnonzero(letters == ord("\n"))
    line_starts = np.concatenate([[0], line_ends[:-1] + 1])
    ends = np.searchsorted(words, line_ends)  # [lines] position in `words`, behind the line's last
    counts = np.diff(ends, prepend=0)
    numbers = np.arange(first_line, first_line + len(line_ends))
    whole = counts > count
    wrong = numbers[(counts > 0) & ~whole]
    ends, numbers = ends[whole], numbers[whole]
    places = words[ends[:, None] - count + np.array(listed.columns)]  # [N, columns] where each value begins
    first, second = letters[places], letters[places + 1]  # a line's end stands behind every value
    third = letters[np.minimum(places + 2, len(letters) - 1)]
    is_minus = (first == ord("-")) & (second == ord("1")) & (third <= ord(" "))
    is_plain = ((first == ord("0")) | (first == ord("1"))) & (second <= ord(" "))
    values = np.where(is_minus, ABSENT, first.astype(np.int8) - ord("0")).astype(np.int8)
    wrong = np.sort(np.concatenate([wrong, numbers[~(is_minus | is_plain).all(1)]]))
    names = [
        block[start:end].decode().strip()
        for start, end in zip(line_starts[whole].tolist(), words[ends - count].tolist(), strict=True)
    ]
    message = f"a row must be an image's path and {count} times -1, 0 or 1, but is not; restore it"
    return Values(names, numbers, values, wrong, message)
