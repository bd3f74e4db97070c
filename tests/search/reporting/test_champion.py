"""The best trial beside the champion and beside the seed report."""

import re

import numpy as np
import pytest
from answered_search import IMAGES, draw_answers, write_search
from scipy import stats

from fashion_core.data.schema import KNOWN_CATEGORIES
from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.better import answer_better
from search.reporting.champion import Champion
from search.reporting.words import describe_search


def answer(record, champion=None, layout=None):
    return answer_better(Source(layout, record, describe_search(record), champion=champion))


def show(layout, champion=None):
    return " ".join(map(str, answer(load_record(layout), champion, layout).parts))


@pytest.fixture
def layout(tmp_path):
    return write_search(tmp_path)


def test_the_same_images_are_compared_image_by_image(layout):
    rows = np.random.default_rng(3).permutation(IMAGES)[:50]
    theirs = draw_answers(12, 2)[5]
    champion = Champion("garments", 3, "lite", 1.7e9, "0.8 [0.7, 0.9]", images=rows, correct=theirs[rows][None])
    layout.best_folder.mkdir()
    layout.best_model.touch()
    page = show(layout, champion)
    own = draw_answers(12, 2)[load_record(layout).rank()[0].number]
    gaps = 100 * (own - theirs)[rows].mean(1)
    ranked = len(load_record(layout).rank())
    low = gaps.mean() - stats.t.ppf(1 - 0.025 / ranked, 49) * gaps.std(ddof=1) / np.sqrt(50)
    found = re.search(r"champion, ([^,]+), from search lite, champion since 2023-11-14, by (\S+) \[(\S+),", page)
    assert found[1] == "version 3 of garments" and float(found[2]) == pytest.approx(gaps.mean(), abs=6e-3)
    # as the spread says, or a little wider: see `search.statistics.intervals.compute_floor`
    assert 0.999 < (gaps.mean() - float(found[3])) / (gaps.mean() - low) < 1.1
    short = answer(load_record(layout), champion, layout).short
    assert re.search(r"It is (better than|worse than|within noise of) the champion, by [+-]", short)
    assert "on 50 images that both answered" in page and "models:/garments@champion" in page


def test_a_champion_of_this_search_is_told_at_once(layout):
    champion = Champion("garments", 3, load_record(layout).name, 1.7e9, "0.8123 [0.8, 0.9]")
    own = "version 3 of garments, champion since 2023-11-14, with 0.8123 [0.8, 0.9] when it was promoted."
    assert f"The champion comes from this search: {own}" in show(layout, champion)
    assert f"Promoted from this search: {own}" in answer(load_record(layout), champion, layout).short


@pytest.mark.parametrize(("select_on", "is_unseen"), [("val", False), ("heldout", True)])
def test_what_a_promotion_judges_by_depends_on_what_was_selected_on(layout, select_on, is_unseen):
    record = load_record(layout)
    record.settings["select_on"] = select_on
    page = " ".join(map(str, answer(record, None, layout).parts))
    assert "again with fresh seeds" in page
    assert ("on images that nothing was chosen by" in page) == is_unseen


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"images": np.arange(5), "correct": np.ones((1, 5, 2))},  # few
        {"images": np.arange(IMAGES), "correct": np.ones((1, IMAGES, 3))},  # of other categories
        {"images": np.arange(IMAGES), "correct": np.full((1, IMAGES, 2), np.nan)},  # of other labels
    ],
)
def test_other_images_are_figures_side_by_side(layout, fields):
    page = show(layout, Champion("garments", 3, score="0.8123 [0.8, 0.9]", **fields))
    assert (
        "Unpaired" in page and "0.8123 [0.8, 0.9]" in page and "image by image" not in page.split("Unpaired")[1][:400]
    )


def test_the_champion_may_be_of_this_search_or_unknown(layout):
    assert "comes from this search" in show(layout, Champion("garments", 3, "answered"))
    assert "could not be asked: it is &lt;b&gt;away" in show(layout, "it is <b>away")
    assert "No champion is known here" in show(layout)


def test_the_seed_report_stands_beside_a_search_of_its_categories_alone(tmp_path, layout):
    assert "seed report" not in show(layout)
    layout = write_search(tmp_path, "six", categories=list(KNOWN_CATEGORIES), classes=("a", "b"))
    assert "seed report" not in show(layout)  # of these names, but with other classes
    record = load_record(layout)
    record.data["categories"] = {name: list(classes) for name, classes in KNOWN_CATEGORIES.items()}
    page = " ".join(map(str, answer(record, layout=layout).parts))
    assert "Beside the seed report" in page and "0.8265" in page and "0.8252" in page and "unpaired" in page
