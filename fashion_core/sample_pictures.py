"""Pictures of `sample_data`: a figure in a garment whose six attributes can be seen.

A picture is drawn in heads, as figure drawing does: x to the right of the body's axis, y down from the crown; a figure is
eight heads tall. H, W: height and width of a picture in pixels; colours are RGB in [0, 1].
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

# half widths of the body, and what each fit adds to it, in heads at these heights
HEIGHTS = (1.45, 2.05, 3.0, 3.9, 8.0)  # shoulder, armpit, waist, hip, floor
BODY = (0.80, 0.62, 0.50, 0.68, 0.55)
EASE = {
    "tight": (0.02, 0.02, 0.02, 0.03, 0.02),
    "conventional": (0.04, 0.09, 0.16, 0.16, 0.62),
    "loose": (0.10, 0.26, 0.46, 0.46, 1.25),
}
SLEEVE_EASE = {"tight": 0.03, "conventional": 0.09, "loose": 0.22}
HEMS = {"no_dress": (3.6, 4.2), "mini_length": (4.9, 5.5), "maxi_length": (6.6, 7.3)}
SLEEVE_ENDS = {"short_sleeve": (0.25, 0.45), "long_sleeve": (0.9, 1.0)}  # share of the arm covered

# hue, saturation, value: each a range
CLOTH = {
    "denim": ((0.56, 0.63), (0.40, 0.75), (0.30, 0.75)),
    "chiffon": ((0.0, 1.0), (0.05, 0.40), (0.80, 1.0)),
    "cotton": ((0.0, 1.0), (0.05, 0.90), (0.25, 1.0)),
    "leather": ((0.0, 0.09), (0.10, 0.60), (0.08, 0.35)),
    "faux": ((0.05, 0.12), (0.05, 0.45), (0.35, 0.90)),
    "knit": ((0.0, 1.0), (0.10, 0.55), (0.35, 0.85)),
}
SKIN = ((0.04, 0.08), (0.25, 0.55), (0.40, 0.95))
ANY_COLOUR = ((0.0, 1.0), (0.1, 0.9), (0.15, 1.0))


# ---------------------------------------------------------------------------------------------------------- a picture


class Frame:
    """Where the figure stands in a picture: heads -> pixels, and the heads' coordinates of every pixel."""

    def __init__(self, top: float, bottom: float, half_width: float, rng: np.random.Generator) -> None:
        self.width, self.height = int(rng.integers(*WIDTHS)), HEIGHT
        self.scale = min(HEIGHT / (bottom - top), self.width / (2 * half_width)) * rng.uniform(0.85, 1.02)
        free = HEIGHT - self.scale * (bottom - top)
        self.tilt = rng.normal(0, 0.03)
        self.x0 = self.width / 2 + rng.normal(0, 0.05) * self.width
        self.y0 = rng.uniform(0.2, 0.8) * free - self.scale * top
        columns, lines = np.meshgrid(np.arange(self.width) + 0.5, np.arange(HEIGHT) + 0.5)
        x, y = (columns - self.x0) / self.scale, (lines - self.y0) / self.scale
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


