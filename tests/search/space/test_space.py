"""Search spaces: what is drawn fits `TrainConfig`, and what is at fault is said with its line."""

import itertools
import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler

import spaces
from fashion_core.config import TrainConfig, build_config
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import SearchError, SpaceError
from search.planning.checks import check_draws
from search.space.space import Space, load_space, normalise_weights, parse_space

CATEGORIES = ("pattern", "sleeve", "length", "neckline", "material", "fit")
SCHEMA = AttributeSchema(tuple(Category(name, ("a", "b", "c")) for name in CATEGORIES))
SEARCH = "search: {lr: {loguniform: [1e-4, 1e-2]}}"
SCHEDULER = "scheduler: {max_epochs: 9}"
MINIMAL = f"trials: 4\n{SEARCH}\n{SCHEDULER}\n"

optuna.logging.set_verbosity(optuna.logging.ERROR)


def draw(space, count, *, sampler=None, seed=0):
    """Flat parameters of trials, the known ones first; a score is told, so that TPE has something to model."""
    study = optuna.create_study(direction="maximize", sampler=sampler or optuna.samplers.RandomSampler(seed=seed))
    for point in space.first_points(SCHEMA):
        study.enqueue_trial(point)
    drawn = []
    for _ in range(count):
        trial = study.ask()
        drawn.append(space.suggest(trial, SCHEMA))
        study.tell(trial, -math.log10(drawn[-1].get("lr", 1e-3)))
    return drawn


def find_faults(text):
    with pytest.raises(SpaceError) as error:
        parse_space(text, "test", "test.yaml")
    assert all(fault.file == "test.yaml" for fault in error.value.faults)
    return [(fault.line, fault.message) for fault in error.value.faults]


# ----------------------------------------------------------------------------------------------------- shipped spaces


