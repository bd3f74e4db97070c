"""An image -> the pixels a network sees. S pixels a side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from fashion_core.config import Crop, TrainConfig

WHOLE = "whole"  # of `crop`
SQUARE = "box_square"
WITH_MARGIN = ("box_margin", SQUARE)
GREY = (124, 116, 104)  # beyond an image's edge: the mean of ImageNet, which is 0 to a network


@dataclass(frozen=True)
class PrepareSettings:
    """How images are prepared.

    Args:
        image_size: S, the side of the square result in pixels; only `box_square` keeps the aspect.
        crop: the image's box; the box with a margin; the square around that, moved into the image where it has room
            and grey where it has none; or the whole image.
        crop_margin: of the box with a margin: share of the box's side added on each side, inside the image.
    """

    image_size: int
    crop: Crop = "box"
    crop_margin: float = 0.0

    def __post_init__(self) -> None:
        if self.crop not in WITH_MARGIN:  # else equal pictures would have two names
            object.__setattr__(self, "crop_margin", 0.0)

    @property
    def needs_box(self) -> bool:
        """Whether a part of the image is looked at that somebody must name."""
        return self.crop != WHOLE

    def __str__(self) -> str:
        """`160-box`, `224-box_margin-0.1`."""
        margin = f"-{self.crop_margin:g}" if self.crop in WITH_MARGIN else ""
        return f"{self.image_size}-{self.crop}{margin}"


def build_settings(config: TrainConfig) -> PrepareSettings:
    """How a configuration wants its images prepared."""
    return PrepareSettings(config.image_size, config.crop, config.crop_margin)


def crop_and_resize(image: Image.Image, box: tuple[int, int, int, int] | None, settings: PrepareSettings) -> np.ndarray:
    """The pixels a network sees of an image: [S, S, 3] uint8. Bilinear with antialiasing.

    Args:
        image: RGB, upright, as `open_image` gives it.
        box: x1, y1, x2, y2 in pixels; None for the whole image.
    """
    if settings.needs_box and box is not None:
        image = crop_to(image, find_area(box, image.size, settings))
    side = settings.image_size
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def find_area(
    box: tuple[int, int, int, int], size: tuple[int, int], settings: PrepareSettings
) -> tuple[int, int, int, int]:
    """What is seen around a box of an image of this size (width, height): x1, y1, x2, y2 in pixels.

    A square may reach beyond the image, the others do not.
    """
    x1, y1, x2, y2 = box
    width, height = size
    dx, dy = (round(settings.crop_margin * side) for side in (x2 - x1, y2 - y1))
    x1, y1, x2, y2 = max(x1 - dx, 0), max(y1 - dy, 0), min(x2 + dx, width), min(y2 + dy, height)
    if settings.crop != SQUARE:
        return x1, y1, x2, y2
    side = max(x2 - x1, y2 - y1)
    left, top = place_side(x1, x2, side, width), place_side(y1, y2, side, height)
    return left, top, left + side, top + side


def place_side(low: int, high: int, side: int, length: int) -> int:
    """Where a side begins that has `low` to `high` in its middle: moved into 0 to `length`, or around that."""
    if side > length:
        return (length - side) // 2
    return min(max((low + high - side) // 2, 0), length - side)


def crop_to(image: Image.Image, area: tuple[int, int, int, int]) -> Image.Image:
    """An area of an image, grey where it reaches beyond it."""
    left, top, right, bottom = area
    inside = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    if inside == area:
        return image.crop(area)
    canvas = Image.new("RGB", (right - left, bottom - top), GREY)
    canvas.paste(image.crop(inside), (inside[0] - left, inside[1] - top))
    return canvas
