"""Near duplicates among images, told by small grey thumbnails of the whole pictures. N images."""

from __future__ import annotations

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 16
# Smallest correlation of two thumbnails of one picture. Looked at in DeepFashion's 7,000 images: the 12 pairs above
# 0.99 are one photograph (6 of them byte-identical); those from 0.987 down show other garments on one model.
MIN_CORRELATION = 0.988
BLOCK = 2048  # rows compared at once: 2048 x N floats


def compute_thumbnail(image: Image.Image) -> np.ndarray:
    """[256] uint8: the whole image, grey, at 16 x 16 pixels."""
    side = THUMBNAIL_SIDE
    return np.asarray(image.convert("L").resize((side, side), Image.Resampling.BOX)).reshape(-1)


def find_near_duplicates(thumbnails: np.ndarray, min_correlation: float = MIN_CORRELATION) -> list[tuple[int, int]]:
    """Pairs i < j of images that show one picture, sorted. thumbnails: [N, 256] uint8.

    Brightness and contrast do not count. An image of one grey alone is like another of the same kind.
    """
    values = thumbnails.astype(np.float32)
    values -= values.mean(1, keepdims=True)
    norms = np.linalg.norm(values, axis=1)
    flat = np.flatnonzero(norms == 0)
    values /= np.where(norms == 0, 1, norms)[:, None]
    pairs = [(int(i), int(j)) for position, i in enumerate(flat) for j in flat[position + 1 :]]
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        rows, columns = np.nonzero(block @ values[start:].T >= min_correlation)
        pairs += [
            (start + int(row), start + int(column)) for row, column in zip(rows, columns, strict=True) if row < column
        ]
    return sorted(pairs)


def group_near_duplicates(thumbnails: np.ndarray) -> np.ndarray:
    """[N] int64: images of one group, linked by near duplicates, have one number, that of the group's first image."""
    groups = np.arange(len(thumbnails))

    def find_root(index: int) -> int:
        while groups[index] != index:
            index = groups[index]
        return index

    for first, second in find_near_duplicates(thumbnails):
        roots = sorted((find_root(first), find_root(second)))
        groups[roots[1]] = roots[0]
    return np.array([find_root(index) for index in range(len(groups))], np.int64)
