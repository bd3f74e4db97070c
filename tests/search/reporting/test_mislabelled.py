"""Labels that look wrong, as a table beside the report and shown in it."""

import csv

import numpy as np
import pytest
from answered_search import keep_model, write_search

from fashion_core.data.schema import AttributeSchema, Category
from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.mislabelled import (
    RULE,
    SHOWN,
    Mislabelled,
    find_mislabelled,
    read_mislabelled,
    show_mislabelled,
    sum_up_mislabelled,
    write_mislabelled,
)
from search.reporting.trust import answer_trust
from search.reporting.words import describe_search

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
    assert page.count("<tr>") == 1 + min(SHOWN, len(found.found))
    assert f"{len(found.found)} of 800 labels of the 400 images scored look wrong" in page and "train was not" in page
    assert "trials 3 and 1" in page and "&lt;b&gt;tight" in page and "<b>tight" not in page
    assert 'href="label_errors.csv"' in page


def test_where_nobody_looked_the_page_says_how(tmp_path):
    layout = write_search(tmp_path)
    assert "--check-data" not in "".join(show_mislabelled(load_record(layout), layout, "answered"))
    keep_model(layout)
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
        layout,
        Mislabelled(rule=RULE, trials=[1], images=80, labels=160, by_chance=0.0, shown_by_chance=0.0, found=[]),
    )
    assert "None of 160 labels of the 80 images scored looks wrong" in "".join(
        show_mislabelled(load_record(layout), layout, "answered")
    )


def draw_labels(rng, images=N, wrong=0, spread=0.3):
    """Networks whose confidence is true, and labels drawn by it: so many were made wrong afterwards."""
    confidences = rng.dirichlet([spread] * 3, images)
    labels = (rng.random(images)[:, None] > confidences.cumsum(1)).sum(1).clip(max=2)
    labels[:wrong] = (labels[:wrong] + rng.integers(1, 3, wrong)) % 3
    schema, names = AttributeSchema((SCHEMA.categories[1],)), [f"{n}.jpg" for n in range(images)]
    return find_mislabelled([confidences], labels[:, None], np.arange(images), names, schema, [1])


def test_what_chance_gives_is_called_no_evidence(tmp_path):
    rng = np.random.default_rng(7)
    searches = [draw_labels(rng) for _ in range(40)]
    assert all(each.found for each in searches) and sum(each.is_evidence for each in searches) <= 6
    clean = next(each for each in searches if not each.is_evidence)
    assert "as many as chance gives" in sum_up_mislabelled(clean) and "no evidence" in sum_up_mislabelled(clean)
    wrong = draw_labels(rng, 2000, 100, 0.05)
    assert wrong.is_evidence and "none so unlikely as the first 20" in sum_up_mislabelled(wrong)
    many = wrong.model_copy(update={"by_chance": len(wrong.found) / 2})
    assert "were all right, about" in sum_up_mislabelled(many)
    layout = write_search(tmp_path)
    write_mislabelled(layout, clean)
    record = load_record(layout)
    assert "no evidence of wrong labels" in answer_trust(Source(layout, record, describe_search(record))).short


def test_what_an_older_rule_found_is_not_shown(found, tmp_path):
    layout = write_search(tmp_path)
    keep_model(layout)
    write_mislabelled(layout, found.model_copy(update={"rule": 1}))
    page = "".join(show_mislabelled(load_record(layout), layout, "answered"))
    assert "by an earlier version" in page and "--check-data" in page and "img/" not in page
    old = layout.label_errors.read_text().replace('"rule":1,', "")
    layout.label_errors.write_text(old)
    assert read_mislabelled(layout) is None and '"rule"' not in old
