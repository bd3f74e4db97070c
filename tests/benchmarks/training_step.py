"""Row 5: images a second of a training step, and that the fast step learns what the slow one learns.

Backbones start at random, for no speed depends on their weights; batches are in memory. The stock loop's batches are
normalised floats already, ours are the bytes that it normalises within the step.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from harness import OURS, Goal, Measure, Row

if TYPE_CHECKING:
    from torch import Tensor

# No import of ours at the top: the peers run this file too, and must not pay for it.

THREADS, BATCH_SIZE = 2, 32
IMAGE_SIZES, QUICK_SIZES = (224, 160), (160,)
RESNETS = ("resnet50", "legacy_seresnet50", "legacy_seresnext50_32x4d")
LITES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
WARM_UP_STEPS, TIMED_STEPS = 1, 3  # a step of a stock ResNet takes up to six seconds
LEARNING = "learning, tf_efficientnet_lite0"
LR, GAMMA = 3e-4, 2.0

LOSS_STEPS, LOSS_IMAGE_SIZE, LOSS_MEAN_OF = 20, 48, 5
LEARN_IMAGES, LEARN_IMAGE_SIZE, LEARN_EPOCHS = 1000, 96, 2
VAL_IMAGES = 500  # all there are
LEARN_PARAMS = {"lr": 4e-4, "dropout": 0.1, "focal_gamma": 0.0, "fc_layers": 0}


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One backbone, or the short training on real photographs."""
    import torch

    torch.set_num_threads(THREADS)
    if case == LEARNING:
        return {"score": run_recipe(variant, folder, repeat, quick)}
    family = "lite" if case in LITES else "resnet"
    values = {}
    for size in QUICK_SIZES if quick else IMAGE_SIZES:
        step = STEP_BUILDERS[variant](case, size, folder)
        warm_up, timed = (1, 1) if quick else (WARM_UP_STEPS, TIMED_STEPS)
        values[f"{family}_{size}"] = BATCH_SIZE / time_steps(step, warm_up, timed)
    if variant == OURS:
        from fashion_core.hardware.precision import measure_bf16_speedup

        values["bf16"] = measure_bf16_speedup()
        if family == "resnet":
            values |= compare_losses(case, folder, repeat, 3 if quick else LOSS_STEPS)
    return values


def time_steps(step: Callable[[], Tensor], warm_up: int, timed: int) -> float:
    """Median seconds of a step.

    Raises:
        RuntimeError: a loss is not finite.
    """
    seconds = []
    for _ in range(warm_up + timed):
        started = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - started)
        if not loss.isfinite():
            raise RuntimeError(f"every loss must be finite, but one is {float(loss)}")
    return median(seconds[warm_up:])


def draw_labels(count: int, sizes: tuple[int, ...]) -> Tensor:
    """[count, K] random classes."""
    import torch

    return torch.stack([torch.randint(0, size, (count,)) for size in sizes], 1)


# ------------------------------------------------------------------------------------------------ speed


def build_our_step(backbone: str, size: int, folder: Path) -> Callable[[], Tensor]:
    """`train_step` on a batch of prepared images, in the state that `fit` would make."""
    import torch

    from fashion_core.hardware.allocator import keep_freed_memory
    from fashion_core.loading.batches import BatchSource
    from fashion_core.training.loop import train_step

    keep_freed_memory()
    state, data = build_our_state(backbone, size, folder)
    state.network.train()
    images, labels = BatchSource(data, data.indices("train"), state.device).batch(torch.arange(BATCH_SIZE))
    generator = torch.Generator()
    return lambda: train_step(state, images, labels, generator)[0]


def build_our_state(backbone: str, size: int, folder: Path) -> tuple[Any, Any]:
    """A training state at its start, and the drawn data set it is of."""
    import torch

    from fashion_core.config import TrainConfig
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import prepare
    from fashion_core.samples.dataset import draw_sample_data
    from fashion_core.training.state import build_state

    annotations = load_annotations(draw_sample_data(folder / "drawn", train=BATCH_SIZE, val=2, test=1))
    data = prepare(annotations, PrepareSettings(size), folder / "prepared")
    config = TrainConfig(
        backbone=backbone, weights="none", image_size=size, batch_size=BATCH_SIZE, dropout=0, lr=LR, focal_gamma=GAMMA
    )
    return build_state(config, data, data.indices("train"), torch.device("cpu")), data


