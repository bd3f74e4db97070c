"""What a search uses of a machine."""

import pytest

from fashion_core.errors import SearchError
from search.planning.resources import Machine, Node, Resources, choose_resources


def build_cluster(*nodes):
    found = tuple(Node(f"10.0.0.{number}", *node, str(number)) for number, node in enumerate(nodes))
    return Machine(sum(node.cpus for node in found), sum(node.gpus for node in found), found)


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
        (
            build_cluster((2, 0), (2, 0), (2, 0)),
            64,
            {"concurrent": 2},
            Resources(2, 2, 0),
        ),  # not three: no node has them
        (build_cluster((8, 0), (4, 0)), 64, {"concurrent": 2}, Resources(2, 4, 0)),
        (build_cluster((8, 0), (4, 0)), 64, {"cpus_per_trial": 3}, Resources(3, 3, 0)),
        (build_cluster((8, 1), (8, 1), (8, 1)), 64, {"gpus_per_trial": 0.6}, Resources(3, 4, 0.6)),
    ],
)
def test_shares(machine, trials, given, expected):
    assert choose_resources(machine, trials, **given) == expected


@pytest.mark.parametrize("given", [{"cpus_per_trial": 9}, {"gpus_per_trial": 1}])
def test_more_than_there_is(given):
    with pytest.raises(SearchError, match="at most what there is"):
        choose_resources(Machine(8, 0), 4, **given)


@pytest.mark.parametrize("given", [{"cpus_per_trial": 9}, {"gpus_per_trial": 2}])
def test_more_than_a_node_has(given):
    with pytest.raises(SearchError, match=r"at most what there is on one of the 2 nodes, \d, .*request_resources"):
        choose_resources(build_cluster((8, 1), (8, 1)), 4, **given)
