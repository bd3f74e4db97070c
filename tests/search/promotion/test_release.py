"""The folder of a promoted model: whole or not there."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_models import draw_model
from drawn_results import BOX, WHOLE, Stage, build_release, build_result, draw_answers, ship_single
from missing_labels import blank, blank_data
from PIL import Image
from sklearn.metrics import confusion_matrix

from fashion_core.config import build_config
from fashion_core.inference import onnx
from fashion_core.inference.onnx import OnnxModel
from fashion_core.inference.temperatures import apply_temperatures, load_temperatures
from fashion_core.models.ensemble import load_saved
from fashion_core.models.forward import predict_views
from search.promotion import release as shipping
from search.promotion.release import ship
from search.promotion.report import render_promotion
from search.registry.history import read_answers
from search.statistics.intervals import estimate_answers


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_single_model_is_shipped_whole(stage, single):
    layout, prepared, names = single.layout, stage.prepared, stage.prepared.schema.names
    assert {path.name for path in layout.folder.iterdir()} == {
        "model.safetensors", "config.json", "attributes.json", "preprocessing.json", "temperatures.json",
        "trained_on.json", "answers.npz", "reruns.npz", "model.onnx", "MODEL_CARD.md", "prediction.txt",
        "prediction.zip", "coverage.png",
        *(f"confusion_{name}.png" for name in names),
    }  # fmt: skip
    assert [path.name for path in layout.folder.parent.iterdir()] == ["final"]  # nothing left beside it
    assert len({path.stat().st_mode for path in layout.folder.iterdir()}) == 1  # a service's user reads all or none
    saved, pixels = draw_model(1, prepared.schema, image_size=32), stage.gather("val")
    expected = predict_views(saved, pixels)
    for values, other in zip(predict_views(load_saved(layout.folder), pixels), expected, strict=True):
        assert np.array_equal(values, other)
    model = OnnxModel(layout.onnx)
    assert model.temperatures == single.temperatures
    calibrated = apply_temperatures(expected, single.temperatures)
    for values, other in zip(model.predict({BOX: pixels[BOX]}), calibrated, strict=True):
        np.testing.assert_allclose(values, other, atol=1e-4)
    config = json.loads(layout.config.read_text())
    assert [build_config(each["config"]) for each in config["members"]] == [saved.config]
    assert json.loads(layout.attributes.read_text()) == prepared.schema.to_dict()
    (view,) = json.loads(layout.preprocessing.read_text())["views"]
    assert (view["image_size"], view["crop"], view["members"]) == (32, "box", [0]) and "32 x 32" in view["in_words"]
    assert load_temperatures(layout.folder, prepared.schema) == single.temperatures
    assert all(Image.open(layout.confusion(name)).size[0] > 100 for name in names)
    lines = (layout.folder / "prediction.txt").read_text().splitlines()
    by_hand = np.stack([values.argmax(1) for values in predict_views(saved, stage.gather("test"))], 1)
    assert [list(map(int, line.split())) for line in lines] == by_hand.tolist()


def test_what_a_later_comparison_needs_is_kept(stage, single):
    prepared, folder = stage.prepared, stage.source.data
    digests = {
        split: [hashlib.sha256((folder / prepared.names[i]).read_bytes()).hexdigest() for i in prepared.indices(split)]
        for split in ("train", "val")
    }
    trained = json.loads(single.layout.trained_on.read_text())
    assert trained == {"digests": sorted(set(digests["train"]))} and len(trained["digests"]) > 100
    with np.load(single.layout.answers, allow_pickle=False) as answers:
        assert answers["digests"].tolist() == digests["val"]
        assert np.array_equal(answers["correct"], draw_answers(stage, 0.8, 0))
        assert np.array_equal(answers["labels"], prepared.labels[prepared.indices("val")])


def test_an_ensemble_is_shipped_whole(stage_without_test, members, ensemble):
    folder, pixels = ensemble.layout.folder, stage_without_test.gather("val")
    loaded = load_saved(folder)
    assert loaded.shares == pytest.approx((2 / 3, 1 / 3)) and not (folder / "model.safetensors").exists()
    expected = predict_views(members, pixels)
    for values, other in zip(predict_views(loaded, pixels), expected, strict=True):
        assert np.array_equal(values, other)
    calibrated = apply_temperatures(expected, ensemble.temperatures)
    for values, other in zip(OnnxModel(ensemble.layout.onnx).predict(pixels), calibrated, strict=True):
        np.testing.assert_allclose(values, other, atol=1e-4)
    views = json.loads(ensemble.layout.preprocessing.read_text())["views"]
    assert [(view["crop"], view["members"]) for view in views] == [("box", [0]), ("whole", [1])]
    config = json.loads(ensemble.layout.config.read_text())
    assert [each["share"] for each in config["members"]] == pytest.approx([2 / 3, 1 / 3])
    assert not list(folder.glob("prediction*"))
    assert "the data has no test images" in ensemble.layout.card.read_text()


def test_what_fails_is_told_and_the_rest_is_shipped(stage, single, tmp_path, monkeypatch):
    """In place of an older folder, of which nothing stays."""
    folder = tmp_path / "final"
    shutil.copytree(single.layout.folder, folder)
    (folder / "member-0").mkdir()

    def fail(*arguments: object) -> None:
        raise RuntimeError("no operation aten::planted\nand a page of text")

    monkeypatch.setattr(onnx, "write_onnx", fail)
    shipped = ship_single(stage, folder, source=replace(stage.source, data=tmp_path / "gone"))
    assert shipped.onnx_error == "no operation aten::planted"
    assert shipped.onnx_difference is None
    card = shipped.layout.card.read_text()
    assert "none: no operation aten::planted |" in card and "OnnxModel" not in card
    assert "none: a data set must be a table" in card and str(tmp_path) not in card
    missing = {path.name for path in single.layout.folder.iterdir()} - {path.name for path in folder.iterdir()}
    assert missing == {"model.onnx", "prediction.txt", "prediction.zip"} and not (folder / "member-0").exists()


@pytest.mark.parametrize("step", ["draw_confusion", "render_card", "put_in_place", "second renaming"])
@pytest.mark.parametrize("has_older", [True, False])
def test_cut_off_anywhere_the_older_one_stays_whole(stage, single, tmp_path, monkeypatch, step, has_older):
    folder = tmp_path / "final"
    if has_older:
        shutil.copytree(single.layout.folder, folder)
    before = read_tree(tmp_path)
    monkeypatch.setattr(shipping, "export_onnx", lambda *arguments: 0.0)  # the real one is tried above

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    rename = shipping.os.rename

    def rename_all_but_new(one: Path, other: Path) -> None:
        if one.name == ".final.new":
            raise KeyboardInterrupt
        rename(one, other)

    if step == "second renaming":
        monkeypatch.setattr(shipping.os, "rename", rename_all_but_new)
    else:
        monkeypatch.setattr(shipping, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        ship_single(stage, folder)
    assert read_tree(tmp_path) == before and (has_older or not list(tmp_path.iterdir()))


@pytest.mark.parametrize(
    "left, stays",
    [
        ({".final.new": "half"}, None),
        ({"final": "older", ".final.new": "half"}, "older"),
        ({".final.old": "older", ".final.new": "newer"}, "older"),  # killed between the two renamings
        ({"final": "newer", ".final.old": "older"}, "newer"),
    ],
)
def test_what_a_kill_left_is_put_right(tmp_path, left, stays):
    for name, text in left.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_text(text)
    shipping.restore_folder(tmp_path / "final")
    assert read_tree(tmp_path) == ({} if stays is None else {"final/model": stays.encode()})
    assert [path.name for path in tmp_path.iterdir()] == ([] if stays is None else ["final"])


def test_arguments_that_contradict_each_other(stage, tmp_path):
    val, train = stage.prepared.indices("val"), stage.prepared.indices("train")
    answers = draw_answers(stage, 0.8, 0)
    for changes, message in [
        ({"trained": np.append(train, val[:1])}, "was trained on 1 of 48, is told as fit on train,"),
        ({"reruns": [np.ones((1, 48, 2))]}, "trained on 0 of 48"),
        ({"answers": answers[:, :-1]}, r"are \[3, 47, 6\]"),
        ({"answers": answers[:, :, :-1]}, r"are \[3, 48, 5\]"),
        ({"data": {WHOLE: stage.data[WHOLE]}}, "every view"),
    ]:
        with pytest.raises(ValueError, match=message):
            ship_single(stage, tmp_path / "final", **changes)
    result, both = build_result(stage, fit_on="train+val"), np.append(train, val)
    for changes, message in [
        ({"trained": both}, "no answers of re-runs"),
        ({"trained": train, "reruns": []}, "trained on 0 of 48"),
        ({"trained": both, "reruns": [np.ones((1, 47, 2))] * 6}, r"must be \[seeds, 48, classes\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            ship(build_release(stage, **changes), result, tmp_path / "final")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------ missing labels


def test_an_image_counts_in_the_categories_it_is_labelled_in():
    rng = np.random.default_rng(8)
    said, labels = [rng.dirichlet(np.ones(size), 60) for size in (3, 4)], rng.integers(0, 3, (60, 2))
    labels = blank(labels, (0.5, 0.3))
    for k, matrix in enumerate(shipping.count_answers(said, labels)):
        known = labels[:, k] >= 0
        assert np.array_equal(
            matrix, confusion_matrix(labels[known, k], said[k].argmax(1)[known], labels=range(len(matrix)))
        )
    train = blank(rng.integers(0, 3, (200, 2)), (0.2, 0.6))
    train[:9] = -1
    for k, share in enumerate(shipping.compute_majority(labels, train)):
        commonest = np.bincount(train[train[:, k] >= 0, k]).argmax()
        assert share == pytest.approx((labels[labels[:, k] >= 0, k] == commonest).mean())


@pytest.mark.slow
def test_a_model_judged_with_missing_labels_is_shipped_with_their_numbers(stage, tmp_path):
    """Kept answers are NaN where unlabelled; the card counts images by category; all with labels as ever."""
    data = {view: blank_data(each) for view, each in stage.data.items()}
    blanked = Stage(data, stage.source)
    labels = data[BOX].labels[data[BOX].indices("val")]
    answers = np.where(labels < 0, np.nan, draw_answers(stage, 0.8, 0))
    other = np.where(labels < 0, np.nan, draw_answers(stage, 0.5, 1))
    result = build_result(blanked)
    gate = replace(result.gate, answers=answers, opponent=replace(result.opponent, answers=other))
    score, categories = estimate_answers(answers, (answers, other))
    result = replace(result, gate=gate, score=score, categories=categories)
    shipped = ship(build_release(blanked, answers=answers), result, tmp_path / "final")
    known = (labels >= 0).sum(0).tolist()
    assert [int(matrix.sum()) for matrix in shipped.confusion] == known == list(result.labelled)
    with np.load(shipped.layout.answers, allow_pickle=False) as kept:
        np.testing.assert_array_equal(kept["correct"], answers)
        assert np.array_equal(kept["labels"], labels)
    card, report = shipped.layout.card.read_text(), render_promotion(result)
    assert "on 48 validation images, each category on those labelled in it. Always" in card
    for name, count in zip(data[BOX].schema.names, known, strict=True):
        for text, head in ((card, "| category | accuracy | 95% int"), (report, "| category | accuracy [95%]")):
            table = text[text.index(head) :].split("\n\n")[0]
            assert "labelled images |" in table and f"| {count} |" in table[table.index(f"| {name} |") :].split("\n")[0]
    assert result.to_dict()["labelled"] == dict(zip(data[BOX].schema.names, known, strict=True))
    assert "labelled" not in build_result(stage).to_dict() and "labelled images" not in render_promotion(
        build_result(stage)
    )


def test_a_single_network_keeps_its_recipe_for_who_comes_after(stage, single, ensemble):
    """An ensemble has none, and says nothing of one."""
    np.testing.assert_array_equal(read_answers(single.layout).recipe, draw_answers(stage, 0.7, 3))
    assert read_answers(ensemble.layout).recipe is None
