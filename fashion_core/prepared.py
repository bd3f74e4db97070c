"""Images decoded, cropped and resized once -> a memory-mapped Arrow file that every trial of every search opens.

The file is named by a fingerprint of what it was made from: the images' bytes, boxes, labels, classes and settings.
N images, S pixels a side, K categories.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from fashion_core.attributes import AttributeSchema
from fashion_core.config import Crop
from fashion_core.deepfashion import MAX_PIXELS, Annotations, fault_of_row
from fashion_core.duplicates import THUMBNAIL_SIDE, compute_thumbnail
from fashion_core.errors import DataError, Fault
from fashion_core.fingerprints import compute_digest, fingerprint_content, fingerprint_quickly

FORMAT = "fashion-prepared/1"
BATCH_IMAGES = 256
METADATA_KEY = b"prepared"


@dataclass(frozen=True)
class PrepareSettings:
    """How images are prepared.

    Args:
        image_size: S, the side of the square result in pixels; the aspect is not kept.
        crop: the garment's box, the box with a margin, or the whole image.
        crop_margin: of `box_margin` alone: share of the box's side added on each side, inside the image.
    """

    image_size: int
    crop: Crop = "box"
    crop_margin: float = 0.0

    def __post_init__(self) -> None:
        if self.crop != "box_margin":  # else equal pictures would have two names
            object.__setattr__(self, "crop_margin", 0.0)


def crop_and_resize(image: Image.Image, box: tuple[int, int, int, int] | None, settings: PrepareSettings) -> np.ndarray:
    """The pixels a network sees of an image: [S, S, 3] uint8. Bilinear with antialiasing.

    Args:
        box: x1, y1, x2, y2 in pixels; None for the whole image.
    """
    width, height = image.size
    if settings.crop != "whole" and box is not None:
        x1, y1, x2, y2 = box
        dx, dy = (round(settings.crop_margin * side) for side in (x2 - x1, y2 - y1))
        image = image.crop((max(x1 - dx, 0), max(y1 - dy, 0), min(x2 + dx, width), min(y2 + dy, height)))
    side = settings.image_size
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def open_image(path: Path) -> Image.Image:
    """An image, fully decoded.

    Raises:
        OSError, ValueError: it cannot be.
    """
    image = Image.open(path)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
    image.load()
    return image


def prepare(
    annotations: Annotations,
    settings: PrepareSettings,
    cache_dir: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The prepared file of these annotations, made if there is none. Two processes at once make it once.

    Args:
        cache_dir: holds prepared files; on a file system that all trials see.
        workers: threads that decode; default: one a CPU core.
        progress: called with (images done, images in all).

    Raises:
        DataError: lists every image that cannot be decoded, with file and line.
    """
    cache_dir = Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    workers = workers or len(os.sched_getaffinity(0))
    files = [annotations.folder / name for name in annotations.table["image"].to_pylist()]
    known_as = cache_dir / f"known-{fingerprint_quickly(FORMAT, annotations, settings, files)}.json"
    with lock(cache_dir / f"{known_as.stem}.lock"), ThreadPoolExecutor(workers) as pool:
        if known_as.is_file():  # sizes and times of all images are those it was made from
            path = cache_dir / json.loads(known_as.read_text())["file"]
            if is_complete(path):
                return path
        digests = list(pool.map(compute_digest, files))
        fingerprint = fingerprint_content(FORMAT, annotations, settings, digests)
        path = cache_dir / f"prepared-{fingerprint}.arrow"
        with lock(cache_dir / f"{path.stem}.lock"):
            if not is_complete(path):
                write_file(annotations, settings, files, digests, fingerprint, path, pool, progress)
        write_whole(known_as, json.dumps({"file": path.name}).encode())
    return path


