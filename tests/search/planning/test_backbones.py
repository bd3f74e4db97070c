"""What is looked at of a search's backbones: how large they are, and whether their weights can be had."""

import logging

import pytest
from safetensors.torch import save_file

from fashion_core.errors import ConfigError, WeightsError
from fashion_core.models.backbones import build_backbone
from search.planning import backbones
from search.planning.backbones import measure_backbones


def count(name, feature):
    return sum(parameter.numel() for parameter in build_backbone(name, weights="none", feature=feature).parameters())


@pytest.fixture
def built(monkeypatch):
    """What was built: names and weights."""
    calls = []

    def build(name, *, weights, feature):
        calls.append((name, weights))
        return build_backbone(name, weights=weights, feature=feature)

    monkeypatch.setattr(backbones, "build_backbone", build)
    return calls


def test_a_backbone_is_as_large_as_its_largest_use(built):
    wanted = [("test_resnet", "none", feature) for feature in ("pooled", "logits", "pooled")]
    sizes, missing = measure_backbones([*wanted, ("test_efficientnet", "none", "pooled")])
    assert sizes == {
        "test_resnet": count("test_resnet", "logits"),
        "test_efficientnet": count("test_efficientnet", "pooled"),
    }
    assert sizes["test_resnet"] > count("test_resnet", "pooled") and missing is None and len(built) == 4


def test_the_first_missing_weights_are_told_and_none_looked_for_after_them(built):
    sizes, missing = measure_backbones(
        [("test_resnet", "gone.pth", "pooled"), ("test_efficientnet", "lost.pth", "pooled")]
    )
    assert isinstance(missing, WeightsError) and "gone.pth" in str(missing)
    assert sizes == {name: count(name, "pooled") for name in ("test_resnet", "test_efficientnet")}
    assert built == [("test_resnet", "gone.pth"), ("test_resnet", "none"), ("test_efficientnet", "none")]


def test_a_backbone_that_is_none_is_an_error_whatever_its_weights():
    for weights in ("none", "auto", "gone.pth"):
        with pytest.raises(ConfigError, match="must be a timm model name"):
            measure_backbones([("test_resent", weights, "pooled")])


def test_weights_that_can_be_had_are_looked_at(built, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    sizes, missing = measure_backbones([("test_resnet", str(weights), "pooled")])
    assert sizes == {"test_resnet": count("test_resnet", "pooled")} and missing is None
    assert built == [("test_resnet", str(weights))]
    save_file(build_backbone("test_efficientnet", weights="none", feature="logits").network.state_dict(), weights)
    _, missing = measure_backbones([("test_resnet", str(weights), "pooled")])  # those of another
    assert isinstance(missing, WeightsError) and "does not hold weights of test_resnet" in str(missing)


def test_nothing_is_wanted():
    assert measure_backbones([]) == ({}, None)


def test_the_hubs_retries_are_not_shown(monkeypatch):
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "level", logging.DEBUG)
    measure_backbones([])
    assert not logging.getLogger("huggingface_hub").isEnabledFor(logging.WARNING)
