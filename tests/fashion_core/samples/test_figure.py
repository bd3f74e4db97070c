"""Pictures of garments: their attributes can be seen, and box and landmarks are where the garment is."""

import numpy as np
import pytest
from PIL import Image

from fashion_core.samples.dataset import SHARES
from fashion_core.samples.figure import draw_picture, find_box, shape_limb, shape_torso


@pytest.mark.parametrize("material", SHARES[5])
def test_no_material_widens_the_box(material: str) -> None:
    """Fur once sprinkled the whole picture, and its box was the whole picture too."""
    shares = []
    for seed in range(4):
        attributes = ["solid", "sleeveless", "no_dress", "crew_neckline", material, "tight"]
        image, (x1, _, x2, _), _ = draw_picture(attributes, np.random.default_rng(seed))
        shares.append((x2 - x1) / image.width)
    assert max(shares) < 0.6


# class pairs whose difference a few numbers of the 64 px crop must show
@pytest.mark.parametrize(
    ("category", "one", "other"),
    [(0, "solid", name) for name in SHARES[1] if name != "solid"]
    + [(4, "cotton", name) for name in SHARES[5] if name != "cotton"]
    + [(1, "long_sleeve", "sleeveless"), (1, "short_sleeve", "sleeveless"), (3, "crew_neckline", "v_neckline")]
    + [(3, "crew_neckline", "square_neckline"), (3, "crew_neckline", "no_neckline"), (5, "tight", "loose")]
    + [(5, "conventional", "loose"), (5, "conventional", "tight"), (2, "mini_length", "no_dress")]
    + [(2, "maxi_length", "mini_length")],
)
def test_classes_look_different(category: int, one: str, other: str) -> None:
    """Drawn from equal random numbers, two classes differ in many pixels of the crop that a network sees."""
    attributes = ["solid", "sleeveless", "no_dress", "crew_neckline", "cotton", "conventional"]
    crops = []
    for name in (one, other):
        attributes[category] = name
        image, box, _ = draw_picture(attributes, np.random.default_rng(5))
        crops.append(np.asarray(image.crop(box).resize((64, 64), Image.Resampling.BILINEAR), dtype=np.int16))
    changed = (np.abs(crops[0] - crops[1]).max(axis=2) > 24).mean()
    assert changed > 0.02


def test_landmarks_lie_in_the_picture_or_are_none():
    for seed in range(5):
        names = ["solid", "long_sleeve", "maxi_length", "v_neckline", "denim", "loose"]
        image, (x1, y1, x2, y2), landmarks = draw_picture(names, np.random.default_rng(seed))
        assert len(landmarks) == 8 and 0 < x1 < x2 < image.width and 0 < y1 < y2 < image.height
        assert all((x, y) == (0, 0) or (0 < x < image.width and 0 < y < image.height) for x, y in landmarks)


def test_a_box_is_that_of_the_mask_a_few_pixels_off():
    mask = np.zeros((60, 40), np.float32)
    mask[20:50, 10:30] = 1
    for seed in range(10):
        box = find_box(mask, np.random.default_rng(seed))
        assert np.abs(np.array(box) - [10, 20, 30, 50]).max() <= 4


def test_outlines_are_symmetrical_or_as_wide_as_asked():
    torso = np.array(shape_torso(4.0, np.zeros(5), "sleeveless", "crew_neckline", np.random.default_rng(0)))
    np.testing.assert_allclose(torso, torso[::-1] * [-1, 1])
    limb = np.array(shape_limb([(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)], 0.2, 0.0, 1.0))
    np.testing.assert_allclose(limb[:7] - limb[::-1][:7], [[-0.4, 0.0]] * 7, atol=1e-12)
