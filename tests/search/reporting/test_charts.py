"""What pictures show, against the ledger that they are drawn from."""

import dataclasses

import numpy as np
import pytest
from answered_search import write_search

from fashion_core.models.cost import Cost
from search.records.events import TrialEnded, TrialStatus
from search.records.ledger import read_events
from search.records.record import load_record, replay
from search.reporting.charts import (
    MAX_LINES,
    TOP,
    build_axis,
    compute_hypervolume,
    draw_learning,
    draw_parallel,
    draw_slices,
    place_values,
)
from search.reporting.front import PricedTrial
from search.space.architectures import USUAL


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return load_record(write_search(tmp_path_factory.mktemp("few")))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return load_record(write_search(tmp_path_factory.mktemp("many"), trials=60))


def test_the_best_have_names_and_the_others_are_lines(few):
    chart = draw_learning(few)
    named = {trace["name"]: trace for trace in chart.traces if "trial" in trace["name"]}
    best = few.rank()[:TOP]
    assert set(named) == {f"{'best: ' if not n else ''}trial {trial.number}" for n, trial in enumerate(best)}
    assert named[f"best: trial {best[0].number}"]["y"] == [best[0].read_score(row) for row in best[0].epochs]
    (others,) = [trace for trace in chart.traces if trace["name"] == "others"]
    shown = sum(value is not None for value in others["y"])
    assert shown == sum(len(trial.epochs) for trial in few.trials.values() if trial not in best)
    (cuts,) = [trace for trace in chart.traces if trace["name"] == "cut-off"]
    assert cuts["y"] == [trial.cutoff for trial in few.trials.values() if trial.cutoff]
    assert [shape["x0"] for shape in chart.layout["shapes"]] == [1, 2]


def test_many_curves_are_bands_that_hold_their_share(many):
    chart = draw_learning(many)
    best = {trial.number for trial in many.rank()[:TOP]}
    others = [trial for trial in many.trials.values() if trial.number not in best]
    assert len(others) > MAX_LINES and len(chart.traces) == TOP + 4
    for share, band in zip((0.9, 0.5), [trace for trace in chart.traces if trace.get("fill")], strict=True):
        edges = len(band["x"]) // 2
        scores = [trial.read_score(trial.epochs[0]) for trial in others]
        upper, lower = band["y"][0], band["y"][-1]
        assert band["x"][:edges] == [1, 2, 3, 4] and lower <= upper
        assert np.mean([lower <= score <= upper for score in scores]) == pytest.approx(share, abs=0.05)


def test_there_is_a_slice_a_parameter_that_differs(few):
    charts = draw_slices(few)
    assert [chart.layout["title"]["text"] for chart in charts] == ["lr", "dropout", "fc_layers"]
    ranked = {trial.best for trial in few.rank()}
    for chart in charts:
        points = {y for trace in chart.traces for y in trace["y"]}
        assert points == ranked
    assert charts[0].layout["xaxis"]["type"] == "log" and charts[2].layout["xaxis"]["type"] == "category"


def test_parallel_coordinates_have_every_trial(few):
    chart = draw_parallel(few)
    shown = sum(trace["x"].count(0) for trace in chart.traces)
    assert shown == len(few.rank()) + 1  # the best one twice
    places = [y for trace in chart.traces for y in trace["y"] if y is not None]
    assert min(places) == 0 and max(places) == 1
    assert chart.layout["xaxis"]["ticktext"] == ["lr", "dropout", "fc_layers", "val/accuracy"]


def test_the_best_is_shown_though_it_was_interrupted(few, tmp_path):
    best = few.rank()[0]
    events = read_events(write_search(tmp_path).ledger)
    ends = [event for event in events if isinstance(event, TrialEnded) and event.trial == best.number]
    record = replay(
        [dataclasses.replace(event, status=TrialStatus.INTERRUPTED) if event in ends else event for event in events]
    )
    assert record.rank()[0].number == best.number and record.rank()[0].status == TrialStatus.INTERRUPTED
    (star,) = (trace for trace in draw_slices(record)[0].traces if trace["name"] == "best")
    assert star["x"] == [best.params["lr"]] and star["y"] == [best.best]
    assert any(trace["name"] == f"best: trial {best.number}" for trace in draw_parallel(record).traces)


def test_values_are_placed_from_the_lowest_to_the_highest():
    assert place_values([1e-4, 1e-3, 1e-2, 3e-3, 1e-1, 5e-4])[0][:3] == pytest.approx([0, 1 / 3, 2 / 3])
    assert place_values(["b", "a", None])[0] == [1, 1 / 2, 0]
    assert place_values([1024, 512, 512])[1:] == ("512", "1024")
    assert build_axis([0.5, 1.0, 1.5, 2.0])["type"] == "linear" and build_axis([0, 1, 10, 1000])["type"] == "linear"


def test_the_hypervolume_is_the_share_that_is_beaten(few):
    trials, rng = few.rank(), np.random.default_rng(0)
    priced = [
        PricedTrial(trial, USUAL, Cost(1000, float(ms)))
        for trial, ms in zip(trials, rng.uniform(1, 9, len(trials)), strict=True)
    ]
    scores, costs = np.array([each.score for each in priced]), np.log([each.cost.ms for each in priced])
    heights, places = (scores - scores.min()) / np.ptp(scores), (costs - costs.min()) / np.ptp(costs)
    points = rng.random((20_000, 2))
    beaten = ((heights >= points[:, :1]) & (places <= points[:, 1:])).any(1).mean()
    assert compute_hypervolume(priced) == pytest.approx(beaten, abs=0.015)
