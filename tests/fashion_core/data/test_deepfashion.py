"""DeepFashion as it is downloaded: 26 attributes, 1,000 attributes, in every copy's places; against plain Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_core.data import deepfashion
from fashion_core.data.annotations import load_annotations
from fashion_core.data.reading import Reading
from fashion_core.errors import DataError

SIZE = (40, 60)
ATTRIBUTES = [("floral", 1), ("striped", 1), ("long sleeve", 2), ("sleeveless", 2), ("a-line", 3), ("maxi 2 length", 3)]
YAML = "pattern: [striped, floral]\nsleeve: {attributes: [long sleeve, sleeveless], none: other sleeve}\n"
GARMENTS = ("Sheer_Blouse", "Denim_&_Knit_Skirt")


def draw_images(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, "white").save(folder / name)


def write_lists(anno: Path) -> None:
    anno.mkdir(parents=True)
    rows = "".join(f"{name:30}{number}\n" for name, number in ATTRIBUTES)
    (anno / "list_attr_cloth.txt").write_text(f"{len(ATTRIBUTES)}\nattribute_name  attribute_type\n{rows}")
    (anno / "list_category_cloth.txt").write_text("2\ncategory_name category_type\nBlouse 1\nKnit Skirt 2\n")


def list_names(split: str, count: int) -> list[str]:
    return [f"img/{GARMENTS[i % 2]}/img_{i:04d}_{split}.jpg" for i in range(count)]


def write_fine(root: Path, anno: str = "Anno_fine", images: str = "Img", counts=(("train", 12), ("val", 6))) -> dict:
    """A drawn copy; the bits of every image by name."""
    write_lists(root / anno)
    rng, bits = np.random.default_rng(0), {}
    for split, count in counts:
        names = list_names(split, count)
        draw_images(root / images, names)
        rows = rng.integers(0, 2, (count, len(ATTRIBUTES)))
        bits |= dict(zip(names, rows.tolist(), strict=True))
        lines = {
            "": names,
            "_attr": [" ".join(map(str, row)) for row in rows.tolist()],
            "_bbox": ["005 006 030 050"] * count,
            "_cate": [str(1 + i % 2) for i in range(count)],
            "_landmards": ["0 " * 16] * count,
        }
        for kind, texts in lines.items():
            (root / anno / f"{split}{kind}.txt").write_text("\n".join(texts) + "\n")
    return bits


def expect_label(values: list[int], none: int = -1) -> int:
    """Of one category, by hand: its only attribute, else unlabelled."""
    if values.count(1) == 1:
        return values.index(1)
    return none if set(values) == {-1} else -1


@pytest.mark.parametrize("anno", ["Anno_fine", "Anno", "Anno/Anno_fine", "anno_fine", "ANNO/Anno_Fine"])
@pytest.mark.parametrize("images", ["Img", "."])
def test_26_attributes_are_read_wherever_they_stand(tmp_path: Path, anno: str, images: str) -> None:
    bits = write_fine(tmp_path, anno, images)
    annotations = load_annotations(tmp_path)
    assert f"{Path(anno).name}/" in annotations.layout and annotations.schema.sizes == (2, 2, 2)
    rows = annotations.table.to_pylist()
    assert [row["image"] for row in rows] == [f"{'Img/' if images == 'Img' else ''}{name}" for name in bits]
    for row, values in zip(rows, bits.values(), strict=True):
        assert row["labels"] == [expect_label(values[k : k + 2]) for k in (0, 2, 4)]
        assert (row["x1"], row["y1"], row["x2"], row["y2"]) == (5, 6, 30, 50)
        assert (annotations.folder / row["image"]).is_file()
    pattern = [values[:2].count(1) for values in bits.values()]
    said = f"{pattern.count(2)} images have several of its attributes and {pattern.count(0)} none"
    assert said in annotations.remarks[0]


def test_the_folder_of_the_annotations_may_be_named(tmp_path: Path) -> None:
    write_fine(tmp_path)
    assert load_annotations(tmp_path / "Anno_fine").table == load_annotations(tmp_path).table


def test_kinds_of_garment_are_a_category_if_asked_for(tmp_path: Path) -> None:
    write_fine(tmp_path)
    assert "garment" not in load_annotations(tmp_path).schema.names
    annotations = load_annotations(tmp_path, Reading(garments=True))
    assert annotations.schema.categories[-1].classes == ("Blouse", "Knit Skirt")
    assert [labels[-1] for labels in annotations.table["labels"].to_pylist()[:4]] == [0, 1, 0, 1]
    (tmp_path / "Anno_fine/train_cate.txt").write_text("0\n" + "1\n" * 11)
    with pytest.raises(DataError, match=r"train_cate\.txt:1: a kind of garment must be 1 to 2, but is '0'"):
        load_annotations(tmp_path, Reading(garments=True))


def test_faults_are_told_with_file_and_line(tmp_path: Path) -> None:
    write_fine(tmp_path)
    path = tmp_path / "Anno_fine/train_attr.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "0 0 2 0 0 0", "0 0", *lines[5:]]))
    with pytest.raises(DataError) as caught:
        load_annotations(tmp_path)
    assert [(fault.file, fault.line) for fault in caught.value.faults] == [
        ("Anno_fine/train_attr.txt", n) for n in (4, 5)
    ]
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="for each of the 12 images of train"):
        load_annotations(tmp_path)


def write_coarse(
    root: Path, anno: str = "Anno_coarse", partition: str = "Eval", count: int = 30
) -> tuple[list, np.ndarray]:
    """A drawn copy, its lists in other orders; names in the partition's order and their values."""
    write_lists(root / anno)
    (root / partition).mkdir(exist_ok=True)
    names = [name.replace("img_", "img ") for name in list_names("any", count)]  # with a blank
    draw_images(root / "Img", names)
    rng = np.random.default_rng(1)
    values = rng.integers(-1, 2, (count, len(ATTRIBUTES)))

    def write(path: Path, header: str, texts: list[str], order: np.ndarray) -> None:
        rows = "\n".join(f"{names[i]:50} {texts[i]}" for i in order.tolist())
        path.write_text(f"{count}\n{header}\n{rows}\n")

    orders = [rng.permutation(count) for _ in range(3)]
    texts = [" ".join(f"{value:2d}" for value in row) for row in values.tolist()]
    write(root / anno / "list_attr_img.txt", "image_name attribute_labels", texts, orders[0])
    write(
        root / anno / "list_bbox.txt",
        "image_name x_1 y_1 x_2 y_2",
        [f"1 2 30 {20 + i % 40}" for i in range(count)],
        orders[1],
    )
    write(
        root / anno / "list_category_img.txt",
        "image_name category_label",
        [str(1 + i % 2) for i in range(count)],
        orders[2],
    )
    splits = ["val" if i % 3 == 0 else "train" for i in range(count)]
    write(root / partition / "list_eval_partition.txt", "image_name evaluation_status", splits, np.arange(count))
    (root / "attributes.yaml").write_text(YAML)
    return names, values


