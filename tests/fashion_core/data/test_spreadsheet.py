"""Tables as people have them: one content in every form gives one result; what is no category is none."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fashion_core.data.annotations import load_annotations
from fashion_core.data.dealing import keep_splits
from fashion_core.data.reading import Reading
from fashion_core.errors import DataError

SIZE = (40, 60)
COUNT = 24
COLUMNS = {
    "image": [f"photos/bag {i:02d}, é.png" for i in range(COUNT)],
    "split": ["train", "validation", "test"] * (COUNT // 3),
    "colour": ["rot", "grün"] * (COUNT // 2),
    "doors": [None if i % 5 == 0 else 3 + 2 * (i % 3) for i in range(COUNT)],
    "new": [i % 4 == 0 for i in range(COUNT)],
}
EXPECTED = {"colour": ["grün", "rot"], "doors": ["3", "5", "7"], "new": ["False", "True"]}


def draw_images(folder: Path, names: list[str]) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)).save(folder / name)


def write_csv(columns: dict[str, list], separator: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return text.getvalue()


def write_table(folder: Path, form: str, columns: dict[str, list]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"labels.{form.split('-')[0]}"
    if form == "parquet":
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
    elif form == "parquet-float":  # as pandas keeps whole numbers with gaps
        floats = {n: [None if v is None else float(v) for v in vs] if n == "doors" else vs for n, vs in columns.items()}
        pq.write_table(pa.table(floats), path)
    elif form == "jsonl":
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = {"csv-semicolon": ";", "csv-tab": "\t", "tsv": "\t"}.get(form, ",")
        text = write_csv(columns, separator)
        encoding = {"csv-bom": "utf-8-sig", "csv-utf16": "utf-16"}.get(form, "utf-8")
        path.write_text(text, encoding, newline="\r\n" if form == "csv-crlf" else "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_images(tmp_path, COLUMNS["image"])
    return tmp_path


FORMS = [
    "csv",
    "csv-bom",
    "csv-crlf",
    "csv-utf16",
    "csv-semicolon",
    "csv-tab",
    "tsv",
    "parquet",
    "parquet-float",
    "jsonl",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(folder: Path, form: str) -> None:
    annotations = load_annotations(write_table(folder, form, COLUMNS))
    assert annotations.schema.to_dict() == EXPECTED and not annotations.remarks
    assert annotations.lists["val"].startswith("labels.")
    rows = {row["image"]: row for row in annotations.table.to_pylist()}
    assert list(rows) == [COLUMNS["image"][i] for k in range(3) for i in range(k, COUNT, 3)]
    for i, name in enumerate(COLUMNS["image"]):
        doors = -1 if i % 5 == 0 else i % 3
        assert rows[name]["labels"] == [(i + 1) % 2, doors, int(i % 4 == 0)]
        assert rows[name]["split"] == ("train", "val", "test")[i % 3]
        assert [rows[name][key] for key in ("x1", "y1", "x2", "y2")] == [0, 0, *SIZE]
    assert annotations.count_unlabelled() == {"colour": 0, "doors": 5, "new": 0}


@pytest.mark.parametrize("place", ["absolute", "above", "elsewhere"])
def test_images_may_be_named_from_anywhere(folder: Path, place: str) -> None:
    names = {"absolute": str(folder) + "/", "above": "../", "elsewhere": str(folder) + "/"}[place]
    table = (
        folder / "tables"
        if place == "above"
        else folder.parent / f"{folder.name}-tables"
        if place == "elsewhere"
        else folder
    )
    annotations = load_annotations(
        write_table(table, "csv", COLUMNS | {"image": [names + n for n in COLUMNS["image"]]})
    )
    assert len(annotations.table) == COUNT
    assert all((annotations.folder / name).is_file() for name in annotations.table["image"].to_pylist())
    assert not any(name.startswith(("/", "..")) for name in annotations.table["image"].to_pylist())


def test_names_are_compared_as_the_disk_has_them(folder: Path) -> None:
    names = [unicodedata.normalize("NFD", name) for name in COLUMNS["image"]]
    assert names != COLUMNS["image"]
    found = load_annotations(write_table(folder, "csv", COLUMNS | {"image": names})).table["image"].to_pylist()
    assert sorted(found) == sorted(COLUMNS["image"])


def test_an_imagefolder_is_recognised(tmp_path: Path) -> None:
    """As the Hugging Face hub documents it: one table in the folder, or one in each split's."""
    for split in ("train", "validation"):
        names = [f"{i}.png" for i in range(6)]
        draw_images(tmp_path / "parts" / split, names)
        path = tmp_path / "parts" / split / "metadata.csv"
        path.write_text(write_csv({"file_name": names, "colour": ["red", "blue"] * 3}))
    parts = load_annotations(tmp_path / "parts")
    assert sorted(set(parts.table["split"].to_pylist())) == ["train", "val"]
    assert parts.lists["val"] == "validation/metadata.csv"
    names = [f"{split}/{i}.png" for split in ("train", "validation") for i in range(6)]
    draw_images(tmp_path / "one", names)
    (tmp_path / "one" / "metadata.csv").write_text(write_csv({"file_name": names, "colour": ["red", "blue"] * 6}))
    one = load_annotations(tmp_path / "one")
    assert one.table["image"].to_pylist() == parts.table["image"].to_pylist() == names
    assert one.table["labels"] == parts.table["labels"]


