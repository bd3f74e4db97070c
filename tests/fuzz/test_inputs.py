"""What people write themselves, damaged: spaces, baselines, annotations in every layout, boxes; and answers cut off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import DEEP, check_told, damaged, damaged_bytes, fuzz, put
from other_layouts import write_download
from PIL import Image

import spaces
from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.reading import Reading
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import Fault
from fashion_core.inference.answer_file import AnswerFile
from fashion_core.inference.answers import Answer
from fashion_core.inference.boxes import load_boxes
from fashion_core.inference.predictor import read_box
from search.promotion.plan import build_baseline
from search.space.reading import load_space

pytestmark = pytest.mark.slow
SCHEMA = AttributeSchema((Category("pattern", ("a", "b")), Category("fit", ("c", "d"))))
BASELINE = b"focal_gamma: 0\nlr: 1e-3\noptimizer: sgd\ncategory_weights: {pattern: 1.5, fit: 0.5}\nflip: 0.5\n"
# YAML that stands for more, or for other things, than a space is made of
ODD_YAML = (
    b"!!python/object/apply:os.system [ls]", b"2026-13-45", b"&a [*a, *a]", b"*nothing", b"{? [1, 2] : 3}", b".nan",
    b".inf", b"1e999", b"9" * 400, b"~", b"- - - -", b"? ", b"{", b"[", b"\t", b"---\n", b"<<: {a: 1}", b"'", b"|\n x",
    b"\xff\xfe", b"[" * 40, b"[" * 40 + b"]" * 40, b"{a: " * DEEP, b"!!binary aa", b"!!set {a}", b"null: 1", b"1: 2",
    b"\x00",
)  # fmt: skip


@st.composite
def damaged_yaml(draw, content: bytes) -> bytes:
    """YAML in whose lines odd values stand, or whose lines are left out, repeated, or moved deeper."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    lines = content.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        line, odd = lines[place], draw(st.sampled_from(ODD_YAML))
        key = line.split(b":")[0]
        lines[place : place + 1] = draw(
            st.sampled_from(([], [line, line], [b"  " + line], [key + b": " + odd], [odd], [line, odd + b": 1"]))
        )
        lines = lines or [b""]
    return b"\n".join(lines)


