"""The scale of category weights, and their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space.weights import flatten_weights, normalise_weights


def test_flat_names():
    assert flatten_weights({"fit": 2.0, "sleeve": 0.5}) == {"weight_fit": 2.0, "weight_sleeve": 0.5}


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_weights_normalised_twice_are_bit_for_bit_those_normalised_once(values):
    once = normalise_weights({str(index): value for index, value in enumerate(values)})
    assert sum(once.values()) / len(once) == pytest.approx(1)
    assert normalise_weights(once) == once
