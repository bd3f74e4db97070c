"""What is looked at of a search's backbones: how large they are, whether their weights can be had, that they run."""

import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from fashion_core.errors import ConfigError, WeightsError
from fashion_core.models.backbones import build_backbone
from search.planning import backbones
from search.planning.backbones import try_backbones


def count(name, feature):
    return sum(parameter.numel() for parameter in build_backbone(name, weights="none", feature=feature).parameters())


@pytest.fixture
def built(monkeypatch):
    """What was built: names, weights and sizes."""
    calls = []

    def build(name, *, weights, image_size, **others):
        calls.append((name, weights, image_size))
        return build_backbone(name, weights=weights, image_size=image_size, **others)

    monkeypatch.setattr(backbones, "build_backbone", build)
    return calls


def test_a_backbone_is_as_large_as_its_largest_use(built):
    wanted = [("test_resnet", "none", feature, 64) for feature in ("pooled", "logits", "pooled")]
    tried = try_backbones([*wanted, ("test_efficientnet", "none", "pooled", 64)])
    assert tried.sizes == {
        "test_resnet": count("test_resnet", "logits"),
        "test_efficientnet": count("test_efficientnet", "pooled"),
    }
    assert tried.sizes["test_resnet"] > count("test_resnet", "pooled") and tried.missing is None and len(built) == 3


def test_the_first_missing_weights_are_told_and_none_looked_for_after_them(built):
    tried = try_backbones([("test_resnet", "gone.pth", "pooled", 64), ("test_efficientnet", "lost.pth", "pooled", 64)])
    assert isinstance(tried.missing, WeightsError) and "gone.pth" in str(tried.missing)
    assert tried.sizes == {name: count(name, "pooled") for name in ("test_resnet", "test_efficientnet")}
    assert [call[:2] for call in built] == [
        ("test_resnet", "gone.pth"),
        ("test_resnet", "none"),
        ("test_efficientnet", "none"),
    ]


def test_a_backbone_that_is_none_is_an_error_whatever_its_weights():
    for weights in ("none", "auto", "gone.pth"):
        with pytest.raises(ConfigError, match="must be a timm model name"):
            try_backbones([("test_resent", weights, "pooled", 64)])


def test_weights_that_can_be_had_are_looked_at(built, tmp_path):
    weights = tmp_path / "weights.safetensors"
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    tried = try_backbones([("test_resnet", str(weights), "pooled", 64)])
    assert tried.sizes == {"test_resnet": count("test_resnet", "pooled")} and tried.missing is None
    assert tried.origins == {str(weights): "all 75 tensors of test_resnet; left out: `fc`"}
    assert built == [("test_resnet", str(weights), 64)]
    save_file(build_backbone("test_efficientnet", weights="none", feature="logits").network.state_dict(), weights)
    missing = try_backbones([("test_resnet", str(weights), "pooled", 64)]).missing  # those of another
    assert isinstance(missing, WeightsError) and "does not hold weights of test_resnet" in str(missing)


def test_a_backbone_without_stochastic_depth_is_an_error_where_a_trial_can_want_it():
    wanted = [(name, "none", "pooled", 64) for name in ("test_efficientnet", "legacy_seresnet18")]
    try_backbones(wanted, {"test_efficientnet": 0.2})
    with pytest.raises(ConfigError, match=r"`drop_path` must be 0 for legacy_seresnet18, .* but got 0.2"):
        try_backbones(wanted, {"legacy_seresnet18": 0.2})


def test_a_backbone_without_a_feature_map_is_an_error_where_trials_pool_it_by_attention():
    wanted = [("test_resnet", "none", "pooled", 64), ("test_vit", "none", "pooled", 160)]
    try_backbones(wanted, mapped={("test_resnet", 64)})
    with pytest.raises(ConfigError, match=r"test_vit at 160 px fails .*`pooling: attention`, need a convolutional"):
        try_backbones(wanted, mapped={("test_vit", 160)})


def test_nothing_is_wanted():
    tried = try_backbones([])
    assert (tried.sizes, tried.origins, tried.missing) == ({}, {}, None)


def test_the_hubs_retries_are_not_shown(monkeypatch):
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "level", logging.DEBUG)
    try_backbones([])
    assert not logging.getLogger("huggingface_hub").isEnabledFor(logging.WARNING)


# --------------------------------------------------------------------------------------------------------------- runs


def test_every_size_is_run_and_only_a_model_of_one_size_is_built_again(built, monkeypatch):
    runs = []
    monkeypatch.setattr(backbones, "check_run", lambda backbone, size, **_: runs.append((backbone.name, size)))
    try_backbones([(name, "none", "pooled", size) for size in (64, 96, 64) for name in ("test_resnet", "test_vit")])
    assert runs == [("test_resnet", 64), ("test_resnet", 96), ("test_vit", 64), ("test_vit", 96)]
    assert built == [("test_resnet", "none", 64), ("test_vit", "none", 64), ("test_vit", "none", 96)]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("feature", ["pooled", "logits"])
def test_sound_backbones_run(name, feature):
    assert try_backbones([(name, "none", feature, size) for size in (64, 96)]).missing is None


def test_a_run_draws_from_a_generator_of_its_own():
    backbone = build_backbone("test_resnet", weights="none")
    state = torch.get_rng_state()
    backbones.check_run(backbone, 64)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("name, size", [("inception_v3", 64), ("test_vit", 50)])
def test_a_size_that_a_backbone_cannot_take_is_an_error(name, size):
    """Strides and kernels that leave nothing of a small image, or a classifier's kernel that is larger than the map."""
    with pytest.raises(ConfigError) as caught:
        try_backbones([(name, "none", "pooled", size)])
    for part in (name, f"at {size} px", "choose another `image_size`", "made for"):
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


class Wrong(torch.nn.Module):
    """A network of timm's with another answer."""

    def __init__(self, change, only_training=False):
        super().__init__()
        self.inner = timm.create_model("test_resnet", num_classes=0)
        self.pretrained_cfg = self.inner.pretrained_cfg
        self.change, self.only_training = change, only_training

    def forward(self, images):
        features = self.inner(images)
        return self.change(features) if self.training or not self.only_training else features


def fail(features):
    raise KeyError("no such\nthing")


@pytest.mark.parametrize("only_training", [False, True])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda features: features[:, :3], r"shape \[2, 3\], not \[2, 96\]"),
        (lambda features: features[..., None], r"shape \[2, 96, 1\], not"),
        (lambda features: features[:1], r"shape \[1, 96\], not"),
        (lambda features: (features, features), "gives a tuple in place of a feature"),
        (lambda features: features * float("nan"), "not finite"),
        (fail, "fails .KeyError: 'no such"),
    ],
)
def test_a_feature_that_is_not_what_it_says(change, message, only_training):
    backbone = build_backbone("test_resnet", weights="none")
    backbone.network = Wrong(change, only_training)
    with pytest.raises(ConfigError, match=rf"test_resnet at 64 px {'' if 'fails' in message else '.*'}{message}"):
        backbones.check_run(backbone, 64)


def test_weights_of_no_numbers_are_an_error(tmp_path):
    state = build_backbone("test_resnet", weights="none", feature="logits").network.state_dict()
    next(iter(state.values())).fill_(float("nan"))
    save_file(state, tmp_path / "w.safetensors")
    missing = try_backbones([("test_resnet", str(tmp_path / "w.safetensors"), "pooled", 64)]).missing
    assert "must hold finite weights" in str(missing)
