"""What is trained already, read from ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_trainings import IMAGES, make_trainings

from fashion_core.errors import SearchError
from search.reproduction.protocol import Arm, load_protocol
from search.reproduction.running import list_missing
from search.reproduction.studies import build_studies
from search.reproduction.trainings import read_trainings

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL = load_protocol("report_lite")
STUDIES = build_studies(0)
EVERY = list({PROTOCOL.build_key(arm): arm for study in STUDIES.values() for arm in study.arms.values()}.values())


def test_every_arm_is_found_again_by_its_configuration(tmp_path: Path) -> None:
    """From the space that is written for it, through what a trial has as parameters, to its key."""
    make_trainings(tmp_path, PROTOCOL, [*EVERY, *EVERY[:3]])
    trained = read_trainings(tmp_path)
    assert [len(trained.find(PROTOCOL.build_key(arm))) for arm in EVERY] == [2] * 3 + [1] * (len(EVERY) - 3)
    assert sum(map(len, trained.by_key.values())) == len(EVERY) + 3
    assert trained.stack(PROTOCOL.build_key(EVERY[0])).shape == (2, IMAGES, 6)
    assert trained.find("another") == [] and trained.stack("another").shape == (0, IMAGES, 6)
    (training,) = trained.find(PROTOCOL.build_key(EVERY[-1]))
    assert training.score == pytest.approx(training.correct.mean()) and len(training.epochs) == 8


def test_what_two_studies_share_counts_for_both(tmp_path: Path) -> None:
    make_trainings(tmp_path, PROTOCOL, list(STUDIES["flip"].arms.values()))
    missing = list_missing(PROTOCOL, list(STUDIES["focal"].arms.values()), read_trainings(tmp_path), 1)
    assert [arm.changes for arm in missing] == [{"focal_gamma": 0.0}]
    missing = list_missing(PROTOCOL, [Arm(0), Arm(1)], read_trainings(tmp_path), 2)
    assert [arm.place for arm in missing] == [1, 0, 1]  # the first of all comes first


def test_what_did_not_come_to_its_end_is_to_be_trained_again(tmp_path: Path) -> None:
    statuses = ("failed", "diverged", "interrupted", "finished")
    make_trainings(tmp_path, PROTOCOL, [Arm(0)] * 5, statuses=statuses, lost=[4])
    found = read_trainings(tmp_path).find(PROTOCOL.build_key(Arm(0)))
    assert [each.status for each in found] == ["diverged", "finished"]
    assert found[0].correct is None and len(read_trainings(tmp_path).stack(found[0].key)) == 1


def test_starts_that_were_not_drawn_do_not_count(tmp_path: Path) -> None:
    make_trainings(tmp_path, PROTOCOL, [Arm(0)], start_seeds=False)
    assert read_trainings(tmp_path).by_key == {}


def test_an_empty_folder_and_a_search_that_never_began(tmp_path: Path) -> None:
    assert read_trainings(tmp_path / "none").by_key == {}
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "ledger.jsonl").touch()
    assert read_trainings(tmp_path).images == ()


def test_other_images_are_refused(tmp_path: Path) -> None:
    make_trainings(tmp_path, PROTOCOL, [Arm(0)])
    make_trainings(tmp_path, PROTOCOL, [Arm(0)], name="flip-report_lite-1", images=[f"{i}.png" for i in range(60)])
    with pytest.raises(SearchError, match="must be on the same images"):
        read_trainings(tmp_path)
