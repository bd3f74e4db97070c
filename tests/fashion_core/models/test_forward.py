"""What networks answer to batches and to prepared images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_models import SCHEMA, draw_model, draw_pixels

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare_all
from fashion_core.loading.batches import BatchSource
from fashion_core.models import forward
from fashion_core.models.ensemble import join_models
from fashion_core.models.forward import predict_batch
from fashion_core.models.network import build_network
from fashion_core.training.losses import focal_loss

CPU = torch.device("cpu")
INDICES = np.arange(100, 119)


def build(data, **values):
    config = TrainConfig(image_size=64, backbone="test_resnet", weights="none", **values)
    return config, build_network(config, data.schema.sizes)


def test_flip_averaging_does_not_know_left_from_right(sample_prepared):
    _, network = build(sample_prepared)
    images, _ = BatchSource(sample_prepared, INDICES, CPU).batch(torch.arange(4))
    one, other = (predict_batch(network, view, flip=True) for view in (images, images.flip(3)))
    plain, mirrored = (predict_batch(network, view, flip=False) for view in (images, images.flip(3)))
    for values, others, a, b in zip(one, other, plain, mirrored, strict=True):
        torch.testing.assert_close(values, others)
        torch.testing.assert_close(values.exp(), (a.exp() + b.exp()) / 2)  # probabilities, not logits
        assert not torch.allclose(a, b)


@pytest.mark.parametrize("flip", [False, True])
def test_predictions_are_log_probabilities(sample_prepared, flip):
    _, network = build(sample_prepared, dropout=0.5)
    images, labels = BatchSource(sample_prepared, INDICES, CPU).batch(torch.arange(4))
    network.train()
    first, second = (predict_batch(network, images, flip=flip) for _ in range(2))
    assert not network.training
    for k, (values, again) in enumerate(zip(first, second, strict=True)):
        assert torch.equal(values, again) and values.dtype == torch.float32 and not values.requires_grad
        torch.testing.assert_close(values.exp().sum(1), torch.ones(4))
        torch.testing.assert_close(values.log_softmax(1), values)
        picked = values.gather(1, labels[:, k : k + 1])[:, 0]
        torch.testing.assert_close(focal_loss(values, labels[:, k], 0.0), -picked.mean())


@pytest.mark.parametrize("flip", [False, True])
def test_impossible_certainty_stays_finite(sample_prepared, flip):
    _, network = build(sample_prepared)
    with torch.no_grad():
        for head in network.heads:
            head.bias[0] = 1e4
    images, labels = BatchSource(sample_prepared, INDICES, CPU).batch(torch.arange(4))
    for k, values in enumerate(predict_batch(network, images, flip=flip)):
        assert torch.isfinite(values).all() and torch.isfinite(focal_loss(values, labels[:, k], 2.0))


def test_a_probe_answers_in_float32_as_it_was_scored():
    """Its features are float32; a network that was trained on as a whole keeps the precision asked for."""
    pixels = draw_pixels(1, 5, 64).numpy()
    answers = {}
    for name, epoch, precision in (("fp32", 2, "fp32"), ("probe", 2, "bf16"), ("whole", 3, "bf16")):
        model = draw_model(1, precision=precision)
        model = replace(model, config=model.config.model_copy(update={"probe_epochs": 2}), epoch=epoch)
        answers[name] = np.concatenate(forward.predict_pixels(model, pixels), 1)
    assert np.array_equal(answers["probe"], answers["fp32"]) and not np.array_equal(answers["whole"], answers["fp32"])


@pytest.fixture(scope="module")
def views(sample_folder, tmp_path_factory):
    settings = [PrepareSettings(64), PrepareSettings(48, "whole")]
    return prepare_all(load_annotations(sample_folder), settings, tmp_path_factory.mktemp("views"))


def test_prepared_images_answer_as_if_gathered_at_once(views, monkeypatch):
    """To the bit, whatever the members' batches; and no more than a batch is ever read."""
    members = [draw_model(1, eval_batch_size=4), draw_model(2, image_size=48, crop="whole", eval_batch_size=7)]
    ensemble = join_models(members, [2, 1])
    indices = np.array([150, 3, 3, *range(20, 36)])
    wanted = forward.predict_views(ensemble, {view: data.gather(indices) for view, data in views.items()})
    sizes = []
    for data in views.values():
        whole = data.gather
        monkeypatch.setattr(data, "gather", lambda part, whole=whole: sizes.append(len(part)) or whole(part))
    found = forward.predict_prepared(ensemble, views, indices)
    assert sizes == [4, 4, 4, 4, 3, 7, 7, 5]
    for values, expected in zip(found, wanted, strict=True):
        assert values.dtype == np.float32 and np.array_equal(values, expected)
    alone = forward.predict_prepared(members[0], views, indices)
    at_once = forward.predict_pixels(members[0], views[PrepareSettings(64)].gather(indices))
    for values, expected in zip(alone, at_once, strict=True):
        assert np.array_equal(values, expected)


def test_no_images_have_no_answers(views):
    for found in (
        forward.predict_prepared(draw_model(1), views, np.array([], np.int64)),
        forward.predict_pixels(draw_model(1), np.empty((0, 64, 64, 3), np.uint8)),
    ):
        assert [values.shape for values in found] == [(0, size) for size in SCHEMA.sizes]
