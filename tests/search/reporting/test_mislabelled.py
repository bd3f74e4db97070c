"""Labels that look wrong, as a table beside the report and shown in it."""

import csv

import numpy as np
import pytest
from answered_search import write_search

from fashion_core.data.schema import AttributeSchema, Category
from search.records.record import load_record
from search.reporting.mislabelled import (
    SHOWN,
    Mislabelled,
    find_mislabelled,
    read_mislabelled,
    show_mislabelled,
    write_mislabelled,
)

SCHEMA = AttributeSchema((Category("sleeve", ("long", "short")), Category("fit", ("<b>tight", "loose", "none"))))
N = 400


@pytest.fixture
def found():
    """Networks that are mostly right, of images of which every 40th has another label in `fit`."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 2, N), rng.integers(0, 3, N)], 1)
    probabilities = []
    for column, size in ((labels[:, 0], 2), (labels[:, 1], 3)):
        logits = rng.normal(0, 1, (N, size)) + 5 * np.eye(size)[column]
        values = np.exp(logits)
        probabilities.append(values / values.sum(1, keepdims=True))
    labels[::40, 1] = (labels[::40, 1] + 1) % 3
    names = [f"img/{n:03d}.jpg" for n in range(N)]
    return find_mislabelled(probabilities, labels, np.arange(N), names, SCHEMA, [3, 1])


def test_planted_ones_are_named_with_what_they_are(found):
    planted = {f"img/{n:03d}.jpg" for n in range(0, N, 40)}
    first = [each.image for each in found.found[:10] if each.category == "fit"]
    assert len(planted.intersection(first)) >= 8
    assert found.labels == 2 * N and found.images == N
    assert [each.given_confidence for each in found.found] == sorted(each.given_confidence for each in found.found)
    assert all(each.given != each.suggested for each in found.found)


def test_the_table_and_the_page_tell_the_same(found, tmp_path):
    layout = write_search(tmp_path)
    write_mislabelled(layout, found)
    assert read_mislabelled(layout) == found
    rows = list(csv.DictReader(layout.label_errors_csv.open()))
    assert [row["image"] for row in rows] == [each.image for each in found.found]
    page = "".join(show_mislabelled(load_record(layout), layout, "answered"))
    assert page.count("<tr>") == 1 + min(SHOWN, len(found.found)) and f"{len(found.found)} of 800 labels" in page
    assert "trials 3 and 1" in page and "&lt;b&gt;tight" in page and "<b>tight" not in page
    assert 'href="label_errors.csv"' in page


def test_where_nobody_looked_the_page_says_how(tmp_path):
    layout = write_search(tmp_path)
    assert "--check-data" in "".join(show_mislabelled(load_record(layout), layout, "answered"))
    layout.label_errors.write_text("{}")
    assert "--check-data" in "".join(show_mislabelled(load_record(layout), layout, "answered"))


def test_networks_that_know_the_labels_are_not_asked(tmp_path):
    layout = write_search(tmp_path)
    record = load_record(layout)
    record.selection["seen_by_starts"] = {"models:/garments@champion": 3}
    page = "".join(show_mislabelled(record, layout, "answered"))
    assert "start from a model that was trained on some" in page and "--check-data" not in page


def test_none_is_said(tmp_path):
    layout = write_search(tmp_path)
    write_mislabelled(
        layout, Mislabelled(trials=[1], images=80, labels=160, by_chance=0.0, shown_by_chance=0.0, found=[])
    )
    assert "None of 160 labels of 80 images looks wrong" in "".join(
        show_mislabelled(load_record(layout), layout, "answered")
    )
