"""Cloth of the drawn garments: one of seven patterns on one of six materials. Units as in `canvas`."""

from __future__ import annotations

import math

import numpy as np

from fashion_core.samples.canvas import Frame, draw_colour, draw_contrast, draw_noise

# hue, saturation, value: each a range
CLOTH = {
    "denim": ((0.56, 0.63), (0.40, 0.75), (0.30, 0.75)),
    "chiffon": ((0.0, 1.0), (0.05, 0.40), (0.80, 1.0)),
    "cotton": ((0.0, 1.0), (0.05, 0.90), (0.25, 1.0)),
    "leather": ((0.0, 0.09), (0.10, 0.60), (0.08, 0.35)),
    "faux": ((0.05, 0.12), (0.05, 0.45), (0.35, 0.90)),
    "knit": ((0.0, 1.0), (0.10, 0.55), (0.35, 0.85)),
}
THREAD = np.array([0.90, 0.62, 0.25], np.float32).reshape(3, 1, 1)  # of denim's seams
WAIST = 2.9  # heads
ZIP = np.full((3, 1, 1), 0.8, np.float32)


def draw_cloth(
    frame: Frame, pattern: str, material: str, hem: float, chest: float, rng: np.random.Generator
) -> np.ndarray:
    """[3, H, W] an endless sheet of a garment's cloth; its emblem sits at the chest, its borders run along the hem."""
    base = draw_colour(CLOTH[material], rng)
    cloth = np.tile(base, (1, frame.height, frame.width))
    draw_pattern(cloth, frame, pattern, base, hem, chest, rng)
    draw_material(cloth, frame, material, hem, rng)
    return cloth


def draw_pattern(
    cloth: np.ndarray, frame: Frame, pattern: str, base: np.ndarray, hem: float, chest: float, rng: np.random.Generator
) -> None:
    """Paint the pattern into the cloth."""
    colour, second = draw_contrast(base, rng), draw_contrast(base, rng)
    period = rng.uniform(0.24, 0.5)
    phase = rng.random()
    across, down = (wrap(place / period + phase) for place in (frame.u, frame.v))  # [H, W]
    if pattern == "striped":
        lines = down if rng.random() < 0.75 else across
        stamp(cloth, lines < rng.uniform(0.3, 0.5), colour)
    elif pattern == "lattice":
        duty = rng.uniform(0.12, 0.35)
        weave = 0.5 * ((across < duty).astype(np.float32) + (down < duty))  # 1 where two threads cross
        stamp(cloth, np.minimum(1, weave * rng.uniform(1.0, 2.0)), colour)
    elif pattern == "pleated":
        cloth *= 1.12 - rng.uniform(0.4, 0.6) * (across if period < 0.37 else wrap(across * 2))
    elif pattern == "floral":
        flowers = scatter_flowers(hem, rng)
        stamp(cloth, frame.mask(*(shape_star(x, y, r, 5, 0.45) for x, y, r in flowers[::2])), colour)
        stamp(cloth, frame.mask(*(shape_star(x, y, r, 5, 0.45) for x, y, r in flowers[1::2])), second)
        stamp(cloth, frame.mask(*(shape_star(x, y, r * 0.3, 4, 0.0) for x, y, r in flowers)), base)
    elif pattern == "graphic":
        size, petals = rng.uniform(0.32, 0.46), int(rng.integers(3, 7))
        emblem = shape_star(0, chest, size, petals, rng.choice([0.0, 0.6]))
        words = [shape_box(x, chest + size + 0.2, 0.05, 0.09) for x in np.linspace(-0.42, 0.42, 6)]
        stamp(cloth, frame.mask(emblem, *words[: int(rng.integers(3, 7))]), colour)
        stamp(cloth, frame.mask(shape_star(0, chest, size * 0.55, 4, 0.0)), second)
    elif pattern == "embroidered":
        rows = [*(shape_zigzag(hem - drop, -2.2, 2.2) for drop in (0.15, 0.38, 0.61))]
        columns = [[(y, x) for x, y in shape_zigzag(x, 1.9, 3.0)] for x in (-0.36, -0.18, 0.18, 0.36)]
        stamp(cloth, frame.mask(*rows[: int(rng.integers(1, 4))], *columns), colour)
        dots = [shape_star(x, hem - 0.8, 0.07, 4, 0.0) for x in np.arange(-2.1, 2.2, 0.3)]
        stamp(cloth, frame.mask(*dots, shape_star(0, 2.1, 0.12, 6, 0.5)), second)


