"""A whole search sent to MLflow again: once, however often, and with the files it has."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from made_search import make_search

from fashion_core.errors import SearchError
from search.records.events import EndReason
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import load_record
from search.tracking.resending import Sent, resend, send_again
from search.tracking.store import default_uri, open_store


def look(uri):
    """Runs by name: tags, parameters, every point of the score."""
    client = open_store(uri)
    experiment = client.get_experiment_by_name("tiny")
    return {
        run.info.run_name: (
            run.info.run_id,
            run.info.status,
            run.data.tags,
            run.data.params,
            [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "val/accuracy")],
        )
        for run in client.search_runs([experiment.experiment_id])
    }


@pytest.fixture
def layout(tmp_path, empty_database):
    layout = make_search(tmp_path / "results", "mine", [0.5, 0.25])
    shutil.copy(empty_database, layout.tracking_db)
    layout.report.write_text("# mine\n\nBest score: 0.5.\n\n## Trials\n")
    layout.trials_csv.write_text("trial,score\n")
    return layout


def test_all_of_it_is_sent_and_told(layout):
    events = read_events(layout.ledger)
    assert resend(layout) == Sent(events=len(events), trials=2, files=2, models=0)
    runs = look(default_uri(layout))
    assert runs.keys() == {"mine", "trial-0000", "trial-0001"}
    assert runs["mine"][1] == "FINISHED" and runs["mine"][2]["mlflow.note.content"] == (
        "all trials ended; trials: 2 finished; best val/accuracy 0.5000 (trial 0)\n\nBest score: 0.5."
    )
    assert [runs[f"trial-000{number}"][4] for number in (0, 1)] == [[(1, 0.5)], [(1, 0.25)]]
    names = {each.path for each in open_store(default_uri(layout)).list_artifacts(runs["mine"][0])}
    assert {layout.report.name, layout.trials_csv.name} <= names


def test_runs_of_an_older_version_are_mended(layout):
    resend(layout)
    uri = default_uri(layout)
    before, client = look(uri), open_store(uri)
    experiment = client.get_experiment_by_name("tiny")
    views = {name: value for name, value in experiment.tags.items() if name.startswith("mlflow.sharedViewState.")}
    assert views.keys() == {f"mlflow.sharedViewState.leaderboard{end}" for end in ("", ".mine")}
    for name in views:
        client.delete_experiment_tag(experiment.experiment_id, name)
    for run_id, *_ in before.values():
        client.set_terminated(run_id, "KILLED")
        for tag in ("mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.note.content"):
            client.delete_tag(run_id, tag)
    trial = before["trial-0001"][0]
    with closing(sqlite3.connect(layout.tracking_db)) as database, database:  # as older versions rounded it
        database.execute("UPDATE params SET value = '0.21' WHERE run_uuid = ? AND key = 'lr'", [trial])
    resend(layout)
    after = look(uri)
    assert after.pop("trial-0001")[3]["lr"] == "0.21"  # MLflow takes no other value
    assert after == {name: run for name, run in before.items() if name != "trial-0001"}
    assert views.items() <= client.get_experiment_by_name("tiny").tags.items()


@pytest.mark.slow
def test_once_more_changes_nothing(layout):
    sent = resend(layout)
    before = look(default_uri(layout))
    assert resend(layout) == sent and look(default_uri(layout)) == before


def test_what_is_written_again_takes_the_place_of_what_was_sent(layout):
    uri, record = default_uri(layout), load_record(layout)
    files = [layout.page, layout.promotion_report]
    assert not send_again(layout, record, files, uri)  # a search that is not there does not come so
    assert open_store(uri).get_experiment_by_name("tiny") is None
    layout.page.write_text("<p>No champion yet.</p>")
    resend(layout)
    before, client = look(uri), open_store(uri)
    layout.page.write_text("<p>The champion comes from this search.</p>")
    layout.promotion_report.write_text("# Promotion of mine\n")
    for _ in range(2):
        assert send_again(layout, record, files, uri)
        assert look(uri) == before  # runs, points and the search's description are what they were
    run = before["mine"][0]
    for path in files:
        assert Path(client.download_artifacts(run, path.name)).read_text() == path.read_text()
    assert sorted(each.path for each in client.list_artifacts(run)).count(layout.page.name) == 1
    layout.page.unlink()
    assert send_again(layout, record, files, uri) and layout.page.name in {e.path for e in client.list_artifacts(run)}


def test_it_goes_where_it_is_wanted(layout, tmp_path):
    layout.tracking_db.rename(tmp_path / "runs.db")
    uri = f"sqlite:///{tmp_path}/runs.db"
    resend(layout, uri)
    assert len(look(uri)) == 3 and not layout.tracking_db.exists()


def test_one_that_did_not_end_can_be_sent(tmp_path, empty_database):
    layout = make_search(tmp_path, "mine", [0.5], ended=None)
    shutil.copy(empty_database, layout.tracking_db)
    assert resend(layout).files == 0
    assert look(default_uri(layout))["mine"][1] == "RUNNING"
    budget = make_search(tmp_path, "budget", [0.5], ended=EndReason.TIME_BUDGET)
    resend(budget)
    assert look(default_uri(layout))["budget"][1] == "FINISHED"  # its tag says that it ended early


def test_one_that_is_none_is_told(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    with pytest.raises(SearchError, match="no search of the name 'mine' has a ledger"):
        resend(layout)
    layout.folder.mkdir()
    layout.ledger.touch()  # killed before its first event
    with pytest.raises(SearchError, match="no search of the name 'mine' has a ledger"):
        resend(layout)
    assert not layout.tracking_db.exists()


def test_where_mlflow_does_not_answer_it_is_told(layout):
    with pytest.raises(SearchError, match=r"postgresql\+none://me:\*\*\*@x/y does not"):
        resend(layout, "postgresql+none://me:secret@x/y")
