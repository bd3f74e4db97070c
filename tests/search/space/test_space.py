"""Search spaces: what is drawn fits `TrainConfig`, and what is at fault is said with its line."""

import itertools
import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler

import spaces
from fashion_core.config import build_config
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import SearchError, SpaceError
from search.space.reading import load_space, parse_space

CATEGORIES = ("pattern", "sleeve", "length", "neckline", "material", "fit")
SCHEMA = AttributeSchema(tuple(Category(name, ("a", "b", "c")) for name in CATEGORIES))
SEARCH = "search: {lr: {loguniform: [1e-4, 1e-2]}}"
SCHEDULER = "scheduler: {max_epochs: 9}"
MINIMAL = f"trials: 4\n{SEARCH}\n{SCHEDULER}\n"

optuna.logging.set_verbosity(optuna.logging.ERROR)


def draw(space, count, *, sampler=None, seed=0, raw=False):
    """Flat parameters of trials, the known ones first; a score is told, so that TPE has something to model.

    With ``raw``, the parameters as Optuna drew them.
    """
    study = optuna.create_study(direction="maximize", sampler=sampler or optuna.samplers.RandomSampler(seed=seed))
    for point in space.first_points(SCHEMA):
        study.enqueue_trial(point)
    drawn = []
    for _ in range(count):
        trial = study.ask()
        params = space.suggest(trial, SCHEMA)
        drawn.append(trial.params if raw else params)
        study.tell(trial, -math.log10(params.get("lr", 1e-3)))
    return drawn


# ----------------------------------------------------------------------------------------------------- shipped spaces


@pytest.mark.slow
@pytest.mark.parametrize("name", spaces.list_spaces())
@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_all_that_a_shipped_space_draws_is_a_configuration(name, sampler):
    space = load_space(name)
    space.check_schema(SCHEMA)
    sizes, backbones = set(), set()
    for params in draw(space, 60 if sampler is optuna.samplers.TPESampler else 200, sampler=sampler(seed=1)):
        config = build_config(space.build_values(params, SCHEMA))
        assert config.epochs == space.scheduler.max_epochs
        if config.category_weights:
            assert sum(config.category_weights.values()) / 6 == pytest.approx(1)
        sizes.add(build_settings(config))
        backbones.add((config.backbone, config.weights, config.feature, config.image_size))
    assert sizes == set(space.prepare_settings()) and backbones <= set(space.backbones())
    assert sampler is optuna.samplers.TPESampler or backbones == set(space.backbones())  # TPE leaves some out


@pytest.mark.parametrize("name", spaces.list_spaces())
def test_a_shipped_space_opens_with_command_cost_and_score(name):
    lines = (spaces.FOLDER / f"{name}.yaml").read_text().splitlines()
    opening = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    assert len(lines[0]) > 10
    assert "# Command:" in opening and "# Cost:" in opening and "# Score to expect:" in opening


@pytest.mark.parametrize("name", spaces.list_spaces())
def test_round_trip(name):
    space = load_space(name)
    assert parse_space(space.text, name) == space
    assert load_space(spaces.FOLDER / f"{name}.yaml") == space


@pytest.mark.parametrize("name", ["lite_cpu", "finetune", "weighted_focal", "demo"])
def test_a_known_configuration_is_complete_and_comes_out_as_given(name):
    space = load_space(name)
    for point, params in zip(space.first_points(SCHEMA), draw(space, len(space.try_first), raw=True), strict=True):
        assert point == params
        assert {key: type(value) for key, value in point.items()} == {key: type(value) for key, value in params.items()}


def test_draws_that_are_no_configuration_are_found_before_the_start():
    """A rule on several fields: what only probes has no stochastic depth."""
    text = "trials: 4\nfixed: {{probe_epochs: 9}}\nsearch: {{drop_path: {{uniform: [0, 0.2]}}}}\n"
    text += "scheduler: {{max_epochs: {}}}"
    parse_space(text.format(10), "test").check(SCHEMA)
    with pytest.raises(SpaceError, match=r"(?s)of test .*`drop_path` must be 0 .* \(9 of 9\)"):
        parse_space(text.format(9), "test").check(SCHEMA)


