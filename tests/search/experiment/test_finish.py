"""The end of a search: the best model that was kept in its place, pictures and report."""

import json

import numpy as np
import pytest
from drawn_models import SCHEMA, draw_model
from made_search import make_search

from fashion_core.models.saved import Best, load_model, save_model
from search.experiment.finish import write_results
from search.records.record import load_record
from search.reporting.words import describe_search


def keep(layout, number):
    """The model of a trial, as `BestModels` keeps it."""
    drawn = draw_model(number)
    confusion = [np.array(matrix) for matrix in drawn.confusion]
    best = Best(number + 1, {"val/accuracy": 0.5}, confusion, drawn.network.state_dict())
    return save_model(layout.checkpoint_folder(number), best, drawn.config, SCHEMA, "data")


def finish(layout):
    record = load_record(layout)
    return write_results(layout, record, describe_search(record))


@pytest.fixture
def layout(tmp_path):
    """Three trials, of which the second is the best and the third comes next."""
    return make_search(tmp_path, "mine", [0.25, 0.75, 0.5])


@pytest.mark.slow
def test_the_best_model_is_put_in_its_place(layout):
    keep(layout, 1)
    keep(layout, 2)
    finish(layout)
    assert layout.best_model.read_bytes() == (layout.checkpoint_folder(1) / layout.best_model.name).read_bytes()
    config = json.loads(layout.best_config.read_text())
    assert (config["trial"], config["params"]) == (1, {"lr": 0.2})
    assert config["config"] == load_model(layout.best_model).config.model_dump(mode="json")


@pytest.mark.slow
def test_the_best_of_those_that_were_kept_stands_in(layout):
    keep(layout, 0)
    keep(layout, 2)
    finish(layout)
    assert json.loads(layout.best_config.read_text())["trial"] == 2
    assert load_model(layout.best_model).epoch == 3


@pytest.mark.slow
def test_a_later_end_replaces_an_earlier_one(layout):
    keep(layout, 2)
    finish(layout)
    keep(layout, 1)
    finish(layout)
    assert load_model(layout.best_model).epoch == 2


def test_what_is_kept_in_mlflow_is_what_people_read(layout):
    keep(layout, 1)
    files = finish(layout)
    pictures = {layout.confusion(each.name) for each in SCHEMA.categories}
    assert {layout.report, layout.trials_csv, layout.best_config} | pictures <= set(files)
    assert layout.best_model not in files and all(path.is_file() for path in files)
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert "trial 1" in layout.report.read_text()


def test_without_a_model_there_is_a_report(layout):
    files = finish(layout)
    assert not layout.best_folder.exists() and not layout.best_config.exists()
    assert layout.report in files and layout.trials_csv in files


def test_a_search_without_trials_has_a_report(tmp_path):
    layout = make_search(tmp_path, "none", [])
    assert layout.report in finish(layout)
