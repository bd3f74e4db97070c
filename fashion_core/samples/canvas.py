"""What the drawn data set is drawn with: a frame that figures are drawn in, colours, noise, masks.

A picture is drawn in heads, as figure drawing does: x to the right of the body's axis, y down from the crown; a figure
is eight heads tall. Pictures are [3, H, W] RGB in [0, 1], H by W pixels; colours are [3, 1, 1], masks [H, W] in [0, 1].
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Points = Sequence[tuple[float, float]]
Ranges = Sequence[tuple[float, float]]
HEIGHT = 300  # pixels, as in DeepFashion
WIDTHS = (150, 301)
SMOOTHING = 2  # shapes are drawn this many times larger, then reduced
ANY_COLOUR = ((0.0, 1.0), (0.1, 0.9), (0.15, 1.0))  # hue, saturation, value: each a range


class Frame:
    """Where the figure stands in a picture: heads -> pixels, and the heads' coordinates of every pixel."""

    def __init__(self, top: float, bottom: float, half_width: float, rng: np.random.Generator) -> None:
        self.width, self.height = int(rng.integers(*WIDTHS)), HEIGHT
        self.scale = min(HEIGHT / (bottom - top), self.width / (2 * half_width)) * rng.uniform(0.85, 1.02)
        free = HEIGHT - self.scale * (bottom - top)
        self.tilt = rng.normal(0, 0.03)
        self.x0 = self.width / 2 + rng.normal(0, 0.05) * self.width
        self.y0 = rng.uniform(0.2, 0.8) * free - self.scale * top
        x = ((np.arange(self.width) + 0.5 - self.x0) / self.scale).astype(np.float32)  # [W]
        y = ((np.arange(HEIGHT) + 0.5 - self.y0) / self.scale).astype(np.float32)[:, None]  # [H, 1]
        self.u = x * math.cos(self.tilt) + y * math.sin(self.tilt)  # [H, W] heads
        self.v = y * math.cos(self.tilt) - x * math.sin(self.tilt)

    def place(self, points: Points) -> list[tuple[float, float]]:
        """Points in heads -> points in pixels."""
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        return [
            (self.x0 + self.scale * (x * cos - y * sin), self.y0 + self.scale * (x * sin + y * cos)) for x, y in points
        ]

    def mask(self, *shapes: Points, without: Points = ()) -> np.ndarray:
        """[H, W] coverage in [0, 1] of polygons given in heads, less one that is cut out."""
        large = Image.new("L", (self.width * SMOOTHING, self.height * SMOOTHING))
        draw = ImageDraw.Draw(large)
        for shape, fill in [*((shape, 255) for shape in shapes), (without, 0)]:
            if shape:
                draw.polygon([(x * SMOOTHING, y * SMOOTHING) for x, y in self.place(shape)], fill=fill)
        return np.asarray(large.reduce(SMOOTHING), dtype=np.float32) / 255


def draw_colour(ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """[3, 1, 1] a colour from ranges of hue, saturation and value."""
    colour = colorsys.hsv_to_rgb(*(rng.uniform(*limits) for limits in ranges))
    return np.array(colour, dtype=np.float32).reshape(3, 1, 1)


def draw_contrast(base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[3, 1, 1] a colour that differs visibly in lightness from `base`."""
    colours = np.array([draw_colour(ANY_COLOUR, rng) for _ in range(8)])
    distance = np.abs(colours.mean((1, 2, 3)) - base.mean()) + 0.3 * np.abs(colours - base).mean((1, 2, 3))
    chosen: np.ndarray = colours[np.argsort(distance)[int(rng.integers(4, 8))]]
    return chosen


def draw_noise(frame: Frame, cells: int, rng: np.random.Generator, channels: int = 1) -> np.ndarray:
    """[channels, H, W] smooth noise, about standard normal, with `cells` hills along a side."""
    layers = [Image.fromarray(rng.standard_normal((cells, cells), np.float32)) for _ in range(channels)]
    size = (frame.width, frame.height)
    return np.stack([np.asarray(layer.resize(size, Image.Resampling.BICUBIC)) for layer in layers])


def blur(mask: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of a mask [H, W] in [0, 1]."""
    image = Image.fromarray((mask * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255