@pytest.mark.parametrize("name", spaces.list_spaces())
@pytest.mark.parametrize("sampler", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_all_that_a_shipped_space_draws_is_a_configuration(name, sampler):
    space = load_space(name)
    space.check_schema(SCHEMA)
    sizes, backbones = set(), set()
    for params in draw(space, 60 if sampler is optuna.samplers.TPESampler else 200, sampler=sampler(seed=1)):
        config = build_config(space.build_values(params, SCHEMA))
        assert config.epochs == space.scheduler.max_epochs
        assert params.keys() == space.flat_parameters(params, SCHEMA).keys()
        if config.category_weights:
            assert sum(config.category_weights.values()) / 6 == pytest.approx(1)
        sizes.add(build_settings(config))
        backbones.add((config.backbone, config.weights))
    assert sizes == set(space.prepare_settings()) and backbones == set(space.backbones())


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
    for point, params in zip(space.first_points(SCHEMA), draw(space, len(space.try_first)), strict=True):
        assert point == params
        assert {key: type(value) for key, value in point.items()} == {key: type(value) for key, value in params.items()}


def test_draws_that_are_no_configuration_are_found_before_the_start():
    """A rule on several fields: what only probes has no stochastic depth."""
    text = "trials: 4\nfixed: {{probe_epochs: 9}}\nsearch: {{drop_path: {{uniform: [0, 0.2]}}}}\n"
    text += "scheduler: {{max_epochs: {}}}"
    check_draws(parse_space(text.format(10), "test"), SCHEMA)
    with pytest.raises(SpaceError, match=r"(?s)of test .*`drop_path` must be 0 .* \(9 of 9\)"):
        check_draws(parse_space(text.format(9), "test"), SCHEMA)


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


# --------------------------------------------------------------------------------------------------------- all faults

FAULTY = """\
trails: 8
sampler: bayes
fixed:
  batch_sise: 32
  dropout: 1
  epochs: 3
  optimizer: adamw
  batch_size: 32.0
  channels_last: 1
  category_weights: {fit: -1}
  flip: 0.5
search:
  lr: {loguniform: [0, 1e-2]}
  drop_path: {uniform: [0.5, 0.1]}
  focal_gama: {uniform: [0, 3]}
  fc_layers: {uniform: [0, 4]}
  weights: {int: [0, 1]}
  label_smoothing: {uniform: [0, 1]}
  jitter: {uniform: [0]}
  erasing: 0.5
  mixup: {choice: [0, 0.1, 0.0]}
  momentum: {choice: [0.9, 1.5]}
  optimizer: {choice: [adamw, sgd]}
  flip: {choice: [0, 0.5]}
  focal_gamma: {int: [0, 3], step: 2}
  head_lr_factor: {uniform: [1, 2], step: 1}
  ema_decay: {uniform: [0, 0.9], whenn: {schedule: cosine}}
  crop_strength: {uniform: [0, 0.5], choice: [0.1]}
  weight_decay: {proportions: [0.5, 2]}
  category_weights: {uniform: [0.5, 2]}
  crop: {choice: []}
  grad_clip_norm: {choice: [~, 1, 1]}
  jitter: {uniform: [0, 0.1]}
try_first:
  - {lr: 1}
  - [lr]
scheduler: {max_epoch: 3, grace_epochs: 1.5}
"""


def test_all_faults_at_once_each_with_its_line():
    faults = find_faults(FAULTY)
    expected = {
        1: ["did you mean `trials`?", "must have `trials`"],
        2: ["`sampler` must be one of tpe, grid, random, but got 'bayes'"],
        4: ["did you mean `batch_size`?"],
        5: ["less than 1, but got 1"],
        6: ["`epochs` cannot be given in a space"],
        8: ["`batch_size`"],
        9: ["`channels_last`"],
        10: ["0 or more"],
        13: ["must be above 0"],
        14: ["low must be below high"],
        15: ["did you mean `focal_gamma`?"],
        16: ["valid integer"],
        17: ["must be a `choice`"],
        18: ["less than 1, but got 1.0"],
        19: ["two numbers"],
        20: ["a constant belongs under `fixed`"],
        21: ["has 0.0 twice"],
        22: ["less than 1, but got 1.5"],
        23: ["either fixed or searched"],
        24: ["either fixed or searched"],
        25: ["a multiple of the step"],
        26: ["`step` belongs to `int`"],
        27: ["did you mean `when`?"],
        28: ["uniform and choice"],
        29: ["`category_weights` is searched by `proportions`"],
        30: ["`category_weights` is searched by `proportions`"],
        31: ["must be a list of values"],
        32: ["has 1.0 twice"],
        33: ["already stands in line 19"],
        36: ["must be a mapping"],
        37: ["did you mean `max_epochs`?", "must have `max_epochs`", "`grace_epochs` must be a whole number"],
    }
    for line, messages in expected.items():
        for message in messages:
            assert any(at == line and message in said for at, said in faults), (line, message)
    assert {line for line, _ in faults} == set(expected)
    assert [line for line, _ in faults] == sorted(line for line, _ in faults)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[1]", 1, "a space must be a mapping"),
        (f"trials: 4\n{SCHEDULER}\n", 1, "must have the section `search`"),
        (f"trials: 4\n{SEARCH}\n", 1, "must have the section `scheduler`"),
        (f"trials: 0\n{SEARCH}\n{SCHEDULER}", 1, "whole number from 1"),
        (f"trials: true\n{SEARCH}\n{SCHEDULER}", 1, "whole number from 1"),
        (f"trials: 4\nsearch: {{}}\n{SCHEDULER}", 2, "at least one parameter"),
        (f"trials: 4\nsearch:\n{SCHEDULER}", 2, "`search` must be a mapping"),
        (MINIMAL + "description: 3", 4, "must be text"),
        (MINIMAL + "fixed: 3", 4, "`fixed` must be a mapping"),
        (MINIMAL + "try_first: {lr: 1}", 4, "must be a list"),
        (MINIMAL + "try_first:\n  - lr: 1e-3\n  - lr: 1\n", 6, "must lie in its range"),
        (MINIMAL + "try_first:\n  - lr: 1e-3\n    lrr: 1\n", 6, "did you mean `lr`?"),
        (f"sampler: grid\n{SEARCH}\n{SCHEDULER}", 2, "a grid takes only `choice`"),
        (f"sampler: grid\ntrials: 3\nsearch: {{lr: {{choice: [1]}}}}\n{SCHEDULER}", 2, "`trials` must be left out"),
        (f"trials: 4\n{SEARCH}\nscheduler:\n  max_epochs: 3\n  grace_epochs: 3", 5, "below `max_epochs`, 3, but got 3"),
        (f"trials: 4\n{SEARCH}\nscheduler:\n  max_epochs: 3\n  reduction_factor: 1", 5, "at least 2"),
        (f"trials: 4\n{SEARCH}\nscheduler:\n  type: none\n  max_epochs: 0", 5, "`max_epochs`"),
        (
            f"trials: 4\n{SEARCH}\nscheduler: {{type: none, max_epochs: 3, grace_epochs: 1}}",
            3,
            "`grace_epochs` is not a key",
        ),
        (f"trials: 4\n{SEARCH}\nscheduler: {{type: pbt, max_epochs: 3}}", 3, "asha or none"),
    ],
)
def test_one_fault_is_one_message(text, line, message):
    ((at, said),) = find_faults(text)
    assert at == line and message in said


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("momentum: {uniform: [0, 0.9], when: {optimiser: sgd}}", "did you mean `optimizer`?"),
        ("momentum: {uniform: [0, 0.9], when: {optimizer: lion}}", "must be one of ['adamw', 'sgd'], but got 'lion'"),
        ("momentum: {uniform: [0, 0.9], when: {lr: 1e-3}}", "must name a choice or an int, but `lr` is loguniform"),
        ("momentum: {uniform: [0, 0.9], when: {batch_size: 64}}", "`batch_size` is fixed to 32"),
        ("momentum: {uniform: [0, 0.9], when: {momentum: 0.5}}", "move `momentum` up"),
        ("momentum: {uniform: [0, 0.9], when: sgd}", "`when` must be a mapping"),
        ("momentum: {uniform: [0, 0.9], when: {optimizer: {a: 1}}}", "single values"),
        ("momentum: {uniform: [0, 0.9], when: {optimizer: []}}", "single values"),
    ],
)
def test_conditions_that_cannot_hold(second, message):
    text = f"trials: 4\nfixed: {{batch_size: 32}}\n{SCHEDULER}\nsearch:\n  lr: {{loguniform: [1e-4, 1e-2]}}\n"
    ((line, said),) = find_faults(text + f"  optimizer: {{choice: [adamw, sgd]}}\n  {second}\n")
    assert line == 7 and message in said


