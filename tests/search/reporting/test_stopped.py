"""What stopping early cost: who is drawn, and what the drawn tell of all that were stopped."""

from collections import Counter

import numpy as np
import pytest
from answered_search import MAX_EPOCHS, STOPPED_FROM, write_search

from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.spent import answer_spent
from search.reporting.stopped import (
    FinishedTrial,
    FinishedTrials,
    describe_regret,
    draw_order,
    draw_place,
    estimate_regret,
    estimate_seconds,
    read_finished,
    show_stopped,
    write_finished,
)
from search.reporting.words import describe_search

STOPPED = list(range(STOPPED_FROM, 11))


@pytest.fixture
def layout(tmp_path):
    return write_search(tmp_path)


def finish(record, gains):
    """The first of the order, each with a score so much above the best."""
    best, order = record.rank()[0].best, draw_order(record)
    trials = [
        FinishedTrial(trial=number, status="diverged", epochs=2)
        if gain is None
        else FinishedTrial(trial=number, status="finished", score=best + gain, epoch=3, epochs=MAX_EPOCHS)
        for number, gain in zip(order, gains, strict=False)
    ]
    return FinishedTrials(max_epochs=MAX_EPOCHS, trials=trials)


def test_the_stopped_are_drawn_by_the_searchs_seed(layout):
    record = load_record(layout)
    assert sorted(draw_order(record)) == STOPPED and draw_order(record) == draw_order(load_record(layout))
    firsts = Counter(min(STOPPED, key=lambda number: draw_place(seed, number)) for seed in range(1000))
    assert all(150 < firsts[number] < 250 for number in STOPPED)  # 200 each by chance, SD 13


def test_how_many_would_have_is_counted_among_those_that_were_stopped(layout):
    record = load_record(layout)
    found = estimate_regret(record, finish(record, [-0.05, 0.02, -0.01]))
    assert (found.stopped, found.drawn, found.better) == (5, 3, (draw_order(record)[1],))
    assert found.would == (1, 3)  # one of five is known to, two are known not to
    assert found.missed == pytest.approx(0.02)
    gains = np.array([-0.05, 0.02, -0.01])
    half = 4.3027 * gains.std(ddof=1) / np.sqrt(3)  # Student's, of 2 degrees of freedom
    assert found.difference.compute_interval() == pytest.approx((gains.mean() - half, gains.mean() + half), abs=1e-5)
    stops = [record.trials[number].best for number in draw_order(record)[:3]]
    assert found.gain.value == pytest.approx(np.mean(record.rank()[0].best + gains - stops))
    words = describe_regret(record, found)
    assert "Of 5 trials that ASHA stopped, 3" in words and "2.00 points above" in words
    assert "1 to 3 would have (95%), 20% to 60%" in words


def test_one_that_diverges_would_have_beaten_nobody(layout):
    record = load_record(layout)
    found = estimate_regret(record, finish(record, [None, -0.02, None]))
    assert (found.drawn, found.better, found.missed, found.difference) == (3, (), 0.0, None)
    assert found.would == (0, 2)
    assert "none would have beaten the best" in describe_regret(record, found)


def test_counted_are_those_drawn_first_alone(layout):
    """Else who was picked by hand would count as drawn."""
    record = load_record(layout)
    finished = finish(record, [0.1] * 5)
    assert estimate_regret(record, FinishedTrials(max_epochs=MAX_EPOCHS, trials=finished.trials[1:])) is None
    gap = [*finished.trials[:2], *finished.trials[3:]]
    assert estimate_regret(record, FinishedTrials(max_epochs=MAX_EPOCHS, trials=gap)).drawn == 2
    assert estimate_regret(record, FinishedTrials(max_epochs=9, trials=finished.trials)) is None


def test_the_page_tells_it_or_how_to_find_out(layout):
    record = load_record(layout)
    source = Source(layout, record, describe_search(record))
    page = "".join(answer_spent(source).parts)
    assert "What stopping early cost" in page and "finish-stopped answered --results" in page and "--trials 3" in page
    finished = finish(record, [0.1, -0.1])
    write_finished(layout, finished)
    assert read_finished(layout) == finished
    page = "".join(answer_spent(source).parts)
    assert f"1 would have beaten the best (trial {draw_order(record)[0]})" in page and "+10.00" in page
    assert "--trials 5" in page
    layout.finished_trials.write_text("{}")
    assert "Not known" in "".join(answer_spent(source).parts)


def test_while_a_search_runs_none_is_finished(layout):
    """`finish-stopped` is refused then."""
    record = load_record(layout)
    assert "finish-stopped" in "".join(show_stopped(record, layout, "answered"))
    record.ended = None
    shown = "".join(show_stopped(record, layout, "answered"))
    assert "Not known" in shown and "finish-stopped" not in shown


def test_what_it_takes_is_the_pace_that_each_had(layout):
    record = load_record(layout)
    for number in STOPPED:
        record.trials[number].began, record.trials[number].left = 10.0, 10.0 + number
    assert estimate_seconds(record, [6, 8]) == (6 + 8) * MAX_EPOCHS  # after one epoch each
