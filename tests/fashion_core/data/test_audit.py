"""The audit of the drawn set with planted oddities."""

import json
import shutil

import pytest
from PIL import Image

from fashion_core.data.annotations import load_annotations
from fashion_core.data.audit import audit, render_audit
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare


@pytest.fixture(scope="module")
def data(sample_folder, tmp_path_factory):
    """An image of train is in val again, byte by byte; another is in train again, darker, with other labels."""
    folder = shutil.copytree(sample_folder, tmp_path_factory.mktemp("audit") / "data")
    images = (folder / "split" / "train.txt").read_text().split()
    shutil.copy(folder / images[4], folder / (folder / "split" / "val.txt").read_text().split()[2])
    with Image.open(folder / images[7]) as image:
        image.point(lambda value: value * 3 // 4).save(folder / images[9], quality=95)
        size = image.size
    rows = (folder / "split" / "train_attr.txt").read_text().splitlines()
    rows[9] = " ".join("1" if value == "0" else "0" for value in rows[7].split())
    (folder / "split" / "train_attr.txt").write_text("\n".join(rows) + "\n")
    for split, rows_of in (("train", (7, 9)), ("val", (2,))):
        path = folder / "split" / f"{split}_bbox.txt"
        boxes = path.read_text().splitlines()
        for row in rows_of:
            boxes[row] = f"1 1 40 {size[1]}" if split == "train" else boxes[row]
        path.write_text("\n".join(boxes) + "\n")
    annotations = load_annotations(folder, skip_bad=0.5)
    return prepare(annotations, PrepareSettings(32), tmp_path_factory.mktemp("cache"))


def test_it_counts_and_finds_what_was_planted(data):
    found = audit(data)
    assert found.images["train"] == 120 and found.images["test"] == 24
    assert found.unlabelled == {"train": 0, "val": 0, "test": 24}
    for k, (category, classes) in enumerate(found.classes.items()):
        assert category == data.schema.names[k]
        for label, counts in enumerate(classes.values()):
            assert counts["train"] == (data.labels[data.indices("train"), k] == label).sum()
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    one = pairs[data.names[4], data.names[data.indices("val")[2]]]
    assert one.exact and one.splits == ("train", "val")
    other = pairs[data.names[7], data.names[9]]
    assert not other.exact and other.conflicting and other.splits == ("train", "train")
    assert found.tiny_boxes["train"] >= 2  # those that are 39 px wide
    assert json.loads(json.dumps(found.to_dict()))["images"] == found.images


def test_the_report_names_them(data):
    text = render_audit(audit(data))
    assert "| images                       |    120 |" in text and "- train and val: 1 byte-identical pairs" in text
    assert f"- {data.names[7]} (train) and {data.names[9]} (train): alike, different labels" in text


def test_missing_labels_are_counted_and_contradict_nothing(data):
    """The pair's labels differ in every category; it conflicts while they share one in which both are labelled."""
    whole = data.labels.copy()
    assert (
        audit(data).partial == {}
        and "partial" not in audit(data).to_dict()
        and "no label in" not in render_audit(audit(data))
    )
    try:
        data.labels[7, :3] = data.labels[9, 3:5] = -1
        assert find_pair(data).conflicting  # both are labelled in the last one
        data.labels[9, 5] = -1
        found = audit(data)
        assert not find_pair(data).conflicting and found.unlabelled == {"train": 0, "val": 0, "test": 24}
        assert found.partial == {name: {"train": 1, "val": 0, "test": 0} for name in data.schema.names}
        assert found.to_dict()["partial"] == found.partial
        assert f"| {'no label in fit':<28} |      1 |      0 |      0 |" in render_audit(found)
    finally:
        data.labels[:] = whole


def find_pair(data):
    """The two images of train that are one picture."""
    return next(pair for pair in audit(data).pairs if (pair.first, pair.second) == (data.names[7], data.names[9]))
