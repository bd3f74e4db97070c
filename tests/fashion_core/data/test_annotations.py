"""Annotation files: every circulating form reads the same, and every fault is named with its file and line."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fashion_core.data.annotations import load_annotations
from fashion_core.data.decoding import MAX_PIXELS
from fashion_core.data.lines import read_lines
from fashion_core.data.prepared import fault_of_row
from fashion_core.data.rows import Annotations
from fashion_core.errors import MAX_FAULTS_SHOWN, DataError

WIDTH, HEIGHT = 24, 32
SIZES = (4, 2, 3)  # classes of each category
ATTRIBUTES = "".join(
    f"class{number}{index} {number}\n" for number, size in enumerate(SIZES, 1) for index in range(size)
)
HEADERS = {"": "picture_filename", "_bbox": "x_1 y_1 x_2 y_2", "_attr": "category1 category2 category3"}


@dataclass(frozen=True)
class Sample:
    """What one row of a drawn set says."""

    split: str
    image: str
    box: tuple[int, int, int, int]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """How the files of a set are written."""

    headers: frozenset[str] = frozenset()  # of the files "", "_bbox", "_attr"
    counts: bool = False  # the number of rows before each header
    end: str = "\n"
    final_end: bool = True
    zeros: bool = False  # 062 for 62

    def offset(self, kind: str) -> int:
        """Lines before the first row."""
        return (1 + self.counts) if kind in self.headers else 0


def encode_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


JPEG = encode_jpeg()


def encode_png_start(width: int, height: int) -> bytes:
    """A PNG that claims a size, and ends where its pixels begin."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"\x78\x9c")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


def write_set(folder: Path, samples: list[Sample], form: Form, edits: dict[tuple[str, str, int], str] | None = None):
    """Write a set; `edits` replaces rows: (split, kind of file, index of the row) -> its line."""
    (folder / "split").mkdir(parents=True)
    (folder / "img").mkdir()
    (folder / "split/list_attr_cloth.txt").write_text(ATTRIBUTES)
    for sample in samples:
        (folder / sample.image).write_bytes(JPEG)
    for split in ("train", "val", "test"):
        own = [sample for sample in samples if sample.split == split]
        write = "{:03d}".format if form.zeros else str
        lines = {
            "": [sample.image for sample in own],
            "_bbox": [" ".join(map(write, sample.box)) for sample in own],
            "_attr": [" ".join(map(str, sample.labels)) for sample in own if sample.labels[0] >= 0],
        }
        for kind, rows in lines.items():
            if split == "test" and not rows:
                continue
            rows = [(edits or {}).get((split, kind, index), row) for index, row in enumerate(rows)]
            if kind in form.headers:
                rows = [*([str(len(rows))] if form.counts else []), HEADERS[kind], *rows]
            text = form.end.join(rows) + (form.end if form.final_end else "")
            (folder / f"split/{split}{kind}.txt").write_bytes(text.encode())


def build_samples(train: int = 4, val: int = 3, test: int = 2) -> list[Sample]:
    counts = {"train": train, "val": val, "test": test}
    return [
        Sample(split, f"img/{split}{i}.jpg", (i % 5, 1, 10 + i % 14, 32), tuple(i % size for size in SIZES))
        for split, count in counts.items()
        for i in range(count)
    ]


def read_table(annotations: Annotations) -> list[Sample]:
    rows = annotations.table.to_pylist()
    return [
        Sample(row["split"], row["image"], tuple(row[key] for key in ("x1", "y1", "x2", "y2")), tuple(row["labels"]))
        for row in rows
    ]