def test_the_features_a_space_can_need():
    text = """
trials: 4
fixed: {weights: package, precision: fp32}
search:
  backbone: {choice: [tf_efficientnet_lite0, tf_efficientnet_lite1]}
  image_size: {choice: [64, 96], when: {backbone: tf_efficientnet_lite0}}
  probe_epochs: {choice: [0, 2, 4]}
  fc_layers: {choice: [0, 1]}
scheduler: {max_epochs: 9}
"""
    found = parse_space(text, "test").list_probed()
    assert [(config.backbone[-1], config.image_size, config.weights) for config in found] == [
        ("0", 64, "package"), ("0", 96, "package"), ("1", 224, "package"),
    ]  # fmt: skip
    assert parse_space(MINIMAL, "test").list_probed() == []


def test_reports_protocol():
    space = load_space("report_table2")
    configs = [build_config(space.build_values(params, SCHEMA)) for params in space.first_points(SCHEMA)]
    assert {(config.backbone.split(".")[0], config.fc_layers) for config in configs} == set(
        itertools.product(["resnet50", "legacy_seresnet50", "legacy_seresnext50_32x4d"], [0, 2, 4])
    )
    for config in configs:
        assert (config.optimizer, config.lr, config.schedule, config.warmup_fraction) == ("adam", 1e-3, "constant", 0)
        assert (config.image_size, config.crop, config.feature) == (224, "box", "logits")
        assert (config.flip, config.dropout, config.focal_gamma, config.weight_decay) == (0.5, 0.1, 2, 0)
        assert (config.batch_size, config.epochs, config.eval_flip) == (32, 29, False)
        assert not config.category_weights
        assert (config.crop_strength, config.jitter, config.erasing, config.mixup) == (0, 0, 0, 0)
    assert space.scheduler.rungs() == [] and space.trials == 9


def test_reports_best_is_first():
    (point,) = load_space("weighted_focal").first_points(SCHEMA)
    assert [point[f"weight_{name}"] for name in CATEGORIES] == [0.95, 0.85, 0.85, 0.9, 1, 0.9]
    assert (point["focal_gamma"], point["lr"], point["fc_layers"]) == (2, 1e-3, 0)
    assert point["backbone"].startswith("legacy_seresnext50_32x4d")


# -------------------------------------------------------------------------------------------------- weights, conditions

WEIGHTED = f"""\
trials: 4
{SCHEDULER}
search:
  category_weights: {{proportions: [0.5, 2]}}
try_first:
  - category_weights: 1
  - category_weights: {{fit: 2, material: 0.5}}
"""


def test_weights_are_drawn_raw_and_become_proportions():
    space = parse_space(WEIGHTED, "test")
    for raw, params in zip(draw(space, 20, raw=True), draw(space, 20), strict=True):
        assert list(raw) == list(params) == [f"weight_{name}" for name in CATEGORIES]
        assert all(0.5 <= value <= 2 for value in raw.values())
        assert sum(params.values()) / 6 == pytest.approx(1)
        assert params["weight_fit"] / params["weight_sleeve"] == pytest.approx(raw["weight_fit"] / raw["weight_sleeve"])
        weights = space.build_values(params, SCHEMA)["category_weights"]
        assert weights == {name: params[f"weight_{name}"] for name in CATEGORIES}


def test_where_no_weight_is_searched_nothing_is_scaled():
    params = draw(load_space("lite_cpu"), 1)[0]
    assert params == draw(load_space("lite_cpu"), 1, raw=True)[0]


def test_weights_to_try_first():
    first, second = parse_space(WEIGHTED, "test").first_points(SCHEMA)
    assert first == {f"weight_{name}": 1.0 for name in CATEGORIES}
    assert second == {"weight_fit": 2.0, "weight_material": 0.5}  # the others are drawn


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("fixed:\n  category_weights:\n    fit: 1\n    fitt: 1\n", 7),
        ("fixed: {category_weights: {pattern: 0, sleeve: 0, length: 0, neckline: 0, material: 0, fit: 0}}", None),
    ],
)
def test_categories_must_be_the_datas(section, line):
    space = parse_space(MINIMAL + section, "test", "test.yaml")
    with pytest.raises(SpaceError) as error:
        space.check_schema(SCHEMA)
    assert [fault.line for fault in error.value.faults] == [line]


