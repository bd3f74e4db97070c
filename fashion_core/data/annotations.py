"""A data set in any layout -> one checked Arrow table. K categories.

The layouts: the challenge's (`split/`), DeepFashion's as it is downloaded (`Anno_fine/`, `Anno_coarse/`), a table (CSV,
Parquet, JSON lines), a folder of images with such a table. Which it is, is told by what is there.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.challenge import read_challenge
from fashion_core.data.dealing import deal_splits
from fashion_core.data.decoding import measure_image
from fashion_core.data.deepfashion import find_coarse, find_fine, read_coarse, read_fine
from fashion_core.data.disk import Disk
from fashion_core.data.mistakes import (
    MIN_WRONG,
    are_fractions,
    convert_boxes,
    find_box_mistake,
    find_fractions,
    find_label_mistake,
    find_missing_mistake,
    find_mixed_mistake,
    find_pixels,
    find_sound_boxes,
    find_unused_mistake,
)
from fashion_core.data.reading import Reading
from fashion_core.data.rows import UNLABELLED, Annotations, Draft, Row, build_table
from fashion_core.data.schema import explain_unprintable, is_printable
from fashion_core.data.spreadsheet import TABLE_ENDINGS, find_table, find_tables, read_tables
from fashion_core.errors import DataError, Fault, ImageError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.schema import AttributeSchema

READERS = 8  # threads: opening an image is in part waiting
OF_LAYOUTS = {
    "attributes": "DeepFashion as downloaded (Anno_fine/, Anno_coarse/)",
    "garments": "DeepFashion as downloaded (Anno_fine/, Anno_coarse/)",
    "categories": "a table",
}  # options of a reading, and what has a use for them
WHOLE_SHARE = (0, 0, 1, 1)  # of an image, in shares
SHARE_UNITS = 1000  # boxes that are shares of a side are compared in thousandths


def load_annotations(
    folder: Path | str, reading: Reading | None = None, *, skip_bad: bool | float = False, check_images: bool = True
) -> Annotations:
    """Read and check a data set: a folder, or the file of a table.

    One image may be listed several times: with other boxes it shows several garments, and the same row again is for
    the audit to tell. The same box with another label in one category contradicts itself, and all such rows are at
    fault.

    Args:
        reading: how; default: strictly, and as the layout says.
        skip_bad: of the reading; given here for short.
        check_images: open every image, see that it is whole, and compare its size with the box. This is done in any
            case where boxes are shares of the image, or absent.

    Raises:
        DataError: says once what all rows have wrong, else lists every fault with file and line.
    """
    reading = reading or Reading()
    if skip_bad:
        reading = replace(reading, skip_bad=skip_bad)
    draft = read_draft(Path(folder), reading)
    rows = draft.rows
    check_names(rows)
    if draft.schema is not None:
        check_labels(draft, draft.schema)
    sizes = np.zeros((len(rows), 2), np.int64)
    is_relative = are_fractions(stack_boxes(rows))
    has_boxes = any(row.box is not None for row in rows)
    is_whole = not draft.structural and any(row.box is None and not row.faults for row in rows)
    if check_images or is_relative or is_whole:
        sizes = check_all_images(draft, Disk(draft.folder, follow_links=reading.follow_links))
    if draft.structural:
        sizes[:] = 0  # a box may be another image's
    check_boxes(draft, sizes, is_relative=is_relative)
    if not draft.structural:
        find_contradictions(rows)
    schema = refuse_faults(draft, reading, Path(folder).resolve().name)
    good = [row for row in rows if not row.faults]
    if draft.needs_split:
        deal_splits(draft, good)
    faults = [(row.split, fault) for row in rows for fault in row.faults]
    for split in ("train", "val"):
        if not any(row.split == split for row in good):
            raise DataError(
                f"{draft.lists[split]} must have at least one sound row of {split}, but has none; add some, or "
                "give it those of another split",
                [fault for _, fault in faults],
            )
    return Annotations(
        folder=draft.folder,
        schema=schema,
        table=build_table(good, len(schema.categories)),
        skipped=tuple(fault for _, fault in faults),
        skipped_splits=tuple(split for split, _ in faults),
        layout=draft.layout,
        remarks=tuple(draft.remarks),
        lists=draft.lists,
        splits_file=draft.splits_file if draft.needs_split else None,
        source=Path(folder),
        has_boxes=has_boxes,
    )


def read_draft(path: Path, reading: Reading) -> Draft:
    """What the files of a data set say, in whichever layout it has.

    Raises:
        DataError: it has none; or no row of it can be read.
    """
    if path.is_dir():
        if (path / "split").is_dir():
            return read_challenge(path, allow(reading, "boxes"))
        if fine := find_fine(path):
            return read_fine(fine, allow(reading, "boxes", "attributes", "garments"))
        if coarse := find_coarse(path):
            return read_coarse(coarse, allow(reading, "boxes", "attributes", "garments"))
        if tables := find_tables(path):
            return read_tables(tables, path, allow(reading, "boxes", "categories"))
    elif path.suffix.lower() in TABLE_ENDINGS and path.is_file():
        return read_tables({path: None}, path.parent, allow(reading, "boxes", "categories"))
    fault = f"{path} is none" if path.exists() else f"there is no {path}: correct the path"
    if below := find_below(path):
        fault += f" (but {below.name}/ in it looks like one: name that)"
    raise DataError(
        f"a data set must be a table ({' '.join(TABLE_ENDINGS)}) or a folder with split/ (the challenge's layout), "
        "Anno_fine/ or Anno_coarse/ (DeepFashion as downloaded) or a metadata.csv (images with a table), but "
        f"{fault}; draw a small one with `python -m fashion_core.sample_data DIR`"
    )


def find_below(path: Path) -> Path | None:
    """A folder in a folder that looks like a data set, as where an archive was unpacked; None where there is none."""
    folders = sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []
    finds = (find_fine, find_coarse, find_table)
    return next((each for each in folders if (each / "split").is_dir() or any(f(each) for f in finds)), None)


def allow(reading: Reading, *names: str) -> Reading:
    """The reading, where it says nothing that a layout has no use for. names: of what it may say.

    Raises:
        DataError: an option would be passed over in silence.
    """
    for name, kind in OF_LAYOUTS.items():
        if getattr(reading, name) and name not in names:
            raise DataError(f"--{name} is for {kind}, but the data set is none; leave the option out")
    return reading


def refuse_faults(draft: Draft, reading: Reading, name: str) -> AttributeSchema:
    """The schema of a draft that may be used.

    Raises:
        DataError: files are at fault, or more rows than may be left out.
    """
    faults = [fault for row in draft.rows for fault in row.faults]
    summary = f"the annotations of {name} must be sound, but {{}} fault(s) were found"
    if draft.structural or draft.schema is None:
        raise DataError(summary.format(len(draft.structural) + len(faults)) + ":", [*draft.structural, *faults])
    if not faults:
        return draft.schema
    bad, count = sum(bool(row.faults) for row in draft.rows), len(draft.rows)
    share, enough = bad / count, np.ceil(bad / count * 100) / 100
    if not reading.skip_bad:
        remedy = "; correct them, or leave these rows out with --skip-bad:"
        raise DataError(summary.format(len(faults)) + remedy, faults)
    if share > reading.max_skipped:
        raise DataError(
            f"at most {reading.max_skipped:.3g} of the rows of {name} may be left out, but {bad} of {count} "
            f"are at fault ({share:.1%}); correct them, or allow so many with --skip-bad {enough:g}:",
            faults,
        )
    return draft.schema


def check_names(rows: Sequence[Row]) -> None:
    """Note in each row what no image's name may hold; such a row has none from here on."""
    for row in rows:
        if row.image is not None and not is_printable(row.image):
            row.blame_image(explain_unprintable(row.image))
            row.image = None
        elif row.image is not None and leaves_folder(row.image):
            row.blame_image(
                f"an image must lie in the data set's folder, but is {row.image[:120]!r}; give its path relative to "
                "that"
            )
            row.image = None


