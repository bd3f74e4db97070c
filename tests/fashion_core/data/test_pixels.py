"""Crops and sizes against Pillow, and names of settings."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

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


@pytest.mark.parametrize(
    ("box", "margin", "area"),
    [
        ((10, 20, 30, 50), 0.0, (5, 20, 35, 50)),  # widened to both sides
        ((0, 20, 10, 50), 0.0, (0, 20, 30, 50)),  # no room on the left: moved
        ((25, 5, 40, 45), 0.0, (0, 5, 40, 45)),
        ((2, 3, 32, 13), 0.1, (0, 0, 35, 35)),  # 36 wide with its margin, of which 1 lies outside
    ],
)
def test_a_square_lies_in_the_image_where_it_has_room(image, box, margin, area):
    seen = crop_and_resize(image, box, PrepareSettings(16, "box_square", margin))
    assert np.array_equal(seen, np.asarray(image.crop(area).resize((16, 16), Image.Resampling.BILINEAR)))


def test_a_square_without_room_is_grey_beyond_the_image(image):
    """A box of the image's whole height: 60 high where the image is 40 wide, so 10 grey columns on each side."""
    seen = crop_and_resize(image, (12, 0, 20, 60), PrepareSettings(60, "box_square"))
    assert np.array_equal(seen[:, 10:50], np.asarray(image))
    assert (seen[:, :10] == (124, 116, 104)).all() and (seen[:, 50:] == (124, 116, 104)).all()


def test_a_square_keeps_the_aspect():
    """A circle stays one: as wide as high."""
    drawn = Image.new("RGB", (200, 300))
    ImageDraw.Draw(drawn).ellipse((40, 60, 100, 120), fill="white")
    seen = crop_and_resize(drawn, (30, 40, 110, 280), PrepareSettings(96, "box_square", 0.1)).mean(2) > 128
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1 and np.ptp(rows) > 15


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
