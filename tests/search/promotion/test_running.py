"""What a promotion holds while it runs: its folder alone, and what a model may cost."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from written_search import write_search

from fashion_core.data.annotations import load_annotations
from fashion_core.errors import SearchError
from fashion_core.models.cost import UNLIMITED, Cost
from fashion_core.samples.dataset import draw_sample_data
from search.promotion import running
from search.promotion.options import PromotionOptions, Workplace
from search.promotion.running import Promotion, check_images, open_promotion
from search.promotion.source import check_like_search
from search.records.locks import RUN, hold_search
from search.records.record import load_record
from search.reporting.terminal import choose_console


@pytest.mark.parametrize("judge_on", [None, Path("other")])
def test_a_promotion_is_judged_on_thirty_images_or_more(judge_on):
    options = PromotionOptions(judge_on=judge_on)
    check_images(30, options, Path("own"))
    check_images(12, options.model_copy(update={"force": True}), Path("own"))
    where = (
        "other has 29; label more of them, give --judge-on more"
        if judge_on
        else ("val of own has 29; label more of them, judge on other labelled images with --judge-on")
    )
    with pytest.raises(SearchError, match=f"judged on 30 labelled images or more, but {where}, or .* with --force"):
        check_images(29, options, Path("own"))


@pytest.mark.slow
def test_too_few_images_are_told_before_a_try_is_counted(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3])
    other = draw_sample_data(tmp_path / "other", train=8, val=8, test=2, seed=7)
    given = (layout, PromotionOptions(judge_on=other), Workplace(), choose_console(None), ["search/promote.py"])
    with pytest.raises(SearchError, match=r"but .*other has 16; label more"), open_promotion(*given, replace=False):
        pass
    assert not layout.attempts_folder.exists()


@pytest.mark.slow
def test_a_search_that_runs_is_not_promoted(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3])
    given = (layout, PromotionOptions(), Workplace(), choose_console(None), ["search/promote.py"])
    refused = pytest.raises(SearchError, match=r"runs it since .*; wait for it")
    with hold_search(layout, RUN), refused, open_promotion(*given, replace=False):
        pass
    assert not layout.promotion_folder.exists()


@pytest.mark.slow
def test_the_champion_is_looked_at_before_any_image(tmp_path, sample_folder, monkeypatch):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3])
    asked = []

    def refuse(registry, key, schema):
        asked.append((registry.model, schema.names))
        raise SearchError("other categories")

    monkeypatch.setattr(running, "check_champion", refuse)
    monkeypatch.setattr(running, "prepare_material", lambda *_: pytest.fail("images were prepared"))
    for place in (Workplace(), Workplace(model="named")):
        given = (layout, PromotionOptions(), place, choose_console(None), ["search/promote.py"])
        with pytest.raises(SearchError, match="other categories"), open_promotion(*given, replace=False):
            pass
    assert [model for model, _ in asked] == [sample_folder.name, "named"] and "sleeve" in asked[0][1]


def change(data, what):
    """Change one thing of a data set's folder. Gives what is told of it."""
    name = load_annotations(data).table["image"][3].as_py()
    if what == "image":
        (data / name).write_bytes((data / load_annotations(data).table["image"][4].as_py()).read_bytes())
        return "1 image with other bytes"
    if what == "gone":  # the last one of train
        for path in (data / "split").glob("train*"):
            lines = path.read_text().splitlines()
            path.write_text("\n".join(lines[:-1]) + "\n")
        return "1 image fewer"
    path = data / "split" / ("train_bbox.txt" if what == "box" else "train_attr.txt")
    lines = path.read_text().splitlines()
    values = lines[3].split()
    values[0] = str(int(values[0]) + 1 if what == "box" else 1 - min(int(values[0]), 1))
    path.write_text("\n".join([*lines[:3], " ".join(values), *lines[4:]]) + "\n")
    return what


@pytest.mark.slow
@pytest.mark.parametrize("what", ["label", "box", "image", "gone"])
def test_changed_data_is_refused_with_what_has_changed_before_anything_is_made(what, tmp_path, sample_folder):
    data = shutil.copytree(sample_folder, tmp_path / "data")
    layout = write_search(tmp_path / "results", "mine", data, [1e-3])
    told = change(data, what)
    before = sorted((tmp_path / "results" / ".prepared").iterdir())
    given = (layout, PromotionOptions(), Workplace(), choose_console(None), ["search/promote.py"])
    with pytest.raises(SearchError, match="have changed: ") as caught, open_promotion(*given, replace=False):
        pass
    assert told in str(caught.value) and "restore them, or start a new search" in str(caught.value)
    assert sorted((tmp_path / "results" / ".prepared").iterdir()) == before


@pytest.mark.slow
def test_data_at_another_place_is_the_same(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3])
    data = shutil.copytree(sample_folder, tmp_path / "elsewhere")
    check_like_search(layout, load_record(layout), load_annotations(data), tmp_path / "cache")


def test_the_limit_is_what_was_asked_for():
    def find_limit(**options):
        names = ("layout", "search", "material", "resources", "timeout_s", "tracker", "registry", "console")
        names = (*names, "own", "tries", "attempt")
        rest = dict.fromkeys(names)
        plan = SimpleNamespace(promotion_id="id")
        return Promotion(options=PromotionOptions(**options), plan=plan, command=(), started=0.0, **rest).limit

    assert find_limit() == UNLIMITED
    assert find_limit(max_ms=3) == Cost(UNLIMITED.parameters, 3)
    assert find_limit(max_params=5e6) == Cost(5_000_000, float("inf"))
