"""An image -> the pixels a network sees. S pixels a side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from fashion_core.config import Crop, TrainConfig

WHOLE = "whole"  # of `crop`


@dataclass(frozen=True)
class PrepareSettings:
    """How images are prepared.

    Args:
        image_size: S, the side of the square result in pixels; the aspect is not kept.
        crop: the image's box, the box with a margin, or the whole image.
        crop_margin: of `box_margin` alone: share of the box's side added on each side, inside the image.
    """

    image_size: int
    crop: Crop = "box"
    crop_margin: float = 0.0

    def __post_init__(self) -> None:
        if self.crop != "box_margin":  # else equal pictures would have two names
            object.__setattr__(self, "crop_margin", 0.0)

    @property
    def needs_box(self) -> bool:
        """Whether a part of the image is looked at that somebody must name."""
        return self.crop != WHOLE

    def __str__(self) -> str:
        """`160-box`, `224-box_margin-0.1`."""
        margin = f"-{self.crop_margin:g}" if self.crop == "box_margin" else ""
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
    width, height = image.size
    if settings.needs_box and box is not None:
        x1, y1, x2, y2 = box
        dx, dy = (round(settings.crop_margin * side) for side in (x2 - x1, y2 - y1))
        image = image.crop((max(x1 - dx, 0), max(y1 - dy, 0), min(x2 + dx, width), min(y2 + dy, height)))
    side = settings.image_size
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
