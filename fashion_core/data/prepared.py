"""Images decoded, cropped and resized once -> a memory-mapped Arrow file that every trial of every search opens.

The file is named by a fingerprint of what it was made from: the images' bytes, boxes, labels, classes and settings.
N images, S pixels a side, K categories.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from fashion_core.config import Crop, TrainConfig
from fashion_core.data.decoding import open_image
from fashion_core.data.duplicates import THUMBNAIL_SIDE, compute_thumbnail
from fashion_core.data.fingerprints import compute_digest, fingerprint_content, fingerprint_quickly
from fashion_core.data.pixels import PrepareSettings, build_settings, crop_and_resize
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import DataError, FashionError, Fault, ImageError, RoomError, first_line
from fashion_core.files import (
    check_form,
    make_line,
    open_or_make,
    parse_json,
    read_checked,
    read_json,
    whole,
    write_whole,
)

if TYPE_CHECKING:
    from fashion_core.data.rows import Annotations

FORMAT = "fashion-prepared/2"  # 1: files were decoded in another way, without EXIF
BATCH_IMAGES = 256
METADATA_KEY = b"prepared"
BOX = ("x1", "y1", "x2", "y2")
Progress = Callable[[int, int], None]


def prepare(
    annotations: Annotations,
    settings: PrepareSettings | TrainConfig,
    cache_dir: Path | str,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PreparedData:
    """The images of these annotations as one setting, or one configuration, wants them: see `prepare_all`."""
    wanted = build_settings(settings) if isinstance(settings, TrainConfig) else settings
    return prepare_all(annotations, [wanted], cache_dir, workers=workers, progress=progress)[wanted]


def prepare_all(
    annotations: Annotations,
    settings: Iterable[PrepareSettings],
    cache_dir: Path | str,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[PrepareSettings, PreparedData]:
    """The prepared data of each setting, in this order; made where there is none. Two processes at once make it once.

    An image is decoded once for all files that are missing. A file that is there is read once, whole, and compared with
    the checksums it was written with; one that has changed is made anew.

    Args:
        cache_dir: holds prepared files; on a file system that all trials see.
        workers: threads that decode; default: one a CPU core.
        progress: called with (images done, images in all).
        tell: called with one line on each file that is damaged, and is made anew.

    Raises:
        DataError: lists every image that cannot be decoded, with file and line.
    """
    cache_dir = Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    files, notes = list_notes(annotations, settings, cache_dir)
    prepared = {each: find_known(note) for each, note in notes.items()}
    unknown = [each for each, data in prepared.items() if data is None]
    if unknown:
        with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
            digests = list(pool.map(compute_digest, files))
            paths = {
                cache_dir / f"prepared-{fingerprint_content(FORMAT, annotations, each, digests)}.arrow": each
                for each in unknown
            }

            def make(missing: list[Path]) -> None:
                check_room(len(files), [paths[path] for path in missing], cache_dir)
                write_files(annotations, {path: paths[path] for path in missing}, files, digests, pool, progress)

            for data in open_or_make(list(paths), PreparedData.open, make, tell):
                write_whole(notes[data.settings], json.dumps({"file": data.path.name}))
                prepared[data.settings] = data
    return {each: data for each, data in prepared.items() if data is not None}


def find_fingerprint(
    annotations: Annotations, settings: PrepareSettings, cache_dir: Path, expected: str
) -> tuple[str, list[str]]:
    """What names the prepared images of these annotations, and SHA-256 of each image.

    Images are read only where their sizes and times are not known to lead to what is expected; else no digest is told.
    """
    files = [annotations.folder / name for name in annotations.table["image"].to_pylist()]
    with suppress(OSError):  # an image is gone: its digest will tell
        note = cache_dir / f"known-{fingerprint_quickly(FORMAT, annotations, settings, files)}.json"
        if read_note(note) == f"prepared-{expected}.arrow":
            return expected, []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        digests = list(pool.map(compute_digest, files))
    return fingerprint_content(FORMAT, annotations, settings, digests), digests


def list_notes(
    annotations: Annotations, settings: Iterable[PrepareSettings], cache_dir: Path
) -> tuple[list[Path], dict[PrepareSettings, Path]]:
    """The files of all images, and where the note stands that leads to their prepared file, by setting."""
    files = [annotations.folder / name for name in annotations.table["image"].to_pylist()]
    return files, {
        each: cache_dir / f"known-{fingerprint_quickly(FORMAT, annotations, each, files)}.json" for each in settings
    }


def list_unprepared(
    annotations: Annotations, settings: Iterable[PrepareSettings], cache_dir: Path
) -> list[PrepareSettings]:
    """Those settings in which the images are not known to be prepared; what stands there is not looked at."""
    try:
        _, notes = list_notes(annotations, settings, cache_dir)
    except OSError:  # an image is gone: preparing will say which
        return list(settings)
    names = {each: read_note(note) for each, note in notes.items()}
    return [each for each, name in names.items() if name is None or not (cache_dir / name).is_file()]


def count_bytes(images: int, settings: Iterable[PrepareSettings]) -> int:
    """What so many images take on the disk, prepared in each of these ways: their pixels and thumbnails."""
    return sum(images * (each.image_size**2 * 3 + THUMBNAIL_SIDE**2) for each in settings)


def check_room(images: int, settings: Iterable[PrepareSettings], folder: Path) -> None:
    """Raise RoomError where the disk of a folder has not the room for images prepared in these ways."""
    needed, free = count_bytes(images, settings), shutil.disk_usage(folder).free
    if needed > free:
        raise RoomError(
            f"preparing {images:,} images takes {needed / 1e9:.1f} GB, but {folder} has {free / 1e9:.1f} GB free; free "
            "some, name another disk with --cache-dir, or search smaller image sizes"
        )


def find_known(note: Path) -> PreparedData | None:
    """What was made when sizes and times of all images were those the note is named by; None if it is not as it was."""
    name = read_note(note)
    try:
        return None if name is None else read_checked(note.with_name(name), PreparedData.open)
    except FashionError:
        return None


def read_note(note: Path) -> str | None:
    """The name of the prepared file that a note leads to; None where it leads to none."""
    try:
        return read_json(note, Note, "name a prepared file", "delete it", DataError).file
    except DataError:
        return None


def write_files(
    annotations: Annotations,
    paths: dict[Path, PrepareSettings],
    files: list[Path],
    digests: list[str],
    pool: ThreadPoolExecutor,
    progress: Progress | None,
) -> None:
    """Decode each image once, and write it as each path's settings have it; a file appears whole or not at all."""
    boxes = np.stack([annotations.table[name].to_numpy() for name in BOX], 1)
    names = annotations.table["image"].to_pylist()

    def decode(row: int) -> list[bytes] | str:
        """Thumbnail, then pixels by setting; or what is wrong."""
        try:
            image = open_image(files[row], names[row])
            box = tuple(boxes[row].tolist())
            pixels = [crop_and_resize(image, box, each).tobytes() for each in paths.values()]
            return [compute_thumbnail(image).tobytes(), *pixels]
        except ImageError as error:
            return str(error)
        except ValueError as error:  # of Pillow, where the image has become smaller since its box was checked
            return f"the image must hold its box, but: {first_line(error)}; restore it"

    faults: list[Fault] = []
    rows = iter(range(len(files)))
    with ExitStack() as stack:
        writers = []
        for path, settings in paths.items():
            sink = stack.enter_context(pa.OSFile(str(stack.enter_context(whole(path))), "wb"))
            schema = build_schema(annotations, settings, path)
            writers.append((stack.enter_context(pa.ipc.new_file(sink, schema)), schema))
        while part := list(islice(rows, BATCH_IMAGES)):
            decoded = list(pool.map(decode, part))
            for row, result in zip(part, decoded, strict=True):
                if isinstance(result, str):
                    faults.append(fault_of_row(annotations, row, result))
            if not faults:
                plain = annotations.table.slice(part[0], len(part)).combine_chunks()
                columns = [plain[name].chunk(0) for name in ("image", "split", *BOX, "labels")]
                columns.append(pa.array(digests[part[0] : part[-1] + 1]))
                thumbnails, *pixels = zip(*decoded, strict=True)
                for (writer, schema), values in zip(writers, pixels, strict=True):
                    pairs = zip((thumbnails, values), list(schema)[-2:], strict=True)
                    last = [pa.array(column, field.type) for column, field in pairs]
                    writer.write_batch(pa.record_batch([*columns, *last], schema=schema))
            if progress is not None:
                progress(part[-1] + 1, len(files))
        if faults:
            raise DataError(f"images of {annotations.folder.name} cannot be prepared:", faults)