def test_tried_categories_must_be_the_datas():
    space = parse_space(WEIGHTED.replace("fit:", "fitt:"), "test")
    with pytest.raises(SpaceError, match=r"test:7: .*`fitt`"):
        space.check_schema(SCHEMA)
    assert "weight_fitt" not in space.first_points(SCHEMA)[1]


def test_a_category_whose_weight_would_be_a_field():
    schema = AttributeSchema((Category("decay", ("a", "b")),))
    with pytest.raises(SpaceError, match="`weight_decay` is a field"):
        parse_space(WEIGHTED.split("try_first")[0], "test").check_schema(schema)
    parse_space(MINIMAL, "test").check_schema(schema)


CONDITIONAL = f"""\
trials: 4
{SCHEDULER}
fixed: {{schedule: cosine, momentum: 0.5, crop_margin: 0.3}}
search:
  optimizer: {{choice: [adamw, adam, sgd]}}
  momentum: {{uniform: [0.8, 0.99], when: {{optimizer: sgd}}}}
  weight_decay: {{loguniform: [1e-3, 1e-1], when: {{optimizer: [adamw, adam], schedule: cosine}}}}
  crop: {{choice: [box, box_margin, whole]}}
  crop_margin: {{choice: [0.1, 0.2], when: {{crop: box_margin}}}}
"""


def test_conditional_parameters():
    space = parse_space(CONDITIONAL, "test")
    seen = set()
    for params in draw(space, 60):
        values = space.build_values(params, SCHEMA)
        assert ("momentum" in params) == (params["optimizer"] == "sgd")
        assert ("weight_decay" in params) == (params["optimizer"] != "sgd")
        assert ("crop_margin" in params) == (params["crop"] == "box_margin")
        assert values["momentum"] == params.get("momentum", 0.5)  # where it is not drawn, the fixed one
        seen.add((params["optimizer"], params["crop"]))
    assert len(seen) == 9
    assert space.prepare_settings() == [
        PrepareSettings(224, "box"),
        PrepareSettings(224, "box_margin", 0.1),
        PrepareSettings(224, "box_margin", 0.2),
        PrepareSettings(224, "whole"),
    ]


def test_a_parameter_of_another_space_is_refused():
    space = parse_space(MINIMAL, "test")
    with pytest.raises(SearchError, match="dropout, weight_fit"):
        space.build_values({"lr": 1e-3, "dropout": 0.1, "weight_fit": 1}, SCHEMA)


# ----------------------------------------------------------------------------------------------------------- the grid


def test_grid_count_and_order():
    text = f"""\
sampler: grid
{SCHEDULER}
search:
  optimizer: {{choice: [sgd, adamw]}}
  momentum: {{choice: [0.8, 0.9], when: {{optimizer: sgd}}}}
  fc_layers: {{choice: [2, 0]}}
"""
    space = parse_space(text, "test")
    assert space.count_grid() == space.trials == 6
    assert [tuple(point.values()) for point in space.first_points(SCHEMA)] == [
        ("sgd", 0.8, 2),
        ("sgd", 0.8, 0),
        ("sgd", 0.9, 2),
        ("sgd", 0.9, 0),
        ("adamw", 2),
        ("adamw", 0),
    ]
    assert draw(space, 6) == space.first_points(SCHEMA)
    with pytest.raises(SearchError, match="only a grid"):
        parse_space(MINIMAL, "test").count_grid()


# ------------------------------------------------------------------------------------------------------ the scheduler


