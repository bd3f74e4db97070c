"""`TrainConfig`: the one description of a training run. Frozen, flat, checked; a search space sets its fields."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fashion_core.errors import ConfigError
from fashion_core.escaping import show_value
from fashion_core.metrics import ACCURACY, OBJECTIVE_PATTERN

MAX_FC_LAYERS = 4
IMPOSSIBLE = "the training configuration is impossible:"  # then a fault a line
Crop = Literal["box", "box_margin", "box_square", "whole"]
Feature = Literal["pooled", "logits"]
Pooling = Literal["average", "attention"]
WEIGHT_WORDS = ("auto", "hub", "package", "none")  # what `weights` can be that is no path
# What decides the features of a frozen backbone.
FEATURE_FIELDS = ("image_size", "crop", "crop_margin", "backbone", "weights", "feature")
# What a probe has no use for: it sees no pixels, and its backbone stays as it is.
NOT_PROBED = ("drop_path", "ema_decay", "sam_rho", "early_share", "crop_strength", "jitter", "erasing", "mixup")


class TrainConfig(BaseModel):
    """How one attribute network is trained. Every field has a default; defaults are a sound recipe for fine-tuning.

    Units are in the names; a strength of 0 switches an augmentation off; None means off.

    Raises:
        ConfigError: lists every field at fault: its rule, the value it got, and the nearest name to an unknown one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # what the network sees
    image_size: int = Field(224, ge=32, le=1024, description="side of the square input in pixels")
    crop: Crop = Field(
        "box", description="the image's box, the box with a margin, a square around that, or the whole image"
    )
    crop_margin: float = Field(
        0.1, ge=0, le=1, description="box_margin, box_square: share of the box's side added on each side"
    )
    early_share: float = Field(
        0.0, ge=0, lt=1, description="share of the epochs after any probe epochs, the first, on smaller images"
    )
    early_size: float = Field(0.75, gt=0, lt=1, description="side of the images there, as a share of image_size")

    # network
    backbone: str = Field("tf_efficientnet_lite0", min_length=1, description="any timm model name")
    weights: str = Field(
        "auto", min_length=1, description="auto, hub, package, none, a .safetensors/.pth file, or a saved model"
    )
    feature: Feature = Field("pooled", description="pooled feature, or the backbone's own 1000 ImageNet logits")
    pooling: Pooling = Field(
        "average", description="over the feature map: the backbone's own, or an attention of each category's own"
    )
    fc_layers: int = Field(
        0, ge=0, le=MAX_FC_LAYERS, description="FC layers of widths 512, 256, 128, 64 before the heads"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="before each head")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth of the backbone")

    # loss (eq. 7 of the report)
    focal_gamma: float = Field(2.0, ge=0, le=10, description="0 is cross-entropy")
    category_weights: dict[str, float] = Field(
        default_factory=dict, description="by category, in any unit; absent means 1. The loss scales them"
    )
    normalise_weights: bool = Field(True, description="the loss scales the category weights to mean 1")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_balance: float = Field(0.0, ge=0, le=1, description="per-class alpha proportional to count ** -class_balance")

    # optimizer and schedule
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(3e-4, gt=0, le=100, description="peak learning rate of the backbone")
    head_lr_factor: float = Field(
        1.0, gt=0, le=1000, description="learning rate of FC layers and heads, as a multiple of lr"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of a layer of the backbone, as a multiple of that of the next one"
    )
    weight_decay: float = Field(0.0, ge=0, le=10)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    warmup_fraction: float = Field(0.15, ge=0, lt=1, description="share of all steps spent warming up")
    epochs: int = Field(6, ge=1, le=10_000)
    probe_epochs: int = Field(
        0, ge=0, le=10_000, description="the first of the epochs, which train the head alone on a frozen backbone"
    )
    probe_lr: float = Field(3e-3, gt=0, le=100, description="peak learning rate of the head in these epochs")
    batch_size: int = Field(32, ge=2, le=65_536)
    grad_clip_norm: float | None = Field(None, gt=0)
    ema_decay: float = Field(0.0, ge=0, lt=1, description="exponential moving average of the weights; 0 = off")
    sam_rho: float = Field(
        0.0,
        ge=0,
        le=10,
        description="sharpness-aware minimisation: how far a step looks uphill; 0 = off, else a step costs two",
    )
    objective: str = Field(
        ACCURACY, pattern=OBJECTIVE_PATTERN, description="the score whose best epoch is kept, the greater the better"
    )

    # augmentation: 0 = off
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    crop_strength: float = Field(
        0.0, ge=0, lt=1, description="random resized crop keeps at least 1 - strength of the area"
    )
    jitter: float = Field(0.0, ge=0, le=1, description="brightness, contrast and saturation vary by up to this share")
    erasing: float = Field(0.0, ge=0, le=1, description="probability of erasing a random rectangle")
    mixup: float = Field(0.0, ge=0, le=10, description="alpha of the Beta distribution")

    # execution
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 where it is faster: on GPUs that have it, on some CPUs; else fp32"
    )
    channels_last: bool = True
    eval_batch_size: int = Field(128, ge=1, le=65_536)
    eval_flip: bool = Field(True, description="average probabilities with those of the flipped image")
    seed: int = Field(0, ge=0, lt=2**63)
    start_seed: int | None = Field(
        None, ge=0, lt=2**63, description="of the new layers' first weights; None: the architecture's own start"
    )

    @property
    def is_probe(self) -> bool:
        """Whether all epochs train the head alone."""
        return self.probe_epochs >= self.epochs

    @model_validator(mode="after")
    def check_probe(self) -> TrainConfig:
        """Refuse what a probe has no use for, and a probe of random weights."""
        set_names = [name for name in NOT_PROBED if getattr(self, name)]
        if self.is_probe and set_names:
            raise PydanticCustomError(
                "probe",
                "{names} must be 0 where all epochs are probe epochs ({probe_epochs} of {epochs}), because a probe "
                "sees no pixels and leaves the backbone as it is; set it to 0, or give more epochs",
                {
                    "names": ", ".join(f"`{name}`" for name in set_names),
                    "probe_epochs": self.probe_epochs,
                    "epochs": self.epochs,
                },
            )
        if self.pooling == "attention" and (self.is_probe or self.feature != "pooled"):
            raise PydanticCustomError(
                "pooling",
                "`pooling` must be average where all epochs are probe epochs, or `feature` is not pooled, because the "
                "feature map is not trained, or not pooled, then",
            )
        if self.probe_epochs and self.weights == "none":
            raise PydanticCustomError(
                "probe", "`weights` must be pretrained where `probe_epochs` is not 0, but are none"
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def tell_faults(cls, values: Any, validate: ModelWrapValidatorHandler[TrainConfig]) -> TrainConfig:
        """All faults as one error of this project, in place of pydantic's."""
        try:
            return validate(values)
        except ValidationError as error:
            raise ConfigError("\n".join([IMPOSSIBLE, *describe_faults(error)])) from None


def build_config(values: dict[str, Any]) -> TrainConfig:
    """`TrainConfig` from plain values, such as a file holds.

    Raises:
        ConfigError: see `TrainConfig`.
    """
    return TrainConfig(**values)


def check_field(name: str, value: Any) -> tuple[Any, list[str]]:
    """A value in the type of one field, and what is wrong with it, a line each. Text is no number here."""
    try:
        return getattr(TrainConfig.model_validate({name: value}, strict=True), name), []
    except ConfigError as error:
        return value, [line.strip() for line in str(error).splitlines()[1:]]


def describe_faults(error: ValidationError) -> list[str]:
    """One line a fault: field, rule, value."""
    lines = []
    for fault in error.errors():
        field = ".".join(str(part) for part in fault["loc"])
        if not field:  # a rule on several fields, which names them
            lines.append(f"  {fault['msg']}")
        elif fault["type"] == "extra_forbidden":
            lines.append(f"  `{field}` is not a field of TrainConfig{suggest_name(field)}")
        else:
            lines.append(f"  `{field}`: {fault['msg'].lower()}, but got {show_value(fault['input'])}")
    return lines


# Names that others give to these things -> the field.
ALIASES = {
    "amp": "precision",
    "arch": "backbone",
    "architecture": "backbone",
    "base_lr": "lr",
    "batch": "batch_size",
    "bs": "batch_size",
    "class_weights": "class_balance",
    "clip_grad": "grad_clip_norm",
    "clip_norm": "grad_clip_norm",
    "color_jitter": "jitter",
    "drop": "dropout",
    "drop_path_rate": "drop_path",
    "drop_rate": "dropout",
    "dropout_rate": "dropout",
    "dtype": "precision",
    "ema": "ema_decay",
    "encoder": "backbone",
    "epoch": "epochs",
    "eta": "lr",
    "focal": "focal_gamma",
    "gamma": "focal_gamma",
    "grad_clip": "grad_clip_norm",
    "gradient_clip": "grad_clip_norm",
    "head_layers": "fc_layers",
    "hflip": "flip",
    "hidden_layers": "fc_layers",
    "horizontal_flip": "flip",
    "image": "image_size",
    "img_size": "image_size",
    "input_size": "image_size",
    "l2": "weight_decay",
    "label_smooth": "label_smoothing",
    "layerwise_lr_decay": "layer_decay",
    "learning_rate": "lr",
    "llrd": "layer_decay",
    "loss_weights": "category_weights",
    "lr_decay": "layer_decay",
    "lr_schedule": "schedule",
    "lr_scheduler": "schedule",
    "max_epoch": "epochs",
    "max_epochs": "epochs",
    "max_grad_norm": "grad_clip_norm",
    "max_lr": "lr",
    "mixup_alpha": "mixup",
    "model": "backbone",
    "n_epochs": "epochs",
    "net": "backbone",
    "network": "backbone",
    "num_epochs": "epochs",
    "num_layers": "fc_layers",
    "opt": "optimizer",
    "optim": "optimizer",
    "pct_start": "warmup_fraction",
    "pretrained": "weights",
    "progressive_resizing": "early_share",
    "random_erasing": "erasing",
    "random_seed": "seed",
    "random_state": "seed",
    "reprob": "erasing",
    "resolution": "image_size",
    "rho": "sam_rho",
    "sam": "sam_rho",
    "sched": "schedule",
    "scheduler": "schedule",
    "size": "image_size",
    "smoothing": "label_smoothing",
    "stochastic_depth": "drop_path",
    "task_weights": "category_weights",
    "tta": "eval_flip",
    "val_batch_size": "eval_batch_size",
    "warmup": "warmup_fraction",
    "warmup_ratio": "warmup_fraction",
    "wd": "weight_decay",
}


def find_field(name: str) -> str | None:
    """The field that an unknown name most likely means: what others call so, or one of a similar name; else None."""
    from difflib import get_close_matches

    plain = name.lower().replace("-", "_")
    return ALIASES.get(plain) or next(iter(get_close_matches(plain, TrainConfig.model_fields, n=1)), None)


def suggest_name(name: str) -> str:
    """`; did you mean ...?` where a field is likely meant, else the empty string."""
    field = find_field(name)
    return f"; did you mean `{field}`?" if field else ""
