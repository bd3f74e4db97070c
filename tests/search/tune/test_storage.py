"""A storage of its own that an earlier search of this name left something in."""

from types import SimpleNamespace

import pytest

from fashion_core.errors import SearchError
from search.planning.options import SearchOptions
from search.tune.storage import clear_storage


def make_plan(folder, name="mine", storage="storage", results="results"):
    """A plan, as far as it is looked at."""
    options = SearchOptions(
        data=".",
        space="demo",
        name=name,
        results=folder / results,
        storage=None if storage is None else str(folder / storage),
    )
    layout = options.build_layout()
    return SimpleNamespace(options=options, layout=layout, experiment=options.locate_experiment(layout))


@pytest.fixture
def left(tmp_path):
    """What two searches left."""
    for name in ("mine", "mine-2"):
        (folder := tmp_path / "storage" / name / "trial-0000").mkdir(parents=True)
        (folder / "state").write_text(name)
    return tmp_path


def list_left(folder):
    return sorted(path.name for path in (folder / "storage").iterdir())


def test_what_is_there_is_not_deleted_unasked(left):
    with pytest.raises(
        SearchError, match=r"--storage must hold no search of the name mine, but .*/storage/mine exists"
    ):
        clear_storage(make_plan(left), replace=False)
    assert list_left(left) == ["mine", "mine-2"]
    assert (left / "storage/mine/trial-0000/state").read_text() == "mine"


def test_what_is_replaced_goes_and_no_other(left):
    clear_storage(make_plan(left), replace=True)
    assert list_left(left) == ["mine-2"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_new_name_needs_nothing(replace, left):
    clear_storage(make_plan(left, "yours"), replace=replace)
    clear_storage(make_plan(left, storage="elsewhere"), replace=replace)
    assert list_left(left) == ["mine", "mine-2"] and not (left / "elsewhere").exists()


@pytest.mark.parametrize("replace", [False, True])
def test_state_in_the_searchs_own_folder_goes_with_that(replace, tmp_path):
    plan = make_plan(tmp_path, storage=None)
    plan.layout.ray.mkdir(parents=True)
    (plan.layout.ray / "tune").mkdir()
    clear_storage(plan, replace=replace)
    assert (plan.layout.ray / "tune").is_dir()
