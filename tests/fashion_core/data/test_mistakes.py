"""What all rows have wrong is said once, with the remedy; sound data is never suspected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_core.data.mistakes import (
    are_fractions,
    convert_boxes,
    find_box_mistake,
    find_label_mistake,
    find_missing_mistake,
)
from fashion_core.data.reading import BOX_FORMS
from fashion_core.data.schema import AttributeSchema, Category

WRITE = {  # from x1 y1 x2 y2 to each form, the other way round than the code goes
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "xywh": lambda a, b, c, d: (a, b, c - a, d - b),
    "yxyx": lambda a, b, c, d: (b, a, d, c),
    "xxyy": lambda a, b, c, d: (a, c, b, d),
    "cxcywh": lambda a, b, c, d: ((a + c) / 2, (b + d) / 2, c - a, d - b),
}
SIZES = (4, 2, 3)
SCHEMA = AttributeSchema(tuple(Category(f"c{k}", tuple("abcd"[:n])) for k, n in enumerate(SIZES)))


def draw_boxes(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Sound boxes, as of a person in the middle, and the sizes of their upright images."""
    rng = np.random.default_rng(0)
    sizes = np.stack([rng.integers(120, 200, count), rng.integers(280, 320, count)], 1)
    first = (sizes * rng.uniform(0.1, 0.4, (count, 2))).astype(int)
    second = (sizes * rng.uniform(0.6, 1.0, (count, 2))).astype(int)
    return np.concatenate([first, second], 1), sizes


@pytest.mark.parametrize("form", BOX_FORMS)
def test_forms_are_read_back(form: str) -> None:
    boxes, _ = draw_boxes()
    written = np.array([WRITE[form](*box) for box in boxes.tolist()], float)
    assert np.allclose(convert_boxes(written, form), boxes)


@pytest.mark.parametrize("form", [form for form in BOX_FORMS if form != "xyxy"])
def test_boxes_in_another_form_are_told(form: str) -> None:
    boxes, sizes = draw_boxes()
    written = np.array([WRITE[form](*box) for box in boxes.tolist()], float)
    assert f"look like {BOX_FORMS[form]}: " in (find_box_mistake(written, sizes, "xyxy") or "")
    assert f"--boxes {form}" in (find_box_mistake(written, sizes, "xyxy") or "")
    assert find_box_mistake(written, sizes, form) is None


def test_sound_boxes_and_slips_are_not_suspected() -> None:
    boxes, sizes = draw_boxes()
    assert find_box_mistake(boxes, sizes, "xyxy") is None
    boxes[:8] = boxes[:8, [2, 1, 0, 3]]
    assert find_box_mistake(boxes, sizes, "xyxy") is None
    assert "larger images" in (find_box_mistake(boxes * 2, sizes, "xyxy") or "")


def test_fractions_are_told_from_pixels() -> None:
    boxes, sizes = draw_boxes()
    assert are_fractions(boxes / np.tile(sizes, 2)) and not are_fractions(boxes)
    assert not are_fractions(np.array([[0, 0, 1, 1]])) and not are_fractions(np.zeros((0, 4)))


def draw_labels(count: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, size, count) for size in SIZES], 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda labels: labels + 1, "counted from 1:"),
        (
            lambda labels: np.where(np.random.default_rng(1).random(labels.shape) < 0.2, -1, labels + 1),
            "counted from 1:",
        ),
        (
            lambda labels: np.where(np.random.default_rng(1).random(labels.shape) < 0.2, 0, labels + 1),
            "0 for unlabelled",
        ),
        (lambda labels: labels[:, [1, 0, 2]], "columns of c0 and c1 look swapped"),
        (lambda labels: labels[:, [0, 2, 1]], "columns of c1 and c2 look swapped"),
    ],
)
def test_labels_that_mean_something_else_are_told(change, words: str) -> None:
    assert words in (find_label_mistake(change(draw_labels()), SCHEMA) or "")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*(st.integers(-1, size - 1) for size in SIZES)), max_size=30))
def test_sound_labels_are_never_suspected(rows: list[tuple[int, ...]]) -> None:
    assert find_label_mistake(np.array(rows, np.int64).reshape(-1, 3), SCHEMA) is None


def test_single_labels_out_of_range_are_slips() -> None:
    labels = draw_labels()
    labels[:4, 0] = 4
    assert find_label_mistake(labels, SCHEMA) is None


def test_images_that_are_missing_altogether_are_told_once() -> None:
    names = [f"img/{i}.jpg" for i in range(10)]
    assert "10 of 12 images are missing, the first is img/0.jpg" in (find_missing_mistake(names, 12, "set") or "")
    assert find_missing_mistake(names, 20, "set") is None and find_missing_mistake(names[:2], 2, "set") is None
