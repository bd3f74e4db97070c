"""The training loop: it learns, stops at NaN, resumes to the bit, and every field of the configuration matters."""

import math

import numpy as np
import pytest
import torch
from missing_labels import blank_data
from safetensors.torch import save_file

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData, prepare
from fashion_core.errors import ConfigError, DataError, DivergedError
from fashion_core.loading.augment import mixup
from fashion_core.loading.batches import BatchSource
from fashion_core.models.backbones import Backbone, build_backbone
from fashion_core.training.checkpoint import save_training
from fashion_core.training.loop import fit, run_epoch, train_epoch, train_step
from fashion_core.training.state import assemble_state, build_state

CPU = torch.device("cpu")
TINY = {
    "image_size": 64,
    "backbone": "test_resnet",
    "weights": "none",
    "batch_size": 8,
    "epochs": 2,
    "precision": "fp32",  # `auto` would depend on the CPU
    "eval_flip": False,
}
TRAIN, VAL = np.arange(16), np.arange(120, 128)
REPORT_BACKBONES = ("resnet50", "legacy_seresnet50", "legacy_seresnext50_32x4d")
# Table 2 of the report: 224 px, the backbone's 1000 outputs, focal loss, Adam at a constant rate
REPORT = {
    "image_size": 224,
    "weights": "none",
    "feature": "logits",
    "focal_gamma": 2.0,
    "optimizer": "adam",
    "lr": 1e-3,
    "schedule": "constant",
    "warmup_fraction": 0.0,
}
EVERYTHING = {  # all that draws or averages
    "dropout": 0.3,
    "drop_path": 0.1,
    "early_share": 0.5,
    "layer_decay": 0.9,
    "pooling": "attention",
    "flip": 0.5,
    "crop_strength": 0.4,
    "jitter": 0.3,
    "erasing": 0.3,
    "mixup": 0.4,
    "ema_decay": 0.9,
    "weight_decay": 0.01,
}


def tiny(**values) -> TrainConfig:
    return TrainConfig(**{**TINY, **values})


def train(config, data, images=TRAIN, val=VAL, **options):
    return list(fit(config, data, train=images, val=val, device="cpu", **options))


def strip_times(scores: dict[str, float]) -> dict[str, float]:
    timed = metrics.OF_MACHINE
    return {name: value for name, value in scores.items() if name not in timed}


