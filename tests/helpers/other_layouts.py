"""The drawn data set in the other forms that people have data in."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np

from fashion_core.data.annotations import load_annotations

COLUMNS = {"sleeve": "colour", "length": "handle", "neckline": "shape"}  # of a table; the other categories are left out


def write_download(sample: Path, folder: Path) -> Path:
    """DeepFashion as it is downloaded: bits of 26 attributes; no attribute of material for every seventh image."""
    annotations = load_annotations(sample)
    schema, anno = annotations.schema, folder / "Anno_fine"
    anno.mkdir(parents=True)
    shutil.copytree(sample / "img", folder / "Img" / "img")
    shutil.copy(sample / "split" / "list_attr_cloth.txt", anno)
    material = schema.names.index("material")
    for split in ("train", "val", "test"):
        rows = [row for row in annotations.table.to_pylist() if row["split"] == split]
        for number, row in enumerate(rows):
            if number % 7 == 0:
                row["labels"][material] = -1
        bits = [
            np.concatenate([np.arange(size) == label for size, label in zip(schema.sizes, row["labels"], strict=True)])
            for row in rows
        ]
        lines = {
            "": [row["image"] for row in rows],
            "_bbox": [" ".join(str(row[side]) for side in ("x1", "y1", "x2", "y2")) for row in rows],
            "_attr": [" ".join(map(str, row.astype(int))) for row in bits],
        }
        for kind, texts in lines.items():
            (anno / f"{split}{kind}.txt").write_text("\n".join(texts) + "\n")
    return folder


def write_table(sample: Path, folder: Path) -> Path:
    """A table of three categories with names of their own, some cells empty, without splits; boxes as x y w h."""
    annotations = load_annotations(sample)
    schema = annotations.schema
    kept = {name: schema.names.index(name) for name in COLUMNS}
    folder.mkdir(parents=True)
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "x", "y", "w", "h", *COLUMNS.values()])
        for number, row in enumerate(annotations.table.to_pylist()):
            if row["split"] == "test":
                continue
            name = f"photo {number} é.jpg"
            shutil.copy(sample / row["image"], folder / name)
            labels = [schema.categories[k].classes[row["labels"][k]] for k in kept.values()]
            labels[number % 3] = "" if number % 4 == 0 else labels[number % 3]
            box = (row["x1"], row["y1"], row["x2"] - row["x1"], row["y2"] - row["y1"])
            writer.writerow([name, *box, *labels])
    return path
