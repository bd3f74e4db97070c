"""Boxes from every file that people have them in, found by an image's path."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fashion_core.errors import DataError
from fashion_core.inference.boxes import load_boxes

BOXES = {"img/0.jpg": (1, 2, 30, 40), "img/1.jpg": (5, 6, 20, 60), "img/de\u0301ep/a b.jpg": (0, 0, 7, 9)}
BY_SIZE = {name: (x1, y1, x2 - x1, y2 - y1) for name, (x1, y1, x2, y2) in BOXES.items()}


def write_table(path: Path, boxes: dict[str, tuple[float, ...]], names: str = "x1 y1 x2 y2") -> Path:
    rows = [{"image": name, **dict(zip(names.split(), box, strict=True))} for name, box in boxes.items()]
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_pair(folder: Path, header: str = "") -> Path:
    (folder / "test.txt").write_text("".join(f"{name}\n" for name in BOXES))
    rows = (" ".join(f"{side:03}" for side in box) for box in BOXES.values())
    (folder / "test_bbox.txt").write_text(header + "".join(f"{row}\n" for row in rows))
    return folder / "test_bbox.txt"


def write_named(folder: Path) -> Path:
    rows = "".join(f"{name}    {' '.join(map(str, box))}\n" for name, box in BOXES.items())
    (folder / "list_bbox.txt").write_text(f"{len(BOXES)}\nimage_name  x_1  y_1  x_2  y_2\n{rows}")
    return folder / "list_bbox.txt"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda folder: write_table(folder / "boxes.csv", BOXES),
    "csv of sizes": lambda folder: write_table(folder / "boxes.csv", BY_SIZE, "x y w h"),
    "json lines": lambda folder: write_table(folder / "boxes.jsonl", BY_SIZE, "left top width height"),
    "parquet": lambda folder: write_table(folder / "boxes.parquet", BOXES, "xmin ymin xmax ymax"),
    "the challenge's": write_pair,
    "the challenge's with a header": lambda folder: write_pair(folder, "x_1 y_1 x_2 y_2\n"),
    "the official download's": write_named,
}


@pytest.mark.parametrize("form", WRITERS)
def test_a_box_is_that_of_its_image(form: str, tmp_path: Path) -> None:
    table = load_boxes(WRITERS[form](tmp_path))
    for name, box in BOXES.items():
        assert table.find(Path("/some/data") / name.replace("e\u0301", "é")) == box
    assert table.find(Path("/some/data/other/0.jpg")) is None and table.unused == 0
    assert load_boxes(WRITERS[form](tmp_path)).unused == 3


def test_a_form_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text('image,bbox\n0.jpg,"[1, 2, 29, 38]"\n')
    with pytest.raises(DataError, match="say it with --boxes"):
        load_boxes(tmp_path / "boxes.csv")
    assert load_boxes(tmp_path / "boxes.csv", "xywh").find(Path("0.jpg")) == (1, 2, 30, 40)
    assert load_boxes(write_pair(tmp_path), "xxyy").find(Path("img/0.jpg")) == (1, 30, 2, 40)


def test_shares_of_the_sides_are_pixels_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)  # 40 wide, 80 high
    table = load_boxes(write_table(tmp_path / "boxes.csv", {"a.jpg": (0.1, 0.25, 0.5, 1.0), "gone.jpg": (0, 0, 1, 1)}))
    assert table.find(tmp_path / "a.jpg") == (4, 20, 20, 80)
    with pytest.raises(DataError, match=r"gone\.jpg"):
        table.find(tmp_path / "gone.jpg")


def test_images_that_end_alike(tmp_path: Path) -> None:
    """The longest end counts; a row that fits two images is that of none."""
    both = {"a/0.jpg": (1, 1, 2, 2), "0.jpg": (3, 3, 4, 4)}
    table = load_boxes(write_table(tmp_path / "boxes.csv", both))
    assert table.find(Path("x/a/0.jpg")) == (1, 1, 2, 2)
    assert table.find(Path("x/b/0.jpg")) == table.find(Path("x/b/0.jpg")) == (3, 3, 4, 4)
    with pytest.raises(DataError, match="must have a row of its own"):
        table.find(Path("x/c/0.jpg"))


def test_an_image_without_a_box_is_whole(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text("file_name,x1,y1,x2,y2,colour\n0.jpg,,,,,red\n./1.jpg,1,2,3,4,blue\n")
    table = load_boxes(tmp_path / "boxes.csv")
    assert table.find(Path("0.jpg")) is None and table.find(Path("1.jpg")) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("boxes.csv", "image,x1,y1,x2,y2\n0.jpg,1,2,x,4\n", "boxes.csv:2: a box must be 4 numbers, but is '1 2 x 4'"),
        ("boxes.csv", "image,x1,y1,x2\n0.jpg,1,2,3\n", "y2 is lacking"),
        ("boxes.csv", "image,colour\n0.jpg,red\n", "columns of a box"),
        ("boxes.csv", "picture,x1,y1,x2,y2\n0.jpg,1,2,3,4\n", "must have a column 'image'"),
        ("boxes.csv", "image,x1,y1,x2,y2\n0.jpg,1,2,3,4\n0.jpg,1,2,3,5\n", "'0.jpg' has two"),
        ("boxes.csv", "image,x1,y1,x2,y2\n,1,2,3,4\n", "must name its image"),
        ("boxes.csv", "", "must have rows"),
        ("boxes.txt", "0.jpg 1 2 3\n", "a path and 4 numbers"),
        ("boxes.txt", "a.jpg 1 2 3 4\nb.jpg 1 2 3 z\n", "boxes.txt:2: a box must be 4 numbers"),
        ("boxes.txt", "", "a row for each image"),
        ("absent.csv", None, "the file must exist"),
    ],
)
def test_what_is_wrong_is_told(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        load_boxes(tmp_path / name)


def test_files_of_different_lengths(tmp_path: Path) -> None:
    boxes = write_pair(tmp_path)
    (tmp_path / "test.txt").write_text("img/0.jpg\n")
    with pytest.raises(DataError, match=r"each of the 1 images of test\.txt, but has 3"):
        load_boxes(boxes)