def build_stock_step(backbone: str, size: int, folder: Path, *, with_settings: bool = False) -> Callable[[], Tensor]:
    """The stock loop's step on one batch.

    Args:
        with_settings: timm's documented `--channels-last --amp --amp-dtype bfloat16`.
    """
    import torch
    from stock import SIZES, StockNet, compute_loss

    model = StockNet(backbone)
    images, labels = torch.randn(BATCH_SIZE, 3, size, size), draw_labels(BATCH_SIZE, SIZES)
    if with_settings:
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)
    model.train()

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=with_settings):
            logits = model(images)
            loss = compute_loss(logits, labels, GAMMA, (1.0,) * len(SIZES))
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def build_timm_step(backbone: str, size: int, folder: Path) -> Callable[[], Tensor]:
    return build_stock_step(backbone, size, folder, with_settings=True)


STEP_BUILDERS = {OURS: build_our_step, "stock": build_stock_step, "timm_settings": build_timm_step}


# ------------------------------------------------------------------------------------------------ learning


def compare_losses(backbone: str, folder: Path, seed: int, steps: int) -> dict[str, float]:
    """Losses after some steps of our loop and the stock loop from one start on the same batches, as relative gaps.

    What rounding alone does is shown by the stock loop with the images of each batch in another order: the same
    mathematics, summed up differently. Runs in our process, for it needs both loops.
    """
    import torch
    from stock import StockNet

    torch.manual_seed(seed)
    start = StockNet(backbone)
    batches = load_batches(folder, steps, seed)
    shuffled = []
    for images, labels in batches:
        order = torch.randperm(len(images))
        shuffled.append((images[order], labels[order]))
    stock, again = (train_stock(start, backbone, part) for part in (batches, shuffled))
    ours = train_ours(start, backbone, batches, folder)
    return {"loss": ours, "loss_gap": abs(ours - stock) / stock, "loss_rounding": abs(again - stock) / stock}


def load_batches(folder: Path, steps: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of training images as bytes, [B, 3, S, S] uint8 and [B, K], some of them mirrored."""
    import torch
    from stock import GarmentDataset
    from torchvision import transforms

    sides = (LOSS_IMAGE_SIZE, LOSS_IMAGE_SIZE)
    transform = transforms.Compose(
        [transforms.Resize(sides), transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    )
    data = GarmentDataset(find_folder(folder, steps * BATCH_SIZE, 1), "train", transform)
    order = torch.randperm(len(data))[: steps * BATCH_SIZE].tolist()
    pairs = [data[index] for index in order]
    images, labels = (torch.stack(list(values)) for values in zip(*pairs, strict=True))
    return list(zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True))


def train_stock(start: Any, backbone: str, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Mean loss of the last steps of the stock loop in fp32."""
    import torch
    from stock import SIZES, StockNet, compute_loss

    model = StockNet(backbone)
    model.load_state_dict(start.state_dict())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0)
    mean_, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = compute_loss(model((images / 255 - mean_) / std), labels, GAMMA, (1.0,) * len(SIZES))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return mean(losses[-LOSS_MEAN_OF:])


def train_ours(start: Any, backbone: str, batches: list[tuple[Tensor, Tensor]], folder: Path) -> float:
    """Mean loss of the last steps of our loop."""
    import torch

    from fashion_core.training.loop import train_step

    state, _ = build_our_state(backbone, LOSS_IMAGE_SIZE, folder)
    state.network.backbone.network.load_state_dict(start.backbone.state_dict())
    state.network.heads.load_state_dict(start.heads.state_dict())
    state.network.train()
    losses = []
    for images, labels in batches:
        images = images.contiguous(memory_format=torch.channels_last)
        losses.append(train_step(state, images, labels, torch.Generator())[0].item())
    return mean(losses[-LOSS_MEAN_OF:])


def find_folder(folder: Path, train: int, val: int) -> Path:
    """A subset of the real photographs, or a drawn data set where there are none."""
    from stock import find_data, write_subset

    source = find_data()
    if source is not None:
        return write_subset(source, folder / "subset", train, val)
    drawn = folder / "subset"
    numbers = ["--train", str(train), "--val", str(val)]
    # a process of its own: a peer imports none of our code
    subprocess.run([sys.executable, "-m", "fashion_core.sample_data", str(drawn), *numbers], check=True)
    return drawn