def draw_material(cloth: np.ndarray, frame: Frame, material: str, hem: float, rng: np.random.Generator) -> None:
    """Give the cloth the surface of its material."""
    u, v = frame.u, frame.v
    hills = draw_noise(frame, 9, rng)[0]
    grain = rng.standard_normal(u.shape, dtype=np.float32)
    fine = math.sqrt(70 / frame.scale)  # a small figure's threads are drawn thicker, else no pixel would show them
    surface = 1 + 0.05 * hills  # [H, W]
    if material == "denim":
        surface += 0.09 * np.sin(2 * math.pi * 9 / fine * (u + v)) + 0.08 * hills + 0.05 * grain
        seams = [shape_box(x, y, 0.05, 0.018) for y in (hem - 0.12, 2.95) for x in np.arange(-2, 2, 0.15)]
        seams += [shape_box(side * 0.42, 2.35, w, h) for side in (-1, 1) for w, h in ((0.19, 0.02), (0.02, 0.19))]
        seams += [shape_box(x, y, 0.018, 0.05) for x in (-0.02, 0.55, -0.55) for y in np.arange(1.4, hem, 0.15)]
        stamp(cloth, frame.mask(*seams), THREAD)
    elif material == "chiffon":
        surface += 0.10 * np.sin(2 * math.pi * 1.4 * (u + 0.12 * np.sin(2 * v + hills)))
    elif material == "cotton":
        surface += 0.02 * grain
    elif material == "leather":
        cloth += 0.55 * np.clip(draw_noise(frame, 14, rng) - 0.5, 0, 1.2) ** 1.5
        if rng.random() < 0.7:  # a zip
            stamp(cloth, frame.mask(shape_box(rng.uniform(-0.2, 0.2), (1.4 + hem) / 2, 0.035, hem)), ZIP)
    elif material == "faux":
        tufts = np.repeat(np.repeat(grain, 2, 0), 2, 1)[: frame.height, : frame.width]
        surface += 0.16 * tufts + 0.13 * grain + 0.1 * hills
    elif material == "knit":
        width = 0.15 * fine
        bend = np.abs(wrap(u / width) - 0.5)  # [H, W] 0 in the middle of a column of stitches
        ribs = np.where(v > hem - 0.35, bend * 2, wrap(v / width * 1.2 + 1.2 * bend))
        surface += 0.42 * (ribs - 0.5)
    surface *= 1 - 0.45 * (np.abs(v - WAIST) < 0.05)  # a seam: how far down the garment it lies tells the length
    cloth *= surface


def wrap(values: np.ndarray) -> np.ndarray:
    """The part behind the point, in [0, 1). Five times as fast as `% 1`."""
    rest: np.ndarray = values - np.floor(values)
    return rest


def stamp(cloth: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Print a colour on the cloth where the mask is."""
    cloth += mask * (colour - cloth)


def scatter_flowers(hem: float, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """x, y and radius of flowers all over the garment, in random order."""
    step = rng.uniform(0.42, 0.62)
    places = np.array([(x, y) for y in np.arange(1.3, hem + 0.2, step) for x in np.arange(-1.9, 1.9, step)])
    places = rng.permutation(places + rng.uniform(-0.4, 0.4, places.shape) * step)
    return [(float(x), float(y), float(rng.uniform(0.32, 0.5) * step)) for x, y in places]


def shape_star(x: float, y: float, radius: float, rays: int, depth: float) -> list[tuple[float, float]]:
    """A rosette of round rays around (x, y); depth 0 is a disc."""
    angles = np.linspace(0, 2 * math.pi, 6 * rays, endpoint=False)
    reach = radius * (1 - depth * (0.5 + 0.5 * np.cos(rays * angles)))
    return [(x + r * math.sin(a), y + r * math.cos(a)) for a, r in zip(angles, reach, strict=True)]


def shape_box(x: float, y: float, half_width: float, half_height: float) -> list[tuple[float, float]]:
    """A rectangle around (x, y)."""
    return [(x + i * half_width, y + j * half_height) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def shape_zigzag(y: float, start: float, end: float, amplitude: float = 0.09) -> list[tuple[float, float]]:
    """A zigzag ribbon along x at height y."""
    steps = np.arange(start, end, amplitude)
    line = [(float(x), y + amplitude * (-1) ** i) for i, x in enumerate(steps)]
    return [*line, *((x, value + 0.07) for x, value in reversed(line))]
