"""Weights files as strangers write them: every form gives the very tensors, and what does not fit is told in a line."""

import argparse
import contextlib
import datetime
import decimal
import pathlib
import pickle
import struct
import uuid
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.utils import CheckpointSaver, ModelEmaV2

from fashion_core.config import TrainConfig
from fashion_core.errors import WeightsError
from fashion_core.files import MODEL_FILE
from fashion_core.models.backbones import build_backbone
from fashion_core.models.ensemble import join_models, save_ensemble, save_member
from fashion_core.models.network import build_network
from tests.helpers.drawn_models import draw_model

NAME = "test_resnet"
CONTAINERS = ("model", "model_state_dict", "state_dict", "state_dict_ema", "teacher", "model_ema", "net")
WRAPPERS = ("module.", "model.", "_orig_mod.", "backbone.", "encoder.", "network.0.")
ENDINGS = (".pth", ".pt", ".bin", ".safetensors", ".ckpt")


def draw_weights(name: str = NAME, seed: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = timm.create_model(name, pretrained=False).state_dict()
    return {
        key: torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in state.items()
    }


WEIGHTS = draw_weights()
CLASSIFIER = {"fc.weight", "fc.bias"}
BACKBONE = {key: value for key, value in WEIGHTS.items() if key not in CLASSIFIER}
OTHER = {key: value + 1 for key, value in BACKBONE.items()}


def flatten(found: dict, prefix: str = "") -> dict[str, torch.Tensor]:
    flat = {}
    for key, value in found.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def put(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def write(path: Path, found: object) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.clone() for key, value in flatten(found).items()}, path)
    else:
        torch.save(found, path)
    return path


def check_loaded(path: Path, feature: str = "pooled", name: str = NAME, wanted: dict = WEIGHTS) -> str:
    """The backbone has the very tensors; what was said of them."""
    backbone = build_backbone(name, weights=str(path), feature=feature)
    for key, value in backbone.network.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    return backbone.origin


def refuse(path: Path, match: str, feature: str = "pooled", name: str = NAME) -> str:
    with pytest.raises(WeightsError, match=match) as caught:
        build_backbone(name, weights=str(path), feature=feature)
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and path.name in text
    return text


# ---------------------------------------------------------------------------------------------- containers, prefixes


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    container=st.sampled_from([None, *CONTAINERS]),
    wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=3),
    ending=st.sampled_from(ENDINGS),
    counters=st.booleans(),
)
@pytest.mark.slow
def test_any_container_and_prefix(tmp_path, container, wrappers, ending, counters):
    weights = {key: value for key, value in WEIGHTS.items() if counters or not key.endswith("num_batches_tracked")}
    found = put("".join(wrappers), weights)
    path = write(tmp_path / f"w{ending}", found if container is None else {container: found, "epoch": torch.tensor(3)})
    for feature in ("pooled", "logits"):
        assert f"all {75 if feature == 'pooled' else 77} tensors of {NAME}" in check_loaded(path, feature)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "averaged, plain",
    [
        ("state_dict_ema", "state_dict"), ("model_ema", "model"), ("teacher", "student"), ("ema_model", "online_model"),
        ("swa_model", "model"), ("modelEMA", "model"), ("EMAModel", "Model"), ("averaged", "last"),
    ],
)  # fmt: skip
def test_an_average_over_training_goes_before_and_is_said(tmp_path, averaged, plain, ending):
    both = {plain: put("module.backbone.", OTHER), averaged: put("backbone.", WEIGHTS)}
    words = check_loaded(write(tmp_path / f"w{ending}", both))
    assert f"under `{averaged}.backbone.`, an average over training, not those under `{plain}.module" in words


def test_an_average_that_is_not_there_is_not_preferred(tmp_path):
    for index, empty in enumerate((None, {}, {"step": 3})):
        path = write(tmp_path / f"{index}.pth", {"state_dict": WEIGHTS, "state_dict_ema": empty})
        assert "under `state_dict.`" in check_loaded(path)


@pytest.mark.parametrize(
    "wrap, place",
    [
        (lambda weights: [weights], "0"),
        (lambda weights: ({"epoch": 3}, weights), "1"),
        (lambda weights: {"models": [None, {"net": weights}]}, "models.1.net"),
    ],
)
def test_a_list_is_looked_into(tmp_path, wrap, place):
    assert f"under `{place}.`" in check_loaded(write(tmp_path / "w.pth", wrap(WEIGHTS)))


