"""The challenge's layout with what people's own sets have: names of categories, gaps, other forms of numbers, links."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_core.data.annotations import load_annotations
from fashion_core.data.reading import Reading
from fashion_core.errors import DataError

COUNT = 40
KINDS = {"": "img/{split}{i}.jpg", "_bbox": "4 6 30 50", "_attr": "{a} {b}"}


def write_set(folder: Path, rows: dict[str, str] | None = None, heads: dict[str, str] | None = None) -> Path:
    """40 images a split, in two categories of two classes. rows: of each kind of file; heads: a line before them."""
    (folder / "split").mkdir(parents=True)
    (folder / "img").mkdir()
    (folder / "split/list_attr_cloth.txt").write_text("red 1\ngreen 1\none 2\ntwo 2\n")
    for split in ("train", "val"):
        for kind, form in (KINDS | (rows or {})).items():
            lines = [
                form.format(split=split, i=i, a=i % 2, b=i // 2 % 2, a1=1 + i % 2, b1=1 + i // 2 % 2)
                for i in range(COUNT)
            ]
            head = [heads[kind]] if heads and kind in heads else []
            (folder / f"split/{split}{kind}.txt").write_text("\n".join([*head, *lines]) + "\n")
        for i in range(COUNT):
            Image.new("RGB", (40, 60)).save(folder / f"img/{split}{i}.jpg")
    return folder


def tell_once(folder: Path, **options) -> str:
    """The one fault of a set, whether rows may be skipped or not."""
    for skip_bad in (False, 1.0):
        with pytest.raises(DataError) as caught:
            load_annotations(folder, skip_bad=skip_bad, **options)
        assert len({fault.message.split(":")[0] for fault in caught.value.faults}) == 1
        assert len(caught.value.faults) <= 2  # a file of each split
    return str(caught.value)


def test_a_missing_label_is_unlabelled_in_its_category_alone(tmp_path: Path) -> None:
    labels = load_annotations(write_set(tmp_path / "set", {"_attr": "{a} -1"})).labels()
    assert np.array_equal(labels, [[i % 2, -1] for i in range(COUNT)] * 2)


def test_missing_labels_are_counted(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    lines = ["-1 -1", "-1 1", "0 -1", "1 -1", *["0 0"] * (COUNT - 4)]
    (folder / "split/train_attr.txt").write_text("\n".join(lines))
    assert load_annotations(folder).count_unlabelled() == {"category_1": 1, "category_2": 2}


@pytest.mark.parametrize(
    "text",
    [
        "colour\nnumber of wheels\n",
        "colour 1\nnumber of wheels 2",
        "number of wheels 2\ncolour 1\n",
        "2\ncategory_name category_number\ncolour 1\nnumber of wheels 2\n",
        "name number\ncolour 1\nnumber of wheels 2\n",
        "1 colour\n2 number of wheels\n",
        "2 number of wheels\n1 colour\n",
    ],
)
def test_a_list_may_name_the_categories(tmp_path: Path, text: str) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "split/list_category.txt").write_text(text)
    assert load_annotations(folder).schema.names == ("colour", "number of wheels")


@pytest.mark.parametrize("text", ["colour\n", "colour\ncolour\n", "a\nb\nc\n", "", "col\x1b[0mour\nwheels\n"])
def test_a_wrong_list_of_categories_is_told(tmp_path: Path, text: str) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "split/list_category.txt").write_text(text)
    assert "split/list_category.txt" in tell_once(folder)


def test_classes_are_one_line_of_text(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "split/list_attr_cloth.txt").write_text("r\x1bed 1\ngreen 1\none 2\n<b>t$w|o</b> 2\n")
    assert "without control characters, but is 'r\\x1bed'" in tell_once(folder)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"_attr": "{a1} {b1}"}, "counted from 1"),
        ({"_attr": "{a},{b}"}, "between commas"),
        ({"_attr": "img/{split}{i}.jpg {a} {b}"}, "a path with more behind it"),
        ({"_attr": "red one"}, "looks like names"),
        ({"_attr": "1 0 0 1 0"}, "must be 2 whole numbers, but is '1 0 0 1 0'"),
        ({"_bbox": "4,6,30,50"}, "between commas"),
        ({"_bbox": "4 6 30 50 1"}, "must be 4 numbers, but is '4 6 30 50 1'"),
        ({"_bbox": "20 30 18 28"}, "look like x y w h"),
        ({"": "img/{split}{i}.jpg {a}"}, "a path with more behind it"),
        ({"": "pictures/{split}{i}.jpg"}, "images are missing"),
        ({"": "img/a b/{split} {i}.jpg"}, "a path with blanks"),
        ({"": "/img/{split}{i}.jpg"}, "give its path relative"),
        ({"": "C:\\\\img\\\\{split}{i}.jpg"}, "give its path relative"),
        ({"": "img/{split}{i}.JPG"}, "img/train0.jpg is there: correct the names' capitals"),
        ({"_attr": "{a} {b1}"}, "labels of category_2 look as if counted from 1"),
        ({"_bbox": "1 1 41 61"}, "pixels were counted from 1"),
    ],
)
@pytest.mark.parametrize("head", [None, "colour wheels"])
def test_a_mistake_of_all_rows_is_told_once(tmp_path: Path, rows: dict[str, str], words: str, head: str | None) -> None:
    assert words in tell_once(write_set(tmp_path / "set", rows, {"_attr": head} if head else None))


@pytest.mark.parametrize(
    "rows",
    [
        {"_bbox": "4.0 6.0 30.0 50.0"},
        {"_attr": "{a}.0 {b}.0"},
        {"_bbox": "4.2 5.8 30.1 49.9"},
        {"_bbox": "0.1 0.1 0.75 0.8333"},
        {"_bbox": "4.000000000000000000e+00 6e0 3.0e+01 5.0e1"},  # numpy.savetxt's
        {"_attr": "{a}.000000000000000000e+00 {b}.0e0"},
    ],
)
@pytest.mark.parametrize("has_head", [False, True])
def test_numbers_with_a_point_are_read(tmp_path: Path, rows: dict[str, str], has_head: bool) -> None:
    heads = {"_bbox": "x_1 y_1 x_2 y_2", "_attr": "category1 category2"} if has_head else None
    found = load_annotations(write_set(tmp_path / "set", rows, heads)).table
    expected = load_annotations(write_set(tmp_path / "plain", None, heads)).table
    assert found == expected


def test_boxes_are_read_in_the_form_that_is_asked_for(tmp_path: Path) -> None:
    found = load_annotations(write_set(tmp_path / "set", {"_bbox": "4 6 26 44"}), Reading(boxes="xywh"))
    assert found.table == load_annotations(write_set(tmp_path / "plain")).table


@pytest.mark.parametrize(
    ("faults", "share", "passes"), [(4, True, True), (5, True, False), (5, 0.2, True), (17, 0.2, False)]
)
def test_no_more_rows_are_skipped_than_allowed(tmp_path: Path, faults: int, share: float, passes: bool) -> None:
    folder = write_set(tmp_path / "set")
    lines = (folder / "split/train_attr.txt").read_text().splitlines()
    (folder / "split/train_attr.txt").write_text("\n".join([*["0 7"] * faults, *lines[faults:]]))
    if passes:
        assert len(load_annotations(folder, skip_bad=share).table) == 2 * COUNT - faults
    else:
        with pytest.raises(DataError, match=f"but {faults} of 80 are at fault .* --skip-bad 0"):
            load_annotations(folder, skip_bad=share)


def test_a_share_is_one() -> None:
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(DataError, match="must be 0 to 1"):
            Reading(skip_bad=share)


def test_a_linked_folder_of_images_is_read(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "img").rename(tmp_path / "elsewhere")
    (folder / "img").symlink_to(tmp_path / "elsewhere")
    assert len(load_annotations(folder).table) == 2 * COUNT


def test_linked_images_are_read_if_asked_for(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "img/train0.jpg").rename(tmp_path / "train0.jpg")
    (folder / "img/train0.jpg").symlink_to(tmp_path / "train0.jpg")
    with pytest.raises(DataError, match="--follow-links"):
        load_annotations(folder)
    assert len(load_annotations(folder, Reading(follow_links=True)).table) == 2 * COUNT


def test_a_folder_that_is_no_data_set_is_told_what_was_looked_for(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone", tmp_path / "gone.csv"):
        with pytest.raises(DataError, match=r"\.csv .*split/.*Anno_fine/ or Anno_coarse/.*metadata\.csv") as caught:
            load_annotations(path)
        assert "\n" not in str(caught.value)


def test_names_of_images_are_one_line_of_text(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    path = folder / "split/train.txt"
    path.write_text(path.read_text().replace("img/train3.jpg", "img/tr\x1bain3.jpg"))
    with pytest.raises(DataError, match="without control characters") as caught:
        load_annotations(folder)
    assert [(fault.file, fault.line) for fault in caught.value.faults] == [("split/train.txt", 4)]
    assert "\x1b" not in str(caught.value)


def test_paths_written_under_windows_are_read(tmp_path: Path) -> None:
    found = load_annotations(write_set(tmp_path / "set", {"": "img\\{split}{i}.jpg"})).table
    assert found == load_annotations(write_set(tmp_path / "plain")).table


def test_labels_without_a_first_class_are_looked_at(tmp_path: Path) -> None:
    """Counted from 1 without any last class, all of them are in range."""
    (remark,) = load_annotations(write_set(tmp_path / "set", {"_attr": "1 1"})).remarks
    assert "counted from 1" in remark
    assert not load_annotations(write_set(tmp_path / "plain", {"_attr": "1 {b}"})).remarks


@pytest.mark.parametrize("option", [{"garments": True}, {"categories": ("a",)}, {"attributes": Path("a.yaml")}])
def test_an_option_of_another_layout_is_not_passed_over(tmp_path: Path, option: dict) -> None:
    with pytest.raises(DataError, match=f"--{next(iter(option))} is for .* leave the option out"):
        load_annotations(write_set(tmp_path / "set"), Reading(**option))
