"""Every run of the product tells what MLflow's own clients tell of one: who, by which program, what, on which data."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_search import make_search

from fashion_core.config import TrainConfig
from search.jobs.reruns import Training
from search.jobs.training import TrainingJob
from search.promotion.options import PromotionOptions
from search.promotion.plan import Candidate, PromotionPlan
from search.promotion.tracking import Origin, PromotionTracker
from search.records.attempts import Attempt, JudgedImages
from search.records.events import TrialStatus
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.registry.attempts import EXPERIMENT, RegistryBook
from search.registry.copying import AS_TAG, COPIED_TAG, copy_run
from search.registry.versions import Registry
from search.tracking.facts import describe_images
from search.tracking.resending import resend
from search.tracking.store import default_uri, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

REPOSITORY = Path(__file__).resolve().parents[3]
MAKES_RUNS = {"create_run", "start_run"}  # of MLflow
CONFIG = TrainConfig(objective="val/accuracy")
PLAN = PromotionPlan("id", 1.79e9, "mine@0", (Candidate("trial-0003", 3, 0.5, CONFIG),), None, (1, 2), "heldout", {})
ORIGIN = Origin(
    ("search/promote.py", "mine"),
    describe_images("train", "drawn: train", "aa11", 100),
    describe_images("judge", "drawn: val", "aa11", 20),
    describe_images("train", "drawn: train and val", "aa11", 120),
)
EPOCHS = (
    {"val/accuracy": 0.25, "train/seconds": 2.0, "val/seconds": 1.0, "train/images_per_second": 50.0},
    {"val/accuracy": 0.5, "train/seconds": 2.0, "val/seconds": 1.0, "train/images_per_second": 50.0},
)


def make_training(folder: Path, stop_epoch: int | None = None) -> Training:
    """A network that was trained for two epochs, as its folder tells."""
    name = "trial-0003-seed1" + ("" if stop_epoch is None else f"-epoch{stop_epoch}")
    (folder / name / "epochs").mkdir(parents=True)
    for epoch, scores in enumerate(EPOCHS, 1):
        np.savez(folder / name / "epochs" / f"{epoch:04d}.npz", scores=np.array(json.dumps(scores)))
    job = TrainingJob(CONFIG, folder / "prepared.arrow", folder / "selection.npz", None, threads=1)
    return Training("trial-0003", 1, job, folder / name, stop_epoch)


def list_runs(uri: str) -> list[Run]:
    client = open_store(uri)
    return [run for each in client.search_experiments() for run in client.search_runs([each.experiment_id])]


def tell_inputs(run: Run) -> dict[str, tuple[str, str]]:
    """(name, digest) of its data sets, by what they were for."""
    return {each.tags[0].value: (each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> dict[str, Run]:
    """A run of every kind, by its kind; of a network that ships, `final`."""
    layout = make_search(tmp_path_factory.mktemp("kinds") / "results", "mine", [0.5, 0.25])
    shutil.copy(empty_database, layout.tracking_db)
    resend(layout)
    uri = default_uri(layout)
    layout.promotion_report.write_text("# Promotion\n\nIt is good.\n\n## More\n")
    tracker = PromotionTracker(uri, layout, load_record(layout), PLAN, origin=ORIGIN)
    tracker.start(PromotionOptions())
    begun = open_store(uri).get_run(tracker.run_id).data.tags["mlflow.note.content"]
    assert begun == "running: trains trial 3 again, with 2 seeds each, judged on drawn: val"
    for stop_epoch in (None, 2):
        training = make_training(layout.folder / "reruns", stop_epoch)
        tracker.send_training(training, TrialStatus.FINISHED, EPOCHS)
    tracker.end({"promotion/score": 0.5}, ["better"], [layout.promotion_report], passed=True)
    assert tracker.error is None
    images = JudgedImages(frozenset({"0" * 16, "1" * 16}), (Attempt(time=1.0, search="mine", key="k"),))
    registry = Registry(uri, "m")
    RegistryBook(registry, layout.artifacts).add([images])
    origin = {COPIED_TAG: f"{uri} models:/m/1", AS_TAG: "m"}
    copy_run(registry, "copied models", open_store(uri).get_run(tracker.run_id), None, origin)
    found = {}
    for run in list_runs(uri):
        kind = run.data.tags["kind"]
        found["final" if run.info.run_name.startswith("final-") else kind] = run
    return found


def test_every_kind_of_run_tells_it(runs: dict[str, Run]) -> None:
    assert runs.keys() == {"search", "trial", "promotion", "rerun", "final", EXPERIMENT, "copy"}
    for kind, run in runs.items():
        tags = run.data.tags
        assert tags["mlflow.user"] and tags["mlflow.source.type"] == "LOCAL", kind
        assert tags["mlflow.source.name"] and tags["mlflow.note.content"] and run.inputs.dataset_inputs, kind


def test_a_promotion_tells_who_judges_and_what_became_of_each_network(runs: dict[str, Run]) -> None:
    judged = {"train": ("drawn: train", "aa11"), "judge": ("drawn: val", "aa11")}
    assert tell_inputs(runs["promotion"]) == tell_inputs(runs["rerun"]) == tell_inputs(runs["copy"]) == judged
    assert tell_inputs(runs["final"]) == {"train": ("drawn: train and val", "aa11")}
    notes = {kind: run.data.tags["mlflow.note.content"] for kind, run in runs.items()}
    assert notes["promotion"] == notes["copy"] == "It is good."
    assert notes["rerun"] == "finished: trial-0003, seed 1; best val/accuracy 0.5000 in epoch 2"
    assert notes["final"] == "finished: trial-0003, for what ships, on train and val to epoch 2"
    sources = {runs[kind].data.tags["mlflow.source.name"] for kind in ("promotion", "rerun", "copy")}
    assert sources == {"search/promote.py"}
    assert runs["rerun"].data.metrics["trial/seconds"] == 6 and runs["final"].data.metrics["trial/seconds"] == 6
    assert runs["rerun"].data.metrics["trial/images_per_second"] == pytest.approx(50)
    assert "mlflow.parentRunId" not in runs["copy"].data.tags


def test_an_attempt_that_breaks_off_says_so_and_goes_on(tmp_path: Path, empty_database: Path) -> None:
    """Of a version that told nothing of it, the run is mended when it goes on."""
    layout = SearchLayout(tmp_path / "results", "mine")
    make_search(layout.results, "mine", [0.5])
    shutil.copy(empty_database, layout.tracking_db)
    client = open_store(default_uri(layout))
    experiment = client.create_experiment("tiny", (tmp_path / "artifacts").as_uri())
    tags = {"promotion_id": PLAN.promotion_id, "kind": "promotion", "status": "running"}
    older = client.create_run(experiment, tags=tags, run_name="promote/mine")
    for _ in range(2):
        tracker = PromotionTracker(default_uri(layout), layout, load_record(layout), PLAN, origin=ORIGIN)
        tracker.start(PromotionOptions())
        run = client.get_run(older.info.run_id)
        assert (tracker.error, tracker.run_id) == (None, older.info.run_id)
        assert run.data.tags["mlflow.note.content"].startswith("running: trains trial 3")
        assert run.data.tags["mlflow.user"] and len(run.inputs.dataset_inputs) == 2
        tracker.close()
        run = client.get_run(older.info.run_id)
        assert run.data.tags["mlflow.note.content"] == "interrupted: the same command goes on with it"


def test_all_runs_are_made_in_one_place() -> None:
    """`Writer.begin_run` asks for all of it: a run that is made otherwise would lack what nobody thought of."""
    found = [
        path.relative_to(REPOSITORY).as_posix()
        for package in ("fashion_core", "search")
        for path in sorted((REPOSITORY / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in MAKES_RUNS
    ]
    assert found == ["search/tracking/writer.py"]
