"""Drawn pictures: a figure in a garment whose six attributes can be seen. Units as in `canvas`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fashion_core.samples.canvas import ANY_COLOUR, HEIGHT, Frame, Points, blur, draw_colour, draw_noise
from fashion_core.samples.cloth import draw_cloth

if TYPE_CHECKING:
    from collections.abc import Sequence

# half widths of the body, and what each fit adds to it, in heads at these heights
HEIGHTS = (1.45, 2.05, 3.0, 3.9, 8.0)  # shoulder, armpit, waist, hip, floor
BODY = (0.80, 0.62, 0.50, 0.68, 0.55)
EASE = {
    "tight": (0.00, 0.00, -0.08, 0.06, -0.10),
    "conventional": (0.04, 0.10, 0.17, 0.18, 0.62),
    "loose": (0.14, 0.36, 0.66, 0.75, 1.60),
}
SLEEVE_EASE = {"tight": 0.0, "conventional": 0.09, "loose": 0.26}
HEMS = {"no_dress": (3.6, 4.0), "mini_length": (4.9, 5.5), "maxi_length": (6.8, 7.4)}
SLEEVE_ENDS = {"short_sleeve": (0.25, 0.45), "long_sleeve": (0.9, 1.0)}  # share of the arm covered
EDGE = 3  # pixels from a shape's edge to its full light
SKIN = ((0.04, 0.08), (0.25, 0.55), (0.40, 0.95))  # hue, saturation, value: each a range


def draw_picture(
    names: Sequence[str], rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int, int, int], list[tuple[int, int]]]:
    """One garment with these six attributes, its box (x1, y1, x2, y2) and its eight landmarks in pixels."""
    pattern, sleeve, length, neckline, material, fit = names
    hem = rng.uniform(*HEMS[length])
    frame = Frame(rng.uniform(0, 0.9), hem + rng.uniform(0.3, 1.2), 1.75, rng)
    arms = [shape_arm(side, rng.uniform(0.05, 0.45), rng.uniform(-0.25, 0.35)) for side in (-1, 1)]

    picture = draw_background(frame, rng)  # [3, H, W]
    draw_figure(picture, frame, arms, rng)

    ease = np.array(EASE[fit]) * rng.uniform(0.85, 1.15)
    torso, cut = shape_torso(hem, ease, sleeve, neckline, rng), shape_neckline(neckline, rng)
    end = rng.uniform(*SLEEVE_ENDS[sleeve]) if sleeve in SLEEVE_ENDS else 0.0
    start = 0.12 if neckline == "no_neckline" else 0.0
    sleeves = [shape_limb(arm, 0.15 + SLEEVE_EASE[fit], start, end, flare=SLEEVE_EASE[fit]) for arm in arms if end]
    body, sleeve_mask = frame.mask(torso, without=cut), frame.mask(*sleeves)
    if material == "faux":
        fur = (rng.random(body.shape, np.float32) - 0.5) * 1.1
        body, sleeve_mask = (
            np.clip((soft + fur * ((soft > 0.1) & (soft < 0.95)) - 0.3) * 3, 0, 1)
            for soft in (blur(body, 2.0), blur(sleeve_mask, 2.0))
        )

    cloth = draw_cloth(frame, pattern, material, hem, 2.75 if neckline == "no_neckline" else 2.5, rng)
    for mask, shade in ((sleeve_mask, 0.92), (body, 1.0)):
        volume = shade * (0.62 + 0.38 * np.clip(blur(mask, frame.scale * 0.10) * 1.5 - 0.4, 0, 1))
        opacity = mask * np.float32(rng.uniform(0.62, 0.8) if material == "chiffon" else 1)
        picture += opacity * (cloth * volume - picture)

    picture *= rng.uniform(0.75, 1.15) * (1 + rng.uniform(-0.2, 0.2) * (frame.u / 2))  # light from a side
    picture += rng.uniform(0.01, 0.05) * (2 * rng.random(picture.shape, np.float32) - 1)  # noise of a sensor
    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy())
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


def draw_background(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """[3, H, W] a studio wall with a floor, or something out of focus."""
    wall = draw_colour(((0.0, 1.0), (0.0, 0.35), (0.35, 1.0)), rng)
    busy = float(rng.choice([0.01, 0.08, 0.2], p=[0.45, 0.25, 0.3]))
    picture = wall + busy * draw_noise(frame, int(rng.integers(4, 12)), rng, 3)
    floor = int(HEIGHT * rng.uniform(0.75, 1.1))
    picture[:, floor:] = 0.5 * (picture[:, floor:] + draw_colour(ANY_COLOUR, rng))
    return picture


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
    """Lay a colour over the picture where the mask is, darker at its edges."""
    lines, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(lines):  # outside the picture
        return
    margin = 3 * EDGE
    part = tuple(slice(max(0, int(run[0]) - margin), int(run[-1]) + margin) for run in (lines, columns))
    mask, place = mask[part], picture[:, part[0], part[1]]
    shade = 0.75 + 0.25 * blur(mask, EDGE)
    place += mask * (colour * shade - place)


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
        depth = rng.uniform(0.2, 0.34)
        return [(0.36 * math.cos(a), 1.33 + depth * math.sin(a)) for a in np.linspace(0, math.pi, 13)] + [
            (-0.36, 1.0),
            (0.36, 1.0),
        ]
    if neckline == "v_neckline":
        return [(0.38, 1.0), (0.38, 1.33), (0.0, 1.33 + rng.uniform(0.75, 1.1)), (-0.38, 1.33), (-0.38, 1.0)]
    if neckline == "square_neckline":
        depth, half = 1.33 + rng.uniform(0.45, 0.65), rng.uniform(0.42, 0.5)
        return [(half, 1.0), (half, depth), (-half, depth), (-half, 1.0)]
    return []
