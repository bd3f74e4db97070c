"""What a training takes of a GPU: the steps that are measured run anywhere; memory is told where there is a GPU."""

import pytest
import torch

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.data.schema import AttributeSchema
from fashion_core.samples.dataset import draw_sample_data
from fashion_core.training import memory
from fashion_core.training.loop import fit
from fashion_core.training.memory import measure_peak, take_steps

SCHEMA = AttributeSchema.from_dict({"sleeve": ["no", "short", "long"], "fit": ["tight", "loose"]})
SMALL = TrainConfig(
    backbone="test_resnet", image_size=32, batch_size=4, eval_batch_size=6, weights="none", drop_path=0.1
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema_decay": 0.9, "mixup": 0.2, "crop_strength": 0.2, "jitter": 0.2, "erasing": 0.5},
        {"optimizer": "sgd", "channels_last": False, "fc_layers": 4, "grad_clip_norm": 1.0},
        {"feature": "logits"},
        {"pooling": "attention", "image_size": 64},
        {"probe_epochs": 2, "weights": "auto", "epochs": 6},
    ],
)
def test_trainings_of_all_kinds_take_their_steps(monkeypatch, changes):
    taken = []
    real = memory.train_step
    monkeypatch.setattr(memory, "train_step", lambda *given: taken.append(given[1].shape) or real(*given))
    take_steps(SMALL.model_copy(update=changes), SCHEMA, torch.device("cpu"))
    side = changes.get("image_size", 32)
    assert taken == [(4, 3, side, side)] * memory.STEPS


def test_a_probe_trains_on_features_that_are_there_already(monkeypatch):
    seen = []
    monkeypatch.setattr(memory, "train_step", lambda *_: pytest.fail("a probe sees no images"))
    monkeypatch.setattr(memory, "predict_batch", lambda network, images, **_: seen.append(images.shape))
    probe = {"probe_epochs": 3, "epochs": 3, "weights": "auto", "drop_path": 0}
    take_steps(SMALL.model_copy(update=probe), SCHEMA, torch.device("cpu"))
    assert seen == [(6, 3, 32, 32)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0"])
def test_a_training_takes_of_a_gpu_what_was_measured(tmp_path, backbone):
    data = load_annotations(draw_sample_data(tmp_path / "sample", train=120, val=48, test=24))
    prepared = prepare(data, PrepareSettings(image_size=64, crop="box", crop_margin=0.0), tmp_path / "prepared")
    device = torch.device("cuda", 0)
    config = TrainConfig(
        backbone=backbone, image_size=64, crop="box", crop_margin=0.0, batch_size=32, weights="none", epochs=1
    )
    measured = measure_peak(config, prepared.schema, device)
    torch.cuda.reset_peak_memory_stats(device)
    list(fit(config, prepared))
    taken = torch.cuda.max_memory_reserved(device)
    assert taken <= 1.15 * measured and measured <= 2 * taken


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_does_not_fit_on_a_gpu_is_told():
    total = torch.cuda.get_device_properties(0).total_memory
    images = total // (3 * 32 * 32 * 4)  # in float32, they alone are more than it has with what comes of them
    assert measure_peak(SMALL.model_copy(update={"batch_size": images}), SCHEMA, torch.device("cuda", 0)) is None
