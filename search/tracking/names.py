"""What metrics, parameters and tags are called in MLflow."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from fashion_core.escaping import write_bytes

if TYPE_CHECKING:
    from search.records.record import SearchRecord

MAX_KEY = 250  # characters, of a metric's or parameter's name
NO_KEY = re.compile(r"[^\w.\- :]")


def name_best(record: SearchRecord) -> str:
    """The metric of a search's best score, and of a trial's: `best/val_accuracy` of `val/accuracy`."""
    return f"best/{record.objective.name.replace('/', '_')}"


def name_key(name: str) -> str:
    """The name of a metric or parameter as MLflow takes it: what it refuses, in a category's name, as `:` and its code.

    It takes letters, digits and `_-. :/`, and no path that can be written shorter.
    """
    parts = [NO_KEY.sub(lambda match: write_bytes(match[0], ":"), part) for part in name.split("/")]
    parts = [":" + part if part in ("", ".", "..") else part for part in parts]
    key = "/".join(parts)
    return key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - 9]}:{zlib.crc32(key.encode()):08X}"
