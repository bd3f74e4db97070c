"""Evaluation against answers worked out one image at a time, and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.loading.batches import BatchSource
from fashion_core.models.forward import predict_batch
from fashion_core.models.network import build_network
from fashion_core.training.evaluation import evaluate
from fashion_core.training.losses import WeightedFocalLoss, focal_loss

CPU = torch.device("cpu")
INDICES = np.arange(100, 119)  # 19 images: no multiple of any batch here


def build(data, **values):
    config = TrainConfig(image_size=64, backbone="test_resnet", weights="none", **values)
    return config, build_network(config, data.schema.sizes)


def answer_by_hand(network, data, indices, flip):
    """K arrays [N, C_i] of probabilities, one image at a time."""
    network.eval()
    rows = []
    for index in indices:
        image = torch.from_numpy(data.gather(np.array([index]))).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            views = [network(image)] + ([network(torch.flip(image, [-1]))] if flip else [])
        rows.append(
            [np.mean([torch.softmax(view[k][0], 0).numpy() for view in views], 0) for k in range(len(views[0]))]
        )
    return [np.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("batch", [8, 19, 128])
def test_evaluate_by_hand(sample_prepared, flip, batch):
    config, network = build(sample_prepared, eval_flip=flip, eval_batch_size=batch)
    names, weights = sample_prepared.schema.names, [1.0 + k for k in range(len(sample_prepared.schema.names))]
    loss = WeightedFocalLoss(weights, 2.0)
    sizes = []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    result = evaluate(network, BatchSource(sample_prepared, INDICES, CPU), loss, config)
    assert max(sizes) == min(batch, 19) and sum(sizes) == 19 * (2 if flip else 1)
    labels = sample_prepared.labels[INDICES]
    probabilities = answer_by_hand(network, sample_prepared, INDICES, flip)
    scores = result.compute_metrics(names)
    total = 0.0
    for k, (name, values) in enumerate(zip(names, probabilities, strict=True)):
        answers, truth = values.argmax(1), labels[:, k]
        wanted = confusion_matrix(truth, answers, labels=range(values.shape[1]))
        np.testing.assert_array_equal(result.confusion[k], wanted)
        np.testing.assert_array_equal(result.correct[:, k], answers == truth)
        assert scores[f"val/accuracy/{name}"] == pytest.approx(accuracy_score(truth, answers))
        p = values[np.arange(19), truth].astype(np.float64)
        category = float(np.mean(-((1 - p) ** 2) * np.log(p)))
        assert scores[f"val/loss/{name}"] == pytest.approx(category, rel=1e-3)
        total += weights[k] * len(weights) / sum(weights) * category
    assert scores[metrics.VAL_LOSS] == pytest.approx(total, rel=1e-3)
    assert scores[metrics.ACCURACY] == pytest.approx(result.correct.mean())
    assert scores[metrics.ACCURACY_SE] == pytest.approx(result.correct.mean(1).std(ddof=1) / np.sqrt(19))


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


def test_autocast_is_used(sample_prepared):
    config, network = build(sample_prepared, eval_batch_size=4)
    source = BatchSource(sample_prepared, INDICES[:8], CPU)
    loss = WeightedFocalLoss([1.0] * len(sample_prepared.schema.sizes))
    exact = evaluate(network, source, loss, config)
    rough = evaluate(network, source, loss, config, torch.autocast("cpu", torch.bfloat16))  # entered once a batch
    assert rough.loss != exact.loss and rough.loss == pytest.approx(exact.loss, rel=0.05)


def test_batches_are_the_images_asked_for(sample_prepared):
    for channels_last in (True, False):
        source = BatchSource(sample_prepared, INDICES, CPU, channels_last=channels_last)
        images, labels = source.batch(torch.tensor([3, 0, 3]))
        wanted = sample_prepared.gather(INDICES[[3, 0, 3]])
        assert images.dtype == torch.uint8 and np.array_equal(images.permute(0, 2, 3, 1).numpy(), wanted)
        assert images.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert np.array_equal(labels.numpy(), sample_prepared.labels[INDICES[[3, 0, 3]]])