def test_dates_and_numbers_of_an_experiment_stand_beside(tmp_path):
    beside = {"when": datetime.datetime.now(datetime.UTC), "took": datetime.timedelta(1), "day": datetime.date.today()}
    beside |= {"id": uuid.uuid4(), "price": decimal.Decimal("1.5")}
    check_loaded(write(tmp_path / "w.pth", {"state_dict": WEIGHTS, **beside}))


def test_dino(tmp_path):
    """A teacher with a projection head of its own, beside a student."""
    head = {f"head.mlp.{index}.weight": torch.zeros(4, 4) for index in range(3)}
    found = {
        "student": put("module.backbone.", OTHER) | put("module.", head),
        "teacher": put("backbone.", BACKBONE) | head,
        "args": argparse.Namespace(arch="vit", output_dir=pathlib.PurePosixPath("out")),
        "epoch": 3,
    }
    words = check_loaded(write(tmp_path / "dino.pth", found))
    assert "under `teacher.backbone.`" in words and "left out: `student`, `teacher.head`" in words


def test_two_places_that_nothing_tells_apart(tmp_path):
    both = put("module.encoder_q.", WEIGHTS) | put("module.encoder_k.", OTHER)
    text = refuse(write(tmp_path / "moco.pth", {"state_dict": both}), "must hold the weights of test_resnet once")
    assert "`state_dict.module.encoder_k.`, `state_dict.module.encoder_q.`" in text
    shared = dict(WEIGHTS)
    assert "under `model.`" in check_loaded(write(tmp_path / "same.pth", {"model": shared, "state_dict": shared}))


def test_a_training_checkpoint_of_timm(tmp_path):
    """All that timm's own saver writes: options, optimizer, scaler, metric; numbers of NumPy beside."""
    model = timm.create_model(NAME)
    model.load_state_dict(WEIGHTS)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    model.load_state_dict(WEIGHTS)
    args = argparse.Namespace(
        model=NAME, lr=0.1, output=pathlib.Path("out"), nested=argparse.Namespace(a=np.float64(1))
    )
    ema = ModelEmaV2(model)
    saver = CheckpointSaver(model, optimizer, args, model_ema=ema, checkpoint_dir=tmp_path, recovery_dir=tmp_path)
    saver.save_checkpoint(1, metric=np.float64(0.5))
    words = check_loaded(tmp_path / "last.pth.tar", "logits")
    assert "under `state_dict_ema.`, an average over training, not those under `state_dict.`" in words


