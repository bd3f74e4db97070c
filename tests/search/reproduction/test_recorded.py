"""Trainings recorded on another machine count as those of a search here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_trainings import CATEGORIES, IMAGES, make_trainings

from fashion_core.config import build_config
from fashion_core.errors import SearchError
from search.records.ledger import pack_correct
from search.reproduction.options import ReproductionOptions
from search.reproduction.protocol import Arm, load_protocol
from search.reproduction.running import list_missing, reproduce
from search.reproduction.trainings import read_trainings

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL = load_protocol("report_lite")
EQUAL, WEIGHTED = Arm(0), Arm(0, {"focal_gamma": 0.0})
HEADING: dict[str, Any] = {
    "score_on": "val",
    "processes": 8,
    "categories": CATEGORIES,
    "train_images": 100,
    "images": [f"{number}.jpg" for number in range(IMAGES)],
}


def build_record(arm: Arm, *, seed: int = 0, right: float = 0.7, **changes: Any) -> dict[str, Any]:
    """A record of two epochs, of which the first is the better one."""
    config = build_config({**PROTOCOL.build_values(arm), "seed": seed, "start_seed": seed})
    answers = np.random.default_rng(seed).random((IMAGES, len(CATEGORIES))) < right
    worse = answers & (np.arange(IMAGES) % 5 > 0)[:, None]
    epochs = [
        {"seconds": 2.0, "metrics": {"val/accuracy": float(each.mean())}, "correct": pack_correct(each)}
        for each in (answers, worse)
    ]
    record = {"status": "finished", "error": None, "config": config.model_dump(mode="json"), "early": None}
    return {"name": f"{seed}", **record, "device": "NVIDIA H100", "epochs": epochs, **changes}


def write_recording(folder: Path, records: list[dict[str, Any]], heading: dict[str, Any] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "reproduction.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [heading or HEADING, *records]))
    return path


def test_a_recorded_training_is_its_arms(tmp_path: Path) -> None:
    record = build_record(EQUAL)
    write_recording(tmp_path, [record])
    trained = read_trainings(tmp_path)
    (training,) = trained.find(PROTOCOL.build_key(EQUAL))
    first = record["epochs"][0]
    assert pack_correct(training.correct) == first["correct"]  # the best epoch, not the last
    assert training.score == first["metrics"]["val/accuracy"] == training.correct.mean()
    assert (training.device, training.seconds, training.at_once) == ("NVIDIA H100", 4.0, 8)
    assert (len(trained.images), trained.train_count) == (IMAGES, 100)
    missing = list_missing(PROTOCOL, [EQUAL, WEIGHTED], trained, 2)
    assert missing == [WEIGHTED, EQUAL, WEIGHTED]


def test_it_stands_beside_those_of_searches(tmp_path: Path) -> None:
    make_trainings(tmp_path, PROTOCOL, [EQUAL])
    searched = read_trainings(tmp_path)
    heading = {**HEADING, "train_images": searched.train_count}
    write_recording(tmp_path, [build_record(EQUAL, seed=7)], heading)
    assert len(read_trainings(tmp_path).find(PROTOCOL.build_key(EQUAL))) == 2
    write_recording(tmp_path, [build_record(EQUAL)], {**heading, "images": HEADING["images"][::-1]})
    with pytest.raises(SearchError, match="must be on the same images"):
        read_trainings(tmp_path)


def test_what_came_to_no_end_is_left_out(tmp_path: Path) -> None:
    unlike = build_record(EQUAL, seed=5)
    unlike["config"]["start_seed"] = None
    records = [
        build_record(EQUAL, seed=1, status="cut"),
        build_record(EQUAL, seed=2, status="failed", error="OutOfMemoryError: no"),
        build_record(EQUAL, seed=3, status="failed", error="DivergedError: at step 3", epochs=[]),
        build_record(EQUAL, seed=4, early=[3, 96]),
        unlike,
    ]
    write_recording(tmp_path, records)
    (training,) = read_trainings(tmp_path).find(PROTOCOL.build_key(EQUAL))
    assert training.status == "diverged" and training.correct is None


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", "{\n", '{"images": [], "categories": 3}\n'])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.jsonl").write_text(text)
    with pytest.raises(SearchError, match=r"other.jsonl must be a recording of tests/benchmarks/record_curves.py"):
        read_trainings(tmp_path)


def test_a_record_with_answers_of_other_images_is_refused(tmp_path: Path) -> None:
    record = build_record(EQUAL)
    record["epochs"][0]["correct"] = "AAAA"
    write_recording(tmp_path, [record])
    with pytest.raises(SearchError, match="must be a recording"):
        read_trainings(tmp_path)


def test_the_page_says_where_they_were_made(tmp_path: Path) -> None:
    write_recording(tmp_path, [build_record(arm, seed=seed) for seed, arm in enumerate([EQUAL, WEIGHTED] * 3)])
    reproduce("focal", ReproductionOptions(results=tmp_path))
    page = (tmp_path / "README.md").read_text()
    assert "6 trainings stand in the recordings beside this page (6 on NVIDIA H100)" in page
