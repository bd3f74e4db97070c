"""What a person asks of a search: read, checked, kept beside the search, and found again."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_search import make_search
from pydantic import ValidationError

from fashion_core.data.reading import Reading
from fashion_core.errors import SearchError
from search.planning.options import SECONDS, SearchOptions, load_options, parse_duration
from search.records.layout import SearchLayout
from search.records.limits import DEFAULT_PATIENCE, Limits

ASKED = {"data": ".", "space": "demo"}
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,10}", fullmatch=True)
WHOLE = st.integers(1, 1000)


def test_durations():
    assert [parse_duration(text) for text in ("90s", "45m", "8h", "1.5d", " 2h ")] == [90, 2700, 28800, 129600, 7200]
    for text in ("90", "h", "-1h", "0s", "0.0d", "1w", "", "1h30m", "1 h", "1.h", "infs", "1H"):
        with pytest.raises(ValueError, match="a number with a unit"):
            parse_duration(text)
    assert SearchOptions(**ASKED, time_budget_s="45m").time_budget_s == 2700
    assert SearchOptions(**ASKED, time_budget_s=12).time_budget_s == 12


@given(st.integers(1, 10**6), st.sampled_from("smhd"))
def test_a_duration_is_its_number_of_units(number, unit):
    assert parse_duration(f"{number}{unit}") == number * SECONDS[unit]
    assert parse_duration(f"{number}.5{unit}") == (number + 0.5) * SECONDS[unit]


@pytest.mark.parametrize(
    "fault",
    [
        {"trials": 0},
        {"max_epochs": 0},
        {"time_budget_s": 0},
        {"time_budget_s": "5"},
        {"budget_gpu_hours": 0},
        {"budget_gpu_hours": math.inf},
        {"budget_cost": 20},
        {"price_per_gpu_hour": -1},
        {"stop_after": 0},
        {"without_gain": 1.5},
        {"target": 0},
        {"target": 85},
        {"cpus_per_trial": 0},
        {"gpus_per_trial": -0.5},
        {"gpus_per_trial": 1.5},
        {"gpus_per_trial": 1e-320},
        {"gpus_per_trial": math.inf},
        {"gpus_per_trial": math.nan},
        {"time_budget_s": math.inf},
        {"time_budget_s": "9" * 400 + "d"},
        {"concurrent": 10**12},
        {"cpus_per_trial": 10**12},
        {"trials": 10**12},
        {"max_epochs": 10**12},
        {"keep_best": 10**12},
        {"concurrent": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"select_on": "test"},
        {"keep_best": 0},
        {"trails": 5},
        {"data": None},
    ],
)
def test_what_cannot_be_is_refused(fault):
    (name,) = fault
    with pytest.raises(ValidationError) as caught:
        SearchOptions(**(ASKED | fault))
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, Limits()),
        ({"stop_after": 30}, Limits(patience=30)),
        ({"without_gain": 0.002}, Limits(patience=DEFAULT_PATIENCE, gain=0.002)),
        ({"stop_after": 30, "without_gain": 0.002}, Limits(patience=30, gain=0.002)),
        ({"price_per_gpu_hour": 2.5, "budget_cost": 20}, Limits(price_per_gpu_hour=2.5, cost=20)),
        ({"time_budget_s": "8h", "target": 0.85, "budget_gpu_hours": 3}, Limits(28800, 3, target=0.85)),
    ],
)
def test_limits_are_what_was_asked_for(given, limits):
    """Of a gain and a patience, either may be left out; and the ledger tells them as they are."""
    assert SearchOptions(**ASKED, **given).limits == limits
    assert Limits.read(json.loads(json.dumps(limits.write()))) == limits


def test_options_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        SearchOptions(**ASKED).trials = 5


@given(
    st.fixed_dictionaries(
        {"data": NAMES, "space": NAMES},
        optional={
            "trials": WHOLE,
            "max_epochs": WHOLE,
            "time_budget_s": st.floats(0.1, 1e8),
            "budget_gpu_hours": st.floats(0.1, 1e8),
            "price_per_gpu_hour": st.floats(0.1, 1e8),
            "stop_after": WHOLE,
            "without_gain": st.floats(0, 1),
            "target": st.floats(0.01, 1),
            "cpus_per_trial": WHOLE,
            "gpus_per_trial": st.sampled_from([0.0, 0.25, 1.0, 3.0]),
            "concurrent": WHOLE,
            "seed": st.integers(0, 2**32 - 1),
            "name": NAMES,
            "storage": st.sampled_from(["shared", "s3://bucket/π"]),
            "tracking_uri": st.just("http://localhost:5000"),
            "address": st.just("auto"),
            "select_on": st.sampled_from(["val", "heldout"]),
            "skip_bad": st.booleans() | st.floats(0, 1),
            "follow_links": st.booleans(),
            "attributes": NAMES,
            "garments": st.booleans(),
            "boxes": st.sampled_from(["xyxy", "xywh"]),
            "categories": NAMES,
            "cache_dir": NAMES,
            "results": NAMES,
            "keep_best": WHOLE,
        },
    )
)
def test_what_was_saved_comes_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("options") / "options.json"
    options = SearchOptions(**values)
    options.save(path)
    assert SearchOptions.load(path) == options
    assert json.loads(path.read_text()).keys() == SearchOptions.model_fields.keys()


@pytest.mark.parametrize(
    "text, told",
    [
        ("[" * 4000 + "]" * 4000, "nested too deep"),
        ('{"data": ".", "space": "demo", "space": "tpe"}', "'space' stands twice"),
        ('{"data": ".", "space": "demo", "seed": "7"}', "`seed`: "),
        ('{"data": ".", "space": "demo", "gpus_per_trial": Infinity}', "`gpus_per_trial`: "),
        ('{"data": "a\\u0000b", "space": "demo"}', "null character"),
        ("no JSON", "Expecting value"),
        ('{"data": ".", "space": "demo"', "Expecting ',' delimiter"),
        ('{"data": "."}', "`space`: field required"),
        ('{"data": ".", "space": "demo", "trials": 0, "colour": "red"}', "`trials`: "),
        ('{"data": ".", "space": "demo", "trials": 0, "colour": "red"}', "`colour`: "),
    ],
)
def test_a_file_of_something_else_is_told(text, told, tmp_path):
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(SearchError, match=r"options\.json must hold the options of a search, but: ") as caught:
        SearchOptions.load(tmp_path / "options.json")
    assert told in str(caught.value) and "restore it" in str(caught.value)


def test_options_are_found_by_the_searchs_name(tmp_path):
    layout = make_search(tmp_path, "mine", seed=7, storage="s3://bucket")
    assert load_options(layout) == SearchOptions(
        data="data", space="tiny", name="mine", results=tmp_path, seed=7, storage="s3://bucket"
    )


def test_a_search_that_is_none_is_told_with_those_there_are(tmp_path):
    with pytest.raises(SearchError, match=r"'mine' .*; known are none"):
        load_options(SearchLayout(tmp_path, "mine"))
    make_search(tmp_path, "other")
    make_search(tmp_path, "another")
    with pytest.raises(SearchError, match=r"'mine' .*; known are another, other"):
        load_options(SearchLayout(tmp_path, "mine"))


def test_ray_keeps_its_state_in_the_searchs_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = SearchOptions(**ASKED, name="one", results=Path("results"))
    assert options.locate_experiment(options.build_layout()) == str(tmp_path / "results/one/states")


@pytest.mark.parametrize(
    "storage, expected",
    [
        ("s3://bucket/folder", "s3://bucket/folder/one"),
        ("gs://bucket/", "gs://bucket/one"),
        ("/shared/ray/", "/shared/ray/one"),
        ("shared", "HERE/shared/one"),
        ("../shared", "ABOVE/shared/one"),
        ("~/shared", "HOME/shared/one"),
    ],
)
def test_storage_that_was_named_holds_a_folder_of_the_searchs_name(storage, expected, tmp_path, monkeypatch):
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    options = SearchOptions(**ASKED, name="one", storage=storage)
    for name, path in (("HERE", here), ("ABOVE", tmp_path), ("HOME", tmp_path / "home")):
        expected = expected.replace(name, str(path))
    assert options.locate_experiment(options.build_layout()) == expected


def test_a_name_is_given_or_made_of_the_space_and_the_time(tmp_path):
    assert SearchOptions(**ASKED, name="one", results=tmp_path).build_layout() == SearchLayout(tmp_path, "one")
    unnamed = SearchOptions(data=".", space="spaces/my space.yaml", results=tmp_path)
    first = unnamed.build_layout()
    assert first.results == tmp_path and first.name.startswith("my-space-")
    names = set()
    for _ in range(3):  # within a second
        layout = unnamed.build_layout()
        layout.folder.mkdir()
        names.add(layout.name)
    assert len(names) == 3
    with pytest.raises(SearchError, match="a search's name must be"):
        SearchOptions(**ASKED, name="../one").build_layout()


@pytest.mark.parametrize(
    "given, share", [(None, 0), (False, 0), (True, 0.05), ("true", 0.05), ("0.2", 0.2), (0.3, 0.3)]
)
def test_how_much_may_be_skipped(given, share, tmp_path):
    options = SearchOptions(**ASKED | {"skip_bad": given})
    assert options.build_reading(SearchLayout(tmp_path, "one")).max_skipped == share


def test_what_is_no_share_is_told():
    for wrong in ("2", "-1", "nan", "yes"):
        with pytest.raises(ValidationError, match="must be a share of the rows from 0 to 1"):
            SearchOptions(**ASKED | {"skip_bad": wrong})


def test_the_reading_is_that_of_the_options(tmp_path):
    asked = {
        "follow_links": True,
        "attributes": "a.yaml",
        "garments": True,
        "boxes": "xywh",
        "categories": "colour, shape",
    }
    reading = SearchOptions(**ASKED | asked).build_reading(SearchLayout(tmp_path, "one"))
    assert reading == Reading(False, True, Path("a.yaml"), True, "xywh", ("colour", "shape"), tmp_path / ".splits")
