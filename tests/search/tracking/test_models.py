"""The models that a search keeps, in MLflow: ranked as the search ranks them, once, and gone when they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, INTERNAL_ERROR

from fashion_core.files import MODEL_FILE, hash_file
from search.records.events import EpochEnded, SearchEnded, SearchResumed, TrialEnded, TrialSaved, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, read_events
from search.records.record import load_record
from search.tracking import sender
from search.tracking.models import send_models
from search.tracking.removal import delete_models, delete_runs
from search.tracking.resending import resend
from search.tracking.sender import Tracker
from search.tracking.store import default_uri, open_store
from search.tracking.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

KEPT = (0, 1, 4)
BEST = [{"field_name": "metrics.val/accuracy", "ascending": False}]


def keep(layout: SearchLayout, trials: Sequence[int]) -> None:
    """Models of these trials, and of no others, on the disk."""
    for number in range(9):
        file = layout.checkpoint_folder(number) / MODEL_FILE
        if number in trials:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("a model")
        else:
            file.unlink(missing_ok=True)


def search_models(layout: SearchLayout) -> list[LoggedModel]:
    """All models of the store, by the score."""
    client = open_store(default_uri(layout))
    experiments = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_logged_models(experiments, order_by=BEST))


def describe(models: Sequence[LoggedModel]) -> list[tuple[Any, ...]]:
    """Of each: its trial, epoch, run, state and points."""
    return [
        (
            int(each.tags["trial"]),
            int(each.tags["epoch"]),
            each.source_run_id,
            str(each.status),
            sorted((point.key, point.step, point.value) for point in each.metrics),
        )
        for each in models
    ]


def count_rows(layout: SearchLayout) -> dict[str, int]:
    """Rows that hold points, of runs and of models, and links between them."""
    tables = ("metrics", "latest_metrics", "logged_model_metrics", "logged_models", "inputs", "logged_model_tags")
    with closing(sqlite3.connect(layout.tracking_db)) as database:
        return {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}


@pytest.fixture
def writer(layout: SearchLayout) -> Writer:
    """One that has sent the search, which keeps three models."""
    keep(layout, KEPT)
    writer = Writer(default_uri(layout), layout.artifacts)
    writer.send(read_events(layout.ledger))
    return writer


def test_models_rank_as_the_search_does(layout: SearchLayout, writer: Writer) -> None:
    before = count_rows(layout)
    assert send_models(writer, layout) == 3
    found = search_models(layout)
    ranked = [trial.number for trial in writer.record.rank() if trial.number in KEPT]
    assert [int(model.tags["trial"]) for model in found] == ranked == [4, 1, 0]
    best = found[0]
    assert best.source_run_id == writer.runs[4] and best.name == "search-trial-0004" and str(best.status) == "READY"
    assert best.tags["checkpoint"] == (layout.checkpoint_folder(4) / MODEL_FILE).resolve().as_uri()
    assert best.params["backbone"] == "resnet50" and best.params["seed"] == "1874364848"  # of search 0, trial 4
    assert {point.key: point.value for point in best.metrics} == {
        "val/accuracy": pytest.approx(0.42),
        "val/accuracy/fit": 0.5,
        "best/val_accuracy": pytest.approx(0.42),
        "best/epoch": 2.0,
    }
    assert len(best.metrics) == 4 and {point.step for point in best.metrics} == {2}
    on = {point.key: (point.dataset_name, point.dataset_digest) for point in best.metrics}
    assert on.pop("best/epoch") == (None, None) and set(on.values()) == {("sample: val", "fff")}
    after = count_rows(layout)
    assert (after["metrics"], after["latest_metrics"]) == (before["metrics"], before["latest_metrics"])
    run = open_store(default_uri(layout)).get_run(best.source_run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [best.model_id]


def test_of_equal_scores_the_earlier_trial_is_first(layout: SearchLayout) -> None:
    """As `SearchRecord.rank` has it."""
    events = [
        replace(event, metrics={"val/accuracy": 0.5}) if isinstance(event, EpochEnded) else event
        for event in read_events(layout.ledger)
    ]
    events = [replace(event, best=0.5) if isinstance(event, TrialEnded) else event for event in events]
    keep(layout, KEPT)
    writer = Writer(default_uri(layout), layout.artifacts)
    writer.send(events)
    send_models(writer, layout)
    assert [int(model.tags["trial"]) for model in search_models(layout)] == [0, 1, 4]


def test_what_is_sent_again_is_there_once(layout: SearchLayout, writer: Writer) -> None:
    send_models(writer, layout)
    before, rows = describe(search_models(layout)), count_rows(layout)
    send_models(writer, layout)
    assert resend(layout).models == 3
    assert describe(search_models(layout)) == before and count_rows(layout) == rows


class Cut:
    """A client of MLflow that breaks off after so many calls that write."""

    def __init__(self, client: MlflowClient, calls: Iterator[int]) -> None:
        self.client, self.calls = client, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if name.startswith(("create", "log", "set", "finalize", "delete")) and next(self.calls, None) is None:
            raise MlflowException("the server is away", INTERNAL_ERROR)
        return found


def test_what_was_cut_off_anywhere_is_finished(layout: SearchLayout, writer: Writer) -> None:
    client, count = writer.connect(), 0
    keep(layout, [4])
    while True:
        delete_models(layout, writer.record, default_uri(layout))
        writer.client = Cut(client, iter(range(count)))
        try:
            send_models(writer, layout)
        except MlflowException:
            count += 1
        else:
            break
        writer.client = client
        send_models(writer, layout)
        ((number, _, run, status, points),) = describe(search_models(layout))
        assert (number, run, status, len(points)) == (4, writer.runs[4], "READY", 4)
        (model,) = search_models(layout)
        outputs = [output.model_id for output in client.get_run(run).outputs.model_outputs]
        assert outputs.count(model.model_id) == 1 and "checkpoint" in model.tags
    assert count == 5  # made, scored, linked to its run, given its file, ready


def test_a_model_that_is_kept_no_more_goes(layout: SearchLayout, writer: Writer) -> None:
    send_models(writer, layout)
    before = {model.tags["trial"]: model.model_id for model in search_models(layout)}
    keep(layout, (1, 4))
    send_models(writer, layout)
    after = {model.tags["trial"]: model.model_id for model in search_models(layout)}
    assert after == {number: before[number] for number in ("4", "1")}


def test_a_better_model_of_a_trial_takes_the_place_of_the_one_before(layout: SearchLayout, writer: Writer) -> None:
    send_models(writer, layout)
    trial = writer.record.trials[1]
    again = TrialStarted(trial=1, trial_id="1", params=trial.params, enqueued=False)
    row = EpochEnded(trial=1, epoch=3, metrics={"val/accuracy": 0.9})
    end = TrialEnded(trial=1, status="finished", best=0.9, best_epoch=3)
    with Ledger(layout.ledger) as ledger:
        for event in (SearchResumed(trials=5), again, row, end, SearchEnded(reason="all trials ended", seconds=3.0)):
            writer.send([ledger.append(event)])
    send_models(writer, layout)
    assert [model[:2] for model in describe(search_models(layout))] == [(1, 3), (4, 2), (0, 2)]
    assert resend(layout).models == 3
    assert [model[:2] for model in describe(search_models(layout))] == [(1, 3), (4, 2), (0, 2)]


def test_a_model_leads_to_the_run_that_there_is(layout: SearchLayout, writer: Writer) -> None:
    """Somebody deleted one in MLflow's pages, and the search was sent again."""
    send_models(writer, layout)
    before = {model.tags["trial"]: model.source_run_id for model in search_models(layout)}
    open_store(default_uri(layout)).delete_run(before["4"])
    resend(layout)
    after = {model.tags["trial"]: model.source_run_id for model in search_models(layout)}
    assert list(after) == ["4", "1", "0"] and after.pop("4") != before.pop("4") and after == before


