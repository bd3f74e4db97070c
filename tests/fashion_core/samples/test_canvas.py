"""Frames, masks, colours and noise."""

import numpy as np
import pytest

from fashion_core.samples.canvas import ANY_COLOUR, HEIGHT, Frame, blur, draw_colour, draw_contrast, draw_noise


@pytest.fixture
def frame() -> Frame:
    return Frame(0.0, 8.0, 1.75, np.random.default_rng(3))


def test_places_and_coordinates_are_inverse(frame):
    """A point given in heads is drawn at the pixel that has its coordinates."""
    for point in ((0.0, 2.0), (0.5, 4.0), (-0.8, 6.5)):
        ((x, y),) = frame.place([point])
        row, column = int(y), int(x)
        assert np.hypot(frame.u[row, column] - point[0], frame.v[row, column] - point[1]) * frame.scale < 1


def test_a_mask_covers_its_polygon_less_the_cut(frame):
    square = [(-1.0, 2.0), (1.0, 2.0), (1.0, 4.0), (-1.0, 4.0)]
    cut = [(-1.0, 2.0), (0.0, 2.0), (0.0, 4.0), (-1.0, 4.0)]
    whole, half = frame.mask(square), frame.mask(square, without=cut)
    assert whole.shape == (HEIGHT, frame.width) and whole.min() == 0 and whole.max() == 1
    assert whole.sum() == pytest.approx(4 * frame.scale**2, rel=0.05)
    assert half.sum() == pytest.approx(whole.sum() / 2, rel=0.1) and (half <= whole).all()
    assert not frame.mask().any()


def test_colours_keep_to_their_ranges_and_contrast_with_a_base():
    rng = np.random.default_rng(0)
    for _ in range(20):
        red = draw_colour(((0.0, 0.0), (1.0, 1.0), (0.5, 1.0)), rng)
        assert red.shape == (3, 1, 1) and 0.5 <= red[0, 0, 0] <= 1 and red[1:].max() == 0
    base = draw_colour(ANY_COLOUR, rng)
    plain = [np.abs(draw_colour(ANY_COLOUR, rng).mean() - base.mean()) for _ in range(200)]
    chosen = [np.abs(draw_contrast(base, rng).mean() - base.mean()) for _ in range(200)]
    assert np.mean(chosen) > np.mean(plain)


def test_noise_is_about_standard_normal(frame):
    noise = draw_noise(frame, 40, np.random.default_rng(0), 3)
    assert noise.shape == (3, HEIGHT, frame.width) and abs(noise.mean()) < 0.1 and 0.5 < noise.std() < 1.2
    assert not np.array_equal(noise[0], noise[1])


def test_blurring_keeps_the_mass():
    mask = np.zeros((50, 50), np.float32)
    mask[20:30, 20:30] = 1
    soft = blur(mask, 2.0)
    assert soft.sum() == pytest.approx(mask.sum(), rel=0.02) and 0 < soft[18, 25] < 1
