"""Saved models: what goes in comes out, and damage is told."""

import json
import resource

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fashion_core.config import TrainConfig
from fashion_core.errors import CheckpointError
from fashion_core.files import MODEL_FILE, TRAINING_FILE, write_tensors
from fashion_core.models.saved import load_model, read_score, save_model
from fashion_core.training.checkpoint import save_training
from fashion_core.training.loop import fit

TRAIN, VAL = np.arange(16), np.arange(120, 128)
CONFIG = TrainConfig(
    **{"image_size": 64, "backbone": "test_resnet", "weights": "none", "batch_size": 8, "epochs": 2},
    **{"fc_layers": 1, "ema_decay": 0.5, "eval_flip": False, "category_weights": {"sleeve": 2.0}},
)


@pytest.fixture(scope="module")
def result(sample_prepared):
    return next(fit(CONFIG, sample_prepared, train=TRAIN, val=VAL, device="cpu"))


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


def test_other_formats(result, tmp_path):
    folder = tmp_path / "saved"
    save_training(folder, result.state)
    with pytest.raises(CheckpointError, match="format fashion-attributes/1, but has 'fashion-training/1'"):
        load_model(folder / TRAINING_FILE)
    foreign = write_tensors(tmp_path / "foreign.safetensors", {"w": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="has None"):
        load_model(foreign)


def test_a_score_is_read_without_weights(result, tmp_path):
    save(tmp_path, result.state)
    assert read_score(tmp_path) == (result.metrics["val/accuracy"], 1)
    config = result.state.config.model_copy(update={"objective": "val/class_accuracy"})
    save_model(tmp_path, result.state.best, config, result.state.schema, "f00d")
    assert read_score(tmp_path) == (result.metrics["val/class_accuracy"], 1)
    with pytest.raises(CheckpointError, match="there is none"):
        read_score(tmp_path / "nowhere")


@pytest.mark.parametrize("backbone", ["vit_giant_patch14_224", "test_vit", "test_efficientnet"])
def test_a_header_that_names_another_network_takes_no_memory(result, tmp_path, backbone):
    """The file of a small network says that it is a huge one (1 billion parameters, 4 GB)."""
    file = save(tmp_path, result.state, CONFIG.model_copy(update={"backbone": backbone}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=f"are not those of {backbone} at") as caught:
        load_model(file)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert len(str(caught.value).splitlines()) == 1 and grown < 1e9


def test_tensors_that_are_not_the_networks(result, tmp_path):
    file = save(tmp_path, result.state)
    tensors = load_file(file)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    name = "heads.0.weight"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, rf"{name} must be \(.*\), but is absent"),
        (tensors | {name: torch.zeros(2, 2)}, rf"{name} must be \(.*\), but is \(2, 2\)"),
        (tensors | {"more": torch.zeros(2)}, r"more must be absent, but is \(2,\)"),
    ):
        save_file(changed, file, metadata)
        with pytest.raises(CheckpointError, match=message):
            load_model(file)