def test_a_damaged_file_is_no_model(layout: SearchLayout) -> None:
    """The ledger has the SHA-256 of what trials saved."""
    keep(layout, KEPT)
    writer, events = Writer(default_uri(layout), layout.artifacts), read_events(layout.ledger)
    digest = hash_file(layout.checkpoint_folder(4) / MODEL_FILE)
    place = next(n for n, event in enumerate(events) if isinstance(event, TrialEnded) and event.trial == 1)
    for number in (1, 4):
        events.insert(place, TrialSaved(trial=number, epoch=2, digests={MODEL_FILE: digest}))
        place = next(n for n, event in enumerate(events) if isinstance(event, TrialEnded) and event.trial == 4)
    writer.send(events)
    (layout.checkpoint_folder(4) / MODEL_FILE).write_text("a mode1")
    send_models(writer, layout)
    assert [int(model.tags["trial"]) for model in search_models(layout)] == [1, 0]


def test_a_search_that_has_not_ended_gets_none(layout: SearchLayout) -> None:
    keep(layout, KEPT)
    lines = layout.ledger.read_bytes().splitlines(keepends=True)
    layout.ledger.write_bytes(b"".join(lines[:-1]))
    assert resend(layout).models == 0 and search_models(layout) == []


def test_results_that_were_moved_have_their_models_where_they_are_now(layout: SearchLayout, writer: Writer) -> None:
    send_models(writer, layout)
    before = [model.model_id for model in search_models(layout)]
    moved = layout.results.with_name("moved")
    layout.results.rename(moved)
    layout = SearchLayout(moved, layout.name)
    resend(layout)
    found = search_models(layout)
    assert [model.model_id for model in found] == before
    assert all(model.tags["checkpoint"].startswith(moved.resolve().as_uri()) for model in found)


