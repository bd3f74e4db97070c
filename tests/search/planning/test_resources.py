"""What a search uses of a machine."""

import pytest

from fashion_core.errors import SearchError
from search.planning.resources import Machine, Resources, choose_resources


@pytest.mark.parametrize(
    ("machine", "trials", "given", "expected"),
    [
        (Machine(2, 0), 16, {}, Resources(2, 1, 0)),
        (Machine(64, 0), 16, {}, Resources(8, 8, 0)),
        (Machine(64, 0), 3, {}, Resources(3, 21, 0)),
        (Machine(8, 0), 16, {"cpus_per_trial": 4}, Resources(2, 4, 0)),
        (Machine(8, 0), 16, {"concurrent": 2}, Resources(2, 4, 0)),
        (Machine(96, 8), 64, {}, Resources(8, 4, 1)),
        (Machine(96, 8), 64, {"gpus_per_trial": 0.5}, Resources(16, 4, 0.5)),
        (Machine(8, 1), 64, {"gpus_per_trial": 0}, Resources(8, 1, 0)),
        (Machine(4, 1), 64, {}, Resources(1, 4, 1)),
        (Machine(2, 4), 64, {}, Resources(2, 1, 1)),
    ],
)
def test_shares(machine, trials, given, expected):
    assert choose_resources(machine, trials, **given) == expected


@pytest.mark.parametrize("given", [{"cpus_per_trial": 9}, {"gpus_per_trial": 1}])
def test_more_than_there_is(given):
    with pytest.raises(SearchError, match="at most what there is"):
        choose_resources(Machine(8, 0), 4, **given)
