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
from fashion_core.samples.figure import draw_picture

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


@pytest.mark.parametrize("material", SHARES[5])
def test_no_material_widens_the_box(material: str) -> None:
    """Fur once sprinkled the whole picture, and its box was the whole picture too."""
    shares = []
    for seed in range(4):
        attributes = ["solid", "sleeveless", "no_dress", "crew_neckline", material, "tight"]
        image, (x1, _, x2, _), _ = draw_picture(attributes, np.random.default_rng(seed))
        shares.append((x2 - x1) / image.width)
    assert max(shares) < 0.6


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


# class pairs whose difference a few numbers of the 64 px crop must show
@pytest.mark.parametrize(
    ("category", "one", "other"),
    [(0, "solid", name) for name in SHARES[1] if name != "solid"]
    + [(4, "cotton", name) for name in SHARES[5] if name != "cotton"]
    + [(1, "long_sleeve", "sleeveless"), (1, "short_sleeve", "sleeveless"), (3, "crew_neckline", "v_neckline")]
    + [(3, "crew_neckline", "square_neckline"), (3, "crew_neckline", "no_neckline"), (5, "tight", "loose")]
    + [(5, "conventional", "loose"), (5, "conventional", "tight"), (2, "mini_length", "no_dress")]
    + [(2, "maxi_length", "mini_length")],
)
def test_classes_look_different(category: int, one: str, other: str) -> None:
    """Drawn from equal random numbers, two classes differ in many pixels of the crop that a network sees."""
    attributes = ["solid", "sleeveless", "no_dress", "crew_neckline", "cotton", "conventional"]
    crops = []
    for name in (one, other):
        attributes[category] = name
        image, box, _ = draw_picture(attributes, np.random.default_rng(5))
        crops.append(np.asarray(image.crop(box).resize((64, 64), Image.Resampling.BILINEAR), dtype=np.int16))
    changed = (np.abs(crops[0] - crops[1]).max(axis=2) > 24).mean()
    assert changed > 0.02
