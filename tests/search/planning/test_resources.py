"""What a search uses of a machine."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.errors import SearchError
from search.planning.resources import Machine, Node, Resources, choose_resources, count_fitting


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
        (build_cluster((32, 0), (8, 4), (8, 4)), 64, {}, Resources(8, 2, 1)),  # a node without GPUs holds none
        (build_cluster((32, 0), (8, 1)), 64, {"gpus_per_trial": 0.125}, Resources(8, 1, 0.125)),
        (build_cluster((32, 0), (8, 4)), 64, {"cpus_per_trial": 4}, Resources(2, 4, 1)),
        (build_cluster((32, 0), (8, 4)), 64, {"gpus_per_trial": 0}, Resources(8, 4, 0)),
        (build_cluster((8, 1), (16, 4)), 64, {"gpus_per_trial": 2}, Resources(2, 4, 2)),
        (Machine(64, 2), 64, {"gpus_per_trial": 0.4}, Resources(4, 4, 0.4)),  # each share lies on one GPU
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


def test_cores_and_gpus_of_a_trial_are_on_one_node():
    with pytest.raises(SearchError, match=r"must be there together on one of the 2 nodes, where 8 cores .* 16 and 1; "):
        choose_resources(build_cluster((64, 0), (8, 1)), 4, cpus_per_trial=16)


def place(nodes, cpus, gpus):
    """How many trials Ray places: each takes cores of a node, and whole GPUs or a part of one, until none has room."""
    free, wanted, count = [(cores, [Fraction(1)] * cards) for cores, cards in nodes], Fraction(str(gpus)), 0
    for cores, cards in free:
        while cores >= cpus:
            whole = [card for card in cards if card == 1]
            if wanted >= 1 and len(whole) >= wanted:
                cards = cards[int(wanted) :]
            elif 0 < wanted < 1 and cards and max(cards) >= wanted:
                cards = sorted(cards)
                cards[-1] -= wanted
            elif wanted:
                break
            cores, count = cores - cpus, count + 1
    return count


NODES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)), min_size=1, max_size=4)
GPUS = st.sampled_from([0, 1, 2, 3]) | st.integers(500, 9999).map(lambda parts: parts / 10_000)


@given(NODES, st.integers(1, 16), GPUS)
def test_as_many_are_counted_as_can_be_placed(nodes, cpus, gpus):
    assert count_fitting(build_cluster(*nodes).nodes, cpus, gpus) == place(nodes, cpus, gpus)


@given(NODES, st.none() | st.integers(1, 16), st.none() | GPUS, st.none() | st.integers(1, 20))
def test_what_is_chosen_can_be_placed(nodes, cpus, gpus, concurrent):
    machine = build_cluster(*nodes)
    try:
        found = choose_resources(machine, 64, concurrent=concurrent, cpus_per_trial=cpus, gpus_per_trial=gpus)
    except SearchError:
        wanted = min(machine.gpus, 1) if gpus is None else gpus
        assert not place(nodes, cpus or 1, wanted)
    else:
        placed = place(nodes, found.cpus_per_trial, found.gpus_per_trial)
        most = place(nodes, cpus or 1, found.gpus_per_trial)
        assert placed >= min(found.concurrent, most) > 0