BOX = (4, 6, 30, 50)
BOXES = {
    "x1 y1 x2 y2": ({"x1": 4, "y1": 6, "x2": 30, "y2": 50}, None),
    "capitals": ({"XMin": 4, "YMin": 6, "XMax": 30, "YMax": 50}, None),
    "x y w h": ({"x": 4, "y": 6, "w": 26, "h": 44}, None),
    "floats": ({"x": 4.2, "y": 5.9, "width": 26.1, "height": 44.0}, None),
    "fractions": ({"x1": 0.1, "y1": 0.1, "x2": 0.75, "y2": 50 / 60}, None),
    "fractions over the border": ({"x1": 0.1, "y1": 0.1, "x2": 0.75000001, "y2": 50 / 60}, None),
    "prefixes": ({"bbox_x1": 4, "bbox_y1": 6, "bbox_x2": 30, "bbox_y2": 50}, None),
    "other blanks": ({"Box X-Min": 4, "Box Y-Min": 6, "Box X-Max": 30, "Box Y-Max": 50}, None),
    "from 0": ({"x0": 4, "y0": 6, "x1": 30, "y1": 50}, None),
    "corner and sides": ({"xmin": 4, "ymin": 6, "width": 26, "height": 44}, None),
    "other centre": ({"center_x": 17, "center_y": 28, "w": 26, "h": 44}, None),
    "centre": ({"x_center": 17 / 40, "y_center": 28 / 60, "width": 26 / 40, "height": 44 / 60}, None),
    "asked for": ({"bbox": "[4, 6, 26, 44]"}, "xywh"),
    "asked against the names": ({"x1": 4, "y1": 6, "x2": 26, "y2": 44}, "xywh"),
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_are_told_by_their_columns_and_numbers(folder: Path, name: str) -> None:
    cells, form = BOXES[name]
    columns = COLUMNS | {
        key: [value] * (COUNT - 1) + [None] for key, value in cells.items()
    }  # the last is the whole image
    annotations = load_annotations(write_table(folder, "csv", columns), Reading(boxes=form))
    assert annotations.schema.to_dict() == EXPECTED
    boxes = [tuple(row[key] for key in ("x1", "y1", "x2", "y2")) for row in annotations.table.to_pylist()]
    assert set(boxes[:-1]) == {BOX} and boxes[-1] == (0, 0, *SIZE)


def test_a_box_that_names_do_not_explain_is_asked_for(folder: Path) -> None:
    with pytest.raises(DataError, match="say it with --boxes: xyxy"):
        load_annotations(write_table(folder, "csv", COLUMNS | {"bbox": ["4 6 26 44"] * COUNT}))
    with pytest.raises(DataError, match="but y2 is lacking"):
        load_annotations(
            write_table(folder, "csv", COLUMNS | {"x1": [1] * COUNT, "y1": [1] * COUNT, "x2": [9] * COUNT})
        )


@pytest.mark.parametrize(
    "box",
    [
        {"x1": 4, "y1": 6, "x2": 30, "y2": 50},
        {"width": 26, "height": 44, "x": 4, "y": 6},
        {"cx": 17.0, "cy": 28.0, "w": 26.0, "h": 44.0},
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_box_by_names_in_one_column(folder: Path, form: str, box: dict) -> None:
    cells = {"bbox": [box] * (COUNT - 1) + [None]}
    annotations = load_annotations(write_table(folder, form, COLUMNS | cells))
    boxes = [tuple(row[key] for key in ("x1", "y1", "x2", "y2")) for row in annotations.table.to_pylist()]
    assert set(boxes[:-1]) == {BOX} and boxes[-1] == (0, 0, *SIZE)


@pytest.mark.parametrize("box", [[[4, 6, 30, 50]], {"left": 4, "up": 6}, [[4, 6], [30, 50]], [4, 6, {}, 50]])
def test_what_is_no_box_is_no_whole_image(folder: Path, box: object) -> None:
    path = write_table(folder, "jsonl", COLUMNS | {"bbox": [box] + [[4, 6, 30, 50]] * (COUNT - 1)})
    with pytest.raises(DataError, match=r"labels\.jsonl:1: a box must be 4 numbers"):
        load_annotations(path, Reading(boxes="xyxy"))


def test_an_image_by_its_address_is_told_as_such(folder: Path) -> None:
    path = write_table(folder, "csv", COLUMNS | {"image": ["https://shop.org/a.png", *COLUMNS["image"][1:]]})
    with pytest.raises(DataError, match=r"is the address https://shop\.org/a\.png; fetch it"):
        load_annotations(path)


@pytest.mark.parametrize("border", [1.0000001, 1.02, -0.0001])
def test_one_share_over_the_border_makes_no_pixels_of_all(folder: Path, border: float) -> None:
    """Rounding, or a detector's box: all others would be one pixel."""
    cells = {"x1": [0.1] * COUNT, "y1": [0.1] * COUNT, "x2": [0.9] * COUNT, "y2": [0.9] * COUNT}
    cells["x2" if border > 0 else "x1"][3] = border
    found = load_annotations(write_table(folder, "csv", COLUMNS | cells), Reading(skip_bad=0.1)).table
    boxes = [tuple(row[key] for key in ("x1", "y1", "x2", "y2")) for row in found.to_pylist()]
    assert set(boxes) - {(4, 6, 36, 54)} <= {(4, 6, 40, 54), (0, 6, 36, 54)} and len(boxes) >= COUNT - 1


@pytest.mark.parametrize(
    ("pixels", "message"), [(1, "in shares of its image"), (12, "and like pixels in 12"), (23, "in pixels")]
)
def test_shares_and_pixels_are_not_mixed(folder: Path, pixels: int, message: str) -> None:
    rows = [(4, 6, 30, 50)] * pixels + [(0.1, 0.1, 0.9, 0.9)] * (COUNT - pixels)
    cells = dict(zip(("x1", "y1", "x2", "y2"), map(list, zip(*rows, strict=True)), strict=True))
    with pytest.raises(DataError, match=message) as caught:
        load_annotations(write_table(folder, "csv", COLUMNS | cells))
    assert len(caught.value.faults) == 1


def test_boxes_of_one_pixel_are_looked_at(folder: Path) -> None:
    cells = {"x1": [0] * COUNT, "y1": [0] * COUNT, "x2": [1] * COUNT, "y2": [1] * COUNT}
    assert "one pixel" in load_annotations(write_table(folder, "csv", COLUMNS | cells)).remarks[0]


def write_dialect(folder: Path, change) -> Path:
    path = folder / "labels.csv"
    path.write_text(change(write_csv(COLUMNS, "|")))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: "sep=|\n" + text,
        lambda text: "\nsep=;\n\n" + text.replace("|", ";"),
        lambda text: "\n".join(text.split("\n")[:1] + [f"{line}||" for line in text.split("\n")[1:-1]]),
        lambda text: "\n".join(", ".join(f'"{cell}"' for cell in line.split("|")) for line in text.split("\n")[:-1]),
        lambda text: text.replace("photos/", "photos\\"),
    ],
    ids=["bars", "sep", "sep below", "empty values behind", "blanks before quotes", "windows"],
)
def test_dialects_are_read(folder: Path, change) -> None:
    annotations = load_annotations(write_dialect(folder, change))
    assert annotations.schema.to_dict() == EXPECTED and not annotations.remarks
    assert sorted(annotations.table["image"].to_pylist()) == COLUMNS["image"]


@pytest.mark.parametrize("name", ["subset", "partition", "Set"])
def test_a_split_of_another_name_is_no_category(folder: Path, name: str) -> None:
    columns = {name if key == "split" else key: values for key, values in COLUMNS.items()}
    annotations = load_annotations(write_table(folder, "csv", columns))
    assert annotations.schema.to_dict() == EXPECTED
    assert f"the column {name!r} holds train and val" in annotations.remarks[0]
    assert annotations.table == load_annotations(write_table(folder, "csv", COLUMNS)).table
    asked = load_annotations(write_table(folder, "csv", columns), Reading(categories=(name,)))
    assert asked.schema.names == (name,)


def test_a_split_may_be_a_folder_anywhere(tmp_path: Path) -> None:
    names = [f"images/{('train', 'validation')[i % 4 == 0]}/{i:02d}.png" for i in range(COUNT)]
    draw_images(tmp_path, names)
    annotations = load_annotations(write_table(tmp_path, "csv", {"image": names, "colour": COLUMNS["colour"]}))
    assert annotations.table["split"].to_pylist() == ["train"] * 18 + ["val"] * 6
    assert "the images' folders" in annotations.remarks[0]


def test_an_empty_column_split_is_none(folder: Path) -> None:
    annotations = load_annotations(write_table(folder, "csv", COLUMNS | {"split": [""] * COUNT}))
    assert set(annotations.table["split"].to_pylist()) == {"train", "val"}


def test_the_column_of_paths_is_that_of_images(folder: Path) -> None:
    columns = {"image": list(range(COUNT)), "file_name": COLUMNS["image"]} | {
        key: COLUMNS[key] for key in ("split", "colour")
    }
    assert load_annotations(write_table(folder, "csv", columns)).schema.names == ("colour",)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["red", "NA", "nan"], "'NA', 'nan' of 'colour' is a class like the others"),
        (["0", "1", "-1"], "'-1' of 'colour' is a class"),
        (["Red", "red", "blue"], "'Red' and 'red'"),
        (["dark red", "dark  red", "blue"], "'dark  red' and 'dark red'"),
    ],
)
def test_odd_classes_are_looked_at(folder: Path, values: list[str], words: str) -> None:
    annotations = load_annotations(write_table(folder, "csv", COLUMNS | {"colour": values * (COUNT // 3)}))
    assert len(annotations.schema.categories[0].classes) == 3
    assert words in annotations.remarks[0]


def test_numbers_of_32_bits_have_their_own_text(folder: Path) -> None:
    columns = {key: pa.array(values) for key, values in COLUMNS.items()}
    size = pa.array(np.array([0.1, 2.0] * (COUNT // 2), np.float32))
    pq.write_table(pa.table(columns | {"size": size}), folder / "labels.parquet")
    assert load_annotations(folder / "labels.parquet").schema.to_dict()["size"] == ["0.1", "2"]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{"bytes": b"x", "path": f"{i}.png"} for i in range(COUNT)], "must hold paths of images, but holds"),
        (list(range(COUNT)), "must hold paths of images, but holds '0'"),
        ([f"https://shop/{i}.png" for i in range(COUNT)], "fetch them"),
        ([f"D:\\bags\\{i}.png" for i in range(COUNT)], "a path of another machine"),
        ([name.removesuffix(".png") for name in COLUMNS["image"]], "bag 00, é.png is there"),
        ([name.upper() for name in COLUMNS["image"]], "images are missing"),
    ],
)
def test_images_that_cannot_be_found_are_told_once(folder: Path, images: list, words: str) -> None:
    columns = {key: pa.array(values) for key, values in COLUMNS.items()}
    pq.write_table(pa.table(columns | {"image": pa.array(images)}), folder / "labels.parquet")
    with pytest.raises(DataError) as caught:
        load_annotations(folder / "labels.parquet")
    assert len(caught.value.faults) == 1 and words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.csv", "# mine\nimage,colour\na.jpg,red\nb.jpg,blue\n", "names 1 where all rows have 2"),
        ("labels.jsonl", json.dumps([{"image": "a.jpg"}] * 3, indent=1), "one object a line"),
        ("labels.jsonl", json.dumps([{"image": "a.jpg"}] * 3), "one object a line"),
        ("labels.csv", "image,colour\n", "must have rows"),
    ],
)
def test_a_table_in_another_form_is_told_once(tmp_path: Path, name: str, text: str, words: str) -> None:
    error = refuse(tmp_path, text, name)
    assert len(error.faults) == 1 and words in str(error)


NO_CATEGORIES = {
    "id": [f"https://shop/{i}" for i in range(COUNT)],
    "price": [f"{i}.5" for i in range(COUNT)],
    "shop": ["one"] * COUNT,
    "nothing": [""] * COUNT,
    "text": [("a long text " * 20) + str(i % 3) for i in range(COUNT)],
}


@pytest.mark.parametrize("name", NO_CATEGORIES)
def test_what_is_no_category_is_left_out_and_said(folder: Path, name: str) -> None:
    path = write_table(folder, "csv", COLUMNS | {name: NO_CATEGORIES[name]})
    annotations = load_annotations(path)
    assert annotations.schema.to_dict() == EXPECTED
    assert len(annotations.remarks) == 1 and f"'{name}' (" in annotations.remarks[0]


def test_many_classes_are_a_category_only_if_asked_for(folder: Path) -> None:
    path = write_table(folder, "csv", COLUMNS | {"id": NO_CATEGORIES["id"]})
    annotations = load_annotations(path, Reading(categories=("id", "colour")))
    assert annotations.schema.names == ("id", "colour") and annotations.schema.sizes == (COUNT, 2)
    with pytest.raises(DataError, match="'colur' is none; it has 'colour', 'doors'") as caught:
        load_annotations(path, Reading(categories=("colur",)))
    assert len(caught.value.faults) == 1


def refuse(folder: Path, text: bytes | str, name: str = "labels.csv") -> DataError:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError) as caught:
        load_annotations(folder / name)
    return caught.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a column 'image'|must have rows"),
        ("photos/a.jpg,red\nphotos/b.jpg,blue\n", "looks like a row"),
        ("picture,colour\na.jpg,red\n", "must have a column 'image'"),
        ("image,colour,colour\na.jpg,red,blue\n", "'colour' stands twice"),
        ("image,colour\na.jpg,red,blue\n", "must have a value for each of the 2 columns, but has 3"),
        ('image,colour\n"a.jpg,red\n', "quoted or plain values"),
        (b"image,colour\na.jpg,r\xe9d\n", "must be UTF-8 text"),
        ("image,colour\na.jpg,\x1b[31mred\nb.jpg,blue\nc.jpg,blue\n", "without control characters"),
        ("image,split,colour\na.jpg,tryout,red\nb.jpg,train,blue\nc.jpg,train,blue\n", "holds 'tryout'"),
        ("image,split,colour\na.jpg,\x1b[2J,red\nb.jpg,train,blue\nc.jpg,train,blue\n", r"holds '\\x1b\[2j'"),
        ("image\na.jpg\nb.jpg\n", "must have a column of classes"),
        ("image,x1,y1,x2,y2\na.jpg,1,2,3,4\nb.jpg,1,2,3,4\n", "must have a column of classes"),
        ("image,id\na.jpg,1\nb.jpg,2\n", "must have a column of classes"),
    ],
)
def test_a_wrong_table_is_told_in_a_line(tmp_path: Path, text: bytes | str, message: str) -> None:
    error = refuse(tmp_path, text)
    assert re.search(message, str(error)), str(error)
    assert all("\n" not in str(fault) and "\x1b" not in str(fault) for fault in error.faults)