def test_the_form_of_torch_before_zip(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"state_dict": OrderedDict(WEIGHTS)}, path, _use_new_zipfile_serialization=False)
    check_loaded(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_state_dict_with_the_ending_of_another_form(tmp_path, zipped):
    torch.save(WEIGHTS, tmp_path / "w.safetensors", _use_new_zipfile_serialization=zipped)
    check_loaded(tmp_path / "w.safetensors")


def test_half_precision(tmp_path):
    path = write(tmp_path / "half.safetensors", {key: value.bfloat16() for key, value in WEIGHTS.items()})
    check_loaded(path, wanted={key: value.bfloat16().to(value.dtype) for key, value in WEIGHTS.items()})


# ---------------------------------------------------------------------------------------------------- what is left out


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("classes", [0, 1, 7, 1000, 21843])
def test_a_classifier_of_any_size_is_no_matter_to_a_pooled_feature(tmp_path, classes, ending):
    classifier = {"fc.weight": torch.zeros(classes, 96), "fc.bias": torch.zeros(classes)} if classes else {}
    path = write(tmp_path / f"w{ending}", BACKBONE | classifier)
    words = check_loaded(path)
    assert words.endswith("left out: `fc`" if classes else NAME)
    if classes != 1000:
        refuse(path, r"`fc.weight` must have the shape \[1000, 96\]" if classes else "but not `fc.weight`", "logits")


def test_heads_of_others_are_left_out_and_said(tmp_path):
    more = {f"decoder.{index}.weight": torch.zeros(2) for index in range(5)} | {"mask_token": torch.zeros(3)}
    words = check_loaded(write(tmp_path / "mae.pth", {"model": BACKBONE | more}))
    assert "left out: `model.decoder`, `model.mask_token`" in words


def test_less_than_all_of_the_backbone(tmp_path):
    for missing in (next(iter(BACKBONE)), "layer4.0.bn1.running_mean"):
        fewer = {key: value for key, value in WEIGHTS.items() if key != missing}
        for place in ({"model": put("module.", fewer)}, fewer):
            refuse(write(tmp_path / "fewer.pth", place), rf"74 of that backbone's 75 .* but not `[\w.]*{missing}`")


def test_two_halves_are_not_mixed(tmp_path):
    keys = list(BACKBONE)
    halves = {"model": {key: BACKBONE[key] for key in keys[:40]}, "other": {key: BACKBONE[key] for key in keys[40:]}}
    refuse(write(tmp_path / "halves.pth", halves), "does not hold weights of test_resnet")


def test_a_smaller_model_in_a_larger_ones_file(tmp_path):
    """All of ResNet-18 stands in the file of ResNet-34, by name and shape."""
    small = draw_weights("resnet18")
    deeper = {key.replace("layer2.1", "layer2.2"): value for key, value in small.items() if "layer2.1" in key}
    path = write(tmp_path / "deeper.pth", small | deeper)
    assert "of a larger model: it has `layer2.2.conv1.weight`" in refuse(path, "larger model", name="resnet18")


def test_a_wrong_shape_names_tensor_shapes_and_remedy(tmp_path):
    key = "layer1.0.conv1.weight"
    wrong = dict(WEIGHTS) | {key: torch.zeros(5, 5)}
    text = refuse(write(tmp_path / "w.pth", {"model": wrong}), "does not hold weights of test_resnet")
    assert f"`model.{key}` must have the shape {list(WEIGHTS[key].shape)}, but has [5, 5]; give the backbone" in text


def test_numbers_that_are_no_weights(tmp_path):
    quantized = dict(WEIGHTS) | {"layer1.0.conv1.weight": WEIGHTS["layer1.0.conv1.weight"].to(torch.int8)}
    refuse(
        write(tmp_path / "w.safetensors", quantized),
        r"floating-point weights, but `layer1.0.conv1.weight` is torch.int8",
    )
    refuse(
        write(tmp_path / "w.safetensors", {k: v.to(torch.float8_e4m3fn) for k, v in WEIGHTS.items()}),
        r"weights, but `\S+` is torch.float8_e4m3fn",
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["layer1.0.conv1.weight", "layer4.0.bn2.running_var"])
def test_weights_of_a_training_that_diverged(tmp_path, key, value):
    diverged = dict(WEIGHTS) | {key: torch.full_like(WEIGHTS[key], value)}
    refuse(write(tmp_path / "w.pth", {"model": diverged}), f"must hold finite weights, but `model.{key}` has some")


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_positions_of_another_image_size(tmp_path, ending):
    """As timm fits those of its hub."""
    weights = draw_weights("test_vit")
    path = write(tmp_path / f"w{ending}", {"teacher": put("backbone.", weights)})
    backbone = build_backbone("test_vit", weights=str(path), image_size=96)
    wanted = timm.create_model("test_vit", img_size=96, checkpoint_path="", num_classes=0)
    filtered = timm.models.vision_transformer.checkpoint_filter_fn(dict(weights), wanted)
    for key, value in backbone.network.state_dict().items():
        assert torch.equal(value, filtered[key]), key
    assert backbone.network.pos_embed.shape[1] == 37 and weights["pos_embed"].shape[1] == 101
    assert "`pos_embed` resampled to the size of the images" in backbone.origin
    assert "resampled" not in check_loaded(path, name="test_vit", wanted=weights)


def test_positions_that_are_no_grid(tmp_path):
    for shape in ((1, 3, 64), (1, 0, 64), (3, 101, 64), (1, 101, 65)):
        path = write(tmp_path / "w.pth", draw_weights("test_vit") | {"pos_embed": torch.zeros(shape)})
        refuse(path, "another size|must have the shape", name="test_vit")


# ------------------------------------------------------------------------------------------------------------- in order


def rename(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in weights))
    return {
        f"m{modules.index(key.rpartition('.')[0])}.{key.rpartition('.')[2]}": value for key, value in weights.items()
    }


