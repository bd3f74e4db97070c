"""What is said of a wrong name in a configuration."""

import pytest

from fashion_core.config import ALIASES, TrainConfig, build_config, find_field, suggest_name
from fashion_core.errors import ConfigError


def test_aliases_are_names_of_no_field_for_one_that_is():
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
def test_a_wrong_name_suggests_the_field_that_is_meant(name, field):
    assert find_field(name) == field
    with pytest.raises(ConfigError, match=f"`{name}` is not a field of TrainConfig; did you mean `{field}`"):
        build_config({name: 1})


def test_a_name_that_means_no_field():
    assert find_field("zzz") is None and suggest_name("zzz") == ""
