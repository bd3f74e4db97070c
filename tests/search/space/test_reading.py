"""Reading a space: YAML with lines, nothing from a stranger that builds or grows, one fault for one mistake."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_core.config import TrainConfig
from fashion_core.data.schema import AttributeSchema, Category
from fashion_core.errors import SpaceError
from fashion_core.models.cost import UNLIMITED, Cost
from search.space.reading import MAX_DEPTH, MAX_SIZE, FaultList, load_space, parse_space, read_yaml
from search.space.space import Space

SEARCH = "search: {lr: {loguniform: [1e-4, 1e-2]}}"
SCHEDULER = "scheduler: {max_epochs: 9}"
MINIMAL = f"trials: 4\n{SEARCH}\n{SCHEDULER}\n"


def find_faults(text):
    with pytest.raises(SpaceError) as error:
        parse_space(text, "test", "test.yaml")
    assert all(fault.file == "test.yaml" for fault in error.value.faults)
    return [(fault.line, fault.message) for fault in error.value.faults]


# --------------------------------------------------------------------------------------------------------------- YAML


def read(text):
    faults = FaultList("file")
    return read_yaml(text, faults), [(fault.line, fault.message) for fault in faults.found]


def read_plain(text):
    located, faults = read(text)
    assert not faults
    return located.plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),  # text in YAML 1.1, and so in yaml.safe_load
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        (".nan", ".nan"),
    ],
)
def test_scalars(text, value):
    found = read_plain(text)
    assert found == value and type(found) is type(value)


def test_every_value_knows_its_line():
    located, _ = read("a: 1\nb:\n\n  c: [x,\n    y]\n  d: 2\n")
    assert located.value["b"].line == 2
    assert located.value["b"].value["c"].line == 4
    assert [item.line for item in located.value["b"].value["c"].value] == [4, 5]
    assert located.value["b"].value["d"].line == 6


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(values)
def test_what_yaml_writes_is_read_back(value):
    assert read_plain(yaml.safe_dump(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.text("abz01.:-[]{}#&*!|>'\"%@?,\n \t~", max_size=60))
def test_random_text_is_read_or_is_a_fault(text):
    located, faults = read(text)
    assert (located is None) <= bool(faults)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "`a` already stands in line 1"),
        ("a: {b: 1, b: 2}", 1, "`b` already stands in line 1"),
        ("a: 1\n? [x]\n: 2\n", 2, "a key must be a word"),
        ("a: 1\nb: [1, 2\n", 3, "must be YAML"),
        ("a: 1\n---\nb: 1\n", 2, "must be YAML"),
        ("a: 1\n\tb: 1\n", 2, "must be YAML"),
        ("a: \x00", None, "must be YAML"),
        ("a: *nothing", 1, "undefined alias"),
        ("a: !!int x", 1, "of the type its tag names, int"),
        ("a: !!bool yes", 1, "of the type its tag names, bool"),
        ("a: 1\nb: 99999999999999999999", 2, "must fit 64 bits"),
        ("a: 1e999", 1, "must fit 64 bits"),
        ("", None, "the file is empty"),
        ("# only a comment", None, "the file is empty"),
        ("x" * (MAX_SIZE + 1), None, "at most"),
        ("[" * 5000, None, f"at most {MAX_DEPTH} deep"),
        ("[" * 20 + "]" * 20, None, f"at most {MAX_DEPTH} deep"),
        ("a: &a [*a]", None, "may not contain itself"),
    ],
)
def test_faults_and_their_lines(text, line, message):
    _, faults = read(text)
    assert [fault for fault in faults if fault[0] == line and message in fault[1]], faults


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['echo built > {file}']",
        "!!python/object/apply:subprocess.check_call [[touch, '{file}']]",
        "!!python/name:os.system",
        "!!python/tuple [1, 2]",
        "!!set {{1, 2}}",
        "!!timestamp 2001-01-01",
        "!!binary aGk=",
        "!own {{a: 1}}",
        "!!str [1]",
    ],
)
def test_no_object_is_built_from_a_tag(tagged, tmp_path):
    file = tmp_path / "built"
    located, faults = read("a: 1\nb: " + tagged.format(file=file))
    assert located.plain == {"a": 1, "b": None}
    assert [line for line, message in faults if "tags are not used" in message] == [2]
    assert not file.exists()


def test_an_alias_repeats_a_value():
    assert read_plain("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_bomb_is_stopped_early():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 10)]  # 10^10 values
    start = time.monotonic()
    located, faults = read("\n".join(lines))
    assert located is None and "aliases counted" in faults[0][1]
    assert time.monotonic() - start < 60  # not a measurement: written out, it would not end today


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
        1: ["did you mean `trials`?"],
        2: ["`sampler` must be one of tpe, grid, random, but got 'bayes'"],
        4: ["did you mean `batch_size`?"],
        5: ["less than 1, but got 1"],
        6: ["`epochs` cannot be given under `fixed` or `search`"],
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
        37: ["did you mean `max_epochs`?", "`grace_epochs` must be a whole number"],
    }
    for line, messages in expected.items():
        for message in messages:
            assert any(at == line and message in said for at, said in faults), (line, message)
    assert {line for line, _ in faults} == set(expected)
    assert len(faults) == sum(map(len, expected.values()))
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
        (f"trials: 4\n{SEARCH}\nscheduler: {{form: pausing, max_epochs: 3}}", 3, "stopping or promotion, but got"),
        (f"trials: 4\n{SEARCH}\nscheduler: {{type: none, form: promotion, max_epochs: 3}}", 3, "form"),
        (
            f"trials: 4\n{SEARCH}\nscheduler: {{form: promotion, max_epochs: 3, grace_epochs: 3}}",
            3,
            "below `max_epochs`",
        ),
        (f"trials: 4\n{SEARCH}\nscheduler:", 3, "`scheduler` must be a mapping"),
        (f"trials: 4\n{SEARCH}\nscheduler: {{max_epochs: 0}}", 3, "`max_epochs`: input should be greater"),
        # a wrong name, and what follows from it
        (f"trails: 4\n{SEARCH}\n{SCHEDULER}", 1, "did you mean `trials`?"),
        (
            f"trials: 4\nserach: {{lr: {{choice: [1]}}}}\ntry_first: [{{lr: 1}}]\n{SCHEDULER}",
            2,
            "did you mean `search`?",
        ),
        (f"trials: 4\n{SEARCH}\nschedular: {{max_epochs: 9}}", 3, "did you mean `scheduler`?"),
        (f"trials: 4\n{SEARCH}\nscheduler: {{max_epoch: 9}}", 3, "did you mean `max_epochs`?"),
        (f"trials: 4\nsearch: {{lr: {{loguniforn: [1e-4, 1e-2]}}}}\n{SCHEDULER}", 2, "did you mean `loguniform`?"),
        (f"sampler: grids\nsearch: {{lr: {{choice: [1]}}}}\n{SCHEDULER}", 1, "`sampler` must be one of"),
        (
            f"trials: 4\nsearch: {{learning_rate: {{loguniforn: [0], wen: 3}}}}\ntry_first: [{{lr: 1}}]\n{SCHEDULER}",
            2,
            "did you mean `lr`?",
        ),
        (MINIMAL + "try_first: [{learning_rate: 1e-3}, {learning_rate: 1e-3}]", 4, "did you mean `lr`?"),
        (
            MINIMAL + "fixed: {num_epochs: 3}",
            4,
            "`num_epochs` cannot be given under `fixed` or `search`: the scheduler's",
        ),
        # a wrong value, and what follows from it
        (f"trials: 4\nsearch: {{lr: {{loguniform: [-1, -2]}}}}\n{SCHEDULER}", 2, "low must be below high"),
        (f"trials: 4\nsearch: {{lr: {{loguniform: [0, 1]}}}}\n{SCHEDULER}", 2, "must be above 0"),
        (
            f"trials: 4\nsearch: {{lr: {{uniform: [-1, 200]}}}}\n{SCHEDULER}",
            2,
            "greater than 0, but got -1.0; `lr`: inp",
        ),
        (f"trials: 4\nsearch: {{fc_layers: {{int: [0, 9], step: 2}}}}\n{SCHEDULER}", 2, "less than or equal to 4"),
        (f"trials: 4\nsearch: [lr]\ntry_first: [{{lr: 1}}]\n{SCHEDULER}", 2, "`search` must be a mapping"),
        (f"trials: 4\nsearch: {{lr: 1e-3}}\ntry_first: [{{lr: 1}}]\n{SCHEDULER}", 2, "belongs under `fixed`"),
        (f"trials: !x 4\n{SEARCH}\n{SCHEDULER}", 1, "tags are not used"),
        (f"trials: 4\nsearch: {{lr: {{uniform: [1e-4, 1e999]}}}}\n{SCHEDULER}", 2, "must fit 64 bits"),
        (
            f"sampler: grid\nsearch: {{lr: {{choice: [1]}}}}\ntry_first: [{{lr: 2}}]\n{SCHEDULER}",
            3,
            "`try_first` must be left out",
        ),
        (MINIMAL + "fixed: {category_weights: {fit: x, sleeve: y}}", 4, "`category_weights.sleeve`: input should be"),
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


@pytest.mark.parametrize(
    ("searched", "named", "tried"),
    [
        ("optimiser", "optimizer", "optimizer"),
        ("optimiser", "optimiser", "optimiser"),
        ("optimizer", "optimiser", "optimizer"),
    ],
)
def test_a_misspelt_parameter_is_told_where_it_first_stands(searched, named, tried):
    text = f"""\
