"""What a training is made of before its first epoch, and which of its networks counts."""

import numpy as np
import pytest
import torch
from missing_labels import blank_data

from fashion_core.config import TrainConfig
from fashion_core.errors import ConfigError
from fashion_core.training.state import build_state

CPU = torch.device("cpu")
TRAIN = np.arange(16)


def build(data, **values):
    config = {"image_size": 64, "backbone": "test_resnet", "weights": "none", **values}
    return build_state(TrainConfig(**config), data, TRAIN, CPU)


@pytest.fixture
def weights(tmp_path):
    """A file of random weights, which a probe may start from."""
    import timm

    path = tmp_path / "w.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return str(path)


def test_a_probe_trains_the_head_and_then_the_whole(sample_prepared, weights):
    state = build(sample_prepared, weights=weights, probe_epochs=2, epochs=3)
    assert state.is_probing and state.stage == (0, 2) and state.trained_network is state.head
    assert sum(len(group["params"]) for group in state.optimizer.param_groups) == len(state.network.head_parameters())
    state.epoch = 2
    assert not state.is_probing and state.stage == (2, 3) and state.trained_network is state.network
    state.begin_stage()
    assert sum(len(group["params"]) for group in state.optimizer.param_groups) == len(list(state.network.parameters()))


def test_the_average_counts_once_it_has_been_updated(sample_prepared):
    state = build(sample_prepared, ema_decay=0.5)
    assert state.evaluated_network is state.network
    state.ema_updates = 1
    assert state.evaluated_network is state.ema.module
    assert build(sample_prepared).ema is None


def test_any_epoch_is_better_than_none(sample_prepared):
    state = build(sample_prepared)
    assert state.best.metrics == {} and (state.epoch, state.step) == (0, 0)


def test_classes_are_counted_on_the_training_images_alone(sample_prepared):
    state = build(sample_prepared, class_balance=1.0)
    labels = sample_prepared.labels[TRAIN][:, 0]
    counts = np.maximum(np.bincount(labels, minlength=sample_prepared.schema.sizes[0]), 1)
    alpha = state.loss.alpha_0.numpy()
    np.testing.assert_allclose(alpha * counts, (alpha * counts)[0], rtol=1e-5)  # inversely proportional


def test_fp16_needs_a_gpu(sample_prepared):
    with pytest.raises(ConfigError, match="precision fp16 needs a GPU, but the device is cpu"):
        build(sample_prepared, precision="fp16")


def test_classes_are_counted_where_they_are_labelled(sample_prepared):
    data = blank_data(sample_prepared)
    alpha = build(data, class_balance=1.0).loss.alpha_0.numpy()
    column = data.labels[TRAIN][:, 0]
    counts = np.maximum(np.bincount(column[column >= 0], minlength=data.schema.sizes[0]), 1)
    assert (column < 0).any()
    np.testing.assert_allclose(alpha * counts, (alpha * counts)[0], rtol=1e-5)
