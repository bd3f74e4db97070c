"""The YAML under a space: values with their lines, and nothing from a stranger that builds, grows or crashes."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space.located import MAX_DEPTH, MAX_SIZE, FaultList, read_located


def read(text):
    faults = FaultList("file")
    return read_located(text, faults), [(fault.line, fault.message) for fault in faults.faults]


def read_plain(text):
    located, faults = read(text)
    assert not faults
    return located.to_plain()


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
    assert located.to_plain() == {"a": 1, "b": None}
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