def leaves_folder(name: str) -> bool:
    """Whether an image's name leads out of its data set's folder."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def check_labels(draft: Draft, schema: AttributeSchema) -> None:
    """Note in each row which labels are out of range; or in the draft what all of them have wrong."""
    rows = [row for row in draft.rows if row.labels is not None]
    labels = np.array([row.labels for row in rows], np.int64).reshape(-1, len(schema.categories))
    if mistake := find_label_mistake(labels, schema):
        draft.structural.append(Fault(rows[0].files.labels, None, mistake))
        return
    if mistake := find_unused_mistake(labels):
        draft.remarks.append(mistake)
    wrong = (labels < UNLABELLED) | (labels >= np.array(schema.sizes))
    for index, k in np.argwhere(wrong).tolist():
        category = schema.categories[k]
        rows[index].blame_labels(
            f"a label of {category.name} must be 0 to {len(category.classes) - 1}, or -1 where unlabelled, but is "
            f"{labels[index, k]}; correct it"
        )


def stack_boxes(rows: Sequence[Row]) -> np.ndarray:
    """[M, 4] float: the boxes of the rows that have one."""
    return np.array([row.box for row in rows if row.box is not None], float).reshape(-1, 4)


def check_boxes(draft: Draft, sizes: np.ndarray, *, is_relative: bool) -> None:
    """Make every box x1 y1 x2 y2 in whole pixels, and note in each row what is wrong with its own; or in the draft
    what all of them have wrong.

    Args:
        sizes: [N, 2] of the images, 0 where unknown.
        is_relative: boxes are shares of the image.
    """
    rows = [row for row in draft.rows if row.box is not None]
    boxes = stack_boxes(rows)
    sides = sizes[[row.box is not None for row in draft.rows]]
    if mistake := find_mixed_mistake(boxes):
        draft.structural.append(Fault(rows[0].files.boxes, None, mistake))
        return
    if len(rows) >= MIN_WRONG and (boxes == WHOLE_SHARE).all():
        draft.remarks.append("all boxes are 0 0 1 1, which is one pixel: for whole images leave the boxes out")
    if is_relative:
        mistake = find_box_mistake(boxes * SHARE_UNITS, np.full_like(sides, SHARE_UNITS), draft.box_form)
    else:
        mistake = find_box_mistake(boxes, sides, draft.box_form)
    if mistake:
        draft.structural.append(Fault(rows[0].files.boxes, None, mistake))
        return
    pixels = convert_boxes(boxes, draft.box_form) * (np.tile(sides, 2) if is_relative else 1)
    pixels = np.rint(pixels).astype(np.int64)
    sound = find_sound_boxes(pixels, sides)
    other = find_pixels(boxes) if is_relative else find_fractions(boxes) & (boxes % 1 != 0).any(1)
    for row, box, size, is_sound, is_other in zip(
        rows, pixels.tolist(), sides.tolist(), sound.tolist(), other.tolist(), strict=True
    ):
        if is_other:
            unit = "shares of its image" if is_relative else "pixels"
            row.blame_box(f"a box must be in {unit}, as the others are, but is {list(row.box or ())}; correct it")
            continue
        row.box = tuple(box)
        if not is_sound and (size[0] or not is_relative):  # the size of an image at fault is not known
            x1, y1, x2, y2 = box
            rule = "have 0 <= x1 < x2 and 0 <= y1 < y2"
            if 0 <= x1 < x2 and 0 <= y1 < y2:
                rule = f"lie in its image of {size[0]} x {size[1]} pixels"
            row.blame_box(f"a box must {rule}, but is {box}; correct it")
    for row, (width, height) in zip(draft.rows, sizes.tolist(), strict=True):
        if row.box is None and not row.faults:
            row.box = (0, 0, width, height)


def find_contradictions(rows: Sequence[Row]) -> None:
    """Note a fault in every row whose image and box stand in its split again with other labels."""
    groups = defaultdict(list)
    for row in rows:
        if not row.faults:
            groups[row.split, row.image, row.box].append(row)
    for group in groups.values():
        for row in group:
            other = next((other for other in group if contradicts(row, other)), None)
            if other is not None:
                row.blame_labels(
                    f"one box of one image must have one set of labels, but {row.image} has others in line "
                    f"{other.labels_line}; keep the right row"
                )


def contradicts(row: Row, other: Row) -> bool:
    """Whether two rows have different labels in a category that both are labelled in."""
    pairs = zip(row.labels or (), other.labels or (), strict=True)
    return any(one != two and UNLABELLED not in (one, two) for one, two in pairs)


def check_all_images(draft: Draft, disk: Disk) -> np.ndarray:
    """[N, 2] width and height of the rows' images, 0 where unknown; in each row is noted what is wrong with its image.

    Images are named as the disk has them from here on. Where most are missing, the draft says so, and none is opened.
    """
    sizes = np.zeros((len(draft.rows), 2), np.int64)
    rows = [row for row in draft.rows if row.image is not None]
    found = [disk.find(str(row.image)) for row in rows]
    missing = [str(row.image) for row, name in zip(rows, found, strict=True) if name is None]
    near = disk.suggest(missing[0]) if missing else None
    if mistake := find_missing_mistake(missing, len(rows), str(draft.folder), near):
        draft.structural.append(Fault(rows[0].files.images, None, mistake))
        return sizes
    for row, name in zip(rows, found, strict=True):
        row.image = name or row.image
    with ThreadPoolExecutor(READERS) as pool:
        checks = pool.map(lambda row: check_image(disk, str(row.image)), rows)
        by_row = dict(zip(map(id, rows), checks, strict=True))
    for index, row in enumerate(draft.rows):
        size, message = by_row.get(id(row), ((0, 0), None))
        if message:
            row.blame_image(message)
        else:
            sizes[index] = size
    return sizes


def check_image(disk: Disk, name: str) -> tuple[tuple[int, int], str | None]:
    """An image's width and height, upright, and what is wrong with it; None if nothing is."""
    path, size = disk.root / name, (0, 0)
    if message := disk.explain_link(name):
        return size, message
    try:
        return measure_image(path, name), None
    except ImageError as error:
        return size, str(error)
    except (OSError, RuntimeError) as error:  # of a link to itself
        reason = first_line(getattr(error, "strerror", None) or error)
        return size, f"the image must be a file, but {name} cannot be found ({reason}); restore it"
