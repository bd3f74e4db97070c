"""Saved models and training states: what goes in comes out, and damage is told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from fashion_core.config import TrainConfig
from fashion_core.errors import CheckpointError
from fashion_core.files import MODEL_FILE, TRAINING_FILE, write_tensors
from fashion_core.models.saved import save_model
from fashion_core.training.checkpoint import load_training, save_training
from fashion_core.training.loop import fit
from fashion_core.training.state import build_state

CPU = torch.device("cpu")
TRAIN, VAL = np.arange(16), np.arange(120, 128)
CONFIG = TrainConfig(
    **{"image_size": 64, "backbone": "test_resnet", "weights": "none", "batch_size": 8, "epochs": 2},
    **{"fc_layers": 1, "ema_decay": 0.5, "eval_flip": False, "category_weights": {"sleeve": 2.0}},
)


@pytest.fixture(scope="module")
def result(sample_prepared):
    return next(fit(CONFIG, sample_prepared, train=TRAIN, val=VAL, device="cpu"))


@pytest.fixture
def folder(result, tmp_path) -> Path:
    save_training(tmp_path / "saved", result.state)
    return tmp_path / "saved"


def fresh_state(data, config=CONFIG):
    return build_state(config, data, TRAIN, CPU)


def save(path, state, config=CONFIG):
    return save_model(path, state.best, config, state.schema, state.data_fingerprint)


def test_training_state_comes_back(result, folder, sample_prepared):
    assert sorted(path.name for path in folder.iterdir()) == sorted([MODEL_FILE, TRAINING_FILE])
    state = fresh_state(sample_prepared)
    load_training(folder, state)
    assert (state.epoch, state.step, state.ema_updates) == (1, 2, 2)
    for own, other in ((state.network, result.state.network), (state.ema.module, result.state.ema.module)):
        assert all(torch.equal(own.state_dict()[key], value) for key, value in other.state_dict().items())
    assert state.best.epoch == 1 and state.best.metrics == result.state.best.metrics
    assert all(torch.equal(state.best.weights[key], value) for key, value in result.state.best.weights.items())
    for own, other in zip(state.best.confusion, result.state.best.confusion, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_optimizer_slots_keep_the_layout_of_their_parameters(sample_prepared, tmp_path, optimizer):
    """A fused step pairs elements by their place in memory: a slot of another layout is paired wrongly, silently."""
    config = CONFIG.model_copy(update={"optimizer": optimizer})
    first = next(fit(config, sample_prepared, train=TRAIN, val=VAL, device="cpu"))
    save_training(tmp_path, first.state)
    state = fresh_state(sample_prepared, config)
    load_training(tmp_path, state)
    seen = 0
    for parameter, slots in state.optimizer.state.items():
        for slot, tensor in slots.items():
            if tensor.ndim == 4:
                assert tensor.stride() == parameter.stride(), slot
                seen += 1
    assert seen > 0


def test_other_configurations_and_data_are_refused(folder, sample_prepared):
    other = CONFIG.model_copy(update={"lr": 0.5, "epochs": 9})
    with pytest.raises(CheckpointError, match="but epochs, lr changed"):
        load_training(folder, fresh_state(sample_prepared, other))
    state = fresh_state(sample_prepared)
    state.data_fingerprint = "another"
    with pytest.raises(CheckpointError, match="but got another"):
        load_training(folder, state)


def test_no_training_state(tmp_path, sample_prepared):
    with pytest.raises(CheckpointError, match="there is none"):
        load_training(tmp_path, fresh_state(sample_prepared))


def test_cut_off_training_state(folder, sample_prepared):
    content = (folder / TRAINING_FILE).read_bytes()
    (folder / TRAINING_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="must be a complete safetensors file"):
        load_training(folder, fresh_state(sample_prepared))


def test_a_state_of_before_there_were_objectives_goes_on(result, folder, sample_prepared):
    """What an older version did not have is at its default."""
    with safe_open(folder / TRAINING_FILE, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        description = json.loads(file.metadata()["description"])
    del description["config"]["objective"]
    write_tensors(folder / TRAINING_FILE, tensors, description)
    state = fresh_state(sample_prepared)
    load_training(folder, state)
    assert state.epoch == 1
    changed = CONFIG.model_copy(update={"objective": "val/class_accuracy"})
    with pytest.raises(CheckpointError, match="but objective changed"):
        load_training(folder, fresh_state(sample_prepared, changed))
