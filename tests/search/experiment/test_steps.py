"""What to do after a search: commands that can be copied."""

import re
import shlex
import shutil
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from made_search import make_search

from search.cli import DEFAULT_RESULTS
from search.commands.app import app
from search.experiment.steps import find_way, list_next_steps
from search.planning.options import SearchOptions
from search.records.events import EndReason, EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import load_record
from search.reporting.page import write_page
from search.reporting.report import build_report
from search.reporting.tables import join_parts
from search.reporting.words import describe_search


@pytest.fixture
def layout(tmp_path):
    """A search with a model."""
    layout = make_search(tmp_path, "mine")
    layout.best_folder.mkdir()
    layout.best_model.touch()
    layout.page.touch()
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
    steps = dict(list_next_steps(make_search(tmp_path, "mine"), None))
    assert list(steps) == ["compare trials", "write its report", "search your data"]  # no page stands there yet
    assert steps["write its report"].endswith(f"-m search report mine --results {tmp_path}")


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
    for reason, purpose, wanted in [
        (EndReason.ALL_ENDED, "give it more", f"-m search extend {where} --trials 50"),
        (EndReason.TIME_BUDGET, "give it more", f"-m search extend {where} --time-budget 8h"),
        (EndReason.INTERRUPTED, "go on with it", f"-m search run --resume {where}"),
    ]:
        record.ended = SearchEnded(reason=reason, seconds=1.0)
        told, command = find_way(layout, record)
        assert told == purpose and command.endswith(wanted)
    record.ended = None  # it runs
    assert find_way(layout, record) is None


GRID = """
sampler: grid
fixed: {backbone: test_resnet, weights: none, image_size: 32}
search: {lr: {choice: [0.001, 0.01]}, fc_layers: {choice: [0, 2]}}
scheduler: {type: none, max_epochs: 1}
"""
PROBES = """
sampler: random
trials: 2
fixed: {backbone: test_resnet, weights: none, image_size: 32, probe_epochs: 1}
search: {probe_lr: {loguniform: [1e-3, 1e-2]}}
scheduler: {type: none, max_epochs: 1}
"""
LIMITS = (EndReason.TIME_BUDGET, EndReason.TARGET, EndReason.NO_GAIN)


def end(layout, reason, status="finished", best=0.5, sampler="tpe", space=PROBES, trials=2):
    """A search of so many trials, each of which ended so."""
    layout.folder.mkdir(parents=True)
    with Ledger(layout.ledger) as ledger:
        data = {"categories": {"sleeve": ["short", "long"]}}
        settings = {"trials": 4, "max_epochs": 1, "sampler": sampler}
        ledger.append(SearchStarted(name=layout.name, settings=settings, space=space, space_name="tiny", data=data))
        for number in range(trials):
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params={"lr": 0.1}, enqueued=False))
            metrics = {"val/accuracy": best, "val/accuracy_se": 0.01, "val/accuracy/sleeve": best}
            ledger.append(EpochEnded(trial=number, epoch=1, metrics=metrics))
            ended = {"reason": f"why {status}", "best": best, "best_epoch": 1}
            ledger.append(TrialEnded(trial=number, status=status, **ended))
        ledger.append(SearchEnded(reason=reason, seconds=1.0))
    return load_record(layout)


