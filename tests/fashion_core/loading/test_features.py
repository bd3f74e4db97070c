"""Probes: cached features are the backbone's own, and training on them is training with a frozen backbone."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fashion_core import metrics
from fashion_core.config import TrainConfig, build_config
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData, prepare
from fashion_core.errors import ConfigError, DataError
from fashion_core.loading.features import FeatureSource, cache_features, compute_features, open_features
from fashion_core.models.backbones import build_backbone
from fashion_core.models.forward import predict_pixels
from fashion_core.models.saved import load_model, save_model
from fashion_core.training.checkpoint import save_training
from fashion_core.training.loop import fit, seed_epoch

CPU = torch.device("cpu")
TRAIN, VAL = np.arange(96), np.arange(120, 168)
NOT_PROBED = {"drop_path": 0.1, "ema_decay": 0.9, "crop_strength": 0.3, "jitter": 0.2, "erasing": 0.2, "mixup": 0.4}


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[str, str]:
    """Files of weights, drawn at random, by backbone."""
    folder, paths = tmp_path_factory.mktemp("weights"), {}
    for name in ("test_resnet", "test_efficientnet"):
        torch.manual_seed(7)
        paths[name] = str(folder / f"{name}.safetensors")
        save_file(build_backbone(name, weights="none", feature="logits").network.state_dict(), paths[name])
    return paths


@pytest.fixture
def build(weights):
    """A configuration of a probe."""

    def build(backbone="test_resnet", **values) -> TrainConfig:
        plain = {"image_size": 64, "batch_size": 16, "epochs": 3, "probe_epochs": 3, "probe_lr": 0.01}
        return build_config({"backbone": backbone, "weights": weights[backbone], **plain, **values})

    return build


def train(config, data, **options):
    return list(fit(config, data, train=TRAIN, val=VAL, device="cpu", **options))


def strip_times(scores):
    timed = metrics.OF_MACHINE
    return {name: value for name, value in scores.items() if name not in timed}


def copy_state(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def find_different(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


# ------------------------------------------------------------------------------------------------------------ the cache


@pytest.mark.parametrize("feature", ["pooled", "logits"])
def test_features_are_what_the_backbone_makes_of_each_image(build, sample_prepared, tmp_path, feature):
    config = build(feature=feature, eval_batch_size=50)  # the last batch is not full
    features = open_features(cache_features(config, sample_prepared, tmp_path, "cpu"))
    backbone = build_backbone("test_resnet", weights=config.weights, feature=feature).eval()
    pixels = torch.from_numpy(sample_prepared.gather(np.arange(len(sample_prepared)))).permute(0, 3, 1, 2)
    assert features.values.shape == (2, len(sample_prepared), backbone.feature_size)
    with torch.inference_mode():
        for values, images in zip(features.values, (pixels, pixels.flip(3)), strict=True):
            torch.testing.assert_close(values, backbone(images), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(*features.values)


def test_a_batch_is_an_image_and_its_mirror_image(sample_prepared):
    values = torch.arange(2.0)[:, None, None] * 1000 + torch.arange(len(sample_prepared))[:, None] + torch.zeros(3)
    source = FeatureSource(values, sample_prepared, VAL, CPU)
    batch, labels = source.batch(torch.tensor([4, 0]))
    assert batch.shape == (2, 3, 1, 2) and len(source) == len(VAL)
    assert batch[:, 0, 0].tolist() == [[124, 1124], [120, 1120]]
    assert torch.equal(labels, torch.from_numpy(sample_prepared.labels[[124, 120]]))
    for flip, wanted in ((0.0, {124}), (1.0, {1124}), (0.5, {124, 1124})):
        drawn, labels = source.draw(torch.full((64,), 4), flip, torch.Generator().manual_seed(1))
        assert drawn.shape == (64, 3, 1, 1) and set(drawn.flatten().tolist()) == wanted
        assert torch.equal(labels[0], torch.from_numpy(sample_prepared.labels[124]))


def test_a_second_call_opens_the_file(build, sample_prepared, tmp_path):
    seen = []
    path = cache_features(build(), sample_prepared, tmp_path, "cpu", progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (len(sample_prepared), len(sample_prepared))
    before, seen = path.stat().st_mtime_ns, []
    other = build(fc_layers=2, focal_gamma=1.0, probe_lr=0.5, seed=3)  # nothing of the backbone
    assert cache_features(other, sample_prepared, tmp_path, "cpu", progress=lambda *counts: seen.append(counts)) == path
    assert path.stat().st_mtime_ns == before and not seen


def cache_at_once(barrier, config, prepared: Path, folder: Path, counts) -> None:
    torch.set_num_threads(1)
    barrier.wait(timeout=100)
    counted = []
    cache_features(config, PreparedData.open(prepared), folder, "cpu", progress=lambda *done: counted.append(done))
    counts.put(len(counted))


@pytest.mark.slow
def test_two_processes_at_once_compute_once(build, sample_prepared, tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, counts = context.Barrier(2), context.Queue()
    arguments = (barrier, build(), sample_prepared.path, tmp_path, counts)
    processes = [context.Process(target=cache_at_once, args=arguments, daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    found = sorted(counts.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    assert found[0] == 0 and found[1] > 0
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 and not list(tmp_path.glob("*.tmp"))


@pytest.mark.slow
def test_a_damaged_file_is_made_again(build, sample_prepared, tmp_path):
    path = cache_features(build(), sample_prepared, tmp_path, "cpu")
    content = path.read_bytes()
    flipped, told = content[:-4] + bytes([content[-4] ^ 1]) + content[-3:], []
    for damage in (content[:-7], b"", b"\0" * 100, flipped):
        path.write_bytes(damage)
        if damage != flipped:
            with pytest.raises(DataError, match="features must stand in a whole file"):
                open_features(path)
        assert cache_features(build(), sample_prepared, tmp_path, "cpu", tell=told.append) == path
        assert path.read_bytes() == content
    assert len(told) == 4 and all(f"{path.name} is made anew" in line for line in told)


@pytest.mark.slow
def test_a_probe_is_scored_in_float32_whatever_it_trains_in(build, sample_prepared):
    """As its features are, and as the model that comes of it answers."""
    losses = {}
    for precision in ("fp32", "bf16"):
        config = build(epochs=1, probe_epochs=1, precision=precision, eval_flip=False)
        (result,) = train(config, sample_prepared)
        losses[precision] = result.metrics[metrics.TRAIN_LOSS]
        val = sample_prepared.indices("val")
        features = compute_features(result.state.network.backbone, sample_prepared, config, torch.device("cpu"))
        with torch.inference_mode():
            logits = result.state.network.eval().forward_features(features[0, val])
        for found, wanted in zip(result.probabilities, logits, strict=True):
            assert found == pytest.approx(wanted.softmax(1).numpy(), abs=1e-6)
    assert losses["bf16"] != losses["fp32"] and losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


@pytest.mark.slow
def test_what_decides_the_features_decides_the_name(build, sample_folder, sample_prepared, weights, tmp_path):
    other = tmp_path / "other.safetensors"
    state = build_backbone("test_resnet", weights=weights["test_resnet"], feature="logits").network.state_dict()
    state["conv1.0.weight"][0, 0, 0, 0] += 1e-3
    save_file(state, other)
    small = prepare(load_annotations(sample_folder), PrepareSettings(32), tmp_path)
    whole = prepare(load_annotations(sample_folder), PrepareSettings(64, "whole"), tmp_path)
    paths = [
        cache_features(build(**values), data, tmp_path, "cpu")
        for values, data in (
            ({}, sample_prepared),
            ({"weights": str(other)}, sample_prepared),
            ({"backbone": "test_efficientnet"}, sample_prepared),
            ({"feature": "logits"}, sample_prepared),
            ({"image_size": 32}, small),
            ({"crop": "whole"}, whole),
        )
    ]
    assert len(set(paths)) == len(paths)


# ------------------------------------------------------------------------------------------------------------ the probe


@pytest.mark.slow
@pytest.mark.parametrize("fc_layers", [0, 2])
def test_a_probe_is_training_with_a_frozen_backbone(build, sample_prepared, tmp_path, fc_layers):
    """Against a plain loop over pixels: PyTorch's AdamW and cross-entropy, weights of the categories."""
    config = build(
        precision="fp32",
        fc_layers=fc_layers, dropout=0.0, focal_gamma=0.0, schedule="constant", warmup_fraction=0.0, weight_decay=0.1,
        category_weights={"sleeve": 3.0}, normalise_weights=False, seed=5,
    )  # fmt: skip
    results = train(config, sample_prepared, features=cache_features(config, sample_prepared, tmp_path, "cpu"))
    network = next(
        fit(config.model_copy(update={"probe_lr": 1e-30}), sample_prepared, train=TRAIN, val=VAL)
    ).state.network
    start = copy_state(network.backbone)
    for parameter in network.backbone.parameters():
        parameter.requires_grad = False
    matrices = [weight for weight in network.head_parameters() if weight.ndim > 1]
    biases = [weight for weight in network.head_parameters() if weight.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    scale = [3.0 if name == "sleeve" else 1.0 for name in sample_prepared.schema.names]

    def show(indices):
        pixels = torch.from_numpy(sample_prepared.gather(indices)).permute(0, 3, 1, 2)
        return pixels, torch.from_numpy(sample_prepared.labels[indices])

    for epoch, result in enumerate(results):
        generator = seed_epoch(5, epoch)
        for positions in torch.randperm(len(TRAIN), generator=generator).split(16):
            images, labels = show(TRAIN[positions.numpy()])
            flipped = torch.rand(16, generator=generator) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(3), images)
            loss = sum(
                weight * torch.nn.functional.cross_entropy(logits, labels[:, index])
                for index, (weight, logits) in enumerate(zip(scale, network.eval()(images), strict=True))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        images, labels = show(VAL)
        with torch.no_grad():
            both = zip(network(images), network(images.flip(3)), strict=True)
            answers = torch.stack([(a.softmax(1) + b.softmax(1)).argmax(1) for a, b in both], 1)
        assert result.metrics[metrics.ACCURACY] == pytest.approx((answers == labels).float().mean().item(), abs=1 / 288)
    trained = results[-1].state.network
    for one, other in zip(trained.head_parameters(), network.head_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)
    assert not find_different(copy_state(trained.backbone), start)


@pytest.mark.slow
def test_features_computed_now_are_those_of_the_file(build, sample_prepared, tmp_path):
    config = build(dropout=0.3)
    from_file = train(config, sample_prepared, features=cache_features(config, sample_prepared, tmp_path, "cpu"))
    for one, other in zip(from_file, train(config, sample_prepared), strict=True):
        assert strip_times(one.metrics) == strip_times(other.metrics)


def test_a_probes_model_is_complete(build, sample_prepared, tmp_path):
    """What is saved answers pixels, with the score that the probe had."""
    result = train(build(), sample_prepared)[-1]
    state = result.state
    saved = load_model(save_model(tmp_path, state.best, state.config, state.schema, state.data_fingerprint).parent)
    probabilities = predict_pixels(saved, sample_prepared.gather(VAL))
    answers = np.stack([values.argmax(1) for values in probabilities], 1)
    assert (answers == sample_prepared.labels[VAL]).mean() == pytest.approx(saved.metrics[metrics.ACCURACY], abs=1e-6)
    assert saved.metrics[metrics.ACCURACY] > 0.3 and not find_different(
        copy_state(saved.network.backbone), copy_state(state.network.backbone)
    )


def test_features_of_something_else_are_refused(build, sample_prepared, tmp_path):
    path = cache_features(build(), sample_prepared, tmp_path, "cpu")
    for values in ({"backbone": "test_efficientnet"}, {"feature": "logits"}):
        with pytest.raises(DataError, match="made from other weights or images; cache them again"):
            train(build(**values), sample_prepared, features=path)


@pytest.mark.parametrize("name", NOT_PROBED)
def test_what_a_probe_cannot_do_is_refused(build, name):
    with pytest.raises(ConfigError, match=rf"  `{name}` must be 0 where all epochs are probe epochs \(3 of 3\)"):
        build(**{name: NOT_PROBED[name]})
    build(epochs=4, **{name: NOT_PROBED[name]})  # the last epoch trains the whole network


def test_random_weights_are_not_probed(build):
    with pytest.raises(ConfigError, match="`weights` must be pretrained"):
        build(weights="none")


# ------------------------------------------------------------------------------------------- probing, then fine-tuning


@pytest.mark.slow
def test_fine_tuning_starts_from_the_probed_head(build, sample_prepared):
    """The backbone stays as it was through the probe, then moves; each stage has a schedule and a rate of its own."""
    config = build(epochs=4, probe_epochs=2, lr=1e-3, schedule="cosine", warmup_fraction=0.5)
    backbones, rates, optimizers = [], [], []
    for result in fit(config, sample_prepared, train=TRAIN, val=VAL, device="cpu"):
        backbones.append(copy_state(result.state.network.backbone))
        rates.append(result.metrics[metrics.LEARNING_RATE])
        optimizers.append(result.state.optimizer)
        assert result.metrics[metrics.PROBE] == (result.epoch <= 2)
    start = copy_state(build_backbone("test_resnet", weights=config.weights))
    assert not find_different(backbones[0], start) and not find_different(backbones[1], start)
    assert find_different(backbones[2], start)
    # six steps an epoch: 6/7 of the peak at the end of the warm-up of 6 of 12 steps, 0 at the end of the stage
    assert rates == pytest.approx([0.01 * 6 / 7, 0, 1e-3 * 6 / 7, 0])
    assert optimizers[0] is not optimizers[1] is optimizers[2] is optimizers[3]


@pytest.mark.slow
def test_the_probe_of_two_stages_is_the_probe(build, sample_prepared):
    """Augmentation, stochastic depth and averaging come with the whole network, and change nothing before."""
    alone = train(build(), sample_prepared)
    both = fit(build(epochs=4, **NOT_PROBED), sample_prepared, train=TRAIN, val=VAL, device="cpu")
    for one, other in zip(alone, both, strict=False):
        assert strip_times(one.metrics) == strip_times(other.metrics)
        if other.epoch == 3:
            assert other.state.best.epoch == one.state.best.epoch
            assert not find_different(other.state.best.weights, one.state.best.weights)
            break
    last = next(both)
    assert last.state.ema_updates == 6 and last.metrics[metrics.PROBE] == 0


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_resuming_gives_the_same_numbers_in_both_stages(build, sample_prepared, tmp_path, stop_after):
    """Stopped within the probe, between the stages, and within the fine-tuning; to the bit."""
    config = build(epochs=4, probe_epochs=2, dropout=0.3, lr=1e-3, **NOT_PROBED)
    straight = train(config, sample_prepared)
    for result in fit(config, sample_prepared, train=TRAIN, val=VAL, device="cpu"):
        if result.epoch == stop_after:
            break
    save_training(tmp_path, result.state)
    torch.rand(11)  # whatever else the process draws
    resumed = train(config, sample_prepared, resume=tmp_path)
    assert [result.epoch for result in resumed] == list(range(stop_after + 1, 5))
    for one, other in zip(straight[stop_after:], resumed, strict=True):
        assert strip_times(one.metrics) == strip_times(other.metrics)
    one, other = straight[-1].state, resumed[-1].state
    assert not find_different(copy_state(one.network), copy_state(other.network))
    assert not find_different(copy_state(one.ema.module), copy_state(other.ema.module))
    assert one.best.epoch == other.best.epoch and not find_different(one.best.weights, other.best.weights)
