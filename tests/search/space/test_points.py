"""A configuration from elsewhere as a point of a space: what Optuna would draw there, or in a line why not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_core.config import build_config
from fashion_core.data.schema import AttributeSchema, Category
from search.space.points import find_impossible, list_differences, project, read_point
from search.space.reading import parse_space

SCHEMA = AttributeSchema((Category("pattern", ("floral", "solid")), Category("fit", ("tight", "loose"))))
SPACE = """
trials: 9
scheduler: {type: none, max_epochs: 4}
fixed: {weights: none, image_size: 64}
search:
  optimizer: {choice: [adamw, sgd]}
  momentum: {uniform: [0, 0.9], when: {optimizer: [sgd]}}
  fc_layers: {choice: [0, 2]}
  lr: {loguniform: [1e-4, 1e-2]}
  category_weights: {proportions: [0.5, 2]}
"""


def build(text=SPACE):
    return parse_space(text, "test")


def test_a_configuration_is_read_as_it_would_be_drawn():
    given = {"lr": 0.001, "fc_layers": 2, "category_weights": 1}
    point, faults = read_point(build(), given, SCHEMA)
    assert not faults
    assert point == {"lr": 0.001, "fc_layers": 2, "weight_pattern": 1.0, "weight_fit": 1.0}
    assert all(isinstance(point[name], float) for name in ("lr", "weight_fit"))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"lr": 1.0}, "`lr`"),
        ({"lr": "fast"}, "`lr`"),
        ({"lr": True}, "`lr`"),
        ({"fc_layers": 1}, "`fc_layers`"),
        ({"fc_layers": [2]}, "`fc_layers`"),
        ({"learning": 1}, "`learning`"),
        ({"image_size": 64}, "`image_size`"),
        ({"optimizer": "adamw", "momentum": 0.5}, "`momentum`"),
        ({"weight_pattern": 0.1, "weight_fit": 1.0}, "`weight_pattern`"),
        ({"category_weights": {"colour": 1}}, "`weight_colour`"),
        ({"category_weights": "heavy"}, "`weight_"),
    ],
)
def test_what_is_not_of_the_space_is_named(given, named):
    _, faults = read_point(build(), given, SCHEMA)
    assert faults and all(named in fault and "\n" not in fault for fault in faults)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=2), st.floats(0.01, 100))
def test_the_scale_of_weights_means_nothing(weights, scale):
    point, faults = read_point(
        build(), {"weight_pattern": weights[0] * scale, "weight_fit": weights[1] * scale}, SCHEMA
    )
    assert not faults
    assert all(0.5 <= value <= 2 for value in point.values())
    assert point["weight_pattern"] / point["weight_fit"] == pytest.approx(weights[0] / weights[1])


def test_a_training_is_projected_with_its_fixed_values():
    space = build()
    config = build_config({"weights": "none", "image_size": 64, "optimizer": "adamw", "lr": 1e-3, "fc_layers": 2})
    point, outside = project(space, config, SCHEMA)
    assert not outside
    assert point == {"optimizer": "adamw", "fc_layers": 2, "lr": 1e-3, "weight_pattern": 1.0, "weight_fit": 1.0}
    _, outside = project(space, config.model_copy(update={"lr": 0.5, "fc_layers": 1}), SCHEMA)
    assert outside == ["fc_layers", "lr"]


def test_differences_are_told_but_for_scale_and_seed():
    one = build_config({"weights": "none", "category_weights": {"pattern": 2, "fit": 2}, "seed": 1})
    other = build_config({"weights": "none"})
    assert list_differences(one, other, SCHEMA) == []
    other = build_config({"weights": "none", "epochs": 3, "category_weights": {"pattern": 2, "fit": 1}})
    assert list_differences(one, other, SCHEMA) == ["epochs", "category_weights"]


def test_a_point_that_no_training_has_is_told():
    space = build(SPACE.replace("optimizer: {choice", "probe_epochs: {choice: [0, 9]}\n  optimizer: {choice"))
    assert find_impossible(space, {"lr": 1e-3, "probe_epochs": 0}, SCHEMA) is None
    assert "epochs" in (find_impossible(space, {"lr": 1e-3, "probe_epochs": 9}, SCHEMA) or "")
