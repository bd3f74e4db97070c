"""Crops and sizes against Pillow, and names of settings."""

import numpy as np
import pytest
from PIL import Image

from fashion_core.config import TrainConfig
from fashion_core.data.pixels import PrepareSettings, build_settings, crop_and_resize


@pytest.fixture
def image() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize(
    ("settings", "area"),
    [
        (PrepareSettings(16, "box"), (10, 20, 30, 50)),
        (PrepareSettings(16, "box_margin", 0.2), (6, 14, 34, 56)),
        (PrepareSettings(16, "box_margin", 1.0), (0, 0, 40, 60)),  # a margin ends where the image ends
        (PrepareSettings(16, "whole"), (0, 0, 40, 60)),
    ],
)
def test_the_part_that_is_seen(image, settings, area):
    wanted = np.asarray(image.crop(area).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(crop_and_resize(image, (10, 20, 30, 50), settings), wanted)


def test_without_a_box_the_whole_is_seen(image):
    whole = crop_and_resize(image, None, PrepareSettings(16, "whole"))
    assert np.array_equal(crop_and_resize(image, None, PrepareSettings(16, "box")), whole)


def test_equal_pictures_have_one_name():
    assert PrepareSettings(160, "box", 0.3) == PrepareSettings(160, "box") != PrepareSettings(160, "whole")
    assert hash(PrepareSettings(160, "whole", 0.3)) == hash(PrepareSettings(160, "whole"))
    assert (
        str(PrepareSettings(160)) == "160-box" and str(PrepareSettings(224, "box_margin", 0.1)) == "224-box_margin-0.1"
    )
    config = TrainConfig(image_size=96, crop="box_margin", crop_margin=0.25)
    assert build_settings(config) == PrepareSettings(96, "box_margin", 0.25)
