"""Who is dropped on the way: where time is short, and where one is surely worse."""

from types import SimpleNamespace

import pytest
from drawn_candidates import LABELS, draw_candidate, folds

from search.jobs.reruns import DIVERGED, FINISHED
from search.promotion import retraining
from search.promotion.options import PromotionOptions
from search.promotion.retraining import Retraining, choose_losers
from search.statistics.intervals import ACCURACY


@pytest.mark.parametrize(
    "seconds_left, dropped",
    [(80, []), (79, ["c"]), (60, ["c"]), (59, ["c", "a"]), (0, ["c", "a"])],
)
def test_the_worst_go_first_where_time_is_short(seconds_left, dropped):
    """Four trainings of 10 s, two more rounds, one at a time: 80 s. The best and the baseline stay in any case."""
    means = {"a": 0.7, "b": 0.8, "c": 0.6, "baseline": 0.1}
    seconds = dict.fromkeys(means, 10.0)
    assert choose_losers(means, seconds, 2, 1, seconds_left) == dropped
    # eight workers: a round takes as long as its longest training, however many are dropped
    assert choose_losers(means, seconds, 2, 8, 20) == [] and choose_losers(means, seconds, 2, 8, 19) == ["c", "a"]


def build_rounds(skills, count, monkeypatch, **options):
    """A promotion whose candidates have these skills, after some rounds, and its trainings by round."""
    drawn = [draw_candidate(number, skill, seeds=count) for number, skill in enumerate(skills)]
    runs = {(each.candidate.label, number): run for each in drawn for number, run in enumerate(each.runs)}
    monkeypatch.setattr(retraining, "load_run", lambda training: runs[training.label, training.seed_number])
    rounds = [
        [SimpleNamespace(label=each.candidate.label, seed_number=number, status=FINISHED) for each in drawn]
        for number in range(count)
    ]
    promotion = SimpleNamespace(options=PromotionOptions(**options), measure=ACCURACY)
    plan = SimpleNamespace(candidates=[each.candidate for each in drawn], seeds=range(5))
    material = SimpleNamespace(folds=folds, labels=LABELS)
    return SimpleNamespace(promotion=promotion, plan=plan, material=material, notes=[]), rounds


def test_the_surely_worse_leave_after_two_seeds_and_are_told(monkeypatch):
    promotion, rounds = build_rounds([0.8, 0.5, 0.79, 0.2], 2, monkeypatch, seeds=5, drop_error=0.05)
    assert Retraining.find_sure_losers(promotion, rounds[:1], set()) == set() and not promotion.notes
    assert Retraining.find_sure_losers(promotion, rounds, set()) == {"trial-0001", "trial-0003"}
    assert promotion.notes[0] == (
        "trial 1 was dropped after 2 of 5 seeds: surely worse than the best so far "
        "(p <= 0.00556 in one test; the best is dropped in at most 0.05 of cases)."
    )
    rounds[1][1].status = DIVERGED  # it is out already: nothing is said of it
    told = len(promotion.notes)
    assert "trial-0001" not in Retraining.find_sure_losers(promotion, rounds, set())
    assert not any(note.startswith("trial 1 ") for note in promotion.notes[told:])


def test_by_default_nobody_is_dropped(monkeypatch):
    promotion, rounds = build_rounds([0.9, 0.2], 3, monkeypatch, seeds=5)
    assert Retraining.find_sure_losers(promotion, rounds, set()) == set()