def copy_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def assert_equal_states(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, different[:5]


def first_batch(data: PreparedData, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return BatchSource(data, TRAIN, CPU).batch(torch.arange(count))


# ------------------------------------------------------------------------------------------------------- the objective


def test_the_best_epoch_is_that_of_the_objective(sample_prepared):
    """The same epochs, whatever the objective; kept is the one that is best by it, the first of equals."""
    names = [metrics.ACCURACY, metrics.CLASS_ACCURACY, "val/accuracy/sleeve"]
    val, found, rows = np.arange(120, 168), {}, []
    for name in names:
        results = train(tiny(objective=name, epochs=6, lr=0.01), sample_prepared, val=val)
        rows.append([{key: each.metrics[key] for key in names} for each in results])
        scores, best = [each.metrics[name] for each in results], results[-1].state.best
        assert best.epoch == 1 + scores.index(max(scores)) and best.metrics[name] == max(scores)
        found[name] = best.epoch
    assert rows[0] == rows[1] == rows[2] and len(set(found.values())) > 1


def test_an_objective_comes_with_its_error(sample_prepared):
    (_, last) = train(tiny(objective="val/accuracy/sleeve"), sample_prepared)
    right = last.correct[:, sample_prepared.schema.names.index("sleeve")]
    assert last.metrics["val/accuracy_se/sleeve"] == pytest.approx(right.std(ddof=1) / np.sqrt(len(VAL)))
    assert metrics.ACCURACY_SE in last.metrics


def test_an_objective_names_a_category_of_the_data(sample_prepared):
    with pytest.raises(ConfigError, match=r"`objective` must name a category of the data, pattern, .* got collar; "):
        train(tiny(objective="val/accuracy/collar"), sample_prepared)
    with pytest.raises(ConfigError, match="`objective`"):
        tiny(objective="val/loss")


# ------------------------------------------------------------------------------------------------------------ it learns


@pytest.fixture(scope="session")
def report_prepared(sample_folder, tmp_path_factory) -> PreparedData:
    """The drawn data set at the report's 224 px."""
    folder = tmp_path_factory.mktemp("report")
    return prepare(load_annotations(sample_folder), PrepareSettings(224), folder)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", REPORT_BACKBONES)
def test_protocol_of_the_report_runs(report_prepared, backbone):
    """Two steps at 224 px through the whole loop."""
    config = TrainConfig(**REPORT, backbone=backbone, batch_size=2, epochs=1, eval_flip=False)
    (result,) = train(config, report_prepared, TRAIN[:4], VAL[:2])
    assert result.state.step == 2 and math.isfinite(result.metrics[metrics.TRAIN_LOSS])
    assert result.metrics[metrics.LEARNING_RATE] == 1e-3
    assert [head.in_features for head in result.state.network.heads] == [1000] * len(report_prepared.schema.sizes)
    assert [head.out_features for head in result.state.network.heads] == list(report_prepared.schema.sizes)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", REPORT_BACKBONES)
def test_report_backbones_overfit_one_batch(sample_prepared, backbone):
    """Random weights, the report's loss and optimizer, 64 px to stay cheap: one batch learnt by heart."""
    config = TrainConfig(**{**REPORT, "image_size": 64, "backbone": backbone, "dropout": 0.0})
    state = build_state(config, sample_prepared, TRAIN, CPU)
    images, labels = first_batch(sample_prepared)
    state.network.train()
    accuracy = 0.0
    for _ in range(16):
        for _ in range(5):
            train_step(state, images, labels, torch.Generator())
        with torch.no_grad():
            answers = torch.stack([logits.argmax(1) for logits in state.network(images)], 1)
        accuracy = (answers == labels).float().mean().item()
        if accuracy >= 0.99:
            break
    assert accuracy >= 0.99


@pytest.mark.slow
def test_whole_loop_overfits(sample_prepared):
    """Evaluated on what it was trained on, with the running statistics of batch norm."""
    config = tiny(epochs=80, lr=5e-3, flip=0.0, dropout=0.0, batch_size=16)
    results = train(config, sample_prepared, TRAIN, TRAIN)
    assert results[-1].metrics[metrics.ACCURACY] >= 0.99
    assert results[0].metrics[metrics.TRAIN_LOSS] > 10 * results[-1].metrics[metrics.TRAIN_LOSS]


# -------------------------------------------------------------------------------------------------- what a result holds


def test_results_of_an_epoch(sample_prepared):
    names, sizes = sample_prepared.schema.names, sample_prepared.schema.sizes
    config = tiny(epochs=3)
    results = train(config, sample_prepared, TRAIN[:15], VAL)  # 15 images: one batch of 8, the rest waits
    assert [result.epoch for result in results] == [1, 2, 3]
    assert results[0].state is results[2].state and results[2].state.step == 3
    wanted = {
        *("train/loss", "val/loss", "val/accuracy", "val/class_accuracy", "val/accuracy_se", "lr"),
        *("train/images_per_second", "train/seconds", "val/seconds"),
        *(f"{metric}/{name}" for metric in ("train/loss", "val/loss", "val/accuracy") for name in names),
    }
    for result in results:
        assert set(result.metrics) == wanted and all(math.isfinite(value) for value in result.metrics.values())
        assert [matrix.shape for matrix in result.confusion] == [(size, size) for size in sizes]
        assert all(matrix.sum() == len(VAL) for matrix in result.confusion)
        categories = [result.metrics[f"train/loss/{name}"] for name in names]
        assert sum(categories) == pytest.approx(result.metrics["train/loss"], rel=1e-5)  # all weights 1
    accuracies = [result.metrics[metrics.ACCURACY] for result in results]
    best = results[-1].state.best
    assert best.metrics[metrics.ACCURACY] == max(accuracies)
    assert best.epoch == 1 + accuracies.index(max(accuracies))  # the first of equals


def test_best_weights_are_those_of_their_epoch(sample_prepared):
    states = []
    for result in fit(tiny(epochs=4, lr=0.02), sample_prepared, train=TRAIN, val=VAL, device="cpu"):
        states.append(copy_state(result.state.network))
    assert_equal_states(result.state.best.weights, states[result.state.best.epoch - 1])


def test_small_sets_are_one_batch(sample_prepared):
    (result,) = train(tiny(epochs=1, batch_size=64), sample_prepared)
    assert result.state.step == 1


def test_learning_rate_is_that_of_the_last_step(sample_prepared):
    results = train(tiny(schedule="constant", warmup_fraction=0.5, lr=0.01), sample_prepared)
    assert [result.metrics[metrics.LEARNING_RATE] for result in results] == pytest.approx([0.01 * 2 / 3, 0.01])


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("values", [{"image_size": 96}, {"crop": "whole"}, {"crop": "box_margin", "crop_margin": 0.2}])
def test_data_prepared_otherwise_is_refused(sample_prepared, values):
    with pytest.raises(ConfigError, match=r"must be those of the prepared data.*image_size=64"):
        train(tiny(**values), sample_prepared)


def test_impossible_sets_of_images_are_refused(sample_prepared):
    none = np.array([], np.int64)
    with pytest.raises(DataError, match="at least one image to train"):
        train(tiny(), sample_prepared, none)
    with pytest.raises(DataError, match="at least one image to val"):
        train(tiny(), sample_prepared, TRAIN, none)
    with pytest.raises(DataError, match="at least 2 training images"):
        train(tiny(), sample_prepared, TRAIN[:1])
    test = sample_prepared.indices("test")
    assert (sample_prepared.labels[test] < 0).all()
    with pytest.raises(DataError, match=f"every val image must be labelled, but {len(test)} are not"):
        train(tiny(), sample_prepared, TRAIN, test)


class ToldSource(BatchSource):
    """Writes down what is asked of it."""

    def __init__(self, *given):
        super().__init__(*given)
        self.asked = []

    def batch(self, positions):
        self.asked.append("batch")
        return super().batch(positions)

    def settle(self, scale=1.0):
        self.asked.append(scale)


@pytest.mark.parametrize(("changes", "scale"), [({}, 1.0), ({"early_share": 0.5, "early_size": 0.5}, 4.0)])
def test_images_stay_on_a_gpu_only_once_a_step_has_told_what_training_takes(sample_prepared, changes, scale):
    config = tiny(epochs=4, **changes)
    seen, unseen = (ToldSource(sample_prepared, indices, CPU) for indices in (TRAIN, VAL))
    run_epoch(build_state(config, sample_prepared, TRAIN, CPU), seen, unseen)
    assert seen.asked[:2] == ["batch", scale]
    assert set(unseen.asked[:-1]) == {"batch"} and unseen.asked[-1] == scale


# ------------------------------------------------------------------------------------------------------------------ NaN


def test_nan_names_epoch_and_step(sample_prepared):
    state = build_state(tiny(), sample_prepared, TRAIN, CPU)
    sources = [BatchSource(sample_prepared, indices, CPU) for indices in (TRAIN, VAL)]
    run_epoch(state, *sources)
    with torch.no_grad():
        state.network.heads[0].weight[0, 0] = math.nan
    with pytest.raises(DivergedError, match="nan in epoch 2 at step 3") as caught:
        train_epoch(state, sources[0])
    assert (caught.value.epoch, caught.value.step) == (2, 3) and math.isnan(caught.value.loss)


def test_impossible_learning_rate_diverges(sample_prepared):
    """Weight decay at such a rate multiplies weights by -1000 a step: the range of float32 ends within a dozen."""
    config = tiny(
        optimizer="sgd", lr=100, weight_decay=10, momentum=0, schedule="constant", warmup_fraction=0, epochs=15
    )
    with pytest.raises(DivergedError) as caught:
        train(config, sample_prepared)
    assert caught.value.epoch == math.ceil(caught.value.step / 2) and not math.isfinite(caught.value.loss)


# ------------------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize(
    "optimizer", ["adamw", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adam", "sgd"))]
)
@pytest.mark.parametrize("channels_last", [True, False])
def test_resuming_gives_the_same_numbers(sample_prepared, tmp_path, optimizer, channels_last):
    """Stopped after epoch 1 and gone on with, to the bit: metrics, weights, averages, momenta and the best epoch."""
    config = tiny(**EVERYTHING, optimizer=optimizer, channels_last=channels_last, epochs=3, lr=0.01)
    straight = train(config, sample_prepared)
    first = next(fit(config, sample_prepared, train=TRAIN, val=VAL, device="cpu"))
    save_training(tmp_path, first.state)
    torch.rand(11)  # whatever else the process draws
    resumed = train(config, sample_prepared, resume=tmp_path)
    assert [result.epoch for result in resumed] == [2, 3]
    for one, other in zip(straight[1:], resumed, strict=True):
        assert strip_times(one.metrics) == strip_times(other.metrics)
        assert all(np.array_equal(a, b) for a, b in zip(one.confusion, other.confusion, strict=True))
    one, other = straight[-1].state, resumed[-1].state
    assert (one.step, one.ema_updates) == (other.step, other.ema_updates) == (6, 6)
    assert_equal_states(copy_state(one.network), copy_state(other.network))
    assert_equal_states(copy_state(one.ema.module), copy_state(other.ema.module))
    slots, others = (state.optimizer.state_dict()["state"] for state in (one, other))
    assert slots.keys() == others.keys()
    for index in slots:
        assert_equal_states(slots[index], others[index])
    assert one.best.epoch == other.best.epoch and strip_times(one.best.metrics) == strip_times(other.best.metrics)
    assert_equal_states(one.best.weights, other.best.weights)


def test_a_finished_run_has_nothing_left(sample_prepared, tmp_path):
    save_training(tmp_path, train(tiny(), sample_prepared)[-1].state)
    assert train(tiny(), sample_prepared, resume=tmp_path) == []


# ------------------------------------------------------------------------------------- every field of the configuration

# field -> (what else must be set for it to matter, another value)
CHANGES = {
    "backbone": ({}, "test_efficientnet"),
    "feature": ({}, "logits"),
    "fc_layers": ({}, 2),
    "dropout": ({}, 0.5),
    "drop_path": ({}, 0.5),
    "focal_gamma": ({}, 0.0),
    "category_weights": ({}, {"sleeve": 5.0}),
    "normalise_weights": ({"category_weights": {"sleeve": 5.0}, "optimizer": "sgd"}, False),
    "label_smoothing": ({}, 0.2),
    "class_balance": ({}, 1.0),
    "optimizer": ({"weight_decay": 1.0}, "adam"),  # without weight decay adam and adamw are one
    "lr": ({}, 1e-3),
    "head_lr_factor": ({}, 10.0),
    "layer_decay": ({}, 0.5),
    "pooling": ({}, "attention"),
    "weight_decay": ({}, 1.0),
    "momentum": ({"optimizer": "sgd"}, 0.0),
    "schedule": ({}, "constant"),
    "warmup_fraction": ({}, 0.5),
    "epochs": ({}, 3),
    "batch_size": ({}, 4),
    "grad_clip_norm": ({"optimizer": "sgd"}, 1e-3),
    "ema_decay": ({}, 0.9),
    "sam_rho": ({}, 0.5),
    "early_share": ({}, 0.5),
    "early_size": ({"early_share": 0.5}, 0.5),
    "flip": ({}, 0.0),
    "crop_strength": ({}, 0.5),
    "jitter": ({}, 0.5),
    "erasing": ({}, 1.0),
    "mixup": ({}, 1.0),
    "precision": ({}, "bf16"),
    "eval_flip": ({}, True),
    "seed": ({}, 1),
    "start_seed": ({}, 1),
}
SHOWN_ELSEWHERE = {
    "image_size": "test_data_prepared_otherwise_is_refused",
    "crop": "test_data_prepared_otherwise_is_refused",
    "crop_margin": "test_data_prepared_otherwise_is_refused",
    "weights": "test_weights_are_the_start",
    "objective": "test_the_best_epoch_is_that_of_the_objective",
    "channels_last": "test_channels_last_is_the_layout_of_weights_and_images",
    "eval_batch_size": "test_evaluation.py",
    "probe_epochs": "test_features.py",
    "probe_lr": "test_features.py",
}


def test_every_field_is_accounted_for():
    assert CHANGES.keys() | SHOWN_ELSEWHERE.keys() == TrainConfig.model_fields.keys()


@pytest.fixture(scope="module")
def observe(sample_prepared):
    """What one configuration leads to: metrics and the weights that would be saved."""
    known = {}

    def run(**values):
        key = repr(sorted(values.items()))
        if key not in known:
            result = train(tiny(**values), sample_prepared)[-1]
            known[key] = strip_times(result.metrics), copy_state(result.state.evaluated_network)
        return known[key]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("field", CHANGES)
def test_field_has_an_effect(observe, field):
    others, value = CHANGES[field]
    (scores, weights), (new_scores, new_weights) = observe(**others), observe(**others, **{field: value})
    assert scores != new_scores
    if field != "eval_flip":
        same = weights.keys() == new_weights.keys() and all(
            weights[name].shape == new_weights[name].shape and torch.equal(weights[name], new_weights[name])
            for name in weights
        )
        assert not same


def test_same_configuration_same_numbers(observe, sample_prepared):
    scores, weights = observe()
    result = train(tiny(), sample_prepared)[-1]
    assert strip_times(result.metrics) == scores
    assert_equal_states(copy_state(result.state.network), weights)


def test_the_first_share_of_the_epochs_after_a_probe_sees_smaller_images(sample_prepared):
    """And all are judged on images of the whole size."""
    sides = []

    def look(module, inputs):
        if isinstance(module, Backbone):
            sides.append((module.training, inputs[0].shape[-1]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        train(tiny(epochs=4, early_share=0.5, early_size=0.75), sample_prepared)
    finally:
        hook.remove()
    trained = [side for is_training, side in sides if is_training]
    assert trained == [48] * (len(trained) // 2) + [64] * (len(trained) // 2)
    assert {side for is_training, side in sides if not is_training} == {64}


def test_a_backbone_of_one_size_takes_no_smaller_images(sample_prepared):
    with pytest.raises(ConfigError, match="must be 0 for vit_tiny_patch16_224, which takes images of one"):
        build_state(tiny(backbone="vit_tiny_patch16_224", early_share=0.5), sample_prepared, TRAIN, CPU)


def test_weights_are_the_start(sample_prepared, tmp_path):
    state = build_backbone("test_resnet", weights="none", feature="logits").network.state_dict()
    save_file(state, tmp_path / "own.safetensors")
    network = build_state(tiny(weights=str(tmp_path / "own.safetensors")), sample_prepared, TRAIN, CPU).network
    assert torch.equal(network.backbone.network.conv1[0].weight, state["conv1.0.weight"])


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_last_is_the_layout_of_weights_and_images(sample_prepared, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    layouts = []

    def look(_, inputs, output):
        layouts.extend(tensor.is_contiguous(memory_format=layout) for tensor in (*inputs, output))

    config = tiny(channels_last=channels_last, crop_strength=0.2, jitter=0.1, erasing=0.5, epochs=1)
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: look(module, inputs, output) if isinstance(module, torch.nn.Conv2d) else None
    )
    try:
        (result,) = train(config, sample_prepared)
    finally:
        hook.remove()
    assert layouts and all(layouts)
    assert result.state.network.backbone.network.conv1[0].weight.is_contiguous(memory_format=layout)


# ------------------------------------------------------------------------------------------------------ parts of a step


def test_gradient_clipping_bounds_the_step(sample_prepared):
    """Plain SGD at rate 1 moves by the gradient: exactly the norm it was clipped to."""
    state = build_state(tiny(optimizer="sgd", momentum=0, lr=1.0, grad_clip_norm=0.05), sample_prepared, TRAIN, CPU)
    before = [parameter.detach().clone() for parameter in state.network.parameters()]
    train_step(state, *first_batch(sample_prepared), torch.Generator())
    moved = [after.detach() - start for after, start in zip(state.network.parameters(), before, strict=True)]
    norm = math.sqrt(sum(difference.double().square().sum().item() for difference in moved))
    assert norm == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_sharpness_aware_steps_by_hand(sample_prepared, rho):
    """Plain SGD at rate 1 moves by the gradient at w + rho g / |g|, and batch norm has seen the batch at w alone."""
    options = {"optimizer": "sgd", "momentum": 0, "lr": 1.0, "sam_rho": rho, "schedule": "constant", "dropout": 0.0}
    state, other = (build_state(tiny(**options), sample_prepared, TRAIN, CPU) for _ in range(2))
    images, labels = first_batch(sample_prepared)
    network = other.network.train()
    weights = dict(network.named_parameters())
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}

    def find_gradients(at):
        logits = torch.func.functional_call(
            network, at | {name: value.clone() for name, value in buffers.items()}, images
        )
        return torch.autograd.grad(other.loss(logits, labels)[0], list(at.values()))

    gradients = find_gradients(weights)
    norm = math.sqrt(sum(each.double().square().sum().item() for each in gradients))
    uphill = {
        name: (weight + rho * gradient / norm).detach().requires_grad_()
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
    wanted = find_gradients(uphill)
    state.network.train()
    before = copy_state(state.network)
    train_step(state, images, labels, torch.Generator())
    for (name, weight), gradient in zip(state.network.named_parameters(), wanted, strict=True):
        torch.testing.assert_close(weight.detach(), before[name] - gradient, rtol=1e-4, atol=1e-5)
    network(images)  # at w, once
    for (name, seen), (_, once) in zip(state.network.named_buffers(), network.named_buffers(), strict=True):
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(seen, once)
    assert all(each.momentum == 0.1 for each in state.network.modules() if isinstance(each, torch.nn.BatchNorm2d))


def test_sharpness_aware_steps_need_gradients_as_they_are(sample_prepared):
    config, schema = tiny(sam_rho=0.1, precision="fp16"), sample_prepared.schema
    with pytest.raises(ConfigError, match="`sam_rho` must be 0 with precision fp16"):
        assemble_state(config, schema, [[1] * size for size in schema.sizes], "", torch.device("cuda"))


def test_ema_by_formula(sample_prepared):
    """Decay of update t is min(decay, 1 - t^(-2/3)), so that the first steps' weights are forgotten."""
    state = build_state(tiny(ema_decay=0.5, lr=0.05), sample_prepared, TRAIN, CPU)
    state.network.train()
    weight, average = state.network.heads[0].weight, state.ema.module.heads[0].weight
    wanted = None
    for update in range(1, 5):
        train_step(state, *first_batch(sample_prepared), torch.Generator())
        decay = min(0.5, 1 - update ** (-2 / 3))
        wanted = weight.detach().clone() if wanted is None else decay * wanted + (1 - decay) * weight.detach()
        torch.testing.assert_close(average, wanted)
    assert not torch.equal(average, weight)
    assert state.evaluated_network is state.ema.module


def test_mixup_loss_by_hand(sample_prepared):
    """lambda x focal(y1) + (1 - lambda) x focal(y2) on the blended images."""
    state = build_state(tiny(mixup=0.8, dropout=0.0), sample_prepared, TRAIN, CPU)
    images, labels = first_batch(sample_prepared)
    state.network.train()
    blend, permutation, share = mixup(images.float(), 0.8, torch.Generator().manual_seed(4))
    with torch.no_grad():
        logits = state.network(blend)
        wanted = [
            share * a + (1 - share) * b
            for a, b in zip(*(state.loss(logits, y) for y in (labels, labels[permutation])), strict=True)
        ]
    total, by_category = train_step(state, images, labels, torch.Generator().manual_seed(4))
    torch.testing.assert_close((total, by_category), tuple(wanted))
    assert 0.01 < share < 0.99 and not torch.equal(labels, labels[permutation])


def test_bf16_on_the_cpu(sample_prepared):
    """Autocast runs the convolutions in bf16; weights stay float32 and the loss is near."""
    exact = train(tiny(epochs=1), sample_prepared)[0]
    kinds = set()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, output: kinds.add(output.dtype) if isinstance(module, torch.nn.Conv2d) else None
    )
    try:
        (result,) = train(tiny(epochs=1, precision="bf16"), sample_prepared)
    finally:
        hook.remove()
    assert kinds == {torch.bfloat16}
    assert {parameter.dtype for parameter in result.state.network.parameters()} == {torch.float32}
    assert result.metrics[metrics.TRAIN_LOSS] == pytest.approx(exact.metrics[metrics.TRAIN_LOSS], rel=0.05)


# ------------------------------------------------------------------------------------------------------ missing labels


def test_images_labelled_in_some_categories_are_trained_on(sample_prepared):
    """In the categories in which they are labelled, and in no other: a head without labels in a step stays as it is."""
    data = blank_data(sample_prepared)
    data.labels[TRAIN[:8], 1] = -1
    state = build_state(tiny(optimizer="sgd", weight_decay=0.0), data, TRAIN, CPU)
    source = BatchSource(data, TRAIN, CPU)
    heads = [head.weight.detach().clone() for head in state.network.heads]
    train_step(state, *source.batch(torch.arange(8)), torch.Generator())
    moved = [not torch.equal(head.weight, old) for head, old in zip(state.network.heads, heads, strict=True)]
    assert moved == (data.labels[TRAIN[:8]] >= 0).any(0).tolist() and moved[1] is False and any(moved)


def test_mean_losses_are_over_the_steps_that_have_labels(sample_prepared, monkeypatch):
    data = blank_data(sample_prepared)
    data.labels[TRAIN[1:], 1] = -1  # one label in two steps
    losses = []

    def watch(*arguments):
        losses.append(train_step(*arguments))
        return losses[-1]

    monkeypatch.setattr("fashion_core.training.loop.train_step", watch)
    scores, _ = train_epoch(build_state(tiny(), data, TRAIN, CPU), BatchSource(data, TRAIN, CPU))
    found = [by_category[1].item() for _, by_category in losses]
    assert len(found) == 2 and min(found) == 0 < max(found)
    assert scores[f"train/loss/{data.schema.names[1]}"] == pytest.approx(max(found))


def test_mixup_takes_what_labels_there_are(sample_prepared):
    """sum_i (lam m_ik f(i, y_ik) + (1 - lam) m_jk f(i, y_jk)) / n_k, image by image."""
    data = blank_data(sample_prepared)
    state = build_state(tiny(mixup=0.8, dropout=0.0, label_smoothing=0.1), data, TRAIN, CPU)
    state.network.eval()
    images, labels = BatchSource(data, TRAIN, CPU).batch(torch.arange(8))
    blend, permutation, share = mixup(images.float(), 0.8, torch.Generator().manual_seed(4))
    with torch.no_grad():
        logits = state.network(blend)
    wanted = []
    for k, values in enumerate(logits):
        log_p = values.double().log_softmax(1)
        smooth = 0.1 / values.shape[1]

        def lose(i, label, log_p=log_p, smooth=smooth):
            if label < 0:
                return 0.0
            q = torch.full_like(log_p[i], smooth)
            q[label] += 0.9
            return float(-(q * (1 - log_p[i].exp()) ** state.config.focal_gamma * log_p[i]).sum())

        known = int((labels[:, k] >= 0).sum())
        pairs = zip(range(8), permutation.tolist(), strict=True)
        terms = [share * lose(i, labels[i, k]) + (1 - share) * lose(i, labels[j, k]) for i, j in pairs]
        wanted.append(sum(terms) / max(known, 1))
    _, by_category = train_step(state, images, labels, torch.Generator().manual_seed(4))
    assert by_category.tolist() == pytest.approx(wanted, rel=1e-4) and (labels < 0).any()


def test_a_run_with_missing_labels_scores_labelled_images(sample_prepared):
    data = blank_data(sample_prepared)
    train_images = np.arange(48)
    for result in fit(tiny(batch_size=16), data, train=train_images, val=np.arange(120, 168), device="cpu"):
        known = data.labels[120:168] >= 0
        assert np.array_equal(np.isnan(result.correct), ~known)
        assert [matrix.sum() for matrix in result.confusion] == known.sum(0).tolist()
        assert result.metrics[metrics.ACCURACY] == pytest.approx(float(metrics.score_answers(result.correct)))
        assert all(math.isfinite(value) for value in result.metrics.values())


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_category_without_any_label_is_refused(sample_prepared, split):
    data = blank_data(sample_prepared)
    data.labels[TRAIN if split == "train" else VAL, 4] = -1
    with pytest.raises(DataError, match=f"labelled images in {split}, but material has none; label some, or leave"):
        train(tiny(), data, TRAIN, VAL)