def find_faults(folder: Path, **options: bool) -> list[tuple[str, int | None]]:
    with pytest.raises(DataError) as caught:
        load_annotations(folder, **options)
    return [(fault.file, fault.line) for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound set in the plain form, to break."""
    write_set(tmp_path / "set", build_samples(), Form())
    return tmp_path / "set"


def edit_line(path: Path, line: int, text: str) -> None:
    lines = path.read_text().split("\n")
    lines[line - 1] = text
    path.write_text("\n".join(lines))


# ---------------------------------------------------------------------------------------------------- what is sound

forms = st.builds(
    Form,
    headers=st.frozensets(st.sampled_from(sorted(HEADERS))),
    counts=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    final_end=st.booleans(),
    zeros=st.booleans(),
)


@st.composite
def sample_sets(draw: st.DrawFn) -> list[Sample]:
    labelled_test = draw(st.booleans())
    samples = []
    for split, least in (("train", 1), ("val", 1), ("test", 0)):
        for index in range(draw(st.integers(least, 5))):
            x1, y1 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
            box = (x1, y1, draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT)))
            labels = tuple(draw(st.integers(0, size - 1)) for size in SIZES)
            if split == "test" and not labelled_test:
                labels = (-1,) * len(SIZES)
            samples.append(Sample(split, f"img/{split}_{index}.jpg", box, labels))
    return samples


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sample_sets(), forms)
def test_every_form_gives_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Sample], form: Form
) -> None:
    folder = tmp_path_factory.mktemp("form") / "set"
    write_set(folder, samples, form)
    annotations = load_annotations(folder)
    assert read_table(annotations) == samples
    assert annotations.skipped == ()
    assert annotations.schema.sizes == SIZES
    lines = annotations.table["line"].to_pylist()
    for sample, line in zip(samples, lines, strict=True):
        text = (folder / f"split/{sample.split}.txt").read_text()  # any end of line reads as \n
        assert text.split("\n")[line - 1] == sample.image
    for row in range(len(samples)):
        fault = fault_of_row(annotations, row, "why")
        assert (fault.file, fault.line, fault.message) == (f"split/{samples[row].split}.txt", lines[row], "why")


def test_the_columns_are_as_promised(folder: Path) -> None:
    schema = load_annotations(folder).table.schema
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        "image": "string",
        "split": "string",
        **dict.fromkeys(("x1", "y1", "x2", "y2", "line"), "int32"),
        "labels": "fixed_size_list<item: int16>[3]",
    }


@pytest.mark.slow
def test_the_real_set(fashion_data: Path) -> None:
    annotations = load_annotations(fashion_data)
    rows = annotations.table.to_pydict()
    splits = [s for s in ("train", "val", "test") if (fashion_data / f"split/{s}.txt").exists()]
    boxes = np.concatenate([np.loadtxt(fashion_data / f"split/{split}_bbox.txt", dtype=int) for split in splits])
    assert np.array_equal(np.stack([rows[key] for key in ("x1", "y1", "x2", "y2")], axis=1), boxes)
    for split in ("train", "val"):
        labels = [row for row, own in zip(rows["labels"], rows["split"], strict=True) if own == split]
        assert np.array_equal(labels, np.loadtxt(fashion_data / f"split/{split}_attr.txt", dtype=int))


def test_test_files_may_be_absent(folder: Path) -> None:
    (folder / "split/test_attr.txt").unlink()
    unlabelled = [replace(s, labels=(-1, -1, -1)) if s.split == "test" else s for s in build_samples()]
    assert read_table(load_annotations(folder)) == unlabelled
    for kind in ("", "_bbox"):
        (folder / f"split/test{kind}.txt").unlink()
    assert read_table(load_annotations(folder)) == build_samples(test=0)


def test_empty_lines_and_dots_in_paths_do_not_matter(folder: Path) -> None:
    path = folder / "split/train.txt"
    path.write_text("\n\n" + path.read_text().replace("img/train1", "./img//train1") + "\n \n")
    annotations = load_annotations(folder)
    assert read_table(annotations) == build_samples()
    assert annotations.table["line"].to_pylist()[:4] == [3, 4, 5, 6]


def test_one_image_may_be_listed_again(folder: Path) -> None:
    with (folder / "split/train.txt").open("a") as images, (folder / "split/train_bbox.txt").open("a") as boxes:
        images.write("img/train0.jpg\nimg/train0.jpg\nimg/val0.jpg\n")
        boxes.write("0 1 10 32\n0 1 9 9\n0 0 9 9\n")  # the same row, another garment, another split's image
    with (folder / "split/train_attr.txt").open("a") as labels:
        labels.write("0 0 0\n1 1 1\n3 1 2\n")
    assert load_annotations(folder).table.num_rows == len(build_samples()) + 3


def test_bytes_behind_a_jpegs_end_do_not_matter(folder: Path) -> None:
    (folder / "img/train0.jpg").write_bytes(JPEG + b"\0" * 500)
    assert load_annotations(folder).table.num_rows == len(build_samples())


# --------------------------------------------------------------------------------------------------- what is at fault


def cut_image(path: Path) -> None:
    path.write_bytes(JPEG[: len(JPEG) // 2])


def cut_two_bytes(path: Path) -> None:
    path.write_bytes(JPEG[:-2])


def empty_image(path: Path) -> None:
    path.write_bytes(b"")


def write_text_for_image(path: Path) -> None:
    path.write_text("no image")


def link_outside(path: Path) -> None:
    target = path.parent.parent.parent / f"outside_{path.name}"
    target.write_bytes(JPEG)
    path.unlink()
    path.symlink_to(target)


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def cut_png(path: Path) -> None:
    path.write_bytes(encode_png_start(WIDTH, HEIGHT))


def put_bomb(path: Path) -> None:
    path.write_bytes(encode_png_start(8_000, 8_000))


# (kind of file, line that replaces the row's, what is done to the row's image)
INJECTIONS = {
    "label too large": ("_attr", "0 2 0", None),
    "label negative": ("_attr", "0 0 -2", None),
    "label no number": ("_attr", "x 0 0", None),
    "label fraction": ("_attr", "1.5 0 0", None),
    "label with two signs": ("_attr", "+-1 0 0", None),
    "label of other digits": ("_attr", "٣ 0 0", None),
    "label missing": ("_attr", "0 0", None),
    "label alone": ("_attr", "0", None),
    "label too many": ("_attr", "0 0 0 0", None),
    "label huge": ("_attr", f"0 0 {'9' * 5000}", None),
    "box empty": ("_bbox", "5 5 5 9", None),
    "box reversed": ("_bbox", "5 9 7 6", None),
    "box left of image": ("_bbox", "-1 0 5 5", None),
    "box right of image": ("_bbox", f"0 0 {WIDTH + 3} 5", None),
    "box below image": ("_bbox", f"0 0 5 {HEIGHT + 3}", None),
    "box no number": ("_bbox", "0 0 x 5", None),
    "box of three": ("_bbox", "0 0 5", None),
    "image missing": ("", "img/gone.jpg", None),
    "image absolute": ("", "/etc/image.jpg", None),
    "image above": ("", "img/../../outside.jpg", None),
    "image above, backslashes": ("", "..\\outside.jpg", None),
    "image on a drive": ("", "C:\\outside.jpg", None),
    "image is the folder": ("", ".", None),
    "image and more": ("", "img/train0.jpg 5", None),
    "image cut": ("", None, cut_image),
    "image cut by two bytes": ("", None, cut_two_bytes),
    "image cut, PNG": ("", None, cut_png),
    "image empty": ("", None, empty_image),
    "image is text": ("", None, write_text_for_image),
    "image links outside": ("", None, link_outside),
    "image links to itself": ("", None, link_to_itself),
    "image is a folder": ("", None, put_folder),
    "image is a pipe": ("", None, put_pipe),
    "image is a bomb": ("", None, put_bomb),
}


def inject(folder: Path, samples: list[Sample], form: Form, faults: dict[int, str]) -> list[tuple[str, int]]:
    """Write a set with one fault in each of the given rows; what a reader must say of them, in order."""
    edits, expected, damages = {}, [], []
    for row in sorted(faults):
        kind, line, damage = INJECTIONS[faults[row]]
        split = samples[row].split
        index = row - next(i for i, sample in enumerate(samples) if sample.split == split)
        if line is not None:
            edits[split, kind, index] = line
        if damage is not None:
            damages.append((damage, folder / samples[row].image))
        expected.append((f"split/{split}{kind}.txt", index + 1 + form.offset(kind)))
    write_set(folder, samples, form, edits)
    for damage, path in damages:
        damage(path)
    return expected


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("row", [0, 2, 5])
def test_each_fault_is_named(tmp_path: Path, name: str, row: int) -> None:
    form = Form(headers=frozenset({"_bbox"}))  # so that the files' lines differ
    expected = inject(tmp_path / "set", build_samples(), form, {row: name})
    assert find_faults(tmp_path / "set") == expected


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.integers(0, 12), st.sampled_from(sorted(INJECTIONS)), min_size=1, max_size=4), forms)
def test_all_faults_are_named_and_can_be_left_out(
    tmp_path_factory: pytest.TempPathFactory, faults: dict[int, str], form: Form
) -> None:
    folder = tmp_path_factory.mktemp("faults") / "set"
    samples = build_samples(train=6, val=4, test=3)
    expected = inject(folder, samples, form, faults)
    assert find_faults(folder) == expected
    good = [sample for row, sample in enumerate(samples) if row not in faults]
    if {"train", "val"} <= {sample.split for sample in good}:
        annotations = load_annotations(folder, skip_bad=0.4)
        assert read_table(annotations) == good
        assert [(fault.file, fault.line) for fault in annotations.skipped] == expected
    else:
        with pytest.raises(DataError, match="at least one sound row"):
            load_annotations(folder, skip_bad=0.4)


def test_one_row_may_have_several_faults(folder: Path) -> None:
    edit_line(folder / "split/train_attr.txt", 2, "9 9 0")
    edit_line(folder / "split/train_bbox.txt", 2, "0 0 99 9")
    cut_image(folder / "img/train2.jpg")
    edit_line(folder / "split/train_attr.txt", 3, "0")
    assert Counter(find_faults(folder)) == Counter(
        {
            ("split/train_attr.txt", 2): 2,
            ("split/train_bbox.txt", 2): 1,
            ("split/train.txt", 3): 1,
            ("split/train_attr.txt", 3): 1,
        }
    )


def test_a_fault_states_rule_value_and_place(folder: Path) -> None:
    edit_line(folder / "split/val_bbox.txt", 2, "0 0 25 9")
    with pytest.raises(DataError) as caught:
        load_annotations(folder)
    assert "split/val_bbox.txt:2: a box must lie in its image of 24 x 32 pixels, but is [0, 0, 25, 9]" in str(
        caught.value
    )
    assert "--skip-bad" in str(caught.value)


def test_more_faults_than_are_shown_are_all_there(tmp_path: Path) -> None:
    write_set(tmp_path / "set", build_samples(train=MAX_FAULTS_SHOWN + 20), Form())
    path = tmp_path / "set/split/train_attr.txt"
    path.write_text("9 0 0\n" * (MAX_FAULTS_SHOWN + 20))
    assert len(find_faults(tmp_path / "set", check_images=False)) == MAX_FAULTS_SHOWN + 20


@pytest.mark.parametrize(("width", "height"), [(8_000, 8_000), (10_000, 10_000), (60_000, 60_000)])
def test_a_bomb_is_told_from_its_header(folder: Path, width: int, height: int) -> None:
    assert width * height > MAX_PIXELS
    (folder / "img/val1.jpg").write_bytes(encode_png_start(width, height))
    for action in ("ignore", "error"):  # Pillow warns of some sizes
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            with pytest.raises(DataError, match="at most 50,000,000 pixels") as caught:
                load_annotations(folder)
            assert [(fault.file, fault.line) for fault in caught.value.faults] == [("split/val.txt", 2)]


def test_images_need_not_be_checked(folder: Path) -> None:
    (folder / "img/train0.jpg").unlink()
    edit_line(folder / "split/train_bbox.txt", 1, f"0 0 {WIDTH + 1} 5")
    assert load_annotations(folder, check_images=False).table.num_rows == len(build_samples())


@pytest.mark.parametrize(
    "path",
    ["/outside.jpg", "../outside.jpg", "img/../../outside.jpg", "..\\outside.jpg", "C:\\outside.jpg", "C:/o.jpg", "."],
)
@pytest.mark.parametrize("check_images", [False, True])
def test_a_path_leaving_the_folder_is_told_by_itself(folder: Path, path: str, check_images: bool) -> None:
    (folder.parent / "outside.jpg").write_bytes(JPEG)  # leaving is the fault, not finding nothing
    edit_line(folder / "split/train.txt", 2, path)
    assert find_faults(folder, check_images=check_images) == [("split/train.txt", 2)]
    assert len(load_annotations(folder, skip_bad=0.2, check_images=check_images).skipped) == 1


def test_rows_that_contradict_each_other_are_all_at_fault(folder: Path) -> None:
    for kind, line in (("", "./img/train1.jpg"), ("_bbox", "1 1 11 32"), ("_attr", "2 0 0")):
        with (folder / f"split/train{kind}.txt").open("a") as file:
            file.write(line + "\n")
    assert find_faults(folder) == [("split/train_attr.txt", 2), ("split/train_attr.txt", 5)]
    assert "img/train1.jpg" not in load_annotations(folder, skip_bad=0.2).table["image"].to_pylist()


def test_a_row_may_be_unlabelled_in_single_categories(folder: Path) -> None:
    edit_line(folder / "split/train_attr.txt", 2, "-1 0 -1")
    edit_line(folder / "split/val_attr.txt", 1, "-1 -1 -1")
    for kind, line in (("", "./img/train1.jpg"), ("_bbox", "1 1 11 32"), ("_attr", "1 0 -1")):  # the same box again
        with (folder / f"split/train{kind}.txt").open("a") as file:
            file.write(line + "\n")
    labels = {(row["split"], row["line"]): row["labels"] for row in load_annotations(folder).table.to_pylist()}
    assert labels["train", 2] == [-1, 0, -1] and labels["val", 1] == [-1, -1, -1]
    edit_line(folder / "split/train_attr.txt", 2, "0 -1 -1")
    assert find_faults(folder) == [("split/train_attr.txt", 2), ("split/train_attr.txt", 5)]


# -------------------------------------------------------------------------------------- what no row can be blamed for


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("name", ["train_attr", "val_bbox", "test_bbox", "test_attr"])
def test_other_counts_are_an_error(folder: Path, name: str, skip_bad: bool) -> None:
    path = folder / f"split/{name}.txt"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows, rows[0], rows[0]]))
    edit_line(folder / "split/train_bbox.txt", 1, "9 9 9 9")  # is listed as well
    found = find_faults(folder, skip_bad=skip_bad)
    assert found == [(f"split/{name}.txt", len(rows) + 1), ("split/train_bbox.txt", 1)]
    path.write_text("\n".join(rows[:-1]))
    assert find_faults(folder, skip_bad=skip_bad) == [(f"split/{name}.txt", len(rows) - 1), ("split/train_bbox.txt", 1)]


def test_another_images_box_is_no_fault_of_its_own(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "img/train0.jpg")
    path = folder / "split/train_bbox.txt"
    path.write_text(path.read_text().split("\n", 1)[1])  # now the next image's box stands in the first's place
    assert find_faults(folder) == [("split/train_bbox.txt", 3)]


@pytest.mark.parametrize("name", ["train", "train_attr", "train_bbox", "val", "val_attr", "val_bbox", "test_bbox"])
def test_a_missing_file_is_an_error(folder: Path, name: str) -> None:
    (folder / f"split/{name}.txt").unlink()
    edit_line(folder / "split/list_attr_cloth.txt", 2, "broken")  # is listed as well
    for skip_bad in (False, True):
        found = find_faults(folder, skip_bad=skip_bad)
        assert (f"split/{name}.txt", None) in found
        assert ("split/list_attr_cloth.txt", 2) in found


def test_an_announced_count_must_hold(tmp_path: Path) -> None:
    form = Form(headers=frozenset(HEADERS), counts=True)
    write_set(tmp_path / "set", build_samples(), form)
    edit_line(tmp_path / "set/split/val.txt", 1, "4")
    assert find_faults(tmp_path / "set", skip_bad=True) == [("split/val.txt", 1)]


def test_a_file_must_be_bounded_plain_text(folder: Path) -> None:
    path = folder / "split/val.txt"
    path.write_bytes(b"img/val0.jpg\nimg/val\xff.jpg\nimg/val2.jpg\n")
    assert find_faults(folder) == [("split/val.txt", 2)]
    path.unlink()
    os.mkfifo(path)
    assert find_faults(folder) == [("split/val.txt", None)]
    assert read_lines(folder / "split/train.txt", 60)[0] == "img/train0.jpg"
    with pytest.raises(DataError, match="at most 59 bytes, but has 60"):
        read_lines(folder / "split/train.txt", 59)


def test_a_split_must_have_rows(folder: Path) -> None:
    for kind in HEADERS:
        (folder / f"split/val{kind}.txt").write_text(HEADERS[kind] + "\n")
    with pytest.raises(DataError, match=r"split/val\.txt must have at least one sound row"):
        load_annotations(folder)


def test_a_folder_must_be_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sample_data"):
        load_annotations(tmp_path)
