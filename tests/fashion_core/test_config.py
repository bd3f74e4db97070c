"""The configuration: its faults are all told at once, in words, and it is what it was after a journey through JSON."""

import json
import pickle

import pydantic
import pytest

from fashion_core.config import ALIASES, NOT_PROBED, TrainConfig, build_config, check_field, find_field, suggest_name
from fashion_core.errors import ConfigError


def test_all_faults_are_told_with_rule_value_and_near_name() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(lr=-1, epochs=0, optimizer="adm", dropuot=0.5)  # type: ignore[call-arg,arg-type]
    first, *lines = str(caught.value).splitlines()
    assert first == "the training configuration is impossible:"
    assert [line.split("`")[1] for line in lines] == ["optimizer", "lr", "epochs", "dropuot"]
    assert "input should be greater than 0, but got -1" in lines[1]
    assert lines[3] == "  `dropuot` is not a field of TrainConfig; did you mean `dropout`?"
    with pytest.raises(ConfigError, match="`batch_size`"):
        build_config({"batch_size": 1})
    with pytest.raises(ConfigError, match=r"`lr`.*nan"):
        build_config({"lr": float("nan")})


@pytest.mark.parametrize("name", NOT_PROBED)
def test_a_probe_refuses_what_it_has_no_use_for(name: str) -> None:
    values = {"epochs": 2, "probe_epochs": 2, name: 0.5}
    with pytest.raises(ConfigError, match=f"`{name}` must be 0 where all epochs are probe epochs \\(2 of 2\\)"):
        build_config(values)
    assert not build_config({**values, "epochs": 3}).is_probe
    with pytest.raises(ConfigError, match="`weights` must be pretrained"):
        build_config({"epochs": 3, "probe_epochs": 1, "weights": "none"})


def test_one_field_is_checked_alone_and_text_is_no_number() -> None:
    assert check_field("epochs", 3) == (3, [])
    assert check_field("lr", 1) == (1.0, []) and isinstance(check_field("lr", 1)[0], float)
    value, faults = check_field("epochs", "3")
    assert value == "3" and len(faults) == 1 and faults[0].startswith("`epochs`: ") and faults[0].endswith("got '3'")
    assert check_field("eposch", 3)[1] == ["`eposch` is not a field of TrainConfig; did you mean `epochs`?"]


def test_it_is_frozen_and_travels() -> None:
    config = TrainConfig(category_weights={"fit": 2.0}, grad_clip_norm=1.0)
    with pytest.raises(pydantic.ValidationError):
        config.lr = 1.0  # type: ignore[misc]
    assert build_config(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_every_field_has_a_default_and_bounds() -> None:
    assert TrainConfig() == TrainConfig(**TrainConfig().model_dump())
    for name, field in TrainConfig.model_fields.items():
        assert not field.is_required(), name


def test_aliases_are_names_of_no_field_for_one_that_is() -> None:
    assert set(ALIASES.values()) <= TrainConfig.model_fields.keys()
    assert not ALIASES.keys() & TrainConfig.model_fields.keys()
    assert list(ALIASES) == sorted(ALIASES)
    assert all(alias == alias.lower().replace("-", "_") for alias in ALIASES)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("learning_rate", "lr"),
        ("Learning-Rate", "lr"),
        ("wd", "weight_decay"),
        ("gamma", "focal_gamma"),
        ("bs", "batch_size"),
        ("model", "backbone"),
        ("img_size", "image_size"),
        ("num_epochs", "epochs"),
        ("dropout_rate", "dropout"),
        ("mixup_alpha", "mixup"),
        ("stochastic_depth", "drop_path"),
        ("batch_sise", "batch_size"),  # misspelt
        ("optimiser", "optimizer"),
    ],
)
def test_a_wrong_name_suggests_the_field_that_is_meant(name: str, field: str) -> None:
    assert find_field(name) == field
    with pytest.raises(ConfigError, match=f"`{name}` is not a field of TrainConfig; did you mean `{field}`"):
        build_config({name: 1})


def test_a_name_that_means_no_field() -> None:
    assert find_field("zzz") is None and suggest_name("zzz") == ""
