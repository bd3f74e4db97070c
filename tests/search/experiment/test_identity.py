"""A search goes on with the data, the space, the settings and the code that it began with, or says what has changed."""

import shutil
from dataclasses import replace

import pytest
from written_search import SPACE, write_search

from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.errors import SearchError
from search.experiment import identity
from search.experiment.identity import CODE, check_data, check_identity
from search.planning.options import load_options
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.records.record import load_record

SETTINGS = PrepareSettings(32, "box")


@pytest.fixture(scope="module")
def own(sample_folder, tmp_path_factory):
    """A copy of the data set, and a search on it."""
    folder = tmp_path_factory.mktemp("identity")
    shutil.copytree(sample_folder, folder / "data")
    return folder / "data", write_search(folder / "results", "mine", folder / "data", [1e-3], select_on="val")


@pytest.fixture
def plan(own):
    return build_plan(load_options(own[1]), own[1], Machine(2, 0))


@pytest.fixture
def begun(own):
    return load_record(own[1]).begun


def test_nothing_changed(plan, begun, own):
    assert check_identity(plan, begun) == []
    check_data(plan, begun, prepare(load_annotations(own[0]), SETTINGS, plan.cache_dir))


def test_fewer_cores_and_an_older_ledger_are_no_change(plan, begun):
    other = replace(begun, settings=begun.settings | {"concurrent": 9, "cpus_per_trial": 9}, provenance={})
    assert check_identity(plan, other) == []
    assert check_identity(plan, replace(other, settings={})) == []


def test_another_space(plan, begun):
    changed = begun.space.replace("1e-1", "1e-2")
    other = replace(begun, space=changed, space_hash="0")
    told = r"tiny.yaml has changed since \('-search: .*1e-2.*', '\+search: .*1e-1.*'\); restore it \(a copy is .*yaml"
    with pytest.raises(SearchError, match=told):
        check_identity(plan, other, [CODE])
    assert begun.space == SPACE


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 5), ("select_on", "heldout"), ("max_epochs", 7), ("sampler", "x")]
)
def test_another_setting(plan, begun, name, value):
    other = replace(begun, settings=begun.settings | {name: value})
    with pytest.raises(SearchError, match=rf"`{name}` of mine was '?{value}'? and is .*; restore options.json"):
        check_identity(plan, other, [CODE])


@pytest.mark.parametrize("name", ["code", "torch", "timm", "optuna", "ray"])
def test_other_code_is_refused_unless_it_is_allowed(plan, begun, name):
    other = replace(begun, provenance=begun.provenance | {name: "0.0"})
    with pytest.raises(SearchError, match="go on all the same with --allow-changed code, which is noted"):
        check_identity(plan, other)
    (changed,) = check_identity(plan, other, [CODE])
    assert changed.startswith("`search` or `fashion_core`" if name == "code" else f"{name} was '0.0' and is ")


def test_the_digest_of_the_code_follows_every_byte(monkeypatch, tmp_path):
    from search.records import provenance

    own = tmp_path / "search"
    shutil.copytree(identity.__file__.rsplit("/", 2)[0], own, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance.search, "__file__", str(own / "__init__.py"))
    digest = provenance.compute_code_digest.__wrapped__
    assert digest() == provenance.compute_code_digest()  # wherever it stands
    before = digest()
    (own / "tune" / "study.py").write_text("# shorter\n")
    assert digest() != before


def change_labels(folder):
    path = folder / "split" / "val_attr.txt"
    lines = path.read_text().splitlines()
    first, rest = lines[2].split(" ", 1)
    lines[2] = f"{(int(first) + 1) % 7} {rest}"
    path.write_text("\n".join(lines) + "\n")


def change_an_image(folder):
    path = folder / (folder / "split" / "train.txt").read_text().split()[3]
    path.write_bytes(path.read_bytes() + b"\0")


def change_a_box(folder):
    path = folder / "split" / "train_bbox.txt"
    lines = path.read_text().splitlines()
    sides = lines[0].split()
    lines[0] = " ".join([str(int(sides[0]) + 1), *sides[1:]])
    path.write_text("\n".join(lines) + "\n")


def leave_one_out(folder):
    for name in ("train.txt", "train_attr.txt", "train_bbox.txt"):
        path = folder / "split" / name
        path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def exchange_two(folder):
    for name in ("train.txt", "train_attr.txt", "train_bbox.txt"):
        path = folder / "split" / name
        first, second, *rest = path.read_text().splitlines()
        path.write_text("\n".join([second, first, *rest]) + "\n")


CHANGES = [
    (change_labels, "1 labels of 1 images, the first '"),
    (change_an_image, "the contents of files of 1 images, the first '"),
    (change_a_box, "boxes of 1 images, the first '"),
    (leave_one_out, "its list of images: 1 gone"),
    (exchange_two, "its list of images: in another order"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "told"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_other_data(own, plan, begun, tmp_path, change, told):
    shutil.copytree(own[0], tmp_path / "data")
    change(tmp_path / "data")
    data = prepare(load_annotations(tmp_path / "data"), SETTINGS, tmp_path / "cache")
    with pytest.raises(SearchError) as caught:
        check_data(plan, begun, data)
    assert f"data has changed since ({told}" in str(caught.value) and "\n" not in str(caught.value)
    elsewhere = replace(plan, cache_dir=tmp_path)  # where what it began with is no longer prepared
    with pytest.raises(SearchError, match="data has changed since; restore it"):
        check_data(elsewhere, begun, data)
