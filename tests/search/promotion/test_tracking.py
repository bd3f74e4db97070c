"""A promotion in MLflow: sent again, nothing changes; a server that is away holds nothing up."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from fashion_core.config import TrainConfig
from search.promotion.options import PromotionOptions
from search.promotion.plan import Candidate, PromotionPlan
from search.promotion.tracking import PromotionTracker
from search.records.events import SearchStarted
from search.records.layout import SearchLayout
from search.records.record import SearchRecord

PLAN = PromotionPlan(
    "id", 1.79e9, "mine@0", (Candidate("trial-0003", 3, 0.5, TrainConfig()),), None, (1,), "heldout", {}
)


def open_tracker(folder, uri=None, number=1):
    layout = SearchLayout(folder / "results", "mine")
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.promotion_report.write_text("# Promotion\n\nIt is good.\n\n## More\n")
    record = SearchRecord(SearchStarted(name="mine", space_name="tiny"))
    return PromotionTracker(uri or f"sqlite:///{folder / 'mlflow.db'}", layout, record, PLAN, number)


@pytest.mark.slow
def test_one_run_however_often_it_is_sent(tmp_path):
    for _ in range(2):
        tracker = open_tracker(tmp_path)
        tracker.start(PromotionOptions())
        tracker.end({"promotion/score": 0.5}, ["better", "surely"], [tracker.layout.promotion_report], passed=True)
        tracker.close()
        assert tracker.error is None
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.info.run_name == "promote/mine" and run.info.status == "FINISHED"
    assert run.data.tags["gate"] == "better; surely" and run.data.tags["status"] == "promoted"
    assert run.data.tags["mlflow.note.content"] == "It is good." and run.data.metrics == {"promotion/score": 0.5}
    assert run.data.params["candidates"] == "trial 3"


@pytest.mark.slow
def test_each_attempt_has_a_run_that_a_later_one_leaves_as_it_is(tmp_path):
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")

    def attempt(number, score, *, passed):
        tracker = open_tracker(tmp_path, number=number)
        tracker.start(PromotionOptions())
        tracker.end({"promotion/score": score}, ["so"], [tracker.layout.promotion_report], passed=passed)
        assert tracker.error is None
        return client.get_run(tracker.run_id)

    first = attempt(1, 0.5, passed=True)
    rerun = client.create_run(first.info.experiment_id, tags=rerun_tags(first.info.run_id))
    second = attempt(2, 0.4, passed=False)
    assert second.info.run_name == "promote/mine, attempt 2" and second.data.tags["status"] == "refused"
    assert second.data.tags["reruns_in"] == first.info.run_id != second.info.run_id != rerun.info.run_id
    kept = client.get_run(first.info.run_id)
    assert (kept.data.tags["attempt"], kept.data.tags["status"]) == ("1", "promoted")
    assert kept.data.metrics == {"promotion/score": 0.5} and kept.info.end_time == first.info.end_time
    assert attempt(2, 0.4, passed=False).info.run_id == second.info.run_id  # it goes on


def rerun_tags(parent):
    return {"promotion_id": PLAN.promotion_id, "rerun": "trial-0003-seed0", "mlflow.parentRunId": parent}


@pytest.mark.slow
@pytest.mark.parametrize("status", ["running", "promoted"])
def test_a_run_of_a_version_that_did_not_number_them_goes_on_unless_it_ended(tmp_path, status):
    tracker = open_tracker(tmp_path)
    experiment = tracker.writer.find_experiment("tiny")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    tags = {"promotion_id": PLAN.promotion_id, "kind": "promotion", "status": status}
    older = client.create_run(experiment, tags=tags, run_name="promote/mine")
    tracker.start(PromotionOptions())
    assert (tracker.run_id == older.info.run_id) == (status == "running")
    assert client.get_run(older.info.run_id).data.tags["status"] == status


@pytest.mark.slow
def test_one_that_broke_off_does_not_go_on_running(tmp_path):
    tracker = open_tracker(tmp_path)
    tracker.start(PromotionOptions())
    tracker.close()
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["status"] == "interrupted"


def test_the_first_trouble_is_told_and_the_rest_left_out(tmp_path):
    tracker = open_tracker(tmp_path, f"sqlite:///{Path('/dev/null')}/mlflow.db")
    tracker.start(PromotionOptions())
    first = tracker.error
    assert first and tracker.run_id is None
    tracker.end({}, [], [], passed=False)
    tracker.close()
    assert tracker.error == first
