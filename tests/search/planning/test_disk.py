"""What a search takes on each disk, before it begins: near what it really takes, and refused where there is no room."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import save_file
from small_disk import mount_disk

from fashion_core.config import TrainConfig
from fashion_core.data.pixels import build_settings
from fashion_core.data.prepared import prepare_all
from fashion_core.errors import SearchError
from fashion_core.loading.features import cache_features
from fashion_core.models.backbones import build_backbone
from fashion_core.training.checkpoint import save_training
from fashion_core.training.loop import fit
from search.planning.disk import (
    FEATURES,
    IMAGES,
    MODELS,
    STATES,
    TRIALS,
    Disk,
    check_room,
    list_disks,
    list_needs,
    measure_folder,
)
from search.planning.options import SearchOptions
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.space.rungs import PROMOTION

SPACE = """
trials: 12
fixed: {backbone: test_resnet, image_size: 64, weights: WEIGHTS, batch_size: 8, FIXED}
search: {crop: {choice: [box, whole]}, lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {max_epochs: 9, grace_epochs: 1, reduction_factor: 3}
"""
CLOSE = 1.5  # by what factor an estimate may be wrong


def plan_in(folder, data, fixed="precision: fp32", weights="none", **options):
    (folder / "small.yaml").write_text(SPACE.replace("FIXED", fixed).replace("WEIGHTS", str(weights)))
    given = {"name": "one", "results": folder / "results", "concurrent": 2} | options
    options = SearchOptions(data=data, space=str(folder / "small.yaml"), **given)
    return build_plan(options, options.build_layout(), Machine(2, 0))


def find_sizes(plan):
    return {need.what: need.size for need in list_needs(plan)}


def assert_close(estimate, found):
    assert estimate / CLOSE < found < estimate * CLOSE


@pytest.mark.slow
def test_images_and_features_take_what_was_told_and_nothing_once_they_are_there(sample_folder, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    plan = plan_in(tmp_path, sample_folder, "probe_epochs: 1, feature: pooled", weights=weights)
    told = find_sizes(plan)
    prepared = prepare_all(plan.annotations, plan.settings, plan.cache_dir)
    assert len(prepared) == 2
    assert_close(told[IMAGES], measure_folder(plan.cache_dir))
    before = find_sizes(plan)
    assert before[IMAGES] == 0 and before[FEATURES] == told[FEATURES]
    made = [cache_features(each, prepared[build_settings(each)], plan.cache_dir) for each in plan.probed]
    assert_close(told[FEATURES], sum(path.stat().st_size for path in made))
    assert find_sizes(plan)[FEATURES] == 0
    next(plan.cache_dir.glob("prepared-*.arrow")).unlink()
    assert find_sizes(plan)[IMAGES] == told[IMAGES] // 2


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_states_and_models_take_what_was_told(optimizer, ema_decay, sample_folder, sample_prepared, tmp_path):
    plan = plan_in(tmp_path, sample_folder, f"optimizer: {optimizer}, ema_decay: {ema_decay}", keep_best=3)
    told = find_sizes(plan)
    fields = {"optimizer": optimizer, "ema_decay": ema_decay, "image_size": 64, "batch_size": 8}
    config = TrainConfig(backbone="test_resnet", weights="none", epochs=2, **fields)
    result = next(fit(config, sample_prepared, train=np.arange(16), val=np.arange(120, 128), device="cpu"))
    save_training(tmp_path / "state", result.state)
    assert_close(told[TRIALS] / (2 * STATES), measure_folder(tmp_path / "state"))
    assert_close(told[MODELS] / 5, result.save_best(tmp_path / "model").stat().st_size)
    result.save_best(plan.layout.checkpoint_folder(0))  # one is there
    assert find_sizes(plan)[MODELS] == pytest.approx(told[MODELS] * 4 / 5, rel=0.05)


@pytest.mark.slow
def test_each_disk_is_told_by_itself_and_refused_by_itself(sample_folder, tmp_path):
    roomy = {"results": 64, "cache": 64, "storage": 64}
    for small, remedy in (("results", "--results"), ("cache", "--cache-dir"), ("storage", "--concurrent")):
        with ExitStack() as stack:
            places = {}
            for name, mib in (roomy | {small: 0.5}).items():
                places[name] = tmp_path / small / name
                stack.enter_context(mount_disk(places[name], mib))
            options = {"cache_dir": places["cache"], "storage": str(places["storage"]), "results": places["results"]}
            disks = list_disks(plan_in(tmp_path, sample_folder, **options))
            assert [disk.place.is_relative_to(place) for disk in disks for place in places.values()].count(True) == 3
            for disk in disks:
                assert str(disk).startswith(str(disk.place)) and "free (" in str(disk)
            with pytest.raises(SearchError, match="must have room for what a search takes") as caught:
                check_room(disks)
            assert str(places[small]) in str(caught.value) and remedy in str(caught.value)
            check_room([disk for disk in disks if not disk.place.is_relative_to(places[small])])


def test_on_one_disk_all_counts_together(sample_folder, tmp_path):
    plan = plan_in(tmp_path, sample_folder)
    (disk,) = list_disks(plan)
    assert disk.size == sum(find_sizes(plan).values()) and IMAGES in str(disk) and TRIALS in str(disk)
    check_room([Disk(disk.place, disk.needs, disk.size)])
    with pytest.raises(SearchError, match=r"but .* free .*; free some"):
        check_room([Disk(disk.place, disk.needs, disk.size - 1)])


def test_what_a_cloud_holds_is_no_disk(sample_folder, tmp_path):
    sizes = find_sizes(plan_in(tmp_path, sample_folder, storage="s3://bucket/there"))
    assert TRIALS not in sizes and MODELS in sizes


def test_paused_trials_keep_one_state_each(sample_folder, tmp_path):
    """Twelve trials, two at once; at each of two rungs no more wait than can go on: a third."""
    stopping = plan_in(tmp_path, sample_folder)
    scheduler = replace(stopping.space.scheduler, form=PROMOTION)
    promoting = replace(stopping, space=replace(stopping.space, scheduler=scheduler))
    told = find_sizes(stopping)[TRIALS] / (2 * STATES)
    assert find_sizes(promoting)[TRIALS] == pytest.approx(told * (2 * STATES + 2 * 4))