def write_file(
    annotations: Annotations,
    settings: PrepareSettings,
    files: list[Path],
    digests: list[str],
    fingerprint: str,
    path: Path,
    pool: ThreadPoolExecutor,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Decode everything into a temporary file and put it in place."""
    for stale in path.parent.glob(f"{path.name}.*.tmp"):  # of a process that was killed: we hold the lock
        stale.unlink()
    side, table = settings.image_size, annotations.table
    names = ("x1", "y1", "x2", "y2")
    boxes = np.stack([table[name].to_numpy() for name in names], 1).astype(np.int32)
    description = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "settings": asdict(settings),
        "categories": annotations.schema.to_dict(),
    }
    schema = pa.schema(
        [
            *(table.schema.field(name) for name in ("image", "split", *names, "labels")),
            pa.field("sha256", pa.string()),
            pa.field("thumbnail", pa.binary(THUMBNAIL_SIDE**2)),
            pa.field("pixels", pa.binary(side * side * 3)),
        ],
        metadata={METADATA_KEY: json.dumps(description).encode()},
    )

    def decode(row: int) -> tuple[bytes, bytes] | str:
        try:
            image = open_image(files[row])
            pixels = crop_and_resize(image, tuple(boxes[row].tolist()), settings)
            return compute_thumbnail(image).tobytes(), pixels.tobytes()
        except Exception as error:  # a decoder may raise anything on damaged bytes
            return str(error).splitlines()[0][:160] if str(error) else type(error).__name__

    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    faults: list[Fault] = []
    rows = iter(range(len(files)))
    try:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            while part := list(islice(rows, BATCH_IMAGES)):
                decoded = list(pool.map(decode, part))
                for row, result in zip(part, decoded, strict=True):
                    if isinstance(result, str):
                        faults.append(
                            fault_of_row(annotations, row, f"the image must decode, but: {result}; replace it")
                        )
                if not faults:
                    plain = table.slice(part[0], len(part)).combine_chunks()
                    columns = [plain[name].chunk(0) for name in ("image", "split", *names, "labels")]
                    columns.append(pa.array(digests[part[0] : part[-1] + 1]))
                    pairs = zip(zip(*decoded, strict=True), list(schema)[-2:], strict=True)
                    columns += [pa.array(values, field.type) for values, field in pairs]
                    writer.write_batch(pa.record_batch(columns, schema=schema))
                if progress is not None:
                    progress(part[-1] + 1, len(files))
        if faults:
            raise DataError(f"images of {annotations.folder.name} cannot be prepared:", faults)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_complete(path: Path) -> bool:
    """Whether the prepared file is there, whole and readable."""
    try:
        PreparedData.open(path)
    except DataError:
        return False
    return True


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock file; a second process waits here until the first lets go, or dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


class PreparedData:
    """A prepared file, memory-mapped. Travels between processes as its path.

    Attributes:
        path, fingerprint, settings, schema
        names: [N] image paths; sha256: [N] hex digests of the images' files
        splits: [N] train, val or test
        labels: [N, K] int64, -1 where unlabelled
        boxes: [N, 4] int32
        thumbnails: [N, 256] uint8 grey thumbnails of the whole images
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
            description = json.loads((reader.schema.metadata or {})[METADATA_KEY])
            batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{self.path.name} must be a whole prepared file, but: {error}; delete it and prepare again"
            ) from None
        if description["format"] != FORMAT:
            raise DataError(
                f"{self.path.name} must have the format {FORMAT}, but has {description['format']}; prepare again"
            )
        self.fingerprint: str = description["fingerprint"]
        self.settings = PrepareSettings(**description["settings"])
        self.schema = AttributeSchema.from_dict(description["categories"])
        side = self.settings.image_size
        self._pixels = [view_bytes(batch["pixels"]).reshape(-1, side, side, 3) for batch in batches]
        table = pa.Table.from_batches(batches, reader.schema).drop_columns(["pixels"])
        self.names: list[str] = table["image"].to_pylist()
        self.sha256: list[str] = table["sha256"].to_pylist()
        self.splits = np.array(table["split"].to_pylist())
        self.labels = np.array(table["labels"].to_pylist(), np.int64).reshape(len(self), -1)
        self.boxes = np.stack([table[name].to_numpy() for name in ("x1", "y1", "x2", "y2")], 1)
        self.thumbnails = np.concatenate([view_bytes(batch["thumbnail"]) for batch in batches]).reshape(len(self), -1)

    @classmethod
    def open(cls, path: Path) -> PreparedData:
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

    def gather(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Copies of the images at `indices`: [B, S, S, 3] uint8."""
        side = self.image_size
        if out is None:
            out = np.empty((len(indices), side, side, 3), np.uint8)
        for position, index in enumerate(np.asarray(indices).tolist()):
            out[position] = self._pixels[index // BATCH_IMAGES][index % BATCH_IMAGES]
        return out


def view_bytes(array: pa.Array) -> np.ndarray:
    """The bytes of a fixed-size binary array as a flat uint8 view of the mapped file."""
    _, data = array.buffers()
    width = array.type.byte_width
    return np.frombuffer(data, np.uint8)[array.offset * width : (array.offset + len(array)) * width]
