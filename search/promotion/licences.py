"""The terms of what a promoted model is made from: its data, and the weights it started from."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution
from typing import TYPE_CHECKING

import timm

from fashion_core.data.schema import KNOWN_CATEGORIES
from fashion_core.errors import WeightsError, first_line
from fashion_core.models.backbones import WEIGHT_PACKAGES, find_weights

if TYPE_CHECKING:
    from collections.abc import Collection

    from fashion_core.config import TrainConfig

UNKNOWN = "not stated"
DEEPFASHION_TERMS = "images and labels for non-commercial research only, under the agreement of DeepFashion (CVPR 2016)"


def find_data_licence(folder: str, categories: Collection[str]) -> str:
    """The terms of a data set: DeepFashion's where its folder is called so and its categories are DeepFashion's.

    Args:
        folder: the data set's name.
        categories: their names.
    """
    is_deepfashion = folder.lower().startswith("fashiondataset") and set(categories) == set(KNOWN_CATEGORIES)
    return DEEPFASHION_TERMS if is_deepfashion else f"that of {folder}"


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
                return first_line(value)
    for file in package.files or ():
        if "licen" in file.name.lower() and (text := file.read_text().strip()):
            return f"{first_line(text)}, as its licence file begins"
    return UNKNOWN
