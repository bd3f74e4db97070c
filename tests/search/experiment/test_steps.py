"""What to do after a search: commands that can be copied."""

import shlex
from pathlib import Path

import pytest
from made_search import make_search

from search.cli import DEFAULT_RESULTS
from search.experiment.steps import list_next_steps
from search.planning.options import SearchOptions
from search.records.layout import SearchLayout

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def layout(tmp_path):
    """A search with a model."""
    layout = make_search(tmp_path, "mine")
    layout.best_folder.mkdir()
    layout.best_model.touch()
    return layout


def test_a_model_can_be_used_and_promoted(layout):
    steps = dict(list_next_steps(layout, None))
    assert steps["use the best model"].split()[-4:] == [str(layout.best_model), "IMAGE", "--box", "x1,y1,x2,y2"]
    assert steps["promote it, if it holds"].endswith(f"search/promote.py mine --results {layout.results}")
    assert steps["read the report"] == f"open {layout.page} in a browser"


@pytest.mark.parametrize(
    ("config", "box"),
    [('{"trial": 0, "config": {"crop": "whole"}}', False), ('{"trial": 0, "config": {"crop": "box"}}', True)],
)
def test_a_box_is_asked_for_where_the_model_looks_at_one(layout, config, box):
    layout.best_config.write_text(config)
    assert dict(list_next_steps(layout, None))["use the best model"].endswith(" --box x1,y1,x2,y2" if box else " IMAGE")


def test_without_a_model_there_is_none_to_use(tmp_path):
    steps = list_next_steps(make_search(tmp_path, "mine"), None)
    assert [purpose for purpose, _ in steps] == ["compare trials", "read the report", "search your data"]


def test_results_are_named_where_they_are_not_the_usual_ones(layout, monkeypatch):
    monkeypatch.chdir(layout.results)
    usual = SearchLayout(DEFAULT_RESULTS, "mine")
    usual.best_folder.mkdir(parents=True)
    usual.best_model.touch()
    assert dict(list_next_steps(usual, None))["promote it, if it holds"].endswith("search/promote.py mine")
    assert SearchOptions(data="d", space="s").results == DEFAULT_RESULTS


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://tracking.example.org"])
def test_a_servers_pages_are_opened_in_a_browser(uri, layout):
    steps = dict(list_next_steps(layout, uri, "7"))
    page = f"{uri}/#/experiments/7/runs?viewStateShareKey=leaderboard.mine&workflowType=machine_learning"
    assert steps["compare trials"] == f"open '{page}' in a browser"
    command = dict(list_next_steps(layout, uri))["compare trials"]  # where nothing tells the experiment
    assert command.endswith(f"-m search.ui mine --results {layout.results} --tracking-uri {uri}")


@pytest.mark.parametrize("uri", [None, "sqlite:////elsewhere/mlflow.db"])
def test_a_databases_pages_are_served_first(uri, layout):
    command = dict(list_next_steps(layout, uri))["compare trials"]
    given = "" if uri is None else f" --tracking-uri {uri}"
    assert command.endswith(f"-m search.ui mine --results {layout.results}{given}")


def test_what_they_name_exists(layout):
    for purpose, command in list_next_steps(layout, None):
        words = shlex.split(command)
        for word in words:
            if word.endswith((".py", ".yaml")):
                assert (REPOSITORY / word).is_file(), purpose


def test_they_can_be_copied_from_any_folder(tmp_path):
    layout = make_search(tmp_path / "my $results", "mine")
    layout.best_folder.mkdir()
    layout.best_model.touch()
    words = {purpose: shlex.split(command) for purpose, command in list_next_steps(layout, None)}
    assert words["use the best model"][-4] == str(layout.best_model)
    assert words["promote it, if it holds"][-1] == str(layout.results)
    assert words["compare trials"][-1] == str(layout.results)