def fault_of_row(annotations: Annotations, row: int, message: str) -> Fault:
    """A fault in the image of a row of the table."""
    split, line = (annotations.table[name][row].as_py() for name in ("split", "line"))
    return Fault(annotations.lists.get(split, split), line, message)


def build_schema(annotations: Annotations, settings: PrepareSettings, path: Path) -> pa.Schema:
    """Columns of a prepared file, and what it was made from."""
    description = {
        "format": FORMAT,
        "fingerprint": path.stem.removeprefix("prepared-"),
        "settings": asdict(settings),
        "categories": annotations.schema.to_dict(),
    }
    return pa.schema(
        [
            *(annotations.table.schema.field(name) for name in ("image", "split", *BOX, "labels")),
            pa.field("sha256", pa.string()),
            pa.field("thumbnail", pa.binary(THUMBNAIL_SIDE**2)),
            pa.field("pixels", pa.binary(settings.image_size**2 * 3)),
        ],
        metadata={METADATA_KEY: json.dumps(description).encode()},
    )


class Note(BaseModel):
    """What leads from sizes and times of all images to their prepared file, which stands beside it."""

    file: str = Field(pattern=r"^prepared-[0-9A-Za-z]{1,64}\.arrow$")


class SettingsDescription(BaseModel):
    """`PrepareSettings` as the header of a prepared file has them."""

    image_size: int = Field(ge=1, le=1 << 14)
    crop: Crop
    crop_margin: float = Field(ge=0, le=1)