@pytest.mark.parametrize(
    "weights", [WEIGHTS, BACKBONE, BACKBONE | {"fc.weight": torch.zeros(7, 96), "fc.bias": torch.zeros(7)}]
)
def test_in_order_where_the_last_names_agree(tmp_path, weights):
    words = check_loaded(write(tmp_path / "w.pth", {"state_dict": rename(weights)}))
    assert f"all 75 tensors of {NAME} in order, under other names" in words


def test_in_order_is_refused_where_something_differs(tmp_path):
    renamed = rename(WEIGHTS)
    swapped = {key.replace("bias", "shift"): value for key, value in renamed.items()}
    refuse(write(tmp_path / "names.pth", swapped), "none of that backbone's 75 tensors is there")
    plain = {f"t{index}": value for index, value in enumerate(WEIGHTS.values())}
    refuse(write(tmp_path / "plain.pth", plain), "none of that backbone's 75 tensors is there")
    refuse(write(tmp_path / "w.safetensors", renamed), "does not hold")  # keeps no order
    first, second, *_ = [key for key in renamed if key.endswith("running_mean")]
    moved = {{first: second, second: first}.get(key, key): value for key, value in renamed.items()}
    assert list(moved) != list(renamed)
    refuse(write(tmp_path / "moved.pth", moved), "does not hold")
    turned = dict(renamed) | {next(iter(renamed)): torch.zeros(3, 3)}
    refuse(write(tmp_path / "shape.pth", turned), "does not hold")


# ------------------------------------------------------------------------------------------------------- models of ours


@pytest.mark.parametrize("fc_layers, feature", [(0, "pooled"), (2, "pooled"), (1, "logits")])
def test_a_saved_model_gives_its_backbone_and_no_head(tmp_path, fc_layers, feature):
    saved = draw_model(5, fc_layers=fc_layers, feature=feature)
    file = save_member(tmp_path / "best", saved)
    own = saved.network.backbone.network.state_dict()
    for place in (file, file.parent):
        config = TrainConfig(backbone=NAME, weights=str(place), image_size=96)
        network = build_network(config, (3, 2))
        for key, value in network.backbone.network.state_dict().items():
            assert torch.equal(value, own[key]), key
        fresh = build_network(config.model_copy(update={"weights": "none"}), (3, 2))
        assert torch.equal(network.heads[0].weight, fresh.heads[0].weight)
        assert "under `backbone.network.`" in network.backbone.origin and "`heads`" in network.backbone.origin


def test_the_normalisation_comes_with_a_saved_model(tmp_path):
    saved = draw_model(5)
    saved.network.backbone.mean.fill_(7)
    saved.network.backbone.std.fill_(9)
    backbone = build_backbone(NAME, weights=str(save_member(tmp_path, saved)))
    assert backbone.mean.flatten().tolist() == [7] * 3 and backbone.std.flatten().tolist() == [9] * 3


def test_a_saved_model_of_another_backbone(tmp_path):
    text = refuse(save_member(tmp_path, draw_model(5)), "must have the backbone that starts from it", name="resnet18")
    assert "set `backbone` to test_resnet" in text


def test_an_ensemble_is_no_start(tmp_path):
    file = save_ensemble(tmp_path / "final", join_models([draw_model(1), draw_model(2)]))
    for place in (file, file.parent):
        with pytest.raises(WeightsError, match="ensemble of several; name one of them: its folder member-0"):
            build_backbone(NAME, weights=str(place))
    assert "all 75" in build_backbone(NAME, weights=str(file.parent / "member-0")).origin
    with pytest.raises(WeightsError, match="the folder of a saved model"):
        build_backbone(NAME, weights=str(tmp_path))


# ----------------------------------------------------------------------------------------------------- strangers' files