def draw_picture(
    names: Sequence[str], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int, int, int], list[tuple[int, int]]]:
    """One garment with these six attributes, its box (x1, y1, x2, y2) and its eight landmarks in pixels."""
    pattern, sleeve, length, neckline, material, fit = names
    hem = rng.uniform(*HEMS[length])
    frame = Frame(rng.uniform(0, 0.9), hem + rng.uniform(0.3, 1.2), 1.75, rng)
    arms = [shape_arm(side, rng.uniform(0.05, 0.45), rng.uniform(-0.25, 0.35)) for side in (-1, 1)]

    picture = draw_background(frame, rng)  # [H, W, 3] in [0, 1]
    draw_figure(picture, frame, arms, rng)

    ease = np.array(EASE[fit]) * rng.uniform(0.85, 1.15)
    torso, cut = shape_torso(hem, ease, sleeve, neckline, rng), shape_neckline(neckline, rng)
    end = rng.uniform(*SLEEVE_ENDS[sleeve]) if sleeve in SLEEVE_ENDS else 0.0
    start = 0.12 if neckline == "no_neckline" else 0.0
    sleeves = [shape_limb(arm, 0.15 + SLEEVE_EASE[fit], start, end, flare=SLEEVE_EASE[fit]) for arm in arms if end]
    body, sleeve_mask = frame.mask(torso, without=cut), frame.mask(*sleeves)
    if material == "faux":
        fur = (rng.random(body.shape) - 0.5) * 1.1
        body, sleeve_mask = (
            np.clip((blur(mask, 2.0) + fur * (blur(mask, 2.0) < 0.95) - 0.3) * 3, 0, 1) for mask in (body, sleeve_mask)
        )

    cloth = draw_cloth(frame, pattern, material, hem, 2.75 if neckline == "no_neckline" else 2.5, rng)
    for mask, shade in ((sleeve_mask, 0.92), (body, 1.0)):
        volume = shade * (0.62 + 0.38 * np.clip(blur(mask, frame.scale * 0.10) * 1.5 - 0.4, 0, 1))
        opacity = mask * (rng.uniform(0.62, 0.8) if material == "chiffon" else 1.0)
        picture += (opacity[..., None]) * (cloth * volume[..., None] - picture)

    picture *= rng.uniform(0.75, 1.15) * (1 + rng.uniform(-0.2, 0.2) * (frame.u / 2)[..., None])  # light from a side
    picture += rng.normal(0, rng.uniform(0.005, 0.03), picture.shape)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    waist = float(np.interp(3.0, HEIGHTS, np.array(BODY) + ease))
    points = [(-0.35, 1.4), (0.35, 1.4), *(limb_point(arm, end or 0.05) for arm in arms)]
    points += [(-waist, 3.0), (waist, 3.0), torso[len(torso) // 2], torso[len(torso) // 2 - 1]]
    return image, find_box(np.maximum(body, sleeve_mask), rng), find_landmarks(frame, points)


def find_box(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """The box around a mask [H, W], a few pixels off as an annotator's, inside the picture."""
    lines, columns = np.flatnonzero((mask > 0.5).any(axis=1)), np.flatnonzero((mask > 0.5).any(axis=0))
    corners = np.array([columns[0], lines[0], columns[-1] + 1, lines[-1] + 1]) + rng.integers(-4, 5, 4)
    height, width = mask.shape
    x1, y1, x2, y2 = (int(value) for value in np.clip(corners, 1, [width - 1, height - 1] * 2))
    return x1, y1, x2, y2


def find_landmarks(frame: Frame, points: Points) -> list[tuple[int, int]]:
    """Collar, sleeves, waist and hem, each left and right, in pixels; (0, 0) where outside the picture."""
    placed = [(round(x), round(y)) for x, y in frame.place(points)]
    return [(x, y) if 0 < x < frame.width and 0 < y < frame.height else (0, 0) for x, y in placed]


# ------------------------------------------------------------------------------------------------------------- shapes


def shape_arm(side: int, swing: float, bend: float) -> list[tuple[float, float]]:
    """Shoulder, elbow, wrist; angles in radians away from the body."""
    elbow = (side * (0.74 + 1.3 * math.sin(swing)), 1.62 + 1.3 * math.cos(swing))
    angle = swing - bend
    return [(side * 0.74, 1.62), elbow, (elbow[0] + side * 1.2 * math.sin(angle), elbow[1] + 1.2 * math.cos(angle))]


def limb_point(joints: Points, share: float) -> tuple[float, float]:
    """The point at this share of a limb of two bones."""
    place = share * 2
    (x0, y0), (x1, y1) = joints[int(place >= 1)], joints[int(place >= 1) + 1]
    rest = place - int(place >= 1)
    return x0 + (x1 - x0) * rest, y0 + (y1 - y0) * rest


def shape_limb(
    joints: Points, half_width: float, start: float, end: float, flare: float = 0.0
) -> list[tuple[float, float]]:
    """The outline of a limb from one share of it to another; `flare` is added to the half width towards its end."""
    shares = np.linspace(start, end, 7)
    centre = np.array([limb_point(joints, share) for share in shares])  # [7, 2]
    along = np.gradient(centre, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    offset = normal * (half_width + flare * shares)[:, None]
    return [tuple(point) for point in np.concatenate([centre + offset, (centre - offset)[::-1]])]


def shape_torso(
    hem: float, ease: np.ndarray, sleeve: str, neckline: str, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """The outline from the neck round the hem; symmetrical, its middle two points are the hem's ends."""
    widths = np.array(BODY) + ease
    if neckline == "no_neckline":
        top = [(0.0, 1.95), (float(np.interp(1.95, HEIGHTS, widths)) * 0.98, 1.95)]
    elif sleeve == "sleeveless":
        top = [(0.0, 1.35), (0.34, 1.33), (rng.uniform(0.5, 0.62), 1.42), (0.55, 1.75)]
    else:
        top = [(0.0, 1.35), (0.34, 1.33), (widths[0], 1.5)]
    heights = np.linspace(2.05, hem, 9)
    right = [*top, *((float(np.interp(y, HEIGHTS, widths)), float(y)) for y in heights)]
    return [*right, *((-x, y) for x, y in reversed(right))]


def shape_neckline(neckline: str, rng: np.random.Generator) -> list[tuple[float, float]]:
    """What the neckline cuts out of the torso; empty for a garment that begins below the shoulders."""
    if neckline == "crew_neckline":
        depth = rng.uniform(0.18, 0.32)
        return [(0.36 * math.cos(a), 1.33 + depth * math.sin(a)) for a in np.linspace(0, math.pi, 13)] + [
            (-0.36, 1.0),
            (0.36, 1.0),
        ]
    if neckline == "v_neckline":
        return [(0.38, 1.0), (0.38, 1.33), (0.0, 1.33 + rng.uniform(0.6, 1.0)), (-0.38, 1.33), (-0.38, 1.0)]
    if neckline == "square_neckline":
        depth, half = 1.33 + rng.uniform(0.38, 0.6), rng.uniform(0.4, 0.48)
        return [(half, 1.0), (half, depth), (-half, depth), (-half, 1.0)]
    return []


# ---------------------------------------------------------------------------------------- background, figure and cloth


def draw_colour(ranges: Ranges, rng: np.random.Generator) -> np.ndarray:
    """[3] RGB in [0, 1] from ranges of hue, saturation and value."""
    return np.array(colorsys.hsv_to_rgb(*(rng.uniform(*limits) for limits in ranges)), dtype=np.float32)


def draw_contrast(base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[3] a colour that differs visibly in lightness from `base`."""
    colours = np.array([draw_colour(ANY_COLOUR, rng) for _ in range(8)])
    distance = np.abs(colours.mean(axis=1) - base.mean()) + 0.3 * np.abs(colours - base).mean(axis=1)
    return colours[np.argsort(distance)[int(rng.integers(4, 8))]]


def draw_noise(frame: Frame, cells: int, rng: np.random.Generator, channels: int = 1) -> np.ndarray:
    """[H, W, channels] smooth noise, about standard normal, with `cells` hills along a side."""
    layers = [Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32)) for _ in range(channels)]
    size = (frame.width, frame.height)
    return np.stack([np.asarray(layer.resize(size, Image.Resampling.BICUBIC)) for layer in layers], axis=2)


def blur(mask: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of a mask [H, W] in [0, 1]."""
    image = Image.fromarray((mask * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255


def draw_background(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """[H, W, 3] a studio wall with a floor, or something out of focus."""
    wall = draw_colour(((0.0, 1.0), (0.0, 0.35), (0.35, 1.0)), rng)
    busy = rng.choice([0.01, 0.08, 0.2], p=[0.45, 0.25, 0.3])
    picture = wall + busy * draw_noise(frame, int(rng.integers(4, 12)), rng, 3)
    floor = int(HEIGHT * rng.uniform(0.75, 1.1))
    picture[floor:] = picture[floor:] * 0.5 + 0.5 * draw_colour(ANY_COLOUR, rng)
    return picture.astype(np.float32)


def draw_figure(picture: np.ndarray, frame: Frame, arms: Sequence[Points], rng: np.random.Generator) -> None:
    """Paint hair, skin and shoes into the picture."""
    circle = [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 24)]
    long_hair = rng.uniform(0.3, 1.3) * rng.integers(0, 2)
    hair = [(0.44 * x, 0.42 + 0.5 * y + long_hair * max(0.0, y)) for x, y in circle]
    face = [(0.34 * x, 0.52 + 0.44 * y) for x, y in circle]
    trunk = [(0.2, 0.8), (0.22, 1.3), *((x, y) for x, y in zip(BODY[:4], HEIGHTS, strict=False)), (0.66, 4.3)]
    trunk += [(-x, y) for x, y in reversed(trunk)]
    spread = rng.uniform(0.3, 0.5)
    legs = [[(side * 0.34, 3.9), (side * spread, 5.7), (side * spread, 7.5)] for side in (-1, 1)]
    limbs = [shape_limb(arm, 0.15, 0, 1.08) for arm in arms] + [
        shape_limb(leg, 0.31, 0, 1, flare=-0.15) for leg in legs
    ]
    shoes = [
        [(leg[2][0] - 0.2, 7.4), (leg[2][0] + 0.2, 7.4), (leg[2][0] + 0.22, 7.8), (leg[2][0] - 0.22, 7.8)]
        for leg in legs
    ]
    skin, shoe, locks = (
        draw_colour(SKIN, rng),
        draw_colour(ANY_COLOUR, rng),
        draw_colour(((0.03, 0.12), (0.2, 0.8), (0.05, 0.8)), rng),
    )
    if rng.random() < 0.4:  # trousers or tights
        paint(picture, frame.mask(*limbs[:2], trunk), skin)
        paint(picture, frame.mask(*limbs[2:]), draw_colour(ANY_COLOUR, rng))
    else:
        paint(picture, frame.mask(*limbs, trunk), skin)
    paint(picture, frame.mask(*shoes), shoe)
    paint(picture, frame.mask(hair), locks)
    paint(picture, frame.mask(face, [(-0.2, 0.8), (0.2, 0.8), (0.25, 1.45), (-0.25, 1.45)]), skin)


def paint(picture: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Lay a colour [3] over the picture where the mask is, darker at its edges."""
    shade = 0.75 + 0.25 * blur(mask, 3.0)
    picture += mask[..., None] * (colour * shade[..., None] - picture)


# -------------------------------------------------------------------------------------------------------------- cloth


def draw_cloth(
    frame: Frame, pattern: str, material: str, hem: float, chest: float, rng: np.random.Generator
) -> np.ndarray:
    """[H, W, 3] an endless sheet of the garment's cloth; its emblem sits at the chest, its borders run along the hem."""
    base = draw_colour(CLOTH[material], rng)
    cloth = np.broadcast_to(base, (frame.height, frame.width, 3)).astype(np.float32)
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
    across, down = (frame.u / period + phase) % 1, (frame.v / period + phase) % 1  # [H, W] in [0, 1)
    if pattern == "striped":
        lines = down if rng.random() < 0.75 else across
        cloth[lines < rng.uniform(0.3, 0.5)] = colour
    elif pattern == "lattice":
        duty = rng.uniform(0.12, 0.35)
        weave = 0.5 * (across < duty) + 0.5 * (down < duty)
        cloth += (np.minimum(1, weave * rng.uniform(1.0, 2.0)))[..., None] * (colour - cloth)
    elif pattern == "pleated":
        cloth *= (1.12 - rng.uniform(0.4, 0.6) * (across if period < 0.37 else (across * 2) % 1))[..., None]
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
    hills = draw_noise(frame, 9, rng)[..., 0]
    grain = rng.standard_normal(u.shape, dtype=np.float32)
    fine = math.sqrt(70 / frame.scale)  # a small figure's threads are drawn thicker, else no pixel would show them
    surface = 1 + 0.05 * hills
    if material == "denim":
        surface += 0.09 * np.sin(2 * math.pi * 9 / fine * (u + v)) + 0.08 * hills + 0.05 * grain
        seams = [shape_box(x, y, 0.05, 0.018) for y in (hem - 0.12, 2.95) for x in np.arange(-2, 2, 0.15)]
        seams += [shape_box(side * 0.42, 2.35, w, h) for side in (-1, 1) for w, h in ((0.19, 0.02), (0.02, 0.19))]
        seams += [shape_box(x, y, 0.018, 0.05) for x in (-0.02, 0.55, -0.55) for y in np.arange(1.4, hem, 0.15)]
        stamp(cloth, frame.mask(*seams), np.array([0.90, 0.62, 0.25]))
    elif material == "chiffon":
        surface += 0.10 * np.sin(2 * math.pi * 1.4 * (u + 0.12 * np.sin(2 * v + hills)))
    elif material == "cotton":
        surface += 0.02 * grain
    elif material == "leather":
        cloth += 0.55 * (np.clip(draw_noise(frame, 14, rng)[..., 0] - 0.5, 0, 1.2) ** 1.5)[..., None]
        if rng.random() < 0.7:  # a zip
            stamp(cloth, frame.mask(shape_box(rng.uniform(-0.2, 0.2), (1.4 + hem) / 2, 0.035, hem)), np.full(3, 0.8))
    elif material == "faux":
        tufts = (
            Image.fromarray(grain).resize((frame.width * 2, frame.height * 2)).crop((0, 0, frame.width, frame.height))
        )
        surface += 0.16 * np.asarray(tufts) + 0.13 * grain + 0.1 * hills
    elif material == "knit":
        width = 0.15 * fine
        bend = np.abs((u / width) % 1 - 0.5)  # [H, W] 0 in the middle of a column of stitches
        ribs = np.where(v > hem - 0.35, bend * 2, (v / width * 1.2 + 1.2 * bend) % 1)
        surface += 0.42 * (ribs - 0.5)
    cloth *= surface[..., None]


def stamp(cloth: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Print a colour [3] on the cloth where the mask [H, W] is."""
    cloth += mask[..., None] * (colour - cloth)


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
