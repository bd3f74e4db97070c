"""Promoted models that were shipped: one network, and an ensemble trained on val too."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_models import draw_model
from drawn_results import Stage, build_release, build_result, draw_answers, open_stage, ship_single

from fashion_core.models.ensemble import SavedEnsemble, join_models
from fashion_core.models.forward import predict_views
from search.promotion.release import ship
from search.promotion.result import Shipped


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ships a model is slow: it is traced, as ONNX."""
    for item in items:
        if {"single", "ensemble"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def stage(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return open_stage(sample_folder, tmp_path_factory.mktemp("prepared32"))


@pytest.fixture(scope="session")
def stage_without_test(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("no_test") / "data"
    shutil.copytree(sample_folder, folder)
    for path in (folder / "split").glob("test*"):
        path.unlink()
    return open_stage(folder, tmp_path_factory.mktemp("prepared_no_test"))


@pytest.fixture(scope="session")
def single(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """One network, trained on train, from a search that left val unseen."""
    recipe = draw_answers(stage, 0.7, 3)
    return ship_single(stage, tmp_path_factory.mktemp("single") / "final", recipe=recipe)


@pytest.fixture(scope="session")
def members(stage: Stage) -> SavedEnsemble:
    schema = stage.prepared.schema
    crops = {"box": draw_model(2, schema, image_size=32), "whole": draw_model(3, schema, image_size=32, crop="whole")}
    return join_models(list(crops.values()), [2, 1])


@pytest.fixture(scope="session")
def reruns(members: SavedEnsemble, stage_without_test: Stage) -> list[np.ndarray]:
    """K arrays [2, N, C]: each member in the place of a re-run."""
    pixels = stage_without_test.gather("val")
    answers = [predict_views(member, pixels) for member in members.members]
    return [np.stack(columns) for columns in zip(*answers, strict=True)]


@pytest.fixture(scope="session")
def ensemble(
    stage_without_test: Stage,
    members: SavedEnsemble,
    reruns: list[np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Shipped:
    """Two networks, trained on train and val, from a search that used val, of data without test images."""
    prepared = stage_without_test.prepared
    release = build_release(
        stage_without_test,
        model=members,
        trained=np.concatenate([prepared.indices("train"), prepared.indices("val")]),
        reruns=reruns,
    )
    result = build_result(stage_without_test, fit_on="train+val", select_on="val")
    return ship(release, result, tmp_path_factory.mktemp("ensemble") / "final")
