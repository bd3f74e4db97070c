"""`curves.parquet` against the events that it is made of."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from search.records.events import EpochAgain, EpochEnded, SearchStarted, TrialEnded, TrialProposed, TrialStarted
from search.records.ledger import pack_correct
from search.records.record import replay
from search.reporting.curves import build_curves, write_curves

CATEGORIES = {"sleeve": ["short", "long"], "fit": ["tight", "loose"]}
CORRECT = np.array([[1, 0], [0, 1], [1, np.nan]])
PARAMS = [{"lr": 0.1, "net": "a"}, {"lr": 0.2, "net": 4, "depth": 2}, {"lr": 0.3, "net": True}]
SCORES = [[0.5, 0.75, 0.25], [0.5], []]


def make_events():
    """Three trials: one with its answers, one that runs, one without an epoch."""
    data, selection = {"categories": CATEGORIES}, {"select_count": 3}
    events = [SearchStarted(name="mine", data=data, selection=selection)]
    for number, (params, scores) in enumerate(zip(PARAMS, SCORES, strict=True)):
        events.append(TrialProposed(trial=number, params=params, drawn=params, enqueued=False, after=0))
        events.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=False))
        for epoch, score in enumerate(scores, start=1):
            row = {"val/accuracy": score, "train/loss": float("nan") if score == 0.25 else 1.5}
            events.append(EpochEnded(trial=number, epoch=epoch, metrics=row))
    events.append(EpochAgain(trial=0, epoch=3, metrics={"val/accuracy": 0.3}))
    ended = TrialEnded(trial=0, status="finished", reason="", best=0.75, best_epoch=2, correct=pack_correct(CORRECT))
    return [*events, ended, TrialEnded(trial=2, status="diverged", reason="no")]


def test_every_epoch_is_a_row_with_all_that_is_known(tmp_path):
    write_curves(replay(make_events()), tmp_path / "curves.parquet")
    table = pq.read_table(tmp_path / "curves.parquet")
    assert table["trial"].to_pylist() == [0, 0, 0, 1] and table["epoch"].to_pylist() == [1, 2, 3, 1]
    assert table["val/accuracy"].to_pylist() == [0.5, 0.75, 0.25, 0.5]  # what was trained again does not count
    assert table["is_best"].to_pylist() == [False, True, False, True]
    assert table["status"].to_pylist() == ["finished"] * 3 + ["running"]
    assert np.isnan(table["train/loss"].to_numpy()).tolist() == [False, False, True, False]
    assert table["params/lr"].to_pylist() == [0.1] * 3 + [0.2] and table["params/depth"].to_pylist() == [None] * 3 + [2]
    assert table["params/net"].to_pylist() == ['"a"'] * 3 + ["4"]  # of several types
    assert table["correct"].to_pylist() == [None, [[True, False], [False, True], [True, None]], None, None]
    assert table.schema.metadata[b"search"] == b"mine"
    assert json.loads(table.schema.metadata[b"categories"]) == list(CATEGORIES)


@pytest.mark.parametrize("count", [0, 1])
def test_a_search_without_epochs_has_an_empty_table(count):
    table = build_curves(replay(make_events()[:count]))
    assert table.num_rows == 0 and {"trial", "epoch", "correct"} <= set(table.column_names)