@pytest.mark.parametrize("name", ["demo", "weighted_focal"])
@fuzz(10)
@given(data=st.data())
def test_spaces(name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "space.yaml"
    put(path, data.draw(damaged_yaml((spaces.FOLDER / f"{name}.yaml").read_bytes())))

    def read() -> None:
        space = load_space(path)
        check_told(lambda: space.check(SCHEMA), lines=True)

    check_told(read, lines=True)


def test_values_in_values_in_values(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    put(path, b"search: " + b"[" * DEEP + b"]" * DEEP)
    assert not check_told(lambda: load_space(path), lines=True)
    assert not check_told(lambda: build_baseline(str(path), TrainConfig(), SCHEMA))


@fuzz(5)
@given(data=st.data())
def test_baselines(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "baseline.yaml"
    put(path, data.draw(damaged_yaml(BASELINE)))
    check_told(lambda: build_baseline(str(path), TrainConfig(), SCHEMA), lines=True)


@pytest.fixture(scope="module")
def data_set(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    """The annotation files of a copy of the drawn data set, with what they hold."""
    folder = tmp_path_factory.mktemp("annotations")
    shutil.copytree(sample_folder / "split", folder / "split")
    (folder / "img").symlink_to(sample_folder / "img")
    return {path: path.read_bytes() for path in sorted((folder / "split").iterdir())}


@fuzz(20)
@given(data=st.data())
def test_annotations(data_set: dict[Path, bytes], data: st.DataObject) -> None:
    for path, whole in data_set.items():
        put(path, whole)
    path = sorted(data_set)[data.draw(st.integers(0, len(data_set) - 1))]
    put(path, data.draw(damaged_bytes(data_set[path])))
    skip_bad = data.draw(st.booleans())
    check_told(lambda: load_annotations(path.parent.parent, skip_bad=skip_bad, check_images=False), lines=True)


# ----------------------------------------------------------------------------------------------- tables and downloads

COLUMNS = {
    "image": [f"img/{number}.png" for number in range(12)],
    "split": ["train", "val", "test"] * 4,
    "x": [0, 1, 2] * 4, "y": [1] * 12, "w": [20] * 12, "h": [22, 20] * 6,
    "colour": ["red", "blue"] * 6,
    "doors": [3, None, 5] * 4,
}  # fmt: skip
COARSE = {
    "Anno_coarse/list_attr_cloth.txt": "3\nattribute_name  attribute_type\nstriped  1\nlong sleeve  2\nsleeveless  2\n",
    "Anno_coarse/list_attr_img.txt": "4\nimage_name  attribute_labels\n"
    + "".join(f"img/{number}.png  {number % 2 * 2 - 1:2d} -1  0\n" for number in range(4)),
    "Anno_coarse/list_bbox.txt": "4\nimage_name  x_1  y_1  x_2  y_2\n"
    + "".join(f"img/{number}.png  1 2 20 2{number}\n" for number in range(4)),
    "Eval/list_eval_partition.txt": "4\nimage_name  evaluation_status\n"
    + "".join(f"img/{number}.png  {'val' if number % 2 else 'train'}\n" for number in range(4)),
    "attributes.yaml": "pattern: {attributes: [striped], none: plain}\nsleeve: [long sleeve, sleeveless]\n",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `img/0.png` and on."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "img").mkdir()
    for number in range(12):
        Image.new("RGB", (24, 26), (20 * number, 0, 0)).save(folder / "img" / f"{number}.png")
    return folder


def write_columns(path: Path) -> bytes:
    """A table of the columns, in the form that its name ends with."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table(COLUMNS), path)
    else:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
        lines = [json.dumps(row) for row in rows]
        if path.suffix == ".csv":
            cells = [list(COLUMNS), *(list(row.values()) for row in rows)]
            lines = [",".join("" if cell is None else str(cell) for cell in row) for row in cells]
        path.write_text("\n".join(lines) + "\n")
    return path.read_bytes()


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@fuzz(7)
@given(data=st.data())
def test_tables(ending: str, images: Path, data: st.DataObject) -> None:
    path = images / f"labels{ending}"
    content = write_columns(path)
    assert check_told(lambda: load_annotations(path))
    put(path, data.draw(damaged_table(content) if ending == ".jsonl" else damaged_bytes(content)))
    skip_bad = data.draw(st.booleans())
    check_told(lambda: load_annotations(path, skip_bad=skip_bad, check_images=False), lines=True)


@st.composite
def damaged_table(draw: Any, content: bytes) -> bytes:
    """JSON lines, one of them damaged by its structure."""
    lines = content.splitlines()
    place = draw(st.integers(0, len(lines) - 1))
    return b"\n".join([*lines[:place], draw(damaged(lines[place])), *lines[place + 1 :]])


@pytest.mark.parametrize("kind", ["fine", "coarse"])
@fuzz(10)
@given(data=st.data())
def test_downloads(
    kind: str, images: Path, sample_folder: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / kind
    reading = Reading(attributes=folder / "attributes.yaml" if kind == "coarse" else None)
    if not folder.exists():
        if kind == "fine":
            write_download(sample_folder, folder)
        else:
            for name, text in COARSE.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
            (folder / "img").symlink_to(images / "img")
        assert check_told(lambda: load_annotations(folder, reading))
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".txt", ".yaml"))
    path = paths[data.draw(st.integers(0, len(paths) - 1))]
    whole = path.read_bytes()
    put(path, data.draw(damaged_yaml(whole) if path.suffix == ".yaml" else damaged_bytes(whole)))
    try:
        check_told(lambda: load_annotations(folder, reading, skip_bad=True, check_images=False), lines=True)
    finally:
        put(path, whole)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("boxes.csv", b"image,x,y,w,h\nimg/0.jpg,1,2,30,40\nimg/1.jpg,,,,\n"),
        ("boxes.jsonl", b'{"image": "0.jpg", "x1": 0.1, "y1": 0.2, "x2": 0.5, "y2": 1}\n{"image": "1.jpg"}\n'),
        ("list_bbox.txt", b"2\nimage_name x_1 y_1 x_2 y_2\nimg/0.jpg 1 2 30 40\nimg/a b.jpg 001 002 030 040\n"),
        ("test_bbox.txt", b"x_1 y_1 x_2 y_2\n001 002 030 040\n1 2 3 4\n"),
    ],
)
@fuzz(2)
@given(data=st.data())
def test_boxes(name: str, content: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / name
    put(path.with_name("test.txt"), b"img/0.jpg\nimg/1.jpg\n")
    put(path, data.draw(damaged_bytes(content)))
    check_told(lambda: load_boxes(path).find(path.with_name("0.jpg")), lines=True)


@fuzz(3)
@given(data=st.data())
def test_boxes_in_any_form(data: st.DataObject) -> None:
    sides = st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.booleans(), st.binary())
    names = st.sampled_from(["x1", "y1", "x2", "y2", "x", "y", "w", "h", "z"])
    forms = st.one_of(sides, st.lists(sides, max_size=5), st.tuples(sides, sides, sides, sides))
    check_told(lambda: read_box(data.draw(st.one_of(forms, st.dictionaries(names, sides)))))


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A file of answers, and what is kept of it when it is cut off."""
    path = tmp_path_factory.mktemp("answers") / "answers.csv"
    values = [np.array([0.25, 0.75], np.float32)] * 2
    with AnswerFile(path, SCHEMA, {"model": "abc"}) as file:
        for number in range(3):
            file.add(Answer(f"{number}.jpg", (1, 2, 3, 4), SCHEMA, values))
    return path, path.with_name("answers.csv.partial").read_bytes()


@fuzz(5)
@given(data=st.data())
def test_answers_that_were_cut_off(partial: tuple[Path, bytes], data: st.DataObject) -> None:
    path, content = partial
    put(path.with_name("answers.csv.partial"), data.draw(damaged_bytes(content)))

    def go_on() -> None:
        with AnswerFile(path, SCHEMA, {"model": "abc"}) as file:
            for image in file.skip(Path(f"{number}.jpg") for number in range(4)):
                file.add(Fault(str(image), None, "it is missing"))
            file.finish()

    check_told(go_on)
