"""Near duplicates against every pair compared by numpy's own correlation."""

import numpy as np
import pytest
from PIL import Image

from fashion_core.data import duplicates
from fashion_core.data.duplicates import compute_thumbnail, find_near_duplicates, group_near_duplicates


def draw(count: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 256), dtype=np.uint8)


@pytest.mark.parametrize("block", [2048, 3])
def test_pairs_are_those_of_the_correlation(monkeypatch, block):
    monkeypatch.setattr(duplicates, "BLOCK", block)
    thumbnails = draw()
    thumbnails[7] = thumbnails[2] // 2 + 40  # darker and of less contrast
    thumbnails[9] = np.clip(thumbnails[2].astype(int) + np.random.default_rng(1).integers(-4, 5, 256), 0, 255)
    correlation = np.corrcoef(thumbnails.astype(float))
    wanted = [(i, j) for i in range(12) for j in range(i + 1, 12) if correlation[i, j] >= 0.988]
    assert find_near_duplicates(thumbnails) == wanted == [(2, 7), (2, 9), (7, 9)]
    assert find_near_duplicates(thumbnails, 0.99999) == []


def test_images_of_one_grey_are_alike():
    thumbnails = draw(4)
    thumbnails[1], thumbnails[3] = 17, 200
    assert find_near_duplicates(thumbnails) == [(1, 3)]


def test_groups_are_linked_by_chains():
    thumbnails = draw(6)
    rng = np.random.default_rng(2)
    ends = thumbnails[4].astype(float), thumbnails[0].astype(float)
    for index, share in ((1, 0.0), (3, 0.11), (5, 0.22)):  # each like the next, the ends not like each other
        thumbnails[index] = (1 - share) * ends[0] + share * ends[1] + rng.uniform(0, 1, 256)
    pairs = find_near_duplicates(thumbnails)
    assert (1, 3) in pairs and (3, 5) in pairs and (1, 5) not in pairs
    assert group_near_duplicates(thumbnails).tolist() == [0, 1, 2, 1, 1, 1]
    assert group_near_duplicates(draw(0)).tolist() == []


def test_a_thumbnail_is_the_mean_of_grey_cells():
    values = np.random.default_rng(0).integers(0, 256, (64, 32), dtype=np.uint8)
    wanted = values.reshape(16, 4, 16, 2).mean((1, 3)).reshape(-1)
    found = compute_thumbnail(Image.fromarray(values))
    assert found.shape == (256,) and found.dtype == np.uint8 and np.abs(found - wanted).max() <= 1
