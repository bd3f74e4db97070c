"""What a prepared file was made from, as one name: other images, boxes, labels, classes or settings give another."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from fashion_core.files import hash_file

if TYPE_CHECKING:
    from pathlib import Path

    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.rows import Annotations

DIGEST_BYTES = 16


def fingerprint_quickly(
    file_format: str, annotations: Annotations, settings: PrepareSettings, files: list[Path]
) -> str:
    """Tells sets apart without reading images: by their names, sizes and times of change.

    The time of the last change of the entry itself is among them: no program can set that one back.
    """
    stats = [os.stat(file) for file in files]
    changes = [
        (str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in zip(files, stats, strict=True)
    ]
    return fingerprint_content(file_format, annotations, settings, [repr(change) for change in changes])


def fingerprint_content(
    file_format: str, annotations: Annotations, settings: PrepareSettings, digests: list[str]
) -> str:
    """Hex digest of all that decides what a prepared file holds."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    description = [file_format, asdict(settings), annotations.schema.to_dict(), digests]
    digest.update(json.dumps(description).encode())
    for name in ("image", "split", "x1", "y1", "x2", "y2", "labels"):
        digest.update(json.dumps(annotations.table[name].to_pylist()).encode())
    return digest.hexdigest()


def compute_digest(path: Path) -> str:
    """sha256 of a file's bytes, hex; of nothing where it cannot be read, which decoding will tell."""
    try:
        return hash_file(path)
    except OSError:
        return hashlib.sha256().hexdigest()
