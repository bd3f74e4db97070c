"""How many trials share a GPU."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fashion_core.hardware.gpu_memory import CONTEXT_BYTES, compute_fraction
from search.planning import packing
from search.planning.packing import GpuLoads, Load, choose_packing, find_mps, list_heaviest, settle_gpus
from search.planning.resources import Machine, Node, choose_resources
from search.space.reading import parse_space

GIB = 2**30
MACHINE = Machine(64, 2)
SPACE = """
trials: 4
fixed: {weights: none, batch_size: 32, feature: pooled}
search:
  backbone: {choice: [test_resnet, test_efficientnet]}
  image_size: {choice: [32, 64]}
  batch_size: {int: [16, 48], when: {backbone: test_resnet}}
  lr: {loguniform: [1e-4, 1e-2]}
  ema_decay: {uniform: [0.0, 0.9]}
scheduler: {type: none, max_epochs: 2}
"""


def loads(*gib, total=80, gpu="card"):
    found = [Load(f"net{index}", None if each is None else int(each * GIB)) for index, each in enumerate(gib)]
    return GpuLoads(gpu, total * GIB, tuple(found))


def build_cluster(*nodes):
    found = tuple(Node(f"10.0.0.{number}", *node, str(number)) for number, node in enumerate(nodes))
    return Machine(sum(node.cpus for node in found), sum(node.gpus for node in found), found)


@pytest.mark.parametrize(
    ("kinds", "machine", "trials", "cpus", "wanted"),
    [
        ([loads(2, 10)], MACHINE, 64, 1, 6),  # 80 x 0.85 / 10
        ([loads(1)], MACHINE, 64, 1, 8),  # no more were measured
        ([loads(70)], MACHINE, 64, 1, 1),
        ([loads(2, None)], MACHINE, 64, 1, 1),
        ([loads(10), loads(10, total=24)], MACHINE, 64, 1, 2),  # as the smaller card takes
        ([loads(2)], MACHINE, 6, 1, 3),
        ([loads(2)], Machine(8, 2), 64, 1, 4),
        ([loads(2)], Machine(8, 2), 64, 2, 2),
        ([loads(2)], Machine(1, 2), 64, 1, 1),
        ([loads(2)], build_cluster((64, 0), (8, 2)), 64, 1, 4),
        ([loads(2)], build_cluster((2, 1), (64, 2)), 64, 4, 8),  # the first holds none of so many cores
        ([loads(2)], build_cluster((2, 1), (64, 2)), 6, 4, 3),
    ],
)
def test_as_many_share_a_gpu_as_fit(kinds, machine, trials, cpus, wanted):
    assert choose_packing(kinds, machine, trials, cpus).count == wanted


@given(st.floats(0.1, 100), st.integers(8, 192))
def test_each_has_room_in_its_share_and_all_shares_fit(peak, total):
    """The limit that a process gets of its share leaves what was measured, CUDA's own left out."""
    chosen = choose_packing([loads(peak + CONTEXT_BYTES / GIB, total=total)], Machine(64, 1), 64)
    assert 0 < chosen.share * chosen.count <= 1
    if chosen.count > 1:
        assert compute_fraction(chosen.share, total * GIB) * total >= peak


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 4)), min_size=1, max_size=4), st.integers(1, 8))
def test_no_gpu_is_idle_for_want_of_cores(nodes, cpus):
    """Whoever shares a GPU finds cores beside it, and every GPU has somebody, on each node that holds a trial."""
    usable = [(cores, gpus) for cores, gpus in nodes if gpus and cores >= cpus]
    assume(usable)
    machine = build_cluster(*nodes)
    chosen = choose_packing([loads(2)], machine, 10_000, cpus)
    assert chosen.count == 1 or all(chosen.count * gpus * cpus <= cores for cores, gpus in usable)
    found = choose_resources(machine, 10_000, cpus_per_trial=cpus, gpus_per_trial=chosen.share)
    assert found.concurrent == sum(min(chosen.count * gpus, cores // cpus) for cores, gpus in usable)


def test_the_choice_is_told():
    words = choose_packing([loads(2, 10.04)], MACHINE, 64).words
    assert words == "net1 takes 10.0 GiB of the 80.0 GiB of a card"
    assert choose_packing([loads(None, total=8)], MACHINE, 64).words == "net0 does not fit on a card with 8.0 GiB"


def test_the_heaviest_training_of_each_backbone():
    space = parse_space(SPACE, "tiny")
    found = {config.backbone: config for config in list_heaviest(space)}
    assert {(name, each.image_size, each.batch_size) for name, each in found.items()} == {
        ("test_resnet", 64, 48),
        ("test_efficientnet", 64, 48),  # its 32 are known to no one who looks at batch sizes alone
    }
    assert all(config.ema_decay == 0.9 for config in found.values())


@pytest.mark.parametrize("name", ["probe", "lite_two_stage", "finetune", "weighted_focal", "report_table2", "demo"])
def test_of_every_shipped_space(name):
    from search.space.reading import load_space

    space = load_space(name)
    configs = list_heaviest(space)
    assert {config.backbone for config in configs} == {backbone for backbone, *_ in space.backbones()}
    for config in configs:
        sizes = {size for backbone, _, _, size in space.backbones() if backbone == config.backbone}
        assert config.image_size == max(sizes)


def test_what_is_asked_for_in_numbers():
    def settle(given, gpus, gib):
        return settle_gpus(given, Machine(64, gpus), 64, None, None if gib is None else lambda: [loads(gib)])[0]

    assert (settle(0.5, 2, 2), settle(None, 2, 2), settle("auto", 2, None), settle("auto", 0, 2)) == (
        0.5,
        None,
        None,
        None,
    )
    assert settle("auto", 2, 20) == 0.3333 and settle("auto", 2, 60) == 1.0


def test_mps_is_seen_where_its_daemon_keeps_a_pipe(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not find_mps()
    (tmp_path / "control").touch()
    assert find_mps()


def test_loads_hold_cudas_own_memory(monkeypatch):
    """With a card of 80 GiB in the place of one that a machine for tests lacks."""
    card = type("Card", (), {"total_memory": 80 * GIB})
    monkeypatch.setattr(packing.torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(packing.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(packing.torch.cuda, "get_device_name", lambda _: "card")
    monkeypatch.setattr(packing, "measure_peak", lambda config, *_: GIB if config.backbone == "test_resnet" else None)
    found = packing.measure_loads(list_heaviest(parse_space(SPACE, "tiny")), None)
    assert (found.gpu, found.total) == ("card", 80 * GIB)
    assert [load.peak for load in found.loads] == [GIB + CONTEXT_BYTES, None]
