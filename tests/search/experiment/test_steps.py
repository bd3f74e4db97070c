"""What to do after a search: commands that can be copied."""

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from made_search import make_search

from search.cli import DEFAULT_RESULTS
from search.commands.app import app
from search.experiment.steps import list_next_steps
from search.planning.options import SearchOptions
from search.records.events import EndReason, SearchEnded
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.reporting.words import describe_search


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
    assert steps["promote it, if it holds"].endswith(f"-m search promote mine --results {layout.results}")
    assert steps["read the report, in a browser"] == layout.page.as_uri()


@pytest.mark.parametrize(
    ("config", "box"),
    [('{"trial": 0, "config": {"crop": "whole"}}', False), ('{"trial": 0, "config": {"crop": "box"}}', True)],
)
def test_a_box_is_asked_for_where_the_model_looks_at_one(layout, config, box):
    layout.best_config.write_text(config)
    assert dict(list_next_steps(layout, None))["use the best model"].endswith(" --box x1,y1,x2,y2" if box else " IMAGE")


def test_without_a_model_there_is_none_to_use(tmp_path):
    steps = list_next_steps(make_search(tmp_path, "mine"), None)
    assert [purpose for purpose, _ in steps] == ["compare trials", "read the report, in a browser", "search your data"]


def test_results_are_named_where_they_are_not_the_usual_ones(layout, monkeypatch):
    monkeypatch.chdir(layout.results)
    usual = SearchLayout(DEFAULT_RESULTS, "mine")
    usual.best_folder.mkdir(parents=True)
    usual.best_model.touch()
    assert dict(list_next_steps(usual, None))["promote it, if it holds"].endswith("-m search promote mine")
    assert SearchOptions(data="d", space="s").results == DEFAULT_RESULTS


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://tracking.example.org"])
def test_a_servers_pages_are_opened_in_a_browser(uri, layout):
    steps = dict(list_next_steps(layout, uri, "7"))
    page = f"{uri}/#/experiments/7/runs?viewStateShareKey=leaderboard.mine&workflowType=machine_learning"
    assert steps["compare trials"] == page
    command = dict(list_next_steps(layout, uri))["compare trials"]  # where nothing tells the experiment
    assert command.endswith(f"-m search ui mine --results {layout.results} --tracking-uri {uri}")


@pytest.mark.parametrize("uri", [None, "sqlite:////elsewhere/mlflow.db"])
def test_a_databases_pages_are_served_first(uri, layout):
    command = dict(list_next_steps(layout, uri))["compare trials"]
    given = "" if uri is None else f" --tracking-uri {uri}"
    assert command.endswith(f"-m search ui mine --results {layout.results}{given}")


def test_how_it_goes_on_depends_on_its_end(layout):
    where = f"mine --results {layout.results}"
    record = load_record(layout)
    assert "search your data" not in dict(list_next_steps(layout, None, record=record))  # it was of somebody's data
    for reason, purpose, command in [
        (EndReason.ALL_ENDED, "give it more", f"-m search extend {where} --trials 50"),
        (EndReason.TIME_BUDGET, "give it more", f"-m search extend {where} --time-budget 8h"),
        (EndReason.INTERRUPTED, "go on with it", f"-m search run --resume {where}"),
    ]:
        record.ended = SearchEnded(reason=reason, seconds=1.0)
        assert dict(list_next_steps(layout, None, record=record))[purpose].endswith(command)
    record.ended = SearchEnded(reason=EndReason.TARGET, seconds=1.0)
    for score, given in ((0.89, "--target 0.9"), (0.9, "--time-budget 8h")):  # a target below would be reached at once
        record.trials[0].best = score
        assert dict(list_next_steps(layout, None, record=record))["give it more"].endswith(f" {where} {given}")
    record.ended = None  # it runs
    assert not {"give it more", "go on with it"} & dict(list_next_steps(layout, None, record=record)).keys()


@pytest.mark.parametrize(("choice", "given"), [("0, 1, 2", " --trials 2"), ("0", None)])
def test_a_grid_is_given_what_is_left_of_it(choice, given, layout):
    record = load_record(layout)
    searched = f"fixed: {{backbone: test_resnet}}\nsearch: {{fc_layers: {{choice: [{choice}]}}}}"
    text = f"sampler: grid\n{searched}\nscheduler: {{type: none, max_epochs: 1}}\n"
    record.search = replace(record.begun, space=text, settings=record.settings | {"sampler": "grid"})
    steps = dict(list_next_steps(layout, None, record=record))
    assert "go on with it" not in steps
    assert steps["give it more"].endswith(given) if given else "give it more" not in steps
    assert describe_search(record).way.endswith(given or "all of its grid was run")


def test_a_search_that_was_promoted_is_not_promoted_again(layout):
    layout.promotion_report.write_text("# Promotion")
    steps = dict(list_next_steps(layout, None, record=load_record(layout)))
    assert "promote it, if it holds" not in steps
    assert steps["read what its promotion found"] == str(layout.promotion_report)


@pytest.mark.parametrize("name", ["results", 'it\'s my "$results"'])
def test_commands_can_be_copied_from_any_folder(name, tmp_path):
    layout = make_search(tmp_path / name, "mine")
    layout.best_folder.mkdir()
    layout.best_model.touch()
    record, known = load_record(layout), {each.name for each in app.registered_commands}
    steps = dict(list_next_steps(layout, None, record=record))
    for purpose in ("compare trials", "promote it, if it holds", "give it more"):
        python, module, package, command, *rest = shlex.split(steps[purpose])
        assert (module, package) == ("-m", "search") and command in known, purpose
        assert "mine" in rest and rest[rest.index("--results") + 1] == str(layout.results)
        assert Path(shutil.which(python)).samefile(sys.executable)
    assert shlex.split(steps["use the best model"])[3] == str(layout.best_model)
    page = urlsplit(steps["read the report, in a browser"])
    assert page.scheme == "file" and Path(unquote(page.path)) == layout.page
