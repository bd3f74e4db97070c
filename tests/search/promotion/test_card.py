"""The card of a promoted model: every number in it computed again here."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_models import draw_model
from drawn_results import build_result, draw_answers
from scipy.stats import binomtest, t
from sklearn.metrics import confusion_matrix

from fashion_core import predict
from fashion_core.escaping import escape_markdown
from fashion_core.models.forward import predict_views
from search.promotion.card import render_card
from search.promotion.licences import DEEPFASHION_TERMS
from search.statistics.gate import judge
from search.statistics.intervals import Estimate, compute_wilson

VAL_USED = "**val was used by the search**"


TRAINED_ON_VAL = "**This model was trained on the validation images too"


FORCED, REFUSED = "**Promoted by `--force`: the gate did not", "**Not promoted: the gate did not"


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


def test_wilsons_interval_against_scipy():
    for successes, count in [(0, 1), (0, 7), (3, 7), (7, 7), (431, 500)]:
        expected = binomtest(successes, count).proportion_ci(0.95, method="wilson")
        assert compute_wilson(successes / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_card_has_every_category_and_class_with_its_interval(stage, single):
    card, prepared = single.layout.card.read_text(), stage.prepared
    result = build_result(stage)
    labels, train_labels = (prepared.labels[prepared.indices(split)] for split in ("val", "train"))
    accuracies, recalls = read_table(card, "category | accuracy"), read_table(card, "category | class")
    answers = predict_views(draw_model(1, prepared.schema, image_size=32), stage.gather("val"))
    shown = 0
    for k, category in enumerate(prepared.schema.categories):
        estimate = result.categories[k]
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
    low, high = t.interval(0.95, result.score.df, result.score.value, result.score.error)
    assert f"**{result.score.value:.4f}** (95% interval over images and seeds: {low:.4f} to {high:.4f})" in card


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
        temperature = single.temperatures[k]
        scaled = torch.softmax(torch.from_numpy(answers[k]).double().log() / temperature, 1).numpy()
        expected = [f"{temperature:.3f}"]
        for values in (answers[k], scaled):
            sure, right = values.max(1), values.argmax(1) == labels[:, k]
            places = np.minimum(np.ceil(sure * 15) - 1, 14)
            gaps = [abs((right - sure)[places == place].sum()) for place in range(15)]
            expected.append(f"{sum(gaps) / len(sure):.4f}")
        told, before, floor, after, floor_after = rows[(name,)]
        assert [told, before, after] == expected
        assert 0 < float(floor) < 0.25 and 0 < float(floor_after) < 0.25
    assert "fitted on the same validation images" in card


@pytest.mark.parametrize("val_used", [False, True])
@pytest.mark.parametrize("fit_on", ["train", "train+val"])
@pytest.mark.parametrize("gate", ["passed", "forced", "refused"])
def test_bold_sentences_stand_where_they_must_and_nowhere_else(stage, single, ensemble, val_used, fit_on, gate):
    result = build_result(stage, fit_on=fit_on, force=gate == "forced", select_on="val" if val_used else "heldout")
    verdict = replace(result.verdict, passed=gate == "passed")
    shipped = single if fit_on == "train" else ensemble
    card = render_card(replace(result, gate=replace(result.gate, verdict=verdict), shipped=shipped))
    sentences = (VAL_USED, TRAINED_ON_VAL, FORCED, REFUSED)
    expected = [val_used, fit_on != "train", gate == "forced", gate == "refused"]
    assert [card.count(text) for text in sentences] == expected
    assert ("val was first looked at" in card) == (not val_used)


def test_the_comparison_and_the_attempts_are_told(stage, single):
    result = build_result(stage)
    card = single.layout.card.read_text()
    assert result.verdict.passed and "The gate is passed:" in card
    assert all(f"- {escape_markdown(reason)}" in card for reason in result.verdict.reasons)
    rows = read_table(card, "category | difference")
    for name, estimate in zip(stage.prepared.schema.names, result.verdict.difference.categories, strict=True):
        low, high = t.interval(0.95, estimate.df, estimate.value, estimate.error)
        assert rows[(name,)] == [f"{100 * estimate.value:+.2f}", f"{100 * low:+.2f} to {100 * high:+.2f}"]
    assert "Tries on these images: **3**, this one too." in card
    assert "| 1 | 2026-09-21 | before | fashion-attributes | the baseline |  | 0.01 |" in card
    equal = draw_answers(stage, 0.5, 3)
    refused = judge(equal, draw_answers(stage, 0.5, 4), [equal], stage.prepared.schema.names)
    gap = Estimate(0.0123, 0.001, 9, "seeds alone")
    other = build_result(stage, verdict=refused, attempts=1, opponent="the champion, version 3", gap=gap)
    card = render_card(replace(other, shipped=single))
    assert "## Against the champion, version 3" in card and "The gate is not passed:" in card
    assert "Tries on these images: **1**, this one too." in card and "+1.23 points" in card


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
    assert f"differ from PyTorch's by at most {single.onnx_difference:.1e}" in card


def test_files_that_stand_in_two_splits_are_told(stage, single):
    card = render_card(replace(build_result(stage), shipped=replace(single, duplicates=3)))
    assert "3 of these have the very file" in card
    digests = np.array(stage.prepared.sha256)
    val, train = (digests[stage.prepared.indices(split)] for split in ("val", "train"))
    assert single.duplicates == len([each for each in val if each in set(train)])


BLOCKED = """\
import sys

class Blocked:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "fashion_core", "search"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
"""


def test_the_code_in_the_card_answers_as_the_command_does(stage, single, tmp_path, capsys):
    """In a process that can import neither PyTorch nor this project: the temperatures are in the file."""
    (code,) = re.findall(r"```python\n(.*?)```", single.layout.card.read_text(), re.DOTALL)
    index = stage.prepared.indices("val")[0]
    photo = tmp_path / "photo.jpg"
    shutil.copy(stage.source.data / stage.prepared.names[index], photo)
    shutil.copy(single.layout.onnx, tmp_path)
    box = ",".join(map(str, stage.prepared.boxes[index].tolist()))
    code = (
        f"{BLOCKED}{re.sub(r'box = .*', f'box = ({box})', code)}print(json.dumps([v.tolist() for v in probabilities]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    predict.main([str(part) for part in (single.layout.folder, photo, "--box", box, "--json", "--device", "cpu")])
    expected = json.loads(capsys.readouterr().out)["attributes"].values()
    for (values,), other in zip(json.loads(done.stdout), expected, strict=True):
        np.testing.assert_allclose(values, list(other["probabilities"].values()), atol=1e-4)
    assert set(single.temperatures) != {1.0}


def test_categories_that_few_images_are_labelled_in_are_among_the_limits(stage, single):
    result = replace(build_result(stage), shipped=single)
    assert "too few to tell much" not in render_card(result)
    answers = result.gate.answers.copy()
    answers[:, 12:, 1] = np.nan
    scarce = replace(result, gate=replace(result.gate, answers=answers))
    name = stage.prepared.schema.names[1]
    assert f"- Judged on fewer than 30 labelled images, too few to tell much: {name} on 12." in render_card(scarce)
    assert scarce.to_dict()["scarce"] == {name: 12} and result.to_dict()["scarce"] == {}
