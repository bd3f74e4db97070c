"""Seeds of trainings: those of searches before, and different for each."""

from hypothesis import given
from hypothesis import strategies as st

from fashion_core.config import TrainConfig
from search.space.seeds import draw_seeds

STARTS = [3677149159, 1161655048, 2959363686]


def test_seeds_are_those_of_searches_before():
    """A trial can be run again years later, so these numbers stay."""
    drawn = [draw_seeds(*each) for each in ((0, 0), (0, 4), (7, 4))]
    assert [each["seed"] for each in drawn] == [2968811710, 1874364848, 3335713882]
    assert [each["start_seed"] for each in drawn] == STARTS
    assert draw_seeds(7, 4, with_start=False) == {"seed": 3335713882}  # searches whose trials had one start


@given(st.integers(0, 2**32 - 1), st.integers(0, 10_000))
def test_seeds_depend_on_the_search_and_the_trial(seed, number):
    found, others = draw_seeds(seed, number), (draw_seeds(seed, number + 1), draw_seeds((seed + 1) % 2**32, number))
    assert found == draw_seeds(seed, number) and found["seed"] != found["start_seed"]
    assert TrainConfig(**found).model_dump().items() >= found.items()
    assert all(found[name] != other[name] for name in found for other in others)
