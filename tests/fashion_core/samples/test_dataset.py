"""The drawn data set: its layout, its determinism, and that its attributes can be seen."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_core import sample_data
from fashion_core.data.annotations import load_annotations
from fashion_core.data.schema import KNOWN_CATEGORIES
from fashion_core.errors import DataError
from fashion_core.samples import dataset
from fashion_core.samples.dataset import SHARES, draw_sample_data

SMALL = {"train": 4, "val": 2, "test": 1}


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_reads_as_deepfashion(sample_folder: Path) -> None:
    annotations = load_annotations(sample_folder)
    assert Counter(annotations.table["split"].to_pylist()) == {"train": 120, "val": 48, "test": 24}
    assert {category.name: category.classes for category in annotations.schema.categories} == KNOWN_CATEGORIES
    labels = np.array(annotations.table["labels"].to_pylist())
    train = labels[:120]
    for category, size in enumerate(annotations.schema.sizes):
        assert set(train[:, category]) == set(range(size))
    assert (labels[-24:] == -1).all()
    landmarks = (sample_folder / "split" / "train_landmards.txt").read_text().splitlines()
    assert len(landmarks) == 120 and {len(line.split()) for line in landmarks} == {16}


def test_boxes_are_those_of_garments(sample_folder: Path) -> None:
    table = load_annotations(sample_folder).table
    share = []
    for row in table.to_pylist():
        with Image.open(sample_folder / row["image"]) as image:
            assert image.height == 300 and 150 <= image.width <= 300
            share.append((row["x2"] - row["x1"]) * (row["y2"] - row["y1"]) / (image.width * image.height))
    assert 0.3 < np.median(share) < 0.7 and max(share) < 0.95


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        draw_sample_data(tmp_path / name, **SMALL, seed=seed) for name, seed in zip("abc", (3, 3, 4), strict=True)
    )
    assert read_folder(first) == read_folder(second)
    assert read_folder(first)["img/00000.jpg"] != read_folder(other)["img/00000.jpg"]
    pictures = [content for name, content in read_folder(first).items() if name.endswith(".jpg")]
    assert len(set(pictures)) == 7


def test_labels_follow_the_shares() -> None:
    labels = dataset.draw_labels(1000, np.random.default_rng(0))
    for column, classes in zip(labels.T, SHARES.values(), strict=True):
        assert np.bincount(column) / 1000 == pytest.approx(list(classes.values()), abs=0.02)
        assert sum(classes.values()) == pytest.approx(1)


def test_a_finished_sample_is_kept_and_another_recipe_replaces_it(tmp_path: Path) -> None:
    folder = draw_sample_data(tmp_path / "sample", **SMALL)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    draw_sample_data(folder, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    draw_sample_data(folder, **SMALL | {"test": 2})
    assert json.loads((folder / "sample.json").read_text())["test"] == 2
    assert len(list((folder / "img").iterdir())) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_a_foreign_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="holds something else"):
        draw_sample_data(tmp_path, **SMALL)
    assert read_folder(tmp_path) == {"thesis.txt": b"years of work"}


def test_stopped_half_way_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        draw_sample_data(tmp_path / "sample", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample_data.main([str(tmp_path / "sample"), "--train", "2", "--val", "1", "--test", "1"])
    assert "2 train, 1 val, 1 test" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        sample_data.main([str(tmp_path / "other"), "--train", "0"])
    assert stopped.value.code == 2
    assert "at least 1 image" in capsys.readouterr().err