def run_recipe(variant: str, folder: Path, seed: int, quick: bool) -> float:
    """Validation score of EfficientNet-Lite0 after a short training on photographs."""
    epochs = 1 if quick else LEARN_EPOCHS
    data_folder = find_folder(folder, *((64, 64) if quick else (LEARN_IMAGES, VAL_IMAGES)))
    if variant == OURS:
        return fit_ours(data_folder, folder, epochs, seed)
    import torch
    from stock import SIZES, StockTrial

    torch.manual_seed(seed)
    params = {**LEARN_PARAMS, **{f"weight_{index + 1}": 1.0 for index in range(len(SIZES))}}
    trial = StockTrial(data_folder, params, size=LEARN_IMAGE_SIZE, batch_size=BATCH_SIZE, epochs=epochs, workers=0)
    return [trial.run_epoch()[1] for _ in range(epochs)][-1]


def fit_ours(data_folder: Path, folder: Path, epochs: int, seed: int) -> float:
    from fashion_core.config import TrainConfig
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import prepare
    from fashion_core.metrics import ACCURACY
    from fashion_core.training.loop import fit

    settings = PrepareSettings(LEARN_IMAGE_SIZE)
    data = prepare(load_annotations(data_folder), settings, folder / "prepared")
    config = TrainConfig(
        **LEARN_PARAMS,
        weights="package",
        image_size=LEARN_IMAGE_SIZE,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        head_lr_factor=10,
        weight_decay=0.02,
        eval_flip=False,
        seed=seed,
    )
    results = list(fit(config, data, train=data.indices("train"), val=data.indices("val"), device="cpu"))
    return results[-1].metrics[ACCURACY]


ROW = Row(
    number=5,
    name="training_step",
    title="Training step",
    workload=f"""
One training step with loss and AdamW: {BATCH_SIZE} images in memory, six heads of 26 classes, backbones with random
weights, {THREADS} threads; median of the steps after a warm-up. Then, for the ResNets, {LOSS_STEPS} steps of our loop
and of the stock loop in fp32 from one start on the same batches of photographs at {LOSS_IMAGE_SIZE} px: the relative
difference of the mean loss of the last {LOSS_MEAN_OF}, beside the difference that rounding alone makes (the stock loop
again, with the images of each batch in another order). No goal stands on it: one draw of either says too little; the
tests compare a step with a reference. And for EfficientNet-Lite0 with ImageNet weights, {LEARN_EPOCHS}
epochs of {LEARN_IMAGES:,} photographs at {LEARN_IMAGE_SIZE} px, another seed every repeat.
""",
    variants={
        OURS: "`train_step` as `fit` uses it: channels_last, freed memory kept, bf16 where it "
        "is measured to be faster, fused AdamW",
        "stock": "a plain PyTorch loop: fp32, default memory format, default AdamW",
        "timm_settings": "the same with timm's `--channels-last --amp --amp-dtype bfloat16`",
    },
    measures={
        "resnet_224": Measure("images/s at 224 px", ".1f"),
        "resnet_160": Measure("images/s at 160 px", ".1f"),
        "lite_224": Measure("images/s at 224 px", ".1f"),
        "lite_160": Measure("images/s at 160 px", ".1f"),
        "bf16": Measure("bf16 matrix products of this CPU, times the speed of fp32", ".2f"),
        "loss": Measure(f"loss after {LOSS_STEPS} steps", ".4f"),
        "loss_gap": Measure("its relative difference to the stock loop's", ".5f"),
        "loss_rounding": Measure("the difference that rounding makes", ".5f"),
        "score": Measure("validation score", ".4f"),
    },
    goals=(
        Goal("ResNet-50 family at 224 px, times the stock loop", "resnet_224", 2.5, over="stock", aim=4),
        Goal("ResNet-50 family at 160 px, times the stock loop", "resnet_160", 2.5, over="stock", aim=4),
        Goal("EfficientNet-Lite0 at 224 px, times the stock loop", "lite_224", 2, over="stock", case=LITES[0]),
        Goal("EfficientNet-Lite0 at 160 px, times the stock loop", "lite_160", 2, over="stock", case=LITES[0]),
        Goal("EfficientNet-Lite0's validation score, times the stock loop's", "score", 0.99, over="stock"),
    ),
    run=run,
    cases=(*RESNETS, *LITES, LEARNING),
    quick_cases=(RESNETS[0],),
    quick_peers=("stock",),
    skip=frozenset({("timm_settings", LEARNING)}),
    repeats=3,
    timeout_s=900,
)
