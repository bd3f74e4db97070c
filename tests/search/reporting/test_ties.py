"""Which trials are tied with the best: paired over images, against scipy's paired test and planted truth."""

import numpy as np
import pytest
from scipy import stats

from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.ledger import pack_correct
from search.records.record import replay
from search.reporting.charts import draw_differences
from search.reporting.live import take_standing
from search.reporting.ties import compare_with_best
from search.reporting.words import describe_pairing, describe_search


def build_record(answers, *, keep=True, error=0.02):
    """A search whose trials answered so. answers: [T, N, K]; keep: of which trials the answers are in the ledger."""
    kept = [keep] * len(answers) if isinstance(keep, bool) else keep
    categories = {f"c{number}": ["x", "y"] for number in range(answers.shape[2])}
    selection = {"select_count": answers.shape[1]}
    events = [SearchStarted(name="s", data={"categories": categories}, selection=selection)]
    for number, own in enumerate(answers):
        score = float(np.nanmean(own, 0).mean())
        scores = {"val/accuracy": score, "val/accuracy_se": error}
        correct = pack_correct(own) if kept[number] else None
        events += [
            TrialStarted(trial=number, trial_id=f"id{number}", params={"lr": 0.1}, enqueued=False),
            EpochEnded(trial=number, epoch=1, metrics=scores),
            TrialEnded(trial=number, status="finished", best=score, best_epoch=1, correct=correct),
        ]
    return replay(events)


def draw_answers(rng, scores, images=400, swapped=0.05):
    """Trials that are right on nearly the same images: [T, images, 2]."""
    common = rng.random((images, 2))
    return np.stack([np.where(rng.random((images, 2)) < swapped, rng.random((images, 2)), common) < s for s in scores])


def test_a_difference_is_scipys_paired_one():
    answers = draw_answers(np.random.default_rng(0), [0.8, 0.77, 0.7])
    record = build_record(answers)
    ranked = record.rank()
    best = answers[ranked[0].number].mean(1)
    for number, standing in compare_with_best(record, ranked).items():
        wanted = stats.ttest_rel(answers[number].mean(1), best, alternative="less")
        assert standing.is_paired and standing.difference.value / standing.difference.error == pytest.approx(
            wanted.statistic
        )
        assert standing.is_tied == (wanted.pvalue >= 0.05 / 2)


def test_pairing_tells_apart_what_two_errors_do_not():
    answers = draw_answers(np.random.default_rng(1), [0.80, 0.76])
    paired, alone = (
        compare_with_best(record, record.rank())
        for record in (build_record(answers), build_record(answers, keep=False))
    )
    assert not paired[1].is_tied and alone[1].is_tied and not alone[1].is_paired
    assert paired[1].difference.error < 0.5 * alone[1].difference.error
    assert alone[1].difference.error == pytest.approx(0.02 * np.sqrt(2))


def test_the_truly_best_is_among_the_tied_in_95_of_100_searches():
    rng, held = np.random.default_rng(2), []
    for _ in range(150):
        record = build_record(draw_answers(rng, [0.8] * 8, images=150, swapped=0.2))
        ranked = record.rank()
        standings = compare_with_best(record, ranked)
        held.append(ranked[0].number == 3 or standings[3].is_tied)  # all are equal: any may be called the best
    assert np.mean(held) > 0.93


def test_missing_labels_are_left_out_of_both():
    rng = np.random.default_rng(3)
    answers = draw_answers(rng, [0.8, 0.75]).astype(float)
    answers[:, rng.random((400, 2)) < 0.3] = np.nan
    record = build_record(answers)
    (standing,) = compare_with_best(record, record.rank()).values()
    means = [np.nanmean(own, 0).mean() for own in answers]
    assert standing.difference.value == pytest.approx(-abs(means[0] - means[1]))


def test_what_a_report_and_the_live_view_say():
    answers = draw_answers(np.random.default_rng(4), [0.8, 0.8, 0.6])
    record = build_record(answers)
    words = describe_search(record)
    (tied,) = words.tied
    assert {words.ranked[0].number, tied} == {0, 1} and words.unpaired == 0
    assert [trial.against.endswith(" =") for trial in words.ranked] == [False, True, False]
    assert describe_pairing(words) == "Compared image by image, at 95% over all 2 comparisons."
    assert ("tied", f"trial {tied}") in take_standing(record, 3, 1, (0, 0)).lines


def test_without_answers_it_is_said():
    answers = draw_answers(np.random.default_rng(5), [0.8, 0.8, 0.8])
    for keep in (False, [True, True, False]):
        record = build_record(answers, keep=keep)
        words = describe_search(record)
        if keep is False:
            assert words.unpaired == 2 and "comparisons, without each image's answers" in describe_pairing(words)
        else:
            assert words.unpaired in (1, 2) and "without each image's answers" in describe_pairing(words)
        assert any("unpaired" in trial.against for trial in words.ranked)


def test_damaged_answers_are_as_none():
    record = build_record(draw_answers(np.random.default_rng(6), [0.8, 0.7]))
    for trial in record.trials.values():
        object.__setattr__(trial.end, "correct", "AAAA")
    (standing,) = compare_with_best(record, record.rank()).values()
    assert not standing.is_paired


def test_without_an_error_nothing_is_compared():
    record = build_record(draw_answers(np.random.default_rng(7), [0.8, 0.7]), error=None)
    assert compare_with_best(record, record.rank()) is None and compare_with_best(record, []) is None


def test_a_line_of_the_picture_reaches_zero_where_the_trial_is_tied():
    answers = draw_answers(np.random.default_rng(2), [0.8, 0.79, 0.775, 0.77, 0.76, 0.7])
    record = build_record(answers)
    standings = compare_with_best(record, record.rank())
    assert {each.is_tied for each in standings.values()} == {True, False}
    chart = draw_differences(record, standings)
    for trace, is_tied in zip(chart.traces, (False, True), strict=True):
        for value, half, name in zip(trace["x"], trace["error_x"]["array"], trace["y"], strict=True):
            assert (value + half >= 0) == is_tied == standings[int(name.split()[1])].is_tied