@pytest.mark.parametrize("name", ["labels.parquet", "labels.jsonl"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"[1]\n", b"[" * 5000, b"\x00\xff"])
def test_damaged_files_are_told(tmp_path: Path, name: str, content: bytes) -> None:
    refuse(tmp_path, content, name)


def test_tables_of_one_name_have_splits_of_their_own(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(20)]
    files = set()
    for folder in (tmp_path / "one" / "photos", tmp_path / "other" / "photos"):
        folder.mkdir(parents=True)
        draw_images(folder, names)
        table = write_table(folder, "csv", {"image": names, "colour": ["red", "blue"] * 10})
        files.add(load_annotations(table, Reading(splits=tmp_path / "kept")).splits_file)
    assert len(files) == 2 and all(path.name.startswith("photos-labels-") for path in files)


@pytest.mark.slow
def test_a_split_is_dealt_once_and_kept(tmp_path: Path) -> None:
    count = 200
    names = [f"{i}.png" for i in range(count)]
    draw_images(tmp_path, names)
    for i in range(0, 40, 2):
        (tmp_path / names[i + 1]).write_bytes((tmp_path / names[i]).read_bytes())  # twins
    columns = {
        "image": names,
        "colour": ["red" if i % 10 else "blue" for i in range(count)],
        "size": ["s", "", "l", "m"] * 50,
    }
    path, reading = write_table(tmp_path, "csv", columns), Reading(splits=tmp_path / "kept")
    annotations = load_annotations(path, reading)
    splits = dict(zip(*(annotations.table[key].to_pylist() for key in ("image", "split")), strict=True))
    assert 0.1 < list(splits.values()).count("val") / count < 0.2
    assert all(splits[names[i]] == splits[names[i + 1]] for i in range(0, 40, 2))
    blue = [splits[names[i]] for i in range(0, count, 10)]
    assert 1 <= blue.count("val") <= 5
    assert load_annotations(path).table == annotations.table  # the same again, kept or not
    keep_splits(annotations)
    more = [*names, "new.png"]
    draw_images(tmp_path / "x", ["new.png"])
    (tmp_path / "new.png").write_bytes((tmp_path / "x" / "new.png").read_bytes())
    other = {"image": more[::-1], "colour": [*columns["colour"], "red"][::-1]}
    again = load_annotations(write_table(tmp_path, "csv", other), reading)
    found = dict(zip(*(again.table[key].to_pylist() for key in ("image", "split")), strict=True))
    assert {name: found[name] for name in names} == splits
    (tmp_path / "kept").joinpath(annotations.splits_file.name).write_text("image,split\n0.png,maybe\n")
    with pytest.raises(DataError, match="must hold rows `image,split`"):
        load_annotations(path, reading)


def test_pictures_that_all_look_alike_are_split_all_the_same(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(60)]
    for i, name in enumerate(names):
        image = Image.new("RGB", SIZE, "white")
        image.paste((20, 30, 40 + i // 2), (10, 10, 30, 50))  # two files of each are the same
        image.save(tmp_path / name)
    annotations = load_annotations(
        write_table(tmp_path, "csv", {"image": names, "colour": ["red", "blue", "blue"] * 20})
    )
    splits = dict(zip(*(annotations.table[key].to_pylist() for key in ("image", "split")), strict=True))
    assert 5 <= list(splits.values()).count("val") <= 14
    assert all(splits[names[i]] == splits[names[i + 1]] for i in range(0, 60, 2))
