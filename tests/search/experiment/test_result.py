"""What a search found, as an object."""

import json
import shutil

import pandas as pd
import pytest
from drawn_models import SCHEMA, draw_model
from made_search import make_search

from fashion_core.errors import SearchError
from fashion_core.models.saved import Best, save_model
from search.experiment.result import load_search
from search.records.events import EndReason
from search.records.locks import RUN, hold_search


def test_the_best_trial_is_that_of_the_highest_score(tmp_path):
    make_search(tmp_path, "mine", [0.25, 0.75, 0.5])
    search = load_search("mine", str(tmp_path))
    assert search.name == "mine" and search.best.number == 1 and search.best.best == 0.75
    make_search(tmp_path, "none", [])
    assert load_search("none", tmp_path).best is None


@pytest.mark.parametrize("reason", EndReason)
def test_how_a_search_ended_is_told(reason, tmp_path):
    make_search(tmp_path, "mine", ended=reason)
    assert load_search("mine", tmp_path).state == reason


def test_one_without_an_end_runs_while_it_is_held(tmp_path):
    layout = make_search(tmp_path, "mine", ended=None)
    search = load_search("mine", tmp_path)
    with hold_search(layout, RUN):
        assert search.state == "running"
    assert search.state == "killed"


def test_the_table_has_a_row_a_trial(tmp_path):
    make_search(tmp_path, "mine", [0.25, 0.75, 0.5])
    table = load_search("mine", tmp_path).trials
    assert isinstance(table, pd.DataFrame) and table.index.tolist() == table["trial"].tolist() == [0, 1, 2]
    assert table["status"].tolist() == ["finished"] * 3
    assert table["lr"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert [0.25, 0.75, 0.5] in [table[name].tolist() for name in table.columns]
    make_search(tmp_path, "none", [])
    assert len(load_search("none", tmp_path).trials) == 0


def test_what_is_shown_as_json_is_what_the_object_says(tmp_path):
    layout = make_search(tmp_path, "mine", [0.25, 0.75])
    search = load_search("mine", tmp_path)
    shown = json.loads(json.dumps(search.to_dict()))
    assert shown == {
        "name": "mine",
        "state": "all trials ended",
        "trials": 2,
        "statuses": search.record.count_statuses(),
        "epochs": 2,
        "seconds": search.record.seconds,
        "started": search.record.begun.time,
        "objective": "val/accuracy",
        "best": {"trial": 1, "epoch": 1, "score": 0.75, "standard_error": 0.01, "params": {"lr": 0.2}},
        "folder": str(layout.folder),
    }
    make_search(tmp_path, "none", [])
    assert load_search("none", tmp_path).to_dict()["best"] is None


def test_its_model_is_the_best_one_on_disk(tmp_path):
    layout = make_search(tmp_path, "mine")
    search = load_search("mine", tmp_path)
    with pytest.raises(SearchError, match="mine has none; go on with it"):
        search.model()
    drawn = draw_model(3)
    best = Best(2, {"val/accuracy": 0.5}, [], drawn.network.state_dict())
    save_model(layout.best_folder, best, drawn.config, SCHEMA, "data")
    model = search.model()
    assert model.epoch == 2 and model.schema == SCHEMA and not model.network.training
    assert all(map(lambda one, other: one.equal(other), model.network.parameters(), drawn.network.parameters()))


def test_one_that_is_not_there_is_told_with_those_that_are(tmp_path):
    make_search(tmp_path, "b")
    make_search(tmp_path, "a")
    with pytest.raises(SearchError, match=r"'mine' .* known are a, b"):
        load_search("mine", tmp_path)
    for name in "ab":
        shutil.rmtree(tmp_path / name)
    with pytest.raises(SearchError, match="known are none"):
        load_search("mine", tmp_path)
