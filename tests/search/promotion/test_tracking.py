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


def open_tracker(folder, uri=None):
    layout = SearchLayout(folder / "results", "mine")
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.promotion_report.write_text("# Promotion\n\nIt is good.\n\n## More\n")
    record = SearchRecord(SearchStarted(name="mine", space_name="tiny"))
    return PromotionTracker(uri or f"sqlite:///{folder / 'mlflow.db'}", layout, record, PLAN)


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
def test_one_that_broke_off_does_not_go_on_running(tmp_path):
    tracker = open_tracker(tmp_path)
    tracker.start(PromotionOptions())
    tracker.close()
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


def test_the_first_trouble_is_told_and_the_rest_left_out(tmp_path):
    tracker = open_tracker(tmp_path, f"sqlite:///{Path('/dev/null')}/mlflow.db")
    tracker.start(PromotionOptions())
    first = tracker.error
    assert first and tracker.run_id is None
    tracker.end({}, [], [], passed=False)
    tracker.close()
    assert tracker.error == first