def test_a_search_takes_its_models_with_it_and_those_of_its_place(layout: SearchLayout, writer: Writer) -> None:
    other = SearchLayout(layout.results.with_name("elsewhere"), layout.name)  # of the same name, in the same MLflow
    events = [replace(event, time=event.time + 60) for event in read_events(layout.ledger)]
    keep(other, [4])
    beside = Writer(default_uri(layout), layout.artifacts)
    beside.send(events)
    send_models(beside, other)
    send_models(writer, layout)
    assert len(search_models(layout)) == 4
    assert delete_models(layout, None, default_uri(layout)) == 3  # its ledger cannot be read
    assert [model.tags["search_id"] for model in search_models(layout)] == [beside.record.search_id]
    send_models(writer, layout)
    delete_runs(load_record(layout), default_uri(layout))
    assert [model.tags["search_id"] for model in search_models(layout)] == [beside.record.search_id]
    assert delete_models(other, beside.record, default_uri(layout)) == 1
    assert search_models(layout) == []


def test_where_mlflow_was_never_used_nothing_is_made(tmp_path) -> None:
    layout = SearchLayout(tmp_path, "mine")
    assert delete_models(layout, None, default_uri(layout)) == 0 and not layout.tracking_db.exists()


def test_an_older_server_without_models_is_no_fault(layout: SearchLayout, writer: Writer, monkeypatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise MlflowException("failed with error code 404 != 200", ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(writer.connect(), "search_logged_models", refuse)
    assert send_models(writer, layout) == 0


def test_a_tracker_sends_them_after_all_else_though_mlflow_was_away(layout: SearchLayout, monkeypatch) -> None:
    monkeypatch.setattr(sender, "RETRY_SECONDS", (0.05,))
    failures = iter([ConnectionError("away")] * 2)
    with Tracker(layout) as tracker:
        connect = tracker.writer.connect

        def flaky() -> MlflowClient:
            for failure in failures:
                raise failure
            return connect()

        monkeypatch.setattr(tracker.writer, "connect", flaky)
        for event in read_events(layout.ledger):
            tracker.send(event)
        tracker.send_models()
        keep(layout, KEPT)
        assert tracker.close() is None
    assert [int(model.tags["trial"]) for model in search_models(layout)] == [4, 1, 0]


def test_a_search_without_a_data_set_has_models_too(layout: SearchLayout) -> None:
    """Ledgers that tell no fingerprint."""
    begun, *events = read_events(layout.ledger)
    keep(layout, KEPT)
    writer = Writer(default_uri(layout), layout.artifacts)
    writer.send([replace(begun, data={}, selection={}), *events])
    assert send_models(writer, layout) == 3
    assert [int(model.tags["trial"]) for model in search_models(layout)] == [4, 1, 0]