def test_files_that_are_none(tmp_path):
    kinds = {
        "empty": (b"", "it is empty"),
        "page": (b"<!DOCTYPE html>\n<html>", "it is text ('<!DOCTYPE html>')"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        "picture": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(300), "it is of another kind"),
        "escape": (b"\x1b[2Jtext", "it is of another kind"),
        "accent": ("é".encode() * 300, "it is text"),
        "pickle": (b"\x80\x04\x95", "damaged or cut off"),
        "zip": (b"PK\x03\x04 cut off", "damaged or cut off"),
        "numbers": (pickle.dumps({"a": np.zeros(2)}, protocol=4), "a pickle that torch.save did not write"),
        "header": (struct.pack("<Q", 10) + b"{" + b"x" * 40, "damaged or cut off"),
    }
    for ending in (".pth", ".safetensors"):
        for name, (content, wanted) in kinds.items():
            path = tmp_path / f"{name}{ending}"
            path.write_bytes(content)
            assert wanted in refuse(path, f"{name}{ending} must be a readable")


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_cut_off_anywhere(tmp_path, ending):
    whole = write(tmp_path / f"whole{ending}", WEIGHTS).read_bytes()
    for share in (0.0, 0.0001, 0.01, 0.3, 0.9, 0.9999):
        path = tmp_path / f"cut{ending}"
        path.write_bytes(whole[: int(share * len(whole))])
        refuse(path, "must be a readable")


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ending=st.sampled_from([".pth", ".old", ".safetensors"]))
def test_changed_bytes_are_read_or_refused(tmp_path, data, ending):
    path = tmp_path / f"w{ending}"
    if ending == ".old":
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    else:
        write(path, WEIGHTS)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        end = data.draw(st.sampled_from([300, 3000, len(content)]))
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        build_backbone(NAME, weights=str(path))
    except WeightsError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    "found", [3, "text", None, [torch.zeros(2)], torch.zeros(2), {}, {"a": {"b": {}}}, {1: {2: torch.zeros(2)}}]
)
def test_pickles_without_weights(tmp_path, found):
    refuse(write(tmp_path / "w.pth", found), "none of that backbone's 75 tensors is there")


def test_mappings_in_a_circle(tmp_path):
    found: dict = {"state_dict": dict(WEIGHTS)}
    found["self"] = found
    check_loaded(write(tmp_path / "w.pth", found))


class Model(torch.nn.Module):
    """A whole model as people pickle it."""


@pytest.mark.parametrize("whole", [False, True])
def test_what_only_running_code_reads_names_the_remedy(tmp_path, whole):
    network = timm.create_model(NAME)
    network.load_state_dict(WEIGHTS)
    path = write(tmp_path / "whole.pth", network if whole else {"state_dict": WEIGHTS, "hook": Model()})
    text = refuse(path, "must be a readable .* only running code of others can read; if you trust it")
    command = text.split('python -c "')[1].split('" (or')[0]
    with contextlib.chdir(tmp_path):
        exec(command, {})
    check_loaded(tmp_path / "weights.pth")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numpy_name_the_remedy(tmp_path, save):
    save(tmp_path / "arrays.npz", **{key: value.numpy() for key, value in WEIGHTS.items()})
    text = refuse(tmp_path / "arrays.npz", "must be a readable .* a file of numpy's arrays")
    with contextlib.chdir(tmp_path):
        exec(text.split('python -c "')[1].split('"')[0], {})
    check_loaded(tmp_path / "weights.pth")


@pytest.mark.slow
def test_torchscript(tmp_path):
    path = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    assert "it is a TorchScript program; keep its tensors alone" in refuse(path, "must be a readable")


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path):
    write(tmp_path / "w.pth", {"x": torch.zeros(10_000_000)})
    bomb = zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "w.pth") as source, bomb as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert (tmp_path / "bomb.pth").stat().st_size < 100_000
    assert "it is compressed" in refuse(tmp_path / "bomb.pth", "must be a readable")


def test_names_that_move_a_terminals_cursor_are_not_shown(tmp_path):
    path = write(tmp_path / "w.pth", {"\x1b[2J\nowned" + "x" * 10_000: torch.zeros(2)})
    text = refuse(path, "none of that backbone's 75 tensors")
    assert "\x1b" not in text and len(text) < 1000


def test_a_header_of_ours_that_is_none(tmp_path):
    for description in ("[", "[1]", "{}", '{"format": "fashion-attributes/1", "config": 3}', "[" * 100_000):
        path = tmp_path / MODEL_FILE
        save_file({key: value.clone() for key, value in WEIGHTS.items()}, path, metadata={"description": description})
        check_loaded(path)
