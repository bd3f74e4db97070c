"""Models averaged: their probabilities (an ensemble), and their weights (a soup)."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_models import SCHEMA, draw_model, draw_pixels

from fashion_core import predict
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.prepared import prepare_all
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import CheckpointError, ConfigError
from fashion_core.models import forward
from fashion_core.models.ensemble import (
    AttributeEnsemble,
    SavedEnsemble,
    join_models,
    load_saved,
    save_ensemble,
    save_member,
    set_flip,
)
from fashion_core.models.saved import SavedModel, load_model

SIZES = (64, 48)


@pytest.fixture
def ensemble() -> SavedEnsemble:
    """Two backbones, two image sizes, two crops; the first two members share their input."""
    members = [
        draw_model(1),
        draw_model(2, backbone="test_efficientnet", eval_flip=False),
        draw_model(3, image_size=48, crop="whole", eval_batch_size=3),
    ]
    return join_models(members, [2, 1, 1], {"val/accuracy": 0.9})


@pytest.fixture
def images(ensemble: SavedEnsemble) -> dict[PrepareSettings, np.ndarray]:
    return {view: draw_pixels(0, 5, view.image_size).numpy() for view in ensemble.views}


def answer_by_hand(member: SavedModel, pixels: np.ndarray) -> list[torch.Tensor]:
    """Straight from the network, one image at a time."""
    answers = []
    for image in torch.from_numpy(pixels).permute(0, 3, 1, 2).float():
        sides = [image, torch.flip(image, [2])] if member.config.eval_flip else [image]
        with torch.no_grad():
            logits = [member.network(side[None]) for side in sides]
        answers.append([torch.stack([torch.softmax(v[k][0], 0) for v in logits]).mean(0) for k in range(2)])
    return [torch.stack(column) for column in zip(*answers, strict=True)]


# ------------------------------------------------------------------------------------------------------------- answers


def test_an_ensemble_answers_the_average_of_its_members(ensemble, images):
    assert [view.image_size for view in ensemble.views] == [64, 48] and ensemble.eval_batch_size == 3
    by_hand = [answer_by_hand(member, images[build_settings(member.config)]) for member in ensemble.members]
    answers = forward.predict_views(ensemble, images)
    module = AttributeEnsemble(ensemble).eval()
    with torch.no_grad():
        inputs = [torch.from_numpy(images[view]).permute(0, 3, 1, 2) for view in module.views]
        from_module = module(inputs)
    for category in range(2):
        first, second, third = (answer[category] for answer in by_hand)
        expected = (first + first + second + third) / 4
        assert (first - second).abs().max() > 0.05  # else any average would do
        np.testing.assert_allclose(answers[category], expected, atol=2e-5)
        np.testing.assert_allclose(from_module[category], expected, atol=2e-5)
        assert answers[category].dtype == np.float32


def test_a_single_model_is_an_ensemble_of_one(images):
    model = draw_model(1)
    pixels = images[build_settings(model.config)]
    for values, expected in zip(
        forward.predict_views(model, images), forward.predict_pixels(model, pixels), strict=True
    ):
        assert np.array_equal(values, expected)


def test_flip_can_be_set_for_all_members(ensemble, images):
    plain = set_flip(ensemble, False)
    assert not any(member.config.eval_flip for member in plain.members)
    mirrored = {view: np.ascontiguousarray(pixels[:, :, ::-1]) for view, pixels in images.items()}
    answers = [forward.predict_views(*each) for each in ((plain, images), (plain, mirrored))]
    both = forward.predict_views(set_flip(ensemble, True), images)
    for one, other, average in zip(*answers, both, strict=True):
        np.testing.assert_allclose(average, (one + other) / 2, atol=2e-5)
        assert np.abs(one - other).max() > 1e-3


def test_what_cannot_be_joined():
    one, other = draw_model(1), draw_model(2, AttributeSchema(SCHEMA.categories[::-1]))
    for members, shares, message in [
        ([], None, "at least one member"),
        ([one, one], [1, 0], r"positive numbers, but are \[1, 0\]"),
        ([one, one], [1, float("nan")], "positive"),
        ([one, other], None, "same categories"),
    ]:
        with pytest.raises(ConfigError, match=message):
            join_models(members, shares)
    with pytest.raises(ValueError, match="each of the 2 members, but got 1"):
        join_models([one, one], [1])
    assert join_models([one, one, one]).shares == pytest.approx([1 / 3] * 3)


# --------------------------------------------------------------------------------------------------------- saved, used


def test_a_saved_ensemble_answers_as_before(ensemble, images, tmp_path):
    file = save_ensemble(tmp_path / "final", ensemble)
    for path in (tmp_path / "final", file):
        loaded = load_saved(path)
        assert loaded.shares == ensemble.shares and loaded.metrics == ensemble.metrics
        for one, other in zip(
            forward.predict_views(loaded, images), forward.predict_views(ensemble, images), strict=True
        ):
            assert np.array_equal(one, other)
    for number, member in enumerate(ensemble.members):  # each a saved model with all that was known
        found = load_model(tmp_path / "final" / f"member-{number}")
        assert replace(found, network=None) == replace(member, network=None)


def test_a_folder_holds_one_ensemble_or_model_or_none(ensemble, tmp_path, monkeypatch):
    save_ensemble(tmp_path, ensemble)
    save_ensemble(tmp_path, join_models(ensemble.members[:1]))
    assert len(load_saved(tmp_path).members) == 1
    save_member(tmp_path, ensemble.members[1])
    with pytest.raises(CheckpointError, match="one saved model"):
        load_saved(tmp_path)
    assert load_saved(tmp_path / "model.safetensors").config.backbone == "test_efficientnet"
    (tmp_path / "model.safetensors").unlink()

    def fail(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("fashion_core.models.ensemble.save_model", fail)
    with pytest.raises(OSError, match="no space"):
        save_ensemble(tmp_path, ensemble)
    with pytest.raises(CheckpointError, match="none in"):  # not a mixture of two ensembles
        load_saved(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: text[:-20], "describe an ensemble"),
        (lambda text: text.replace("fashion-ensemble/1", "fashion-ensemble/9"), "fashion-ensemble/9"),
        (lambda text: text.replace("member-1", "member-7"), "member-7"),
        (lambda text: text.replace('"share": 0.5', '"share": -1'), "positive"),
        (lambda text: json.dumps([]), "describe an ensemble"),
        (lambda text: text.replace("shar", "sha"), "describe an ensemble"),
    ],
)
def test_a_damaged_ensemble_is_told(ensemble, tmp_path, change, message):
    file = save_ensemble(tmp_path, ensemble)
    file.write_text(change(file.read_text()))
    with pytest.raises(CheckpointError, match=message):
        load_saved(tmp_path)


@pytest.mark.slow
def test_the_command_takes_an_ensemble(sample_folder, sample_prepared, tmp_path, capsys):
    data = sample_prepared
    members = [draw_model(seed, data.schema, image_size=64 - 16 * seed, eval_batch_size=5) for seed in (0, 1)]
    ensemble = join_models(members)
    save_ensemble(tmp_path / "model", ensemble)
    image, box = sample_folder / data.names[0], ",".join(map(str, data.boxes[0]))
    answers = []
    for option in ("--tta", "--no-tta"):
        arguments = [tmp_path / "model", image, "--box", box, "--json", option, "--device", "cpu"]
        predict.main([str(argument) for argument in arguments])
        answer = json.loads(capsys.readouterr().out)
        answers.append([list(each["probabilities"].values()) for each in answer["attributes"].values()])
    settings = [build_settings(member.config) for member in members]
    by_settings = prepare_all(load_annotations(sample_folder), settings, tmp_path / "cache")
    prepared = [by_settings[each] for each in settings]
    for flip, found in zip((True, False), answers, strict=True):
        parts = [
            forward.predict_pixels(set_flip(member, flip), each.gather([0]))
            for member, each in zip(members, prepared, strict=True)
        ]
        for values, one, other in zip(found, *parts, strict=True):
            np.testing.assert_allclose(values, (one[0] + other[0]) / 2, atol=2e-5)
    assert not np.allclose(answers[0][0], answers[1][0], atol=1e-4)

    command = [tmp_path / "model", "--submission", sample_folder, "--out", tmp_path, "--cache-dir", tmp_path / "cache"]
    predict.main([str(argument) for argument in (*command, "--device", "cpu")])
    rows = [list(map(int, line.split())) for line in (tmp_path / "prediction.txt").read_text().splitlines()]
    test = data.indices("test")
    parts = [forward.predict_pixels(member, each.gather(test)) for member, each in zip(members, prepared, strict=True)]
    expected = np.stack([(one + other).argmax(1) for one, other in zip(*parts, strict=True)], 1)
    assert np.array_equal(rows, expected) and len(np.unique(expected, axis=0)) > 1