def tell(layout, record):
    """All that proposes something: the next steps, README.md and the page, each with the words of the end."""
    search = describe_search(record)
    readme = join_parts(build_report(search, record, [], []))
    page = unescape(write_page(layout, record, search).read_text())
    page = re.sub(r"<(script|style)[^>]*>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    way = find_way(layout, record)
    steps = dict([*list_next_steps(layout, None, record=record), *([] if way is None else [way])])
    return steps, readme, " ".join(page.split())


@pytest.mark.parametrize(
    ("reason", "status"), [(EndReason.ALL_ENDED, "failed"), *((each, "diverged") for each in LIMITS)]
)
def test_where_all_trials_are_lost_one_is_looked_at(tmp_path, reason, status):
    """More of the same would be lost too; nothing can be asked, promoted, or looked at by a model."""
    layout = SearchLayout(tmp_path, "mine")
    steps, readme, page = tell(layout, end(layout, reason, status))
    assert list(steps) == [
        "compare trials", "read the report, in a browser", "see why none has a score: train trial 0 again, alone",
    ]  # fmt: skip
    assert list(steps.values())[-1].endswith(f"-m search run --trial 0 --name mine --results {tmp_path}")
    for text in (readme, page):
        assert "fashion-search run --trial 0 --name mine" in text and "extend mine" not in text
    for command in (
        "promote",
        "search.predict",
        "--enqueue",
        "--check-data",
        "--compare",
        "--photographs",
        "effects m",
    ):
        assert command not in page, command
    assert "pictures show" not in page and "No trial has a colour" in page


@pytest.mark.parametrize("reason", [EndReason.ALL_ENDED, *LIMITS])
def test_without_a_trial_nothing_is_compared(tmp_path, reason):
    layout = SearchLayout(tmp_path, "mine")
    steps, _, page = tell(layout, end(layout, reason, trials=0))
    assert list(steps) == ["read the report, in a browser", "give it more"] and "promote" not in page


@pytest.mark.parametrize("reason", [EndReason.STOPPED, EndReason.INTERRUPTED, EndReason.INCOMPLETE, EndReason.BROKEN])
def test_one_that_nobody_let_end_goes_on_though_all_is_lost_so_far(tmp_path, reason):
    layout = SearchLayout(tmp_path, "mine")
    steps, readme, page = tell(layout, end(layout, reason, "failed"))
    assert steps["go on with it"].endswith("run --resume mine --results " + str(tmp_path))
    assert "--resume mine" in readme and "--resume mine" in page and "extend mine" not in page


@pytest.mark.parametrize("status", ["stopped", "interrupted"])
def test_where_no_trial_has_finished_none_is_promoted(tmp_path, status):
    """`--resume` is refused after a limit: more is given."""
    layout = SearchLayout(tmp_path, "mine")
    record = end(layout, EndReason.TIME_BUDGET, status)
    layout.best_folder.mkdir()
    layout.best_model.touch()
    steps, _, page = tell(layout, record)
    assert "promote it, if it holds" not in steps and steps["give it more"].endswith(" --time-budget 8h")
    assert "promote.py" not in page and "--resume" not in page
    assert f"give the search more, with fashion-search extend mine --results {tmp_path.name} --time-budget 8h ." in page


@pytest.mark.parametrize(("done", "more"), [(2, "--trials 2"), (4, None)])
def test_a_grid_is_given_no_more_than_it_has(tmp_path, done, more):
    layout = SearchLayout(tmp_path, "mine")
    steps, readme, page = tell(layout, end(layout, EndReason.ALL_ENDED, sampler="grid", space=GRID, trials=done))
    assert ("give it more" in steps) == (more is not None)
    if more is None:
        assert "the grid has no more" in readme and "extend mine" not in readme + page
    else:
        assert steps["give it more"].endswith(more) and f"extend mine {more}" in readme


@pytest.mark.parametrize(
    ("best", "more"), [(0.85, "--target 0.9"), (0.9, "--target 0.95"), (0.97, "--target 0.985"), (1.0, "--trials 50")]
)
def test_a_target_is_raised_above_what_was_reached(tmp_path, best, more):
    layout = SearchLayout(tmp_path, "mine")
    steps, readme, _ = tell(layout, end(layout, EndReason.TARGET, best=best))
    assert steps["give it more"].endswith(more) and f"extend mine {more}" in readme


def test_probes_are_used_promoted_and_extended_as_others_are(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    record = end(layout, EndReason.ALL_ENDED)
    layout.best_folder.mkdir()
    layout.best_model.touch()
    steps, _, page = tell(layout, record)
    assert list(steps) == [
        "compare trials", "use the best model", "promote it, if it holds", "read the report, in a browser",
        "give it more",
    ]  # fmt: skip
    assert "finish-stopped" not in page and "promote.py mine" in page


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
    layout.page.touch()
    record, known = load_record(layout), {each.name for each in app.registered_commands}
    steps = dict([*list_next_steps(layout, None, record=record), find_way(layout, record)])
    for purpose in ("compare trials", "promote it, if it holds", "give it more"):
        python, module, package, command, *rest = shlex.split(steps[purpose])
        assert (module, package) == ("-m", "search") and command in known, purpose
        assert "mine" in rest and rest[rest.index("--results") + 1] == str(layout.results)
        assert Path(shutil.which(python)).samefile(sys.executable)
    assert shlex.split(steps["use the best model"])[3] == str(layout.best_model)
    page = urlsplit(steps["read the report, in a browser"])
    assert page.scheme == "file" and Path(unquote(page.path)) == layout.page