def test_conditions_cannot_run_in_a_circle():
    text = f"""\
trials: 4
{SCHEDULER}
search:
  flip: {{choice: [0, 0.5], when: {{mixup: 0.1}}}}
  mixup: {{choice: [0, 0.1], when: {{flip: 0.5}}}}
"""
    ((line, message),) = find_faults(text)
    assert line == 4 and "move `mixup` up" in message


def test_tried_values_are_checked():
    text = f"""\
trials: 4
{SCHEDULER}
search:
  optimizer: {{choice: [adamw, sgd]}}
  momentum: {{uniform: [0, 0.9], when: {{optimizer: sgd}}}}
  fc_layers: {{int: [0, 4], step: 2}}
  category_weights: {{proportions: [0.5, 2]}}
try_first:
  - optimizer: adamw
    momentum: 0.5
    fc_layers: 3
    category_weights:
      fit: 1
      sleeve: 3
  - category_weights: 0
  - optimizer: true
"""
    faults = dict(find_faults(text))
    assert faults.keys() == {10, 11, 14, 15, 16}
    assert "is drawn only where `optimizer` is one of ['sgd']" in faults[10]
    assert "in steps of 2" in faults[11]


WORDS = (
    "trials search fixed scheduler try_first sampler grid type none max_epochs lr backbone crop_margin "
    "category_weights choice uniform int proportions step when [0, 1] 1e-3 -1 4 true ~ { } [ ] : - , ' &a *a !!int"
)
pieces = st.sampled_from([*(word + " " for word in WORDS.split(" ")), "\n", "\n  "])
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["sgd", "adamw", "none"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["sgd", "lr", "fit"]), inner, max_size=2)
    ),
    max_leaves=6,
)
parameters = st.dictionaries(
    st.sampled_from(list(TrainConfig.model_fields)),
    st.fixed_dictionaries(
        {}, optional={kind: plain for kind in ("choice", "uniform", "int", "when", "step", "proportions")}
    ),
    max_size=3,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "trials": plain,
        "sampler": plain | st.sampled_from(["tpe", "grid"]),
        "fixed": plain | st.dictionaries(st.sampled_from(list(TrainConfig.model_fields)), plain, max_size=3),
        "search": plain | parameters,
        "try_first": plain | st.lists(st.dictionaries(st.sampled_from(["lr", "flip"]), plain, max_size=2), max_size=2),
        "scheduler": plain | st.dictionaries(st.sampled_from(["type", "max_epochs", "grace_epochs"]), plain),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.lists(pieces, max_size=40).map("".join) | documents.map(repr))
def test_random_text_is_a_space_or_a_space_error(text):
    try:
        assert isinstance(parse_space(text, "random"), Space)
    except SpaceError as error:
        assert error.faults and str(error)


