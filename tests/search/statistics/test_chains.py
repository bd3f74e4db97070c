"""Many tries on the same images, simulated: a part of the table. Its short form is `test_simulations.py`."""

import pytest
from judging_simulation import measure_chain


@pytest.mark.long
def test_equal_challengers_seldom_pass_and_better_ones_do():
    """Without counting, a third of the chains is opened: the planted error."""
    counted = measure_chain(5, 0.4, 60)
    assert counted["opens"] <= 0.12 and counted["first"] >= 0.75 and counted["tenth"] >= 0.4
    planted = measure_chain(5, 0.4, 60, asks=lambda attempt: 0.05)
    assert planted["opens"] == counted["uncounted"] > 0.15
