"""What a model's card is made of: `Facts` from the promotion, `Measured` from the model and the data.

N validation images, S networks, K categories, C classes of one category.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from typing import TYPE_CHECKING, Any, Literal

import timm
from scipy.special import ndtri

from fashion_core.errors import WeightsError
from fashion_core.metrics import compute_recalls
from fashion_core.models.backbones import WEIGHT_PACKAGES, find_weights
from search.statistics.intervals import LEVEL, Estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from fashion_core.config import TrainConfig
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.schema import AttributeSchema
    from search.statistics.calibration import Calibration
    from search.statistics.gate import Verdict

FitOn = Literal["train", "train+val"]
UNKNOWN = "not stated"
DEEPFASHION_TERMS = "images and labels for non-commercial research only, under the agreement of DeepFashion (CVPR 2016)"


@dataclass(frozen=True)
class Facts:
    """What the promotion knows of the model. What can be found in the model and the data is `Measured`.

    Attributes:
        name: of the search.
        model_name: in the registry.
        origin: where its weights come from, in a sentence: "Trial 12, trained again with a fresh seed."
        fit_on: what it was trained on.
        score: of the recipe: cross-fitted mean accuracy, between 0 and 1.
        categories: the same for each category, in order.
        candidates, seeds, folds: how many recipes were trained again, how often each, and folds of the cross-fitting.
        notes: more on how the score was made, a sentence each.
        gap: the winner's curse of the recipe, see `judging.compute_gap`; None where it is not known.
        opponent: what it was compared with: "the champion, version 3".
        forced: promoted although the gate did not let it pass.
        attempts: earlier promotions that were judged against the same opponent.
        ms_per_image: time of an answer on `machine`; None where it was not measured.
        data_licence: the terms of the data, such as `DEEPFASHION_TERMS`.
        search, search_seconds: fields of the ledger's `search_started`, with its `time`; how long the search ran.
        provenance, promoted, seconds: `collect_provenance` of the promotion, its unix time, how long it took.
    """

    name: str
    model_name: str
    origin: str
    fit_on: FitOn
    score: Estimate
    categories: tuple[Estimate, ...]
    candidates: int
    seeds: int
    folds: int
    opponent: str
    verdict: Verdict
    forced: bool
    attempts: int
    data_licence: str
    search: Mapping[str, Any]
    search_seconds: float
    provenance: Mapping[str, str]
    promoted: float
    seconds: float
    notes: tuple[str, ...] = ()
    gap: Estimate | None = None
    ms_per_image: float | None = None
    machine: str = ""


@dataclass(frozen=True)
class Member:
    """One network of the model: how it was trained, the epoch that was kept (from 1), its share in the answer."""

    config: TrainConfig
    epoch: int
    share: float


@dataclass(frozen=True)
class Measured:
    """What shipping finds in the model and the data.

    Attributes:
        trained: number of images it was trained on. images: N.
        duplicates: how many of the N have the very file of an image that it was trained on.
        reruns: S, of the recipe, whose answers are counted below; None: those of the model itself.
        confusion: K matrices [C, C], row = truth, summed over the S networks.
        majority: accuracy of always answering the commonest class of train, by category.
        before, after: calibration of the answers without and with the temperatures.
        temperatures: K.
        parameters, model_bytes: of all members. weights_licences: (what, terms) of what they started from.
        onnx_difference: largest of probabilities, on `onnx_images` images; None where `onnx_error` says why there is
            no file. `submission_error` likewise: None where there is a submission.
    """

    schema: AttributeSchema
    members: tuple[Member, ...]
    trained: int
    images: int
    duplicates: int
    reruns: int | None
    confusion: tuple[np.ndarray, ...]
    majority: tuple[float, ...]
    before: Calibration
    after: Calibration
    temperatures: tuple[float, ...]
    parameters: int
    model_bytes: int
    weights_licences: tuple[tuple[str, str], ...]
    onnx_images: int
    onnx_difference: float | None
    onnx_error: str | None
    submission_error: str | None

    @property
    def whose(self) -> str:
        """Whose answers were counted, in words."""
        if self.reruns is None:
            return "this model"
        return "the recipe's re-run" if self.reruns == 1 else f"{self.reruns} re-runs of the recipe, taken together"


@dataclass(frozen=True)
class ClassRecall:
    """Recall of one class: mean over the S networks of the share of its `count` images answered right."""

    category: str
    name: str
    count: int
    recall: float | None

    def compute_interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Wilson's interval over images; None for a class without one."""
        return None if self.recall is None else compute_wilson(self.recall, self.count, level)


def describe_view(view: PrepareSettings) -> str:
    """How images are prepared, in plain words."""
    crop = {
        "box": "cropped to the garment's box",
        "box_margin": f"cropped to the garment's box with {view.crop_margin:.0%} of its side added on each side",
        "whole": "the whole image",
    }[view.crop]
    return f"RGB, {crop}, resized to {view.image_size} x {view.image_size} pixels (bilinear, aspect not kept)"


def list_recalls(measured: Measured) -> Iterator[ClassRecall]:
    """Every class of every category, in order."""
    for category, matrix in zip(measured.schema.categories, measured.confusion, strict=True):
        counts = matrix.sum(1) // (measured.reruns or 1)
        for name, count, recall in zip(category.classes, counts.tolist(), compute_recalls(matrix), strict=True):
            yield ClassRecall(category.name, name, count, recall)


def name_classes(recalls: Sequence[ClassRecall]) -> str:
    """Names of classes, by category."""
    found: dict[str, list[str]] = {}
    for each in recalls:
        found.setdefault(each.category, []).append(each.name)
    return "; ".join(f"{category}: {', '.join(names)}" for category, names in found.items())


def compute_wilson(share: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share of `count` images. Source: Wilson 1927."""
    z = float(ndtri((1 + level) / 2))
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(max(share * (1 - share), 0.0) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


def find_weights_licence(config: TrainConfig) -> tuple[str, str]:
    """(what, terms) of the weights that a training started from, as the package that carries them or timm states."""
    name = config.backbone
    what = f"starting weights of {name}"
    try:
        kind = find_weights(name, config.weights).kind
    except WeightsError:
        return what, f"{UNKNOWN}: they are not to be had here any more"
    if kind == "none":
        return what, "none: it started at random"
    if kind == "hub":
        known = timm.get_pretrained_cfg(name)
        return f"{what}, from the Hugging Face hub", f"{known.license if known else UNKNOWN}, as timm states"
    if config.weights not in ("auto", "package"):
        return f"{what}, from a file", UNKNOWN
    found = distribution(WEIGHT_PACKAGES[name.split(".")[0]][0])
    return f"{what}, from {found.name} {found.version}", read_licence(found)


def read_licence(package: Distribution) -> str:
    """The licence an installed package states: in its metadata, else in the first line of its licence file."""
    for field in ("License-Expression", "License"):
        for value in package.metadata.get_all(field) or ():
            if value.strip() not in ("", "UNKNOWN"):
                return value.strip().splitlines()[0]
    for file in package.files or ():
        if "licen" in file.name.lower() and (text := file.read_text().strip()):
            return f"{text.splitlines()[0]}, as its licence file begins"
    return UNKNOWN