def test_a_space_cannot_have_more_combinations_than_can_be_made_ready():
    sizes = ", ".join(map(str, range(32, 232)))
    margins = ", ".join(str(i / 100) for i in range(100))
    text = (
        f"trials: 4\n{SCHEDULER}\nsearch: {{image_size: {{choice: [{sizes}]}}, crop_margin: {{choice: [{margins}]}}}}"
    )
    ((_, message),) = find_faults(text)
    assert "image_size, crop_margin must have at most 10000 combinations, but have 20000" in message


# ------------------------------------------------------------------------------------------------------------- files


def test_files_and_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my own.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_space(file).name == "my own" and load_space(file).text == MINIMAL
    assert load_space("demo").name == "demo"
    for path, message in [
        ("dema", "did you mean demo?"),
        ("elsewhere/demo.yaml", "did you mean demo?"),
        ("zzz", "shipped are bench, demo, "),
        (tmp_path, "directory"),
        ("a\0b", "no space can be read"),
    ]:
        with pytest.raises(SpaceError, match="no space can be read") as error:
            load_space(path)
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"trials: \xff", "must be UTF-8"), ("é".encode() * 140_000, "at most 262144 bytes")]
)
def test_files_that_are_no_space(content, message, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_bytes(content)
    with pytest.raises(SpaceError, match=message):
        load_space(file)


# ------------------------------------------------------------------------------------------------------------ meaning


HASHED = """\
description: two networks
sampler: tpe
trials: 16
fixed: {batch_size: 64, crop: box}
search:
  dropout: {uniform: [0, 0.5]}
  fc_layers: {choice: [0, 2]}
  lr: {loguniform: [1e-4, 1e-2], when: {fc_layers: 2}}
  mixup: {choice: [0, 0.1]}
try_first:
  - {dropout: 0, mixup: 0}
scheduler: {type: asha, max_epochs: 6}
"""


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("description: two networks", "# a comment\n", True),
        ("sampler: tpe\n", "", True),  # the default
        ("{batch_size: 64, crop: box}", "\n  crop: box\n\n  batch_size: +64\n", True),
        ("dropout: {uniform: [0, 0.5]}", "dropout: {uniform: [0.0, 5e-1]}", True),
        ("dropout: 0, mixup: 0}", "dropout: 0.0, mixup: 0.0}", True),
        ("choice: [0, 0.1]", "choice: [0.0, 0.10]", True),
        ("max_epochs: 6", "max_epochs: 6, grace_epochs: 1, reduction_factor: 3", True),  # the defaults
        ("sampler: tpe", "sampler: random", False),
        ("trials: 16", "trials: 17", False),
        ("batch_size: 64", "batch_size: 32", False),
        ("uniform: [0, 0.5]", "uniform: [0, 0.6]", False),
        ("loguniform", "uniform", False),
        ("when: {fc_layers: 2}", "when: {fc_layers: 0}", False),
        (
            "  dropout: {uniform: [0, 0.5]}\n  fc_layers: {choice: [0, 2]}\n",
            "  fc_layers: {choice: [0, 2]}\n  dropout: {uniform: [0, 0.5]}\n",
            False,
        ),
        ("dropout: 0, ", "dropout: 0.1, ", False),
        ("max_epochs: 6", "max_epochs: 7", False),
        ("max_epochs: 6", "max_epochs: 6, reduction_factor: 2", False),
    ],
)
def test_hash_follows_meaning_not_text(before, after, same):
    assert HASHED.count(before) == 1
    changed = parse_space(HASHED.replace(before, after), "other name")
    assert (changed.hash == parse_space(HASHED, "name").hash) == same


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
    for params in draw(space, 20):
        assert list(params) == [f"weight_{name}" for name in CATEGORIES]
        assert all(0.5 <= value <= 2 for value in params.values())
        weights = space.build_values(params, SCHEMA)["category_weights"]
        assert sum(weights.values()) / 6 == pytest.approx(1)
        assert weights["fit"] / weights["sleeve"] == pytest.approx(params["weight_fit"] / params["weight_sleeve"])
        assert list(space.flat_parameters(params, SCHEMA).values()) == list(weights.values())


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_weights_normalised_twice_are_bit_for_bit_those_normalised_once(values):
    once = normalise_weights({str(index): value for index, value in enumerate(values)})
    assert sum(once.values()) / len(once) == pytest.approx(1)
    assert normalise_weights(once) == once


def test_a_trial_can_be_built_again_from_what_the_ledger_shows():
    space = parse_space(WEIGHTED, "test")
    for params in draw(space, 50):
        assert space.build_values(space.flat_parameters(params, SCHEMA), SCHEMA) == space.build_values(params, SCHEMA)


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