class PreparedDescription(BaseModel):
    """What the header of a prepared file tells, checked by types."""

    fingerprint: str
    settings: SettingsDescription
    categories: dict[str, list[str]]


class PreparedData:
    """A prepared file, memory-mapped. Travels between processes as its path.

    Attributes:
        path, fingerprint, settings, schema
        names: [N] image paths; sha256: [N] hex digests of the images' files
        splits: [N] train, val or test
        labels: [N, K] int64, -1 where unlabelled in that category
        boxes: [N, 4] int32
        thumbnails: [N, 256] uint8 grey thumbnails of the whole images
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
            values = parse_json((reader.schema.metadata or {})[METADATA_KEY])
            if isinstance(values, dict) and (found_format := values.get("format")) != FORMAT:
                raise DataError(
                    f"{self.path.name} must have the format {FORMAT}, but has {make_line(found_format)}; prepare again"
                )
            found = check_form(values, PreparedDescription)
            self.fingerprint: str = found.fingerprint
            self.settings = PrepareSettings(**found.settings.model_dump())
            self.schema = AttributeSchema.from_dict(found.categories)
            batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
            check_batches(batches, self.settings, len(self.schema.categories))
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"{self.path.name} must be a whole prepared file, but: {make_line(error)}; delete it and prepare again"
            ) from None
        side = self.settings.image_size
        self._pixels = [view_bytes(batch["pixels"]).reshape(-1, side, side, 3) for batch in batches]
        table = pa.Table.from_batches(batches, reader.schema).drop_columns(["pixels"])
        self.names: list[str] = table["image"].to_pylist()
        self.sha256: list[str] = table["sha256"].to_pylist()
        self.splits = np.array(table["split"].to_pylist())
        self.labels = np.array(table["labels"].to_pylist(), np.int64).reshape(len(self), -1)
        self.boxes = np.stack([table[name].to_numpy() for name in BOX], 1)
        self.thumbnails = np.concatenate([view_bytes(batch["thumbnail"]) for batch in batches]).reshape(len(self), -1)

    @classmethod
    def open(cls, path: Path | str) -> PreparedData:
        """Open a prepared file; no image is read until it is asked for.

        Raises:
            DataError: it is absent, cut off, or of another version.
        """
        return cls(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def image_size(self) -> int:
        """S, in pixels."""
        return self.settings.image_size

    def indices(self, split: str) -> np.ndarray:
        """[M] int64 positions of a split's images."""
        return np.flatnonzero(self.splits == split)

    def labelled(self, split: str) -> np.ndarray:
        """[M] int64 positions of a split's images that are labelled in a category, which a test set's often are not."""
        return np.flatnonzero((self.splits == split) & (self.labels >= 0).any(1))

    def gather(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Copies of the images at `indices`: [B, S, S, 3] uint8."""
        side = self.image_size
        if out is None:
            out = np.empty((len(indices), side, side, 3), np.uint8)
        for position, index in enumerate(np.asarray(indices).tolist()):
            out[position] = self._pixels[index // BATCH_IMAGES][index % BATCH_IMAGES]
        return out


def check_batches(batches: list[pa.RecordBatch], settings: PrepareSettings, categories: int) -> None:
    """Raises ValueError, or Arrow's own error, where the columns are not those that `build_schema` tells.

    Pixels are not looked at: that would read the whole file.
    """
    text, number = pa.string(), pa.int32()
    wanted = {"image": text, "split": text, **dict.fromkeys(BOX, number), "labels": pa.list_(pa.int16(), categories)}
    wanted |= {
        "sha256": text,
        "thumbnail": pa.binary(THUMBNAIL_SIDE**2),
        "pixels": pa.binary(settings.image_size**2 * 3),
    }
    if not batches:
        raise ValueError("it holds no image")
    for index, batch in enumerate(batches):
        batch.validate(full=True)
        if {field.name: field.type for field in batch.schema} != wanted:
            raise ValueError("its columns are of other types")
        if any(column.null_count for column in batch.columns) or batch["labels"].flatten().null_count:
            raise ValueError("a cell of it is empty")
        if len(batch) != BATCH_IMAGES and index < len(batches) - 1:
            raise ValueError(f"each part but the last must have {BATCH_IMAGES} images")


def view_bytes(array: pa.Array) -> np.ndarray:
    """The bytes of a fixed-size binary array as a flat uint8 view of the mapped file."""
    _, data = array.buffers()
    width = array.type.byte_width
    return np.frombuffer(data, np.uint8)[array.offset * width : (array.offset + len(array)) * width]