trials: 4
{SCHEDULER}
fixed: {{schedule: cosine}}
search:
  {searched}: {{choice: [adamw, sgd]}}
  momentum: {{uniform: [0, 0.9], when: {{{named}: sgd}}}}
try_first:
  - {{{tried}: sgd, momentum: 0.5}}
  - {{{tried}: lion}}
"""
    ((line, message),) = find_faults(text.replace("lion", "sgd"))
    assert (
        line == (5 if searched == "optimiser" else 6)
        and "`optimiser`" in message
        and "did you mean `optimizer`?" in message
    )
    if searched == "optimizer":  # a second mistake is a second fault
        assert [line for line, _ in find_faults(text)] == [6, 9]


def test_a_misspelt_name_under_fixed_is_told_where_it_stands():
    search = "search: {momentum: {uniform: [0, 0.9], when: {optimizer: sgd}}}"
    ((line, message),) = find_faults(f"trials: 4\n{SCHEDULER}\nfixed: {{optim: sgd}}\n{search}")
    assert line == 3 and "`optim` is not a field of TrainConfig; did you mean `optimizer`?" in message


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


def test_the_form_of_asha():
    """Spaces that do not name it, or name the stopping form, are those of before."""
    plain = parse_space(MINIMAL, "name")
    stopping = parse_space(MINIMAL.replace("{max_epochs: 9", "{form: stopping, max_epochs: 9"), "name")
    promotion = parse_space(MINIMAL.replace("{max_epochs: 9", "{form: promotion, max_epochs: 9"), "name")
    assert plain.scheduler == stopping.scheduler and plain.hash == stopping.hash != promotion.hash
    assert plain.hash == "17208304337c21d5829b40e97ea32d4017167dc1764cd5f3e12db1475c277fb9"  # a search goes on by it
    assert not plain.scheduler.promotes and promotion.scheduler.promotes
    assert promotion.scheduler.grace_epochs is None and promotion.with_rungs().scheduler.rungs() == [2, 6]
    assert plain.with_rungs() == plain


@pytest.mark.parametrize("name", ["val/class_accuracy", "val/accuracy/fit"])
def test_the_objective(name):
    """Spaces that do not name it, or name the default, are those of before."""
    plain, default = parse_space(MINIMAL, "name"), parse_space(f"objective: val/accuracy\n{MINIMAL}", "name")
    other = parse_space(f"objective: {name}\n{MINIMAL}", "name")
    assert plain.objective == default.objective == "val/accuracy" and other.objective == name
    assert plain.hash == default.hash != other.hash
    schema = AttributeSchema((Category("fit", ("tight", "loose")),))
    assert {config.objective for config in other.check(schema)} == {name}


@pytest.mark.parametrize(
    "got", ["accuracy", "val/loss", "lr", "val/accuracy_se", "val/accuracy/", "3", "[val/accuracy]"]
)
def test_an_objective_is_a_score(got):
    """In its line, and told once."""
    ((line, message),) = find_faults(f"trials: 4\nobjective: {got}\n{SEARCH}\n{SCHEDULER}\n")
    assert line == 2 and "the greater the better: val/accuracy, val/class_accuracy or val/accuracy/CATEGORY" in message


def test_an_objective_stands_beside_the_search():
    ((line, message),) = find_faults(f"fixed: {{objective: val/class_accuracy}}\n{MINIMAL}")
    assert line == 1
    assert message == (
        "`objective` cannot be given under `fixed` or `search`: it stands beside them, one for all trials; remove it"
    )


def test_the_category_of_an_objective_is_the_datas():
    space = parse_space(f"{MINIMAL}objective: val/accuracy/collar\n", "test")
    with pytest.raises(SpaceError, match=r"test:4: categories must be the data's, fit, but got `collar`"):
        space.check_schema(AttributeSchema((Category("fit", ("tight", "loose")),)))


@pytest.mark.parametrize(
    ("fixed", "searched", "rungs"),
    [
        ("warmup_fraction: 0", "", [1, 3]),
        ("", "warmup_fraction: {uniform: [0, 0.4]}", [4]),
        ("", "warmup_fraction: {choice: [0, 0.25]}", [3]),
        (
            "schedule: constant, warmup_fraction: 0",
            "warmup_fraction: {choice: [0, 0.6], when: {schedule: cosine}}",
            [6],
        ),
        ("warmup_fraction: 0.3", "warmup_fraction: {choice: [0, 0.1], when: {schedule: cosine}}", [3]),
    ],
)
def test_rungs_come_after_the_longest_warm_up(fixed, searched, rungs):
    when = "schedule: {choice: [cosine, constant]}" if "when" in searched else ""
    search = ", ".join(filter(None, ["lr: {loguniform: [1e-4, 1e-2]}", when, searched]))
    fixed = fixed.replace("schedule: constant, ", "")
    text = f"trials: 4\nfixed: {{{fixed}}}\nsearch: {{{search}}}\nscheduler: {{form: promotion, max_epochs: 9}}"
    assert parse_space(text, "name").with_rungs().scheduler.rungs() == rungs


# -------------------------------------------------------------------------------------------------------- constraints


@pytest.mark.parametrize(
    ("constraints", "limit"),
    [
        ("{max_ms: 60, max_params: 8e6}", Cost(8_000_000, 60.0)),
        ("{max_ms: 0.5}", Cost(UNLIMITED.parameters, 0.5)),
        ("{max_params: 5000000}", Cost(5_000_000, UNLIMITED.ms)),
    ],
)
def test_what_networks_may_cost_is_read(constraints, limit):
    assert parse_space(f"{MINIMAL}constraints: {constraints}", "test").limit == limit
    assert parse_space(MINIMAL, "test").limit == UNLIMITED


@pytest.mark.parametrize(
    ("constraints", "fault"),
    [
        ("60", "`constraints` must be a mapping of max_ms and max_params, but got 60"),
        ("{}", "`constraints` must be a mapping of max_ms and max_params, but got {}"),
        ("{max_ms: fast}", "`max_ms` must be a number from 0.001 to 1e+09, but got fast"),
        ("{max_ms: 0}", "`max_ms` must be a number from 0.001 to 1e+09, but got 0"),
        ("{max_ms: true}", "`max_ms` must be a number from 0.001 to 1e+09, but got true"),
        ("{max_params: -1}", "`max_params` must be a number from 1 to 1e+15, but got -1"),
        ("{max_params: [1, 2]}", "`max_params` must be a number from 1 to 1e+15, but got [1, 2]"),
        ("{max_param: 1e6}", "`max_param` is not a key of the constraints; did you mean `max_params`?"),
    ],
)
def test_impossible_constraints_are_told_once_with_their_line(constraints, fault):
    ((line, message),) = find_faults(f"{MINIMAL}constraints: {constraints}\n")
    assert line == 4 and message.replace("'", "").replace("True", "true") == fault


def test_constraints_count_in_the_hash():
    plain, limited, less = (
        parse_space(MINIMAL + text, "test").hash
        for text in ("", "constraints: {max_ms: 9}", "constraints: {max_ms: 8}")
    )
    assert len({plain, limited, less}) == 3
    assert limited == parse_space(MINIMAL + "constraints:\n  max_ms: 9.0", "test").hash
