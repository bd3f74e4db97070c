"""A file of answers is whole or absent, goes on where it was cut off, and holds few answers at once."""

import csv
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn_models import SCHEMA

from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import DataError, Fault
from fashion_core.inference import answer_file
from fashion_core.inference.answer_file import ENDINGS, AnswerFile
from fashion_core.inference.answers import Answer

IMAGES = [Path(f"shop/{number}.jpg") for number in range(7)]
ASKED = {"model": "abc", "temperatures": (1.5, 2)}


def answer(image: Path) -> Answer | Fault:
    """Each image another; the third is at fault, the second has no box."""
    number = int(image.stem)
    if number == 2:
        return Fault(str(image), None, "it is cut off")
    share = np.float32(1 / (number + 2))
    values = [np.array([share, 0, 1 - share], np.float32), np.array([0.25, 0.75], np.float32)]
    return Answer(str(image), None if number == 1 else (1, 2, 3, number + 4), SCHEMA, values, None, None)


def write(path: Path, images: list[Path], *, stop: int | None = None, asked: dict[str, Any] = ASKED) -> int:
    """Answer the images, up to the one where it is cut off; returns how many were asked now."""
    count = 0
    with AnswerFile(path, SCHEMA, asked) as file:
        for image in file.skip(images):
            if count == stop:
                return count
            file.add(answer(image))
            count += 1
        file.finish()
        assert file.done == len(images) and file.faulty == (len(images) > 2)
    return count


def read(path: Path) -> list[dict[str, Any]]:
    """Rows, without what is empty."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in rows]


@pytest.mark.parametrize("ending", [".csv", pytest.param(".parquet", marks=pytest.mark.slow)])
def test_a_table_says_what_the_answers_say(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"answers{ending}"
    write(path, IMAGES)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    rows = read(path)
    for image, row in zip(IMAGES, rows, strict=True):
        said = answer(image)
        if isinstance(said, Fault):
            assert row == {"image": str(image), "error": "it is cut off"}
            continue
        assert row["image"] == said.image and row["pattern"] == said.classes[0] and row["fit"] == "loose"
        assert float(row["pattern_probability"]) == said.probabilities[0].max()
        expected = {name: each["probabilities"] for name, each in said.to_dict()["attributes"].items()}
        assert json.loads(row["probabilities"]) == expected
        assert tuple(int(row[side]) for side in ("x1", "y1", "x2", "y2") if side in row) == (said.box or ())


def test_lines_are_those_of_the_command(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", IMAGES)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows[2] == {"image": "shop/2.jpg", "error": "it is cut off"}
    assert [row for row in rows if "error" not in row] == [
        said.to_dict() for image in IMAGES if isinstance(said := answer(image), Answer)
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_goes_on_where_it_was_cut_off(ending: str, tmp_path: Path) -> None:
    """Also in the middle of a line, and however often: the file is that of a single call."""
    path, partial = tmp_path / f"a{ending}", tmp_path / f"a{ending}.partial"
    write(tmp_path / f"whole{ending}", IMAGES)
    path.write_text("an older one")
    assert write(path, IMAGES, stop=4) == 4 and path.read_text() == "an older one"
    content = partial.read_bytes()
    partial.write_bytes(content[:-9])
    assert write(path, IMAGES, stop=1) == 1
    assert partial.read_bytes() == content  # the line that was cut was written again
    assert write(path, IMAGES) == 3 and not partial.exists()
    assert read(path) == read(tmp_path / f"whole{ending}")
    partial.write_bytes(content[:20])  # nothing was answered
    assert write(path, IMAGES) == 7


def test_what_was_asked_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write(path, IMAGES, stop=4)
    before = path.with_name("a.csv.partial").read_bytes()
    for images, asked, message in [
        (IMAGES, {**ASKED, "model": "other"}, "differs in model"),
        (IMAGES[1:], ASKED, "number 1 is 'shop/0.jpg' there and 'shop/1.jpg' here"),
        (IMAGES[:2], ASKED, "number 3 is 'shop/2.jpg' there and 'None' here"),
    ]:
        with pytest.raises(DataError, match=message):
            write(path, images, asked=asked)
        assert path.with_name("a.csv.partial").read_bytes() == before
    path.with_name("a.csv.partial").write_text('["not ours"]\n')
    with pytest.raises(DataError, match="differs in format"):
        write(path, IMAGES)


def test_one_process_writes_it(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "a.csv", SCHEMA, ASKED), pytest.raises(DataError, match="another one writes"):
        write(tmp_path / "a.csv", IMAGES)


def test_what_cannot_be_a_file_of_answers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.csv, \.parquet, \.jsonl"):
        AnswerFile(tmp_path / "a.txt", SCHEMA, ASKED)
    taken = AttributeSchema((Category("error", ("a", "b")),))
    with pytest.raises(DataError, match="'error' is a category too; write"):
        AnswerFile(tmp_path / "a.csv", taken, ASKED)
    AnswerFile(tmp_path / "a.jsonl", taken, ASKED)
    twice = AttributeSchema((Category("fit", ("a", "b")), Category("fit_probability", ("a", "b"))))
    with pytest.raises(DataError, match="'fit_probability' is both a category and a probability; write"):
        AnswerFile(tmp_path / "a.parquet", twice, ASKED)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    image = Path(os.fsdecode(b"shop/7\xff.jpg"))
    for ending in ENDINGS:
        with AnswerFile(tmp_path / f"a{ending}", SCHEMA, ASKED) as file:
            for _ in file.skip([image]):
                file.add(Fault(str(image), None, "it is cut off"))
            file.finish()
        (row,) = read(tmp_path / f"a{ending}")
        assert row["error"] == "it is cut off"


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_memory_does_not_grow_with_the_images(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as many images, asked, cut off and gone on with, take as much."""
    monkeypatch.setattr(answer_file, "GROUP_ROWS", 50)

    def name_images(count: int) -> Iterator[Path]:
        return (Path(f"{number % 2 + 3}.jpg") for number in range(count))

    def measure(count: int) -> int:
        path = tmp_path / f"{count}{ending}"
        tracemalloc.start()
        for stop in (count // 2, count):
            with AnswerFile(path, SCHEMA, ASKED) as file:
                for image in file.skip(name_images(count)):
                    if file.done == stop:
                        break
                    file.add(answer(image))
                if stop == count:
                    file.finish()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    measure(900)  # what is allocated once, in the first thousand or so
    assert measure(800) < 1.2 * measure(200) + 20_000