@pytest.mark.parametrize(
    ("anno", "partition"), [("Anno_coarse", "Eval"), ("Anno", "Anno"), ("Anno_coarse", "Anno_coarse")]
)
@pytest.mark.parametrize("block", [64, 1 << 24])
def test_1000_attributes_are_read_in_any_order_and_block(tmp_path: Path, monkeypatch, anno, partition, block) -> None:
    monkeypatch.setattr(deepfashion, "BLOCK_BYTES", block)
    names, values = write_coarse(tmp_path, anno, partition)
    annotations = load_annotations(tmp_path, Reading(garments=True))
    assert annotations.schema.to_dict() == {
        "pattern": ["striped", "floral"],
        "sleeve": ["long sleeve", "sleeveless", "other sleeve"],
        "garment": ["Blouse", "Knit Skirt"],
    }
    rows = {row["image"].removeprefix("Img/"): row for row in annotations.table.to_pylist()}
    assert set(rows) == set(names)
    for i, (name, value) in enumerate(zip(names, values.tolist(), strict=True)):
        expected = [expect_label(value[1::-1]), expect_label(value[2:4], none=2), i % 2]
        assert (rows[name]["labels"], rows[name]["y2"]) == (expected, 20 + i % 40)
        assert rows[name]["split"] == ("val" if i % 3 == 0 else "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it must be a category and its attributes"),
        ("a: [floral, polka]", "'polka' of a does not"),
        ("a: [floral, [striped]]", "put it between quotes"),
        ("a: [floral, no]", "'no' of a does not"),
        ("a: [floral, striped]\na: [graphic, knit]", "'a' stands twice"),
        ("a: floral", "must be a list of attributes"),
        ("a: [floral]", "two different classes or more"),
        ("a: [floral", "it must be YAML"),
        ("[" * 4000, "it must be YAML"),
        ('"a\\nb": [floral, striped]', "one line of text"),
    ],
)
def test_a_wrong_file_of_attributes_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    write_coarse(tmp_path)
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_annotations(tmp_path, Reading(attributes=tmp_path / "own.yaml"))
    assert len(caught.value.faults) == 1 and caught.value.faults[0].file == "own.yaml"


def test_nobody_gets_1000_categories(tmp_path: Path) -> None:
    write_coarse(tmp_path)
    (tmp_path / "attributes.yaml").unlink()
    with pytest.raises(DataError, match="--attributes"):
        load_annotations(tmp_path)


