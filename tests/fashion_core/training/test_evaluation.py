"""Evaluation against answers worked out one image at a time, and against scikit-learn."""

import numpy as np
import pytest
import torch
from missing_labels import blank_data
from sklearn.metrics import accuracy_score, confusion_matrix

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.loading.batches import BatchSource
from fashion_core.models.network import build_network
from fashion_core.training.evaluation import ConfusionCounts, evaluate
from fashion_core.training.losses import WeightedFocalLoss

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
    scores = result.compute_metrics(names, metrics.Objective())
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


def test_autocast_is_used(sample_prepared):
    config, network = build(sample_prepared, eval_batch_size=4)
    source = BatchSource(sample_prepared, INDICES[:8], CPU)
    loss = WeightedFocalLoss([1.0] * len(sample_prepared.schema.sizes))
    exact = evaluate(network, source, loss, config)
    rough = evaluate(network, source, loss, config, torch.autocast("cpu", torch.bfloat16))  # entered once a batch
    assert rough.loss != exact.loss and rough.loss == pytest.approx(exact.loss, rel=0.05)


def test_counts_are_exact_beyond_float32():
    counts = ConfusionCounts((2,))
    counts.matrices[0][0, 0] = 2**24
    counts.update(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64))
    assert counts.to_numpy()[0][0, 0] == 2**24 + 1


# ------------------------------------------------------------------------------------------------------ missing labels


@pytest.mark.parametrize("batch", [4, 19])
def test_every_category_is_evaluated_on_its_labelled_images(sample_prepared, batch):
    """Batches with unequal numbers of labels, some with none: losses and scores are those of all images at once."""
    data = blank_data(sample_prepared)
    data.labels[INDICES[:9], 2] = -1
    config, network = build(data, eval_flip=False, eval_batch_size=batch)
    weights = [1.0 + k for k in range(6)]
    result = evaluate(network, BatchSource(data, INDICES, CPU), WeightedFocalLoss(weights, normalise=False), config)
    labels, names = data.labels[INDICES], data.schema.names
    scores, total, accuracies = result.compute_metrics(names, metrics.Objective()), 0.0, []
    for k, values in enumerate(answer_by_hand(network, data, INDICES, False)):
        known = np.flatnonzero(labels[:, k] >= 0)
        answers, truth = values.argmax(1)[known], labels[known, k]
        np.testing.assert_array_equal(
            result.confusion[k], confusion_matrix(truth, answers, labels=range(len(values[0])))
        )
        wanted = np.where(labels[:, k] >= 0, values.argmax(1) == labels[:, k], np.nan)
        np.testing.assert_array_equal(result.correct[:, k], wanted)
        p = values[known, truth].astype(np.float64)
        loss = float(np.mean(-((1 - p) ** 2) * np.log(p)))
        assert scores[f"val/loss/{names[k]}"] == pytest.approx(loss, rel=1e-3)
        assert scores[f"val/accuracy/{names[k]}"] == pytest.approx(accuracy_score(truth, answers))
        total += weights[k] * loss
        accuracies.append(accuracy_score(truth, answers))
    assert (labels < 0).any(0).sum() >= 4
    assert scores[metrics.VAL_LOSS] == pytest.approx(total, rel=1e-3)
    assert scores[metrics.ACCURACY] == pytest.approx(np.mean(accuracies))
    assert scores[metrics.ACCURACY_SE] == metrics.compute_standard_error(result.correct) > 0