@given(st.integers(2, 300), st.integers(1, 50), st.integers(2, 6))
def test_rungs_are_rays(max_epochs, grace, factor):
    """Ray may keep a rung at `max_epochs` as well, where a trial has finished in any case."""
    if grace >= max_epochs:
        return
    theirs = AsyncHyperBandScheduler(max_t=max_epochs, grace_period=grace, reduction_factor=factor, brackets=1)
    space = parse_space(MINIMAL, "test").with_scheduler(
        max_epochs=max_epochs, grace_epochs=grace, reduction_factor=factor
    )
    milestones = sorted(int(milestone) for milestone, _ in theirs._brackets[0]._rungs)
    assert space.scheduler.rungs() == [milestone for milestone in milestones if milestone < max_epochs]


def test_other_epochs_than_the_spaces():
    space = parse_space(
        f"trials: 4\n{SEARCH}\nscheduler: {{max_epochs: 27, grace_epochs: 3, reduction_factor: 3}}", "test"
    )
    assert space.scheduler.rungs() == [3, 9]
    assert space.with_scheduler(max_epochs=None) == space
    longer = space.with_scheduler(max_epochs=28)
    assert longer.scheduler.rungs() == [3, 9, 27] and longer.build_values({}, SCHEMA)["epochs"] == 28
    assert longer.hash == space.hash  # of the text; what ran stands in the ledger
    assert space.with_scheduler(grace_epochs=2, reduction_factor=4).scheduler.rungs() == [2, 8]
    for epochs in (1, 3):  # too short for the space's grace: every trial trains to the end
        short = space.with_scheduler(max_epochs=epochs)
        assert short.scheduler.rungs() == [] and short.scheduler.type == "none" and short.scheduler.max_epochs == epochs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_epochs": 0}, "`max_epochs`"),
        ({"grace_epochs": 9}, "below `max_epochs`, 9, but got 9"),
        ({"grace_epochs": 0}, "at least 1"),
        ({"reduction_factor": 1}, "at least 2"),
        ({"max_epochs": 3, "grace_epochs": 3}, "below `max_epochs`"),
    ],
)
def test_numbers_that_do_not_go_together(changes, message):
    with pytest.raises(SpaceError, match=message):
        parse_space(MINIMAL, "test").with_scheduler(**changes)


def test_a_space_that_stops_no_trial_has_no_grace():
    space = load_space("report_table2")
    assert space.with_scheduler(max_epochs=2).build_values({}, SCHEMA)["epochs"] == 2
    with pytest.raises(SpaceError, match="only max_epochs can be set, but got grace_epochs"):
        space.with_scheduler(grace_epochs=1)


def test_files_that_weights_name_are_found_from_any_folder(tmp_path, monkeypatch):
    """A path is written from where the search is started; its workers run elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("w.pth", "auto", "h.pth"):
        (tmp_path / name).touch()
    far = str(tmp_path / "w.pth")
    choices = ["w.pth", "~/h.pth", far, "auto", "gone.pth", "models:/m@champion"]
    space = parse_space(
        f"trials: 1\nsearch: {{weights: {{choice: {choices}}}}}\nscheduler: {{type: none, max_epochs: 4}}",
        "s",
    ).with_starts({"models:/m@champion": "kept"})
    found = [space.build_values({"weights": weights}, SCHEMA)["weights"] for weights in choices]
    assert found == [far, str(tmp_path / "h.pth"), far, "auto", "gone.pth", "kept"]
    assert space.with_starts({}).starts == {"w.pth": far, "~/h.pth": str(tmp_path / "h.pth")}
    assert space.hash == parse_space(space.text, "s").hash


@pytest.mark.parametrize("name", spaces.list_spaces())
def test_a_shipped_space_fits_any_categories_or_says_in_one_line_why_not(name):
    own = AttributeSchema.from_dict({"paint": ["red", "blue"], "form": ["cube", "cone", "ball"]})
    space = load_space(name)
    if space.category_lines:
        with pytest.raises(SpaceError) as told:
            space.check(own)
        (fault,) = told.value.faults
        assert "`pattern`, `sleeve`" in fault.message and "lite_cpu" in fault.message
    else:
        space.check(own)
    assert (name == "weighted_focal") == bool(space.category_lines)
