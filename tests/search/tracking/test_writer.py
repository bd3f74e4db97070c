"""MLflow shows what the ledger says: once, however often it is sent, and even if the server was away."""

import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient

from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.tracking import sender, store
from search.tracking.sender import Tracker
from search.tracking.store import default_uri
from search.tracking.writer import Writer

STATUSES = ("finished", "stopped", "failed", "diverged", "interrupted")


@pytest.fixture
def layout(tmp_path):
    """A search with one trial of each end."""
    layout = SearchLayout(tmp_path, "search")
    with Ledger(layout.ledger) as ledger:
        ledger.append(
            SearchStarted(
                name="search",
                settings={"trials": 5, "max_epochs": 3, "seed": 0},
                space="trials: 5\n",
                space_name="tiny",
                space_hash="abc",
                provenance={"torch": "2", "git_commit": "f00"},
                data={"folder": "sample", "fingerprint": "fff"},
                selection={"train_count": 10, "select_count": 5, "select_images": ["img/0.jpg"]},
            )
        )
        for number, status in enumerate(STATUSES):
            params = {"lr": 1e-3, "backbone": "resnet50", "weight_fit": 0.9}
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=number == 0))
            for epoch in (1, 2):
                metrics = {"val/accuracy": 0.1 * number + 0.01 * epoch, "val/accuracy/fit": 0.5, "nothing": None}
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
            ended = {"reason": f"why {status}", "best": 0.1 * number + 0.02, "best_epoch": 2}
            extra = {"rung": 2, "cutoff": 0.9} if status == "stopped" else {}
            error = {"error": "x" * 10_000} if status == "failed" else {}
            ledger.append(TrialEnded(trial=number, status=status, **ended, **extra, **error))
        ledger.append(SearchEnded(reason="all trials ended", seconds=2.0))
    return layout


def look(layout):
    """All runs of the store, as plain values by run name, with every point of every metric."""
    client = MlflowClient(default_uri(layout))
    experiments = [e.experiment_id for e in client.search_experiments() if e.name == "tiny"]
    found = {}
    for run in client.search_runs(experiments):
        history = {
            name: sorted((m.timestamp, m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items()}
        times = (run.info.start_time, run.info.end_time)
        assert run.info.run_name not in found
        found[run.info.run_name] = (run.info.run_id, run.info.status, times, run.data.params, tags, history)
    return found


def test_every_end_is_told_apart(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events)
    runs = look(layout)
    assert len(runs) == 6 and runs["search"][1] == "FINISHED"
    for number, status in enumerate(STATUSES):
        _, run_status, times, params, tags, history = runs[f"trial-{number:04d}"]
        assert tags["status"] == status and tags["reason"] == f"why {status}"
        assert tags["mlflow.parentRunId"] == runs["search"][0]
        assert params == {"lr": "0.001", "backbone": "resnet50", "weight_fit": "0.9"}
        assert [(step, value) for _, step, value in history["val/accuracy"]] == [
            (epoch, pytest.approx(0.1 * number + 0.01 * epoch)) for epoch in (1, 2)
        ]
        assert "nothing" not in history and times[1] >= times[0]
        assert run_status == {"finished": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}.get(status, "KILLED")
    assert runs["trial-0001"][4]["rung"] == "2" and runs["trial-0001"][4]["cutoff"] == "0.9"
    assert runs["search"][4]["provenance.git_commit"] == "f00" and runs["search"][4]["best_trial"] == "4"
    artifacts = {file.path for file in MlflowClient(default_uri(layout)).list_artifacts(runs["search"][0])}
    assert {"space.yaml", "selection.json"} <= artifacts


def test_sending_again_changes_nothing(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events)
    before = look(layout)
    Writer(default_uri(layout), layout.artifacts).send(events)  # as after a restart
    assert look(layout) == before


def test_a_search_that_goes_on_keeps_its_runs(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events[:6])
    started = look(layout)
    Writer(default_uri(layout), layout.artifacts).send(events)
    runs = look(layout)
    assert len(runs) == 6 and all(runs[name][0] == started[name][0] for name in started)


def test_a_new_search_of_the_same_name_gets_its_own_run(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events[:1])
    Writer(default_uri(layout), layout.artifacts).send([replace(events[0], time=events[0].time + 60)])
    client = MlflowClient(default_uri(layout))
    experiment = client.get_experiment_by_name("tiny")
    assert len(client.search_runs([experiment.experiment_id])) == 2


def test_a_server_that_is_away_does_not_hold_up_the_search(layout, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    with socket.socket() as probe:  # a port where nobody listens
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    events = read_events(layout.ledger)
    with Tracker(layout, f"http://127.0.0.1:{port}") as tracker:
        for event in events:
            tracker.send(event)
        missing = tracker.close(timeout_s=20)
    assert missing is not None and "python -m search.tracking search" in missing


def test_the_tracker_catches_up(layout, monkeypatch):
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    events = read_events(layout.ledger)
    failures = iter([ConnectionError("away")] * 3)
    with Tracker(layout) as tracker:
        connect = tracker.writer.connect

        def flaky():  # the real store, which does not answer the first three times
            for failure in failures:
                raise failure
            return connect()

        monkeypatch.setattr(tracker.writer, "connect", flaky)
        for event in events:
            tracker.send(event)
            time.sleep(0.01)
        tracker.send_file(layout.ledger)
        assert tracker.close() is None
    sent = look(layout)
    assert {name: run[4]["status"] for name, run in sent.items() if name != "search"} == {
        f"trial-{number:04d}": status for number, status in enumerate(STATUSES)
    }
    assert all(len(run[5]["val/accuracy"]) == 2 for name, run in sent.items() if name != "search")


def test_sqlite_knows_its_tables_after_a_search(layout):
    """Only then does it take the index that pages sorted by a metric need."""
    Writer(default_uri(layout), layout.artifacts).send(read_events(layout.ledger))
    with closing(sqlite3.connect(layout.tracking_db)) as database:
        known = {name for (name,) in database.execute("SELECT DISTINCT tbl FROM sqlite_stat1")}
    assert {"runs", "latest_metrics"} <= known


def test_a_locked_database_keeps_its_old_statistics(layout, monkeypatch):
    Writer(default_uri(layout), layout.artifacts).send(read_events(layout.ledger))
    connect = sqlite3.connect
    monkeypatch.setattr(store.sqlite3, "connect", lambda path: connect(path, timeout=0))
    with closing(connect(layout.tracking_db)) as database:
        database.execute("BEGIN IMMEDIATE")
        store.gather_statistics(default_uri(layout))
