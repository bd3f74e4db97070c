"""Whether the best trial is better: verdicts against means and errors that are worked out here."""

import re

import numpy as np
import pytest
from answered_search import IMAGES, draw_answers, write_search

from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.better import answer_better, judge_gain
from search.reporting.words import describe_search, write_interval
from search.statistics.intervals import IMAGES as OVER_IMAGES
from search.statistics.intervals import Estimate


def answer(layout):
    record = load_record(layout)
    return answer_better(Source(layout, record, describe_search(record)))


def test_the_gain_over_what_was_known_is_paired_over_images(tmp_path):
    answers = draw_answers(12, 2)
    scores = answers.mean((1, 2))
    best = int(scores[:11].argmax())
    gaps = answers[best].mean(1) - answers[0].mean(1)
    found = answer(write_search(tmp_path))
    shown = re.search(r"\(trial 0\) by ([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\] points", found.short)
    value, low, high = map(float, shown.groups())
    assert value == pytest.approx(100 * gaps.mean(), abs=0.006)
    half = 1.99 * 100 * gaps.std(ddof=1) / np.sqrt(IMAGES)  # Student's, of 79 degrees of freedom
    assert (high - low) / 2 == pytest.approx(half, abs=0.02)
    assert found.short.startswith("Yes" if low > 0 else "Not surely")


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.03, "better"), (0.01, "within noise"), (-0.01, "within noise"), (-0.03, "worse")]
)
def test_a_difference_within_noise_is_called_that(value, verdict):
    assert judge_gain(Estimate(value, 0.01, np.inf, OVER_IMAGES)) == verdict


def test_ties_are_marked_in_the_table(tmp_path):
    layout = write_search(tmp_path)
    search = describe_search(load_record(layout))
    table = answer(layout).parts[-1]
    assert table.count("<strong>tied</strong>") == len(search.tied) > 0 and table.count("<strong>best</strong>") == 1


def test_a_champion_is_compared_by_a_command_or_by_the_promotion(tmp_path):
    layout = write_search(tmp_path)
    assert any("--compare answered" in part for part in answer(layout).parts)
    layout.promotion_report.write_text("# Promotion\n")
    assert any('href="PROMOTION.md"' in part for part in answer(layout).parts)


def test_the_interval_of_a_score_ends_at_one():
    assert write_interval(Estimate(0.99, 0.02, np.inf, OVER_IMAGES), digits=3) == "0.990 [0.951, 1.000]"
    assert write_interval(Estimate(0.01, 0.02, np.inf, OVER_IMAGES), digits=3) == "0.010 [0.000, 0.049]"
