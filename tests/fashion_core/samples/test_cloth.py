"""Cloth: every pattern on every material, in bounds, and each as the drawing of figures needs it."""

import numpy as np
import pytest

from fashion_core.samples.canvas import Frame
from fashion_core.samples.cloth import CLOTH, draw_cloth, scatter_flowers, shape_box, shape_star, shape_zigzag, wrap
from fashion_core.samples.dataset import SHARES


def draw(pattern: str, material: str, seed: int = 1) -> np.ndarray:
    return draw_cloth(
        Frame(0.0, 5.0, 1.75, np.random.default_rng(7)), pattern, material, 4.0, 2.5, np.random.default_rng(seed)
    )


def test_there_is_a_cloth_for_every_material():
    assert CLOTH.keys() == SHARES[5].keys()


@pytest.mark.parametrize("material", SHARES[5])
def test_a_pattern_shows_on_its_material(material):
    plain = draw("solid", material)
    assert plain.ndim == 3 and plain.shape[0] == 3 and np.isfinite(plain).all() and plain.std() > 0
    assert np.array_equal(plain, draw("solid", material)) and not np.array_equal(plain, draw("solid", material, 2))
    for pattern in SHARES[1]:
        if pattern != "solid":
            assert (np.abs(draw(pattern, material) - plain).max(0) > 0.05).mean() > 0.01, pattern


def test_wrap_is_the_part_behind_the_point():
    values = np.array([-1.25, -0.5, 0.0, 0.75, 3.5])
    np.testing.assert_array_equal(wrap(values), values % 1)


def test_shapes_have_their_size():
    star = np.array(shape_star(1.0, 2.0, 0.5, 4, 0.0)) - [1.0, 2.0]
    np.testing.assert_allclose(np.hypot(*star.T), 0.5)  # without depth, a disc
    assert np.hypot(*(np.array(shape_star(0, 0, 1, 5, 0.5)).T)).min() == pytest.approx(0.5)
    assert shape_box(1.0, 2.0, 0.5, 0.25) == [(0.5, 1.75), (1.5, 1.75), (1.5, 2.25), (0.5, 2.25)]
    zigzag = np.array(shape_zigzag(1.0, 0.0, 1.0, 0.1))
    assert np.abs(zigzag[:10, 1] - 1.0).max() == pytest.approx(0.1) and zigzag[:, 0].min() == 0.0
    flowers = np.array(scatter_flowers(4.0, np.random.default_rng(0)))
    assert len(flowers) > 20 and flowers[:, 1].max() < 5 and (flowers[:, 2] > 0).all()
