"""Protocols, and when two trainings are of one configuration."""

import pytest

from fashion_core.config import TrainConfig
from fashion_core.errors import SearchError
from search.reporting.published import BACKBONES
from search.reproduction.protocol import Arm, build_key, load_protocol


def test_the_reports_protocol_and_its_stand_ins() -> None:
    own, lite = load_protocol("report_table2"), load_protocol("report_lite")
    assert own.has_own_backbones and not lite.has_own_backbones
    assert (own.epochs, own.fixed["image_size"]) == (29, 224) and (lite.epochs, lite.fixed["image_size"]) == (8, 128)
    assert own.name_backbone(2) == BACKBONES[2] and lite.name_backbone(2) == "tf_efficientnet_lite2"
    differing = {name for name in own.fixed if own.fixed[name] != lite.fixed.get(name)}
    assert differing == {"image_size", "weights", "precision"}  # the rest is the report's


def test_the_backbone_of_one_factor() -> None:
    assert load_protocol("report_lite").on == 0
    assert load_protocol("report_lite", "tf_efficientnet_lite2").on == 2
    with pytest.raises(SearchError, match="--on must be a backbone of report_lite"):
        load_protocol("report_lite", "resnet50")


@pytest.mark.parametrize("space", ["weighted_focal", "lite_cpu", "probe"])
def test_other_spaces_are_no_protocol(space: str) -> None:
    with pytest.raises(SearchError, match="--space must search three backbones"):
        load_protocol(space)


def test_a_key_names_all_but_the_seeds_and_the_scale_of_weights() -> None:
    key = build_key(TrainConfig())
    assert build_key(TrainConfig(seed=5, start_seed=7)) == key
    assert build_key(TrainConfig(category_weights={"a": 2.0, "b": 2.0})) == key
    unequal = build_key(TrainConfig(category_weights={"a": 1.0, "b": 2.0}))
    assert build_key(TrainConfig(category_weights={"b": 4.0 / 3, "a": 2.0 / 3})) == unequal != key
    for name, value in (("lr", 1e-4), ("fc_layers", 2), ("crop", "whole"), ("epochs", 5), ("flip", 0.0)):
        assert build_key(TrainConfig(**{name: value})) != key


def test_an_arm_that_changes_nothing_is_the_protocol() -> None:
    protocol = load_protocol("report_lite")
    same = {"fc_layers": 0, "flip": 0.5, "focal_gamma": 2.0, "crop": "box", "feature": "logits", "category_weights": {}}
    assert len({protocol.build_key(Arm(0, {name: value})) for name, value in same.items()}) == 1
    assert protocol.build_key(Arm(0)) != protocol.build_key(Arm(1))
