"""The report of a reproduction, made of ledgers with drawn answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_trainings import make_trainings
from rich.console import Console

from search.reproduction.findings import judge_studies
from search.reproduction.protocol import load_protocol
from search.reproduction.report import build_report, show_findings, write_report
from search.reproduction.studies import build_studies
from search.reproduction.trainings import read_trainings

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL = load_protocol("report_lite")
STUDIES = build_studies(0)


def find(tmp_path: Path, protocol=PROTOCOL):
    return judge_studies(protocol, list(STUDIES.values()), read_trainings(tmp_path))


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """FC layers cost three points each, the whole image twenty; nothing else matters. Of flip, one arm alone."""
    grid = [*STUDIES["table2"].arms.values(), STUDIES["box"].arms["whole image"]]

    def score(arm) -> float:
        return 0.85 - 0.03 * arm.changes.get("fc_layers", 0) - 0.2 * (arm.changes.get("crop") == "whole")

    make_trainings(tmp_path, PROTOCOL, grid * 3, score=score, name="all-report_lite-0")
    return tmp_path


def test_the_planted_truth_is_told(planted: Path) -> None:
    verdicts = {(each.study, each.claim.text): each.finding.verdict for each in find(planted).judged}
    assert {verdict for (study, _), verdict in verdicts.items() if study in ("depth", "box")} == {"holds"}
    others = {verdict for (study, _), verdict in verdicts.items() if study in ("table2", "se", "backbones", "flip")}
    assert others == {"cannot tell"}


def test_it_says_what_stands_beside_what(planted: Path) -> None:
    found = find(planted)
    page = write_report(found, planted)[0].read_text()
    assert "**The backbones are stand-ins**: `tf_efficientnet_lite0` for ResNet-50" in page
    assert "So far there are 30 trainings, each on 100 images and scored on 60 others" in page
    row = next(line for line in page.splitlines() if line.startswith("| SE-ResNeXt-50 32x4d |") and "| 0 |" in line)
    assert "| tf_efficientnet_lite2 | 0 | 0.7964 | 0.8235 | 0.8252 | 0.8" in row and "| 3 |" in row
    assert "| flip | A random horizontal flip raises the score. |" in page and "not all of it is trained" in page
    assert "| +1.95 | +1" in page and page.count("stand-ins were trained, of which it says nothing") == 6
    for name in ("claims", "flip", "backbones", "categories", "curves"):
        assert f"({name}.png)" in page and (planted / f"{name}.png").stat().st_size > 5000
    assert str(planted) not in page and max(map(len, page.splitlines())) < 1000


def test_no_survivor_speaks_for_an_arm_whose_trainings_diverged(tmp_path: Path) -> None:
    """Two of three without the flip diverged, and all of those on the whole image: the others score far higher."""
    flip, plain = STUDIES["flip"].arms.values()
    whole = STUDIES["box"].arms["whole image"]
    arms = [plain, plain, *[whole] * 3, plain, *[flip] * 3]

    def score(arm) -> float:
        return 0.6 if arm in (plain, whole) else 0.9

    make_trainings(tmp_path, PROTOCOL, arms, score=score, statuses=["diverged"] * 5)
    found = find(tmp_path)
    told = {each.study: each.finding for each in found.judged if each.study in ("flip", "box", "curves")}
    assert {name: (each.verdict, each.reason) for name, each in told.items()} == {
        "flip": ("cannot tell", "2 of 3 trainings of no flip diverged"),
        "box": ("cannot tell", "3 of 3 trainings of whole image diverged"),
        "curves": ("holds", ""),  # of the protocol alone, of which none did
    }
    assert told["flip"].estimate is None
    assert "**cannot tell**: 2 of 3 trainings of no flip diverged" in write_report(found, tmp_path)[0].read_text()


def test_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "claims.png").touch()  # of before
    (page,) = write_report(find(tmp_path), tmp_path)
    assert "So far there are 0 trainings." in page.read_text() and "![" not in page.read_text()
    assert not (tmp_path / "claims.png").exists()


def test_the_reports_own_backbones_are_judged(tmp_path: Path) -> None:
    own = load_protocol("report_table2")
    make_trainings(
        tmp_path, own, list(STUDIES["table2"].arms.values()) * 2, score=lambda arm: 0.7 + 0.1 * (arm.place == 2)
    )
    found = find(tmp_path, own)
    verdicts = {each.claim.text: each.finding.verdict for each in found.judged if each.study == "table2"}
    assert list(verdicts.values()) == ["does not", "holds"]  # as printed; SE columns exchanged
    assert not any("stand-in" in part for part in build_report(found, set()) if isinstance(part, str))


def test_the_terminal_shows_one_study(planted: Path) -> None:
    console = Console(record=True, width=100, file=None)
    with console.capture() as capture:
        show_findings(find(planted), [STUDIES["box"]], console)
    assert capture.get().splitlines()[0].split(maxsplit=1)[0] == "holds" and "FC layers" not in capture.get()


def test_a_diverged_training_is_counted_and_told(tmp_path: Path) -> None:
    arms = list(STUDIES["flip"].arms.values()) * 3
    make_trainings(tmp_path, PROTOCOL, arms, statuses=("diverged",))
    assert "| 2, and 1 diverged |" in write_report(find(tmp_path), tmp_path)[0].read_text()
