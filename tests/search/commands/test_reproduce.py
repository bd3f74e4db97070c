"""`reproduce`: its studies, what it refuses, and the report of what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_trainings import make_trainings

from search.commands.again import find_way_on
from search.reproduction.options import STUDIES
from search.reproduction.protocol import load_protocol
from search.reproduction.studies import build_studies

if TYPE_CHECKING:
    from pathlib import Path


def test_the_verdicts_of_a_study_are_printed(tmp_path: Path, call) -> None:
    arms = list(build_studies(0)["box"].arms.values()) * 3
    make_trainings(tmp_path, load_protocol("report_lite"), arms, score=lambda arm: 0.9 if "box" in str(arm) else 0.6)
    status, out, err = call("reproduce", "box", "--results", tmp_path)
    assert status == 0 and not err and "FC layers" not in out
    assert "holds  The crop by the bounding box scores higher than the whole image." in out
    assert "README.md" in out and (tmp_path / "README.md").is_file()


def test_the_table_has_a_row_an_arm_and_fits(tmp_path: Path, call) -> None:
    _, out, _ = call("reproduce", "table2", "--results", tmp_path)
    rows = [line for line in out.splitlines() if line.startswith("tf_efficientnet_lite")]
    assert len(rows) == 9 and rows[1].split() == ["tf_efficientnet_lite1,", "0", "FC", "0.8235", "0.7964", "-"]
    assert max(map(len, out.splitlines())) <= 100


def test_without_data_a_plan_tells_trainings_alone(tmp_path: Path, call) -> None:
    status, out, _ = call("reproduce", "flip", "--dry-run", "--seeds", 2, "--results", tmp_path / "new")
    assert status == 0 and "4 trainings, of 8 epochs each" in out and "give --data" in out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["colour"], f"STUDY must be one of {', '.join(STUDIES)}, all, levers, but got colour"),
        (["flip", "--seeds", "0"], "--seeds must be greater than or equal to 1, but got 0"),
        (["flip", "--space", "probe"], "--space must search three backbones"),
        (["flip", "--on", "resnet18"], "--on must be a backbone of report_lite"),
        (["flip", "--data", "nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, call, arguments: list[str], rule: str) -> None:
    status, _, err = call("reproduce", *arguments, "--results", tmp_path / "new")
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert rule in err and not (tmp_path / "new").exists()


def test_the_same_command_goes_on_after_ray_died() -> None:
    typed = ["reproduce", "all", "--data", "DIR", "--results", "there"]
    assert find_way_on(typed, "all-report_lite-0") == typed
