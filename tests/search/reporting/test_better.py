"""Whether the best trial is better: verdicts against means and errors that are worked out here."""

import re

import numpy as np
import pytest
from answered_search import IMAGES, draw_answers, write_search
from scipy import stats

from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.ledger import pack_correct
from search.records.record import load_record, replay
from search.reporting.answers import Source
from search.reporting.better import answer_better, describe_known, judge_gain
from search.reporting.champion import Champion, sum_up_champion
from search.reporting.ties import compare_with_best
from search.reporting.words import describe_search, write_interval
from search.statistics.intervals import IMAGES as OVER_IMAGES
from search.statistics.intervals import Estimate


def answer(layout, champion=None):
    record = load_record(layout)
    return answer_better(Source(layout, record, describe_search(record), champion=champion))


def test_the_gain_over_what_was_known_is_paired_over_images(tmp_path):
    answers = draw_answers(12, 2)
    scores = answers.mean((1, 2))
    best = int(scores[:11].argmax())
    gaps = answers[best].mean(1) - answers[0].mean(1)
    found = answer(write_search(tmp_path))
    shown = re.search(r"\(trial 0\) by ([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\] points", found.short)
    value, low, high = map(float, shown.groups())
    assert value == pytest.approx(100 * gaps.mean(), abs=0.006)
    half = stats.t.ppf(1 - 0.05 / 10, IMAGES - 1) * 100 * gaps.std(ddof=1) / np.sqrt(IMAGES)  # of 10 comparisons
    assert (high - low) / 2 == pytest.approx(half, abs=0.02) and "95% at each end, over all 10 comp" in found.short
    assert found.short.startswith("Yes" if low > 0 else "Not surely")


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.03, "better"), (0.01, "within noise"), (-0.01, "within noise"), (-0.03, "worse")]
)
def test_a_difference_within_noise_is_called_that(value, verdict):
    assert judge_gain(Estimate(value, 0.01, np.inf, OVER_IMAGES), 0.95) == verdict


def draw_equal(rng, trials, images=200):
    """A search whose configurations are equally good: what differs is chance. Trial 0 is known."""
    answers = np.where(rng.random((trials, images, 2)) < 0.3, rng.random((trials, images, 2)), rng.random((images, 2)))
    data, selection = {"categories": {"a": ["x", "y"], "b": ["x", "y"]}}, {"select_count": images}
    events = [SearchStarted(name="equal", data=data, selection=selection)]
    for number, own in enumerate(answers < 0.7):
        score = float(own.mean())
        scores = {"val/accuracy": score, "val/accuracy_se": float(own.mean(1).std(ddof=1) / np.sqrt(images))}
        events += [
            TrialStarted(trial=number, trial_id=str(number), params={}, enqueued=not number),
            EpochEnded(trial=number, epoch=1, metrics=scores),
            TrialEnded(trial=number, status="finished", best=score, best_epoch=1, correct=pack_correct(own * 1.0)),
        ]
    return replay(events)


@pytest.mark.parametrize("trials", [2, 30])
def test_equal_configurations_are_seldom_called_better_and_never_against_the_ties(trials):
    """The best of 30 equal ones passes a plain interval of 95% in a quarter of all searches."""
    rng, searches = np.random.default_rng(trials), 120
    called, beaten = 0, 0
    for _ in range(searches):
        record = draw_equal(rng, trials)
        ranked = record.rank()
        standings = compare_with_best(record, ranked)
        known = [ranked[[trial.number for trial in ranked].index(0)]]
        gains = [(trial, standings.get(0)) for trial in known if trial is not ranked[0]]
        words = describe_known(ranked[0], known, gains)
        called += words.startswith("Yes")
        assert words.startswith("Yes") == (bool(gains) and not standings[0].is_tied)
        beaten += "better than" in sum_up_champion(record, ranked[0], draw_champion(rng))
    assert called <= stats.binom.ppf(0.999, searches, 0.05) and beaten <= stats.binom.ppf(0.999, searches, 0.05)


def draw_champion(rng, images=200):
    """A model in use that is as good, on the same images."""
    return Champion("garments", 1, images=np.arange(images), correct=(rng.random((1, images, 2)) < 0.7) * 1.0)


def test_ties_are_marked_in_the_table(tmp_path):
    layout = write_search(tmp_path)
    search = describe_search(load_record(layout))
    table = answer(layout).parts[-1]
    assert table.count("<strong>tied</strong>") == len(search.tied) > 0 and table.count("<strong>best</strong>") == 1


def test_a_champion_is_compared_by_a_command_or_by_the_promotion(tmp_path):
    layout = write_search(tmp_path)
    champion = Champion("garments", 3, "lite", 1.7e9, "0.8 [0.7, 0.9]")
    assert not any("--compare" in part for part in answer(layout, champion).parts)  # its best model is not kept
    layout.best_folder.mkdir()
    layout.best_model.touch()
    assert not any("--compare" in part for part in answer(layout).parts)  # with what?
    for known, model in ((champion, "garments"), ("the registry does not answer", "MODEL")):
        assert any(
            f"--compare answered --results {layout.results.name} models:/{model}@champion" in part
            for part in answer(layout, known).parts
        )
    layout.promotion_report.write_text("# Promotion\n")
    assert any('href="PROMOTION.md"' in part for part in answer(layout).parts)


def test_the_interval_of_a_score_ends_at_one():
    assert write_interval(Estimate(0.99, 0.02, np.inf, OVER_IMAGES), digits=3) == "0.990 [0.951, 1.000]"
    assert write_interval(Estimate(0.01, 0.02, np.inf, OVER_IMAGES), digits=3) == "0.010 [0.000, 0.049]"