def test_lists_that_do_not_agree_are_told_once(tmp_path: Path) -> None:
    write_coarse(tmp_path)
    path = tmp_path / "Anno_coarse/list_attr_img.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4].replace("1", "10"), *lines[5:]]))  # no value
    with pytest.raises(DataError, match=r"list_attr_img\.txt:5: a row must be an image's path and 6 times"):
        load_annotations(tmp_path)
    for text in ("", "30\nimage_name attribute_labels\n", "\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="must hold rows, but is empty"):
            load_annotations(tmp_path)
    path.write_text("\n".join(lines[:-3]))
    with pytest.raises(DataError, match="has none for 3, the first is"):
        load_annotations(tmp_path)


@pytest.mark.parametrize("images", ["", "Img", "img", "IMG"])
@pytest.mark.parametrize("write", [write_fine, write_coarse])
def test_images_are_found_where_they_were_unpacked(tmp_path: Path, write, images: str) -> None:
    write(tmp_path)
    (tmp_path / "Img").rename(tmp_path / "unpacked")
    target = tmp_path / images
    target.mkdir(exist_ok=True)
    (tmp_path / "unpacked" / "img").rename(target / "img")
    assert len(load_annotations(tmp_path, Reading(attributes=write_groups(tmp_path))).table)


@pytest.mark.parametrize("write", [write_fine, write_coarse])
def test_the_folder_above_names_the_right_one(tmp_path: Path, write) -> None:
    write(tmp_path / "Benchmark")
    with pytest.raises(DataError, match=r"is none \(but Benchmark/ in it looks like one: name that\)"):
        load_annotations(tmp_path)


def test_lists_of_1000_attributes_may_have_empty_lines_and_other_capitals(tmp_path: Path) -> None:
    write_coarse(tmp_path)
    expected = load_annotations(tmp_path, Reading(attributes=write_groups(tmp_path))).table
    path = tmp_path / "Anno_coarse" / "list_attr_img.txt"
    path.write_text("\n" + path.read_text().replace("\n", "\n\n"))
    for name in ("Eval", "Anno_coarse"):
        (tmp_path / name).rename(tmp_path / name.lower())
    assert load_annotations(tmp_path, Reading(attributes=write_groups(tmp_path))).table == expected


def write_groups(folder: Path) -> Path:
    path = folder / "own.yaml"
    path.write_text("pattern: {attributes: [floral, striped], none: no}\n")
    return path


def test_words_of_the_yaml_file_are_text(tmp_path: Path) -> None:
    """In YAML 1.1 no, off and 1.0 are no text."""
    write_fine(tmp_path)
    assert load_annotations(tmp_path, Reading(attributes=write_groups(tmp_path))).schema.to_dict() == {
        "pattern": ["floral", "striped", "no"]
    }
    (tmp_path / "own.yaml").write_text("garment: [floral, striped]\n")
    with pytest.raises(DataError, match="'garment' is that of --garments"):
        load_annotations(tmp_path, Reading(attributes=tmp_path / "own.yaml", garments=True))


def test_splits_may_have_other_words(tmp_path: Path) -> None:
    write_coarse(tmp_path)
    expected = load_annotations(tmp_path).table
    path = tmp_path / "Eval/list_eval_partition.txt"
    path.write_text(path.read_text().replace(" train", " TRAIN").replace(" val", " Validation"))
    assert load_annotations(tmp_path).table == expected


@pytest.mark.parametrize("name", ["list_attr_img.txt", "list_bbox.txt"])
def test_an_image_with_two_rows_is_told(tmp_path: Path, name: str) -> None:
    write_coarse(tmp_path)
    path = tmp_path / "Anno_coarse" / name
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[2:], lines[-1]]))
    with pytest.raises(DataError, match=f"{name}: it must have one row for each image, but has 1 more"):
        load_annotations(tmp_path)


def test_more_values_than_attributes_are_told_as_such(tmp_path: Path) -> None:
    write_coarse(tmp_path)
    path = tmp_path / "Anno_coarse/list_attr_cloth.txt"
    path.write_text("\n".join(path.read_text().splitlines()[2:-1]))
    with pytest.raises(DataError, match=r"a value for each of the 5 attributes of list_attr_cloth\.txt, but has more"):
        load_annotations(tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "/", "../Anno_fine/train.txt", "img/../../a.jpg"])
@pytest.mark.parametrize(
    ("write", "place"), [(write_fine, "Anno_fine/train.txt"), (write_coarse, "Eval/list_eval_partition.txt")]
)
def test_a_path_that_leaves_the_folder_is_told(tmp_path: Path, write, place: str, name: str) -> None:
    write(tmp_path)
    (tmp_path / "Img/img").rename(tmp_path / "img")
    (tmp_path / "Img").rmdir()
    old = (tmp_path / place).read_text().splitlines()[-1].rsplit(" ", 1)[0].strip()
    for path in tmp_path.glob("*/*.txt"):
        path.write_text(path.read_text().replace(old, name))
    with pytest.raises(DataError, match="must lie in the data set's folder, but is") as caught:
        load_annotations(tmp_path, Reading(follow_links=True, attributes=write_groups(tmp_path)))
    assert len(caught.value.faults) == 1
