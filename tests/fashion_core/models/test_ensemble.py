"""Models averaged: their probabilities (an ensemble), and their weights (a soup)."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_models import SCHEMA, draw_model, draw_pixels

from fashion_core import predict
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import CheckpointError, ConfigError
from fashion_core.models import forward, soup
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
        ([one, one], [1], "1 shares"),
        ([one, one], [1, 0], r"positive numbers, but are \[1, 0\]"),
        ([one, one], [1, float("nan")], "positive"),
        ([one, other], None, "same categories"),
    ]:
        with pytest.raises(ConfigError, match=message):
            join_models(members, shares)
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
    paths = prepare_all(load_annotations(sample_folder), settings, tmp_path / "cache")
    prepared = [PreparedData.open(path) for path in paths]
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


# ---------------------------------------------------------------------------------------------------------------- soup


def batches() -> list[torch.Tensor]:
    return [draw_pixels(seed, 6, 64).permute(0, 3, 1, 2) for seed in (10, 11, 12)]


def test_a_soup_of_equal_networks_is_that_network():
    network = draw_model(1).network
    made = soup.average_networks([network, copy.deepcopy(network)], batches)
    assert made is not network and not made.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(made.state_dict()[name], tensor), name


def test_a_soup_is_the_mean_of_the_weights():
    networks = [draw_model(seed).network for seed in (1, 2, 3)]
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    made = soup.average_networks(networks, batches)
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(parameter.data, sum(state[name] for state in before) / 3)
    for network, state in zip(networks, before, strict=True):  # the ingredients are as they were
        assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_batch_norm_statistics_are_those_of_the_training_images():
    """Of the first layer computed by hand, of the last from what goes into it; dropped paths and dropout are off."""
    network = draw_model(1, dropout=0.9, drop_path=0.5).network
    layers = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    last_inputs = []
    hook = layers[-1].register_forward_pre_hook(lambda layer, inputs: last_inputs.append(inputs[0].detach()))
    soup.recompute_batch_norm(network, batches())
    hook.remove()
    stem = network.backbone.network.conv1[0]
    with torch.no_grad():
        first_inputs = [stem((images.float() - network.backbone.mean) / network.backbone.std) for images in batches()]
    for layer, inputs in ((network.backbone.network.conv1[1], first_inputs), (layers[-1], last_inputs)):
        flat = [each.transpose(0, 1).flatten(1).double() for each in inputs]  # [F, B * h * w] by batch
        mean = torch.stack([each.mean(1) for each in flat]).mean(0)
        variance = torch.stack([each.var(1, correction=1) for each in flat]).mean(0)
        torch.testing.assert_close(layer.running_mean.double(), mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(layer.running_var.double(), variance, atol=1e-5, rtol=1e-4)
        assert layer.num_batches_tracked == 3
    assert [layer.momentum for layer in layers] == momenta and not any(part.training for part in network.modules())
    again = draw_model(1, dropout=0.9, drop_path=0.5).network
    torch.manual_seed(99)  # nothing is drawn
    soup.recompute_batch_norm(again, iter(batches()))
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_soup_has_statistics_of_its_own():
    """Recomputed for the average, unless the backbones are equal."""
    networks = [draw_model(seed).network for seed in (1, 2)]
    made = soup.average_networks(networks, batches)
    expected = copy.deepcopy(made)
    soup.recompute_batch_norm(expected, batches())
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(made.state_dict()[name], tensor)
    assert made.state_dict()["backbone.network.bn1.num_batches_tracked"] == 3

    frozen = copy.deepcopy(networks[0])
    frozen.heads.load_state_dict(networks[1].heads.state_dict())
    made = soup.average_networks([networks[0], frozen], lambda: [])
    for name, tensor in networks[0].backbone.state_dict().items():
        assert torch.equal(made.backbone.state_dict()[name], tensor)
    with pytest.raises(ConfigError, match="at least one batch"):
        soup.average_networks(networks, lambda: [])


def test_no_batch_norm_needs_no_images():
    network = draw_model(1, backbone="test_convnext").network
    soup.recompute_batch_norm(network, iter(lambda: pytest.fail("no image is needed"), None))


def test_why_there_is_no_soup():
    one = draw_model(1)
    assert "at least two models, but got 1" in soup.explain_no_soup([one])
    for change, message in [
        ({"backbone": "test_efficientnet"}, "`backbone` is test_resnet and test_efficientnet"),
        ({"fc_layers": 2}, "`fc_layers` is 0 and 2"),
        ({"start_seed": 2}, "`start_seed` is None and 2"),
        ({"image_size": 96}, "`image_size` is 64 and 96"),
        ({"crop": "whole"}, "`crop` is box and whole"),
        ({"feature": "logits"}, "`feature` is pooled and logits"),
    ]:
        other = draw_model(2, **change)
        reason = soup.explain_no_soup([one, other])
        assert message in reason and "ensemble" in reason and reason.count("` is ") == 1
    weights = replace(one, config=one.config.model_copy(update={"weights": "hub"}))
    assert "`weights` is none and hub" in soup.explain_no_soup([one, weights])
    schema = replace(one, schema=AttributeSchema(SCHEMA.categories[::-1]))
    assert "categories" in soup.explain_no_soup([one, schema])
    recipe = draw_model(2, lr=1e-2, dropout=0.3, crop_margin=0.3)  # what may differ; box does not use the margin
    assert soup.explain_no_soup([one, recipe]) is None
    models = [one, draw_model(2, fc_layers=2), recipe, draw_model(3, crop="whole"), draw_model(4, fc_layers=2)]
    assert soup.find_soup_groups(models) == [[0, 2], [1, 4]]
