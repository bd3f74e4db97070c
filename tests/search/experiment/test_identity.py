"""A search goes on with what it began with; what has changed is named, kind by kind."""

import os
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest
from written_search import SPACE, write_search

from fashion_core.data.annotations import load_annotations
from fashion_core.errors import SearchError
from search.experiment.identity import (
    check_code,
    check_data,
    check_settings,
    check_space,
    check_weights,
    compare_spaces,
    digest_weights,
    note_changes,
)
from search.planning.options import load_options
from search.planning.plan import build_plan
from search.planning.resources import Machine, Node
from search.records.events import SearchResumed
from search.records.record import load_record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def written(tmp_path_factory, sample_folder):
    """A search, with its data."""
    folder = tmp_path_factory.mktemp("written")
    data = shutil.copytree(sample_folder, folder / "data")
    return folder, data, write_search(folder / "results", "mine", data, [1e-3])


@pytest.fixture
def search(written, tmp_path):
    """A copy of it: its data folder, its plan as it is made anew, its record."""
    folder, _, layout = written
    shutil.copytree(folder, tmp_path / "copy")
    layout = replace(layout, results=tmp_path / "copy" / "results")
    data = tmp_path / "copy" / "data"

    def plan(**changes):
        update = {"data": data, "results": layout.results, "space": str(tmp_path / "copy" / "tiny.yaml")}
        options = load_options(layout).model_copy(update=update | changes)
        return build_plan(options, layout, Machine(2, 0))

    return data, plan, load_record(layout)


def check(plan, begun):
    check_data(plan.annotations, plan.settings[0], plan.cache_dir, begun)


def test_a_copy_of_the_data_is_the_same(search):
    _, plan, record = search
    check(plan(), record.begun)


@pytest.mark.parametrize("is_kept", [True, False])
def test_an_image_with_other_bytes_is_named(search, is_kept):
    data, plan, record = search
    name = load_annotations(data).table["image"][3].as_py()
    image, stat = data / name, (data / name).stat()
    content = image.read_bytes()
    image.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if not is_kept:
        shutil.rmtree(plan().cache_dir)
    told = rf"1 image with other bytes \(\w+\): '?{name}" if is_kept else "bytes of images, or labels"
    with pytest.raises(SearchError, match=told) as caught:
        check(plan(), record.begun)
    assert "restore them, or start a new search" in str(caught.value) and "\n" not in str(caught.value)


def change_lines(plan, change):
    """The same plan with other rows."""
    made = plan()
    table = change(made.annotations.table)
    return replace(made, annotations=replace(made.annotations, table=table))


def put(table, name, row, value):
    values = table[name].to_pylist()
    values[row] = value
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, [pa.array(values, field.type)])


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ("1 image with another label", lambda t: put(t, "labels", 2, [(v + 1) % 2 for v in t["labels"][2].as_py()])),
        ("1 image with another box", lambda t: put(t, "x2", 2, t["x2"][2].as_py() - 1)),
        ("1 image in another split", lambda t: put(t, "split", 2, "val")),
        ("1 image fewer", lambda t: t.slice(1)),
        ("another order of images", lambda t: t.take([1, 0, *range(2, len(t))])),
    ],
)
def test_each_kind_of_change_is_told(search, told, change):
    _, plan, record = search
    with pytest.raises(SearchError, match=told):
        check(change_lines(plan, change), record.begun)


def test_settings_that_decide_are_those_it_began_with(search):
    _, plan, record = search
    check_settings(plan(), record)
    check_settings(plan(keep_best=7, concurrent=1), record)
    for changes, told in (
        ({"seed": 3}, "seed 3, not 0"),
        ({"select_on": "val"}, "select_on"),
        ({"max_epochs": 2}, "2, not 6"),
    ):
        with pytest.raises(SearchError, match=told) as caught:
            check_settings(plan(**changes), record)
        assert "options.json" in str(caught.value)
    check_settings(plan(max_epochs=7), record, extend=True)
    with pytest.raises(SearchError, match="seed"):
        check_settings(plan(max_epochs=7, seed=3), record, extend=True)


