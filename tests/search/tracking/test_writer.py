"""MLflow shows what the ledger says: once, however often it is sent."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import _validate_metric, _validate_param
from tracked_runs import STATUSES, look

from search.records.events import EpochEnded, SearchEnded, SearchResumed, SearchStarted, TrialEnded, TrialPaused
from search.records.ledger import read_events
from search.records.record import replay
from search.space.seeds import draw_seeds
from search.tracking.names import name_best, name_key
from search.tracking.store import default_uri
from search.tracking.writer import Writer


def test_every_end_is_told_apart(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events)
    runs = look(layout)
    assert len(runs) == 6 and runs["search"][1] == "FINISHED"
    for number, status in enumerate(STATUSES):
        _, run_status, times, params, tags, history = runs[f"trial-{number:04d}"]
        assert tags["status"] == status and tags["reason"] == f"why {status}"
        assert tags["mlflow.parentRunId"] == runs["search"][0]
        seed = draw_seeds(0, number, with_start=False)["seed"]  # that of the ledger has no starts of their own
        assert params == {"lr": "0.001", "backbone": "resnet50", "weight_fit": "0.9", "seed": str(seed)}
        assert [(step, value) for _, step, value in history["val/accuracy"]] == [
            (epoch, pytest.approx(0.1 * number + 0.01 * epoch)) for epoch in (1, 2)
        ]
        assert "nothing" not in history and times[1] >= times[0]
        assert run_status == ("FAILED" if status in ("failed", "diverged") else "FINISHED")  # no red cross for others
        assert tags["mlflow.note.content"].startswith(f"{status}: why {status}")
    assert runs["trial-0001"][4]["rung"] == "2" and runs["trial-0001"][4]["cutoff"] == "0.9"
    assert runs["search"][4]["provenance.git_commit"] == "f00" and runs["search"][4]["best_trial"] == "4"
    artifacts = {file.path for file in MlflowClient(default_uri(layout)).list_artifacts(runs["search"][0])}
    assert {"space.yaml", "selection.json"} <= artifacts


@pytest.mark.slow
def test_sending_again_changes_nothing(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events)
    before = look(layout)
    Writer(default_uri(layout), layout.artifacts).send(events)  # as after a restart
    assert look(layout) == before


def test_runs_of_before_get_the_seeds_that_they_lack(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events)
    before = look(layout)
    with closing(sqlite3.connect(layout.tracking_db)) as database, database:
        assert database.execute("DELETE FROM params WHERE key = 'seed' AND value != '0'").rowcount == len(STATUSES)
    Writer(default_uri(layout), layout.artifacts).send(events)
    assert look(layout) == before


def test_a_search_that_goes_on_keeps_its_runs(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events[:6])
    started = look(layout)
    Writer(default_uri(layout), layout.artifacts).send(events)
    runs = look(layout)
    assert len(runs) == 6 and all(runs[name][0] == started[name][0] for name in started)


def test_what_runs_is_told_from_its_beginning_and_again_where_it_goes_on(layout):
    events = read_events(layout.ledger)
    writer = Writer(default_uri(layout), layout.artifacts)

    def tell(name):
        tags = look(layout)[name][4]
        return tags["status"], tags["mlflow.note.content"]

    writer.send(events[:2])
    assert tell("search") == ("running", "running: 5 trials of 3 epochs at most; trials: none")
    assert tell("trial-0000") == ("running", "running: 3 epochs at most")
    number, time = events[-1].seq, events[-1].time
    writer.send([SearchEnded(seq=number, time=time, reason="interrupted", seconds=1.0)])
    assert tell("search")[0] == "interrupted"
    writer.send([SearchResumed(seq=number + 1, time=time, trials=5)])
    assert tell("search") == ("running", "running: 5 trials of 3 epochs at most; trials: 1 running")


def test_a_new_search_of_the_same_name_gets_its_own_run(layout):
    events = read_events(layout.ledger)
    Writer(default_uri(layout), layout.artifacts).send(events[:1])
    Writer(default_uri(layout), layout.artifacts).send([replace(events[0], time=events[0].time + 60)])
    client = MlflowClient(default_uri(layout))
    experiment = client.get_experiment_by_name("tiny")
    assert len(client.search_runs([experiment.experiment_id])) == 2


@pytest.mark.parametrize("name", ["val/accuracy/fit", "weight_category_1", "lr", "a b:c-d.e", "größe"])
def test_an_ordinary_name_is_the_key(name):
    assert name_key(name) == name


@given(st.text(max_size=300), st.text(max_size=300))
def test_every_name_has_a_key_that_mlflow_takes(one, other):
    keys = [name_key(f"val/accuracy/{name}") for name in (one, other)]
    for key in keys:
        _validate_metric(key, 0.5, 1, 1)
        _validate_param(key, "1")
    assert ":" in one + other or (keys[0] == keys[1]) == (one == other)


def test_a_trial_that_pauses_is_one_run_that_waits(layout):
    begun, started, *_ = read_events(layout.ledger)
    row = {"trial": 0, "metrics": {"val/accuracy": 0.5}}
    steps = [
        ([begun, started, EpochEnded(epoch=1, **row)], ("RUNNING", "running")),
        ([TrialPaused(trial=0, rung=1)], ("SCHEDULED", "paused")),
        (
            [TrialEnded(trial=0, status="paused", best=0.5, time=started.time + 1)],
            ("FINISHED", "paused"),
        ),  # the search ended first
        ([replace(started, time=started.time + 2), EpochEnded(epoch=2, **row)], ("RUNNING", "running")),
        ([TrialPaused(trial=0, rung=2)], ("SCHEDULED", "paused")),
        ([TrialEnded(trial=0, status="stopped", best=0.5, rung=2, time=started.time + 3)], ("FINISHED", "stopped")),
    ]
    writer, sent = Writer(default_uri(layout), layout.artifacts), []
    for events, wanted in steps:
        writer.send(events)
        sent += events
        runs = look(layout)
        assert len(runs) == 2 and (runs["trial-0000"][1], runs["trial-0000"][4]["status"]) == wanted
    assert len(runs["trial-0000"][5]["val/accuracy"]) == 2 and runs["trial-0000"][4]["rung"] == "2"
    Writer(default_uri(layout), layout.artifacts).send(sent)
    assert look(layout) == runs


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "best/val_accuracy"),  # an older ledger
        ({"objective": "val/accuracy"}, "best/val_accuracy"),
        ({"objective": "val/class_accuracy"}, "best/val_class_accuracy"),
        ({"objective": "val/accuracy/fit"}, "best/val_accuracy_fit"),
    ],
)
def test_the_best_score_has_the_name_of_the_objective(settings, name):
    assert name_best(replay([SearchStarted(name="s", settings=settings)])) == name
