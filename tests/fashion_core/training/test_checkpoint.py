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
from fashion_core.models.saved import load_model, save_model
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


def test_saved_model_answers_the_same(result, sample_prepared, tmp_path):
    file = save(tmp_path / "new" / "folder", result.state)
    assert file == tmp_path / "new" / "folder" / MODEL_FILE and list(file.parent.iterdir()) == [file]
    images = torch.from_numpy(sample_prepared.gather(VAL)).permute(0, 3, 1, 2)
    for place in (file, file.parent, str(file)):
        saved = load_model(place)
        assert not saved.network.training
        with torch.inference_mode():
            wanted = result.state.evaluated_network.eval()(images)  # the averaged network was the evaluated one
            for one, other in zip(saved.network(images), wanted, strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert saved.config == CONFIG and saved.schema == sample_prepared.schema
    assert saved.metrics == result.metrics and saved.epoch == 1
    assert saved.confusion == [matrix.tolist() for matrix in result.confusion]
    assert saved.data_fingerprint == sample_prepared.fingerprint
    assert all(torch.equal(saved.network.state_dict()[key], value) for key, value in result.state.best.weights.items())


def test_a_model_needs_no_weights_to_load(result, tmp_path):
    """Its own are in the file: where the backbone's came from is of no matter any more."""
    config = CONFIG.model_copy(update={"weights": "gone.safetensors"})
    save(tmp_path, result.state, config)
    assert load_model(tmp_path).config.weights == "gone.safetensors"


def test_file_is_plain_safetensors(result, tmp_path):
    with safe_open(save(tmp_path, result.state), framework="np") as file:
        description = json.loads(file.metadata()["description"])
        weights = file.get_tensor("heads.0.weight")
    assert description["format"] == "fashion-attributes/1"
    assert description["config"]["backbone"] == "test_resnet"
    assert list(description["schema"]) == list(result.state.schema.names)
    np.testing.assert_array_equal(weights, result.state.best.weights["heads.0.weight"].numpy())


def test_memory_layout_does_not_change_values(tmp_path):
    weight = torch.randn(4, 3, 5, 5)
    write_tensors(tmp_path / "t.safetensors", {"w": weight.contiguous(memory_format=torch.channels_last)}, {})
    with safe_open(tmp_path / "t.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("w"), weight)


def test_failed_write_leaves_the_old_file(tmp_path):
    path = write_tensors(tmp_path / "t.safetensors", {"w": torch.zeros(2)}, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(path, {"w": torch.ones(2)}, {"a": object()})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_no_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.safetensors file, but there is none"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="there is none"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_cut_off_model(result, tmp_path, share):
    file = save(tmp_path, result.state)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="must be a complete safetensors file"):
        load_model(file)


def test_other_formats(folder, tmp_path):
    with pytest.raises(CheckpointError, match="format fashion-attributes/1, but has 'fashion-training/1'"):
        load_model(folder / TRAINING_FILE)
    foreign = write_tensors(tmp_path / "foreign.safetensors", {"w": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="has None"):
        load_model(foreign)


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
