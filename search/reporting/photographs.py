"""Photographs that the best trial gets right and wrong, for a page that is not everybody's to pass on."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from fashion_core.errors import SearchError
from search.reporting.markup import Html, join, note, say, tag
from search.reporting.ties import find_answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search.records.record import SearchRecord

SIDE = 240  # pixels, at most
EACH = 12  # photographs of each kind
QUALITY = 82
FOLDERS = (".", "img", "Img")  # under that of the data, where its images may stand


def show_photographs(record: SearchRecord, folder: Path) -> Html:
    """Photographs with the most categories wrong, and some of those with all right.

    Args:
        folder: of the data set, or of the table that names its images.

    Raises:
        SearchError: the ledger does not tell which photographs were answered right, or none of them is there.
    """
    best = next(iter(record.rank()), None)
    answers = None if best is None else find_answers(record, best)
    names: list[str] = record.selection.get("select_images", [])
    if best is None or answers is None or len(names) != answers.shape[1]:
        raise SearchError(
            "photographs are shown where the ledger tells what the best trial answered to each, but that of "
            f"{record.name} does not; leave --photographs out"
        )
    correct = answers[0]  # [N, K], NaN where not labelled
    wrong = (correct == 0).sum(1)
    worst = [int(row) for row in np.argsort(-wrong, kind="stable") if wrong[row]]
    right = [int(row) for row in np.flatnonzero((wrong == 0) & (correct == 1).any(1))]
    found = show_rows(record, folder, names, correct, worst)
    others = show_rows(record, folder, names, correct, right[:: max(len(right) // EACH, 1)])
    if not found and not others:
        raise SearchError(
            f"photographs must stand where the data set's folder says, but none of {len(names)} does under "
            f"{folder.name or folder}; name the folder with --data"
        )
    count = f"Of {len(names):,} photographs {len(right):,} have every category right, {len(worst):,} one wrong or more."
    parts: list[Html] = [say(count)]
    if found:
        parts += [tag("h4", "The most categories wrong"), tag("div", *found, class_="photos")]
    if others:
        parts += [tag("h4", "All right"), tag("div", *others, class_="photos")]
    return join(
        [*parts, note("These photographs stand in this file: do not commit it, and pass on only what you may.")]
    )


def show_rows(
    record: SearchRecord, folder: Path, names: Sequence[str], correct: np.ndarray, rows: Sequence[int]
) -> list[Html]:
    """The first of these photographs that are there, each with what was answered wrong."""
    shown: list[Html] = []
    for row in rows:
        if len(shown) == EACH:
            break
        picture = load_thumbnail(folder, names[row])
        if picture is None:
            continue
        wrong = [name for name, value in zip(record.category_names, correct[row], strict=True) if value == 0]
        labelled = int(np.isfinite(correct[row]).sum())
        words = f"wrong: {', '.join(wrong)}" if wrong else f"all {labelled} right"
        image = tag("img", src=f"data:image/jpeg;base64,{picture}", alt=f"{names[row]}, {words}", loading="lazy")
        shown.append(
            tag("figure", Html(image.replace("></img>", ">")), tag("figcaption", words, Html("<br>"), names[row]))
        )
    return shown


def load_thumbnail(folder: Path, name: str) -> str | None:
    """A photograph, small, as a JPEG in letters; None where it is not there, or cannot be read."""
    root = folder if folder.is_dir() else folder.parent
    for inner in FOLDERS:
        path = (root / inner / name).resolve()
        if not path.is_file() or not path.is_relative_to(root.resolve()):
            continue
        try:
            with Image.open(path) as image:
                small = ImageOps.exif_transpose(image).convert("RGB")
                small.thumbnail((SIDE, SIDE))
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
        written = io.BytesIO()
        small.save(written, "JPEG", quality=QUALITY)
        return base64.b64encode(written.getvalue()).decode()
    return None