def test_what_networks_may_cost_stays_as_it_was(search):
    """Also of a search that was begun before there were such limits: a ledger tells of those that there are."""
    _, plan, record = search
    assert not {"max_ms", "max_params"} & record.settings.keys()
    check_settings(plan(), record)
    with pytest.raises(SearchError, match="max_params 1000000000, not"):
        check_settings(plan(max_params=1e9), record)
    limited = replace(record, search=replace(record.search, settings=record.settings | {"max_params": 10**9}))
    check_settings(plan(max_params=1e9), limited)
    with pytest.raises(SearchError, match="max_params"):
        check_settings(plan(), limited)


def test_a_changed_space_is_told_parameter_by_parameter(search, tmp_path):
    _, plan, record = search
    check_space(plan(), record.begun)
    (tmp_path / "copy" / "tiny.yaml").write_text(
        SPACE.replace("1e-1]", "1e-2]").replace("batch_size: 8", "batch_size: 4")
    )
    with pytest.raises(SearchError, match=r"fixed\.batch_size 4, not 8; search\.lr\.values \(1e-09, 0\.01\), not"):
        check_space(plan(), record.begun)
    assert compare_spaces(SPACE, SPACE.replace("fc_layers: {choice: [0, 1]}", "dropout: {uniform: [0, 0.5]}")) == (
        ": search.dropout is new; search.fc_layers is gone"
    )
    assert compare_spaces(SPACE, SPACE + "constraints: {max_ms: 60}") == ": constraints.max_ms is new"
    assert compare_spaces("no space", SPACE) == ""


def test_other_code_is_refused_until_it_is_allowed_and_another_machine_is_noted(search):
    _, plan, record = search
    then = record.begun.provenance
    check_code(record, then)
    assert len(then["code_digest"]) == 16 and note_changes(plan(), record, then) == {}
    nodes = Machine(4, 0, tuple(Node(f"10.0.0.{number}", 2, 0, str(number)) for number in range(2)))
    assert note_changes(replace(plan(), machine=nodes), record, then) == {"nodes": "2"}
    other = then | {"code_digest": "0" * 16, "torch": "9.9", "cpu": "another"}
    with pytest.raises(SearchError, match=r"torch '?9\.9'?, not .*--resume mine --allow-changed code"):
        check_code(record, other)
    with pytest.raises(SearchError, match=r"repeat the command with --allow-changed code$"):
        check_code(record, other, extend=True)  # it has ended: no --resume
    changed = note_changes(plan(concurrent=1), record, other)
    assert changed == {"code_digest": "0" * 16, "torch": "9.9", "cpu": "another", **changed}
    record.apply(SearchResumed(trials=4, changed=changed))
    check_code(record, other)  # what was allowed once
    assert note_changes(plan(), record, other).keys() <= {"concurrent", "cpus_per_trial"}
    check_code(record, then | {"cpu": "a third"} | {name: other[name] for name in ("code_digest", "torch")})
    record.search = replace(record.begun, provenance={})  # of an older version
    record.changed.clear()
    check_code(record, other)


def test_weights_that_have_changed_are_named(search, tmp_path):
    _, plan, record = search
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(b"one")
    made = plan()
    made = replace(made, space=replace(made.space, fixed=made.space.fixed | {"weights": str(weights)}))
    begun = replace(record.begun, data=record.begun.data | {"weights": digest_weights(made.space)})
    check_weights(made.space, begun)
    check_weights(made.space, record.begun)  # an older ledger
    weights.write_bytes(b"two")
    with pytest.raises(SearchError, match=r"own\.safetensors'? has changed since; restore it"):
        check_weights(made.space, begun)
    weights.unlink()
    with pytest.raises(SearchError, match=r"own\.safetensors'? is gone"):
        check_weights(made.space, begun)
