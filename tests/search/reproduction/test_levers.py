"""The study of levers: one recipe, each lever alone, judged on images held out of train."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_trainings import make_trainings
from rich.console import Console

from fashion_core.config import build_config
from fashion_core.errors import SearchError
from search.reproduction.levers import CHANGES, LEVERS, RECIPE, SPACE, build_levers
from search.reproduction.options import DEFAULT_FOLDER, REPORT_SPACE, STUDIES, ReproductionOptions
from search.reproduction.protocol import load_protocol
from search.reproduction.running import build_options, plan_work, reproduce

PROTOCOL = load_protocol(SPACE, is_reports=False)
STUDY = build_levers(0)


def test_each_lever_is_switched_on_alone() -> None:
    recipe = build_config(PROTOCOL.build_values(STUDY.arms[RECIPE])).model_dump()
    for name, arm in STUDY.arms.items():
        config = build_config(PROTOCOL.build_values(arm)).model_dump()
        changed = {field for field in config if config[field] != recipe[field]}
        assert changed <= set(CHANGES.get(name, {})) and bool(changed) == (name != RECIPE), name
    assert (recipe["backbone"], recipe["image_size"], recipe["epochs"]) == ("tf_efficientnet_lite1", 224, 7)
    assert (recipe["crop_margin"], recipe["dropout"], recipe["drop_path"], recipe["focal_gamma"]) == (0.1, 0.3, 0.1, 0)


def test_it_is_none_of_the_reports_and_has_a_space_and_a_folder_of_its_own(tmp_path: Path) -> None:
    assert LEVERS not in STUDIES
    own, others = ReproductionOptions().settle(LEVERS), ReproductionOptions().settle("all")
    assert (own.space, own.results) == (SPACE, DEFAULT_FOLDER / LEVERS)
    assert (others.space, others.results) == (REPORT_SPACE, DEFAULT_FOLDER)
    work = plan_work(LEVERS, ReproductionOptions(results=tmp_path))
    assert (len(work.arms), len(work.missing)) == (1 + len(CHANGES), 3 * (1 + len(CHANGES)))
    with pytest.raises(SearchError, match="must search backbones, with"):
        load_protocol("probe", is_reports=False)
    with pytest.raises(SearchError, match="must search three backbones"):
        load_protocol(SPACE)


def test_its_searches_are_scored_on_images_held_out_of_train(tmp_path: Path) -> None:
    options = ReproductionOptions(data=tmp_path)
    assert build_options(options, "levers-lite_levers-0", tmp_path / "a.yaml", 0, "heldout").select_on == "heldout"


def test_a_dry_run_says_what_it_would_train(tmp_path: Path) -> None:
    console = Console(record=True, width=100, file=None)
    with console.capture() as capture:
        assert reproduce(LEVERS, ReproductionOptions(results=tmp_path), dry_run=True, console=console) is None
    told = " ".join(capture.get().split())
    assert "39 trainings, of 7 to 12 epochs each" in told and "images held out of train; val stays unseen" in told
    assert "tf_efficientnet_lite1" in told and "stand-in" not in told and "give --data for hours" in told


def test_the_page_tells_gains_verdicts_and_times(tmp_path: Path) -> None:
    """Attention pooling is planted to gain ten points, smaller images to lose ten; the others do nothing."""
    gains = {"pooling": 0.1, "early_share": -0.1}

    def score(arm) -> float:
        return 0.75 + sum(gains.get(field, 0.0) for field in arm.changes)

    folder = tmp_path / LEVERS
    make_trainings(folder, PROTOCOL, list(STUDY.arms.values()) * 3, score=score, name="levers-lite_levers-0")
    found = reproduce(LEVERS, ReproductionOptions(results=tmp_path))
    assert found is not None
    verdicts = {each.claim.text: str(each.finding.verdict) for each in found.judged}
    assert verdicts["The score is higher with attention pooling."] == "holds"
    assert verdicts["The score is higher with smaller images in the first half of the epochs."] == "does not"
    page = (folder / "README.md").read_text()
    assert page.startswith("# Levers of the score\n") and "no image of val or test was looked at" in page
    assert "| The score is higher with attention pooling. | `pooling attention` | +" in page and "**holds**" in page
    assert "stand-in" not in page and "seed report" not in page and "| the recipe | 0.7" in page
    assert (folder / "claims.png").stat().st_size > 5000 and not (folder / "flip.png").exists()
