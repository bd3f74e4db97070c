"""Draws a small data set in DeepFashion's published layout: garments with its 26 attributes, for demo and tests."""

from __future__ import annotations

import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fashion_core.errors import DataError
from fashion_core.files import read_json
from fashion_core.hardware.allocator import keep_freed_memory
from fashion_core.samples.figure import draw_picture

# category number -> class: share of the images; unequal as in DeepFashion, but no class so rare that 600 images miss it
SHARES: dict[int, dict[str, float]] = {
    1: {
        "floral": 0.14,
        "graphic": 0.15,
        "striped": 0.10,
        "embroidered": 0.08,
        "pleated": 0.06,
        "solid": 0.40,
        "lattice": 0.07,
    },
    2: {"long_sleeve": 0.32, "short_sleeve": 0.20, "sleeveless": 0.48},
    3: {"maxi_length": 0.20, "mini_length": 0.28, "no_dress": 0.52},
    4: {"crew_neckline": 0.42, "v_neckline": 0.20, "square_neckline": 0.06, "no_neckline": 0.32},
    5: {"denim": 0.10, "chiffon": 0.16, "cotton": 0.52, "leather": 0.06, "faux": 0.05, "knit": 0.11},
    6: {"tight": 0.26, "loose": 0.24, "conventional": 0.50},
}
RECIPE = "sample.json"  # what a folder was drawn with; VERSION rises when the same recipe draws other pictures
VERSION = 2
MAX_IMAGES = 1_000_000  # 4 GB
JPEG_QUALITIES = (75, 93)


def draw_sample_data(folder: Path, *, train: int = 600, val: int = 200, test: int = 100, seed: int = 0) -> Path:
    """Draw a data set of `train` + `val` + `test` images; a folder already drawn with these numbers is left as it is.

    The folder appears whole or not at all. As in the published set, test images have boxes and landmarks but no labels.

    Raises:
        DataError: the folder holds something else, or the numbers are impossible.
    """
    folder = Path(folder)
    counts = {"train": train, "val": val, "test": test}
    recipe = {"version": VERSION, "seed": seed, **counts}
    if min(counts.values()) < 1:
        raise DataError(f"a split must have at least 1 image, but got {counts}; draw one or more")
    if sum(counts.values()) > MAX_IMAGES:
        raise DataError(f"a sample must have at most {MAX_IMAGES:,} images, but got {counts}; draw fewer")
    if not 0 <= seed < 2**32:
        raise DataError(f"a seed must be 0 or more and below 2**32, but got {seed}; give another")
    if read_recipe(folder) == recipe:
        return folder
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True
    ) as workshop:
        fresh = Path(workshop) / "fresh"
        (fresh / "img").mkdir(parents=True)
        (fresh / "split").mkdir()
        write_classes(fresh / "split" / "list_attr_cloth.txt")
        first = 0
        for split, count in counts.items():
            draw_split(fresh, split, first, count, seed)
            first += count
        (fresh / RECIPE).write_text(json.dumps(recipe) + "\n")
        if folder.exists():
            os.replace(folder, Path(workshop) / "old")
        try:
            os.replace(fresh, folder)
        except OSError:
            if read_recipe(folder) != recipe:  # else another process has just drawn the same
                raise
    return folder


def read_recipe(folder: Path) -> dict[str, int] | None:
    """What the folder was drawn with; None where it is not a finished sample."""
    try:
        return read_json(folder / RECIPE, dict[str, int], "hold counts and a seed", "draw it again", DataError)
    except DataError:
        return None


def check_replaceable(folder: Path) -> None:
    """Raise DataError unless the folder is absent, empty, or an earlier sample."""
    if folder.exists() and read_recipe(folder) is None and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"sample data must go to a new folder or replace an earlier sample, but {folder} holds something else; "
            "name another folder"
        )


def write_classes(path: Path) -> None:
    """`list_attr_cloth.txt`: the count, a header, and each class with its category's number."""
    lines = [f"{name:<20} {category}" for category, classes in SHARES.items() for name in classes]
    path.write_text("\n".join([f"{len(lines)} ", "attribute_name   attribute_type", *lines]) + "\n")


def draw_split(folder: Path, split: str, first: int, count: int, seed: int) -> None:
    """Draw the images of one split and write its lists."""
    labels = draw_labels(count, np.random.default_rng([seed, first]))  # [count, 6]
    rows: dict[str, list[str]] = {"": [], "_attr": [], "_bbox": [], "_landmards": []}

    def draw(number: int) -> tuple[tuple[int, int, int, int], list[tuple[int, int]]]:
        rng = np.random.default_rng([seed, first, number])
        names = [list(classes)[i] for classes, i in zip(SHARES.values(), labels[number - first], strict=True)]
        image, box, landmarks = draw_picture(names, rng)
        image.save(folder / "img" / f"{number:05d}.jpg", quality=int(rng.integers(*JPEG_QUALITIES)))
        return box, landmarks

    keep_freed_memory()  # else a third of the time goes into fresh pages
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        drawn = pool.map(draw, range(first, first + count))
        for number, (label, (box, landmarks)) in enumerate(zip(labels, drawn, strict=True), start=first):
            rows[""].append(f"img/{number:05d}.jpg")
            rows["_attr"].append(" ".join(map(str, label)))
            rows["_bbox"].append(" ".join(f"{value:03d}" for value in box))
            rows["_landmards"].append(" ".join(f"{x:03d} {y:03d}" if x or y else "0 0" for x, y in landmarks))
    if split == "test":
        del rows["_attr"]
    for suffix, lines in rows.items():
        (folder / "split" / f"{split}{suffix}.txt").write_text("\n".join(lines) + "\n")


def draw_labels(count: int, rng: np.random.Generator) -> np.ndarray:
    """[count, 6] class indices whose counts follow SHARES; each class occurs where `count` allows it."""
    columns = []
    for classes in SHARES.values():
        shares = np.array(list(classes.values()))
        quota = np.maximum(1, np.floor(shares * count)).astype(int)
        column = np.repeat(np.arange(len(quota)), quota)
        column = np.concatenate([column, rng.choice(len(shares), max(0, count - len(column)), p=shares)])
        columns.append(rng.permutation(column)[:count])
    return np.stack(columns, axis=1)
