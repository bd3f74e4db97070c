"""The list of attributes: both circulating forms, any categories, every fault with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_core.data.schema import KNOWN_CATEGORIES, AttributeSchema, Category, load_schema
from fashion_core.errors import DataError

ROWS = [(name, number) for number, names in enumerate(KNOWN_CATEGORIES.values(), 1) for name in names]
WORDS = st.text("abcxyz_-", min_size=1, max_size=6)


def write_list(folder: Path, text: str | bytes) -> Path:
    path = folder / "list_attr_cloth.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def render(rows: list[tuple[str, int]], *, count: bool = True, header: bool = True, end: str = "\n") -> str:
    lines = [f"{len(rows)} "] if count else []
    lines += ["attribute_name   attribute_type"] if header else []
    return end.join([*lines, *(f"{name:<20} {number}" for name, number in rows)])


def find_faults(path: Path) -> list[tuple[int | None, str]]:
    with pytest.raises(DataError) as caught:
        load_schema(path)
    assert all(fault.file.endswith("/list_attr_cloth.txt") for fault in caught.value.faults)
    return [(fault.line, fault.message) for fault in caught.value.faults]


def test_the_published_list_has_the_usual_names(tmp_path: Path) -> None:
    schema = load_schema(write_list(tmp_path, render(ROWS)))
    assert {category.name: category.classes for category in schema.categories} == KNOWN_CATEGORIES
    assert schema.names == ("pattern", "sleeve", "length", "neckline", "material", "fit")
    assert schema.sizes == (7, 3, 3, 4, 6, 3)


def test_the_real_list(fashion_data: Path) -> None:
    schema = load_schema(fashion_data / "split" / "list_attr_cloth.txt")
    assert {category.name: category.classes for category in schema.categories} == KNOWN_CATEGORIES


@pytest.mark.parametrize("count", [False, True])
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_form_reads_the_same(tmp_path: Path, count: bool, header: bool, end: str, mark: bytes) -> None:
    text = render(ROWS, count=count, header=header, end=end)
    expected = load_schema(write_list(tmp_path, render(ROWS)))
    for last in ("", end, end * 3):
        assert load_schema(write_list(tmp_path, mark + (text + last).encode())) == expected


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 10**8), st.lists(WORDS, min_size=2, max_size=5, unique=True), min_size=1, max_size=8
    ),
    st.randoms(use_true_random=False),
)
def test_any_categories(tmp_path_factory: pytest.TempPathFactory, classes: dict[int, list[str]], random) -> None:
    rows = [(name, number) for number, names in classes.items() for name in names]
    random.shuffle(rows)  # a category's classes need not stand together; their order is the label order
    schema = load_schema(write_list(tmp_path_factory.mktemp("list"), render(rows)))
    assert schema == AttributeSchema(
        tuple(
            Category(f"category_{number}", tuple(name for name, own in rows if own == number))
            for number in sorted(classes)
        )
    )


def test_a_class_name_may_hold_spaces(tmp_path: Path) -> None:
    schema = load_schema(write_list(tmp_path, render([("abstract print", 1), ("a-line", 1)])))
    assert schema.categories == (Category("category_1", ("abstract print", "a-line")),)


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (["denim", "knit", "silk"], "material"),
        (["denim", "silk", "wool"], "category_4"),
        (["denim", "silk"], "category_4"),  # half is not most
    ],
)
def test_most_classes_name_a_category(tmp_path: Path, classes: list[str], name: str) -> None:
    assert load_schema(write_list(tmp_path, render([(c, 4) for c in classes]))).names == (name,)


def test_names_differ_where_two_categories_hold_the_same_classes(tmp_path: Path) -> None:
    rows = [("tight", 1), ("loose", 1), ("tight", 2), ("conventional", 2)]
    assert load_schema(write_list(tmp_path, render(rows))).names == ("category_1", "category_2")


def test_it_survives_json(tmp_path: Path) -> None:
    schema = load_schema(write_list(tmp_path, render(ROWS)))
    assert AttributeSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


@pytest.mark.parametrize("header", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(0, len(ROWS) - 1), min_size=1, max_size=6), st.sampled_from(["x 1x", "5 -", "9" * 5000, "7"])
)
def test_every_faulty_row_is_named(
    tmp_path_factory: pytest.TempPathFactory, header: bool, at: set[int], broken: str
) -> None:
    lines = render(ROWS, count=True, header=header).split("\n")
    first = 2 + header
    if not header and broken == "5 -":
        at = at - {0}  # a first row without a digit at its end is a header
    for index in at:
        lines[first - 1 + index] = broken
    path = write_list(tmp_path_factory.mktemp("list"), "\n".join(lines))
    if at:
        assert [line for line, _ in find_faults(path)] == [first + index for index in sorted(at)]


def test_a_mistyped_first_row_is_no_header(tmp_path: Path) -> None:
    assert [line for line, _ in find_faults(write_list(tmp_path, "floral 1x\nsolid 1\nlattice 1"))] == [1]


def test_faults_of_the_whole_list(tmp_path: Path) -> None:
    assert find_faults(tmp_path / "list_attr_cloth.txt")[0][1].startswith("the file must exist")
    assert "twice" in find_faults(write_list(tmp_path, "a 1\nb 1\na 1"))[0][1]
    assert find_faults(write_list(tmp_path, "a 1\nb 1\na 1"))[0][0] == 3
    assert find_faults(write_list(tmp_path, "3\na 1\nb 1"))[0] == (
        1,
        "the first line must be the number of classes, 2, but is 3; correct it",
    )
    for empty in ("", "\n\n", "0\nattribute_name attribute_type\n"):
        assert "is empty" in find_faults(write_list(tmp_path, empty))[0][1]
    assert "at least two classes, but 2 has only 'c'" in find_faults(write_list(tmp_path, "a 1\nb 1\nc 2"))[0][1]
    assert find_faults(write_list(tmp_path, b"a 1\nb 1\n\xff 1"))[0][0] == 3
    assert "bytes" in find_faults(write_list(tmp_path, b" " * (1 << 20) + b"a 1"))[0][1]
    (tmp_path / "list_attr_cloth.txt").unlink()
    (tmp_path / "list_attr_cloth.txt").mkdir()
    assert "plain file" in find_faults(tmp_path / "list_attr_cloth.txt")[0][1]
