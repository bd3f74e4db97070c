"""Every file of a search has a place of its own, inside its folder, under a name that can be one."""

import inspect
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fashion_core.errors import SearchError
from search.records.layout import FinalLayout, SearchLayout, unique_name

SHARED = {"prepared_folder", "tracking_db", "artifacts", "splits_folder", "attempts_folder"}
BESIDE = {"lock", "stop_request"}  # of one search, but they outlive its folder
NOW = 1_790_000_000.0  # unix seconds


def list_paths(layout):
    """Every path that a layout names, by its property."""
    found = {}
    for name, member in inspect.getmembers(type(layout)):
        if isinstance(member, property) and isinstance(path := getattr(layout, name), Path):
            found[name] = path
    return found


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_no_two_files_share_a_place():
    layout = SearchLayout(Path("results"), "mine")
    for paths in (list_paths(layout), list_paths(layout.final)):
        assert len(paths) > 8 and len(set(paths.values())) == len(paths)


def test_all_but_what_searches_share_stands_in_the_folder():
    layout = SearchLayout(Path("results"), "mine")
    paths = list_paths(layout)
    assert layout.folder == Path("results/mine")
    for name, path in paths.items():
        assert path.is_relative_to(layout.folder) != (name in {*SHARED, *BESIDE}), name
    assert {name: list_paths(SearchLayout(Path("results"), "other"))[name] for name in SHARED} == {
        name: paths[name] for name in SHARED
    }
    final = layout.final
    assert final == FinalLayout(layout.folder / "final")
    assert all(path.is_relative_to(final.folder) for path in list_paths(final).values())
    assert layout.checkpoint_folder(3) == layout.folder / "checkpoints" / "trial-0003"
    assert layout.confusion("fit").parent == layout.folder and final.confusion("fit").parent == final.folder
    assert layout.confusion("fit") != layout.confusion("pattern")
    assert layout.confusion("Größe_2").name == "confusion_Größe_2.png"


@pytest.mark.parametrize("name", ["a", "A-1", "0", "mine_2026.11", "x" * 80])
def test_names_that_can_be_a_folders(name, tmp_path):
    layout = SearchLayout(tmp_path, name)
    layout.folder.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".prepared", "-x", "_x", "a/b", "../a", "a b", "a\\b", "ä", "a\n", "a:b", "x" * 81]
)
def test_names_that_cannot(name):
    with pytest.raises(SearchError, match="a search's name must be 1 to 80 letters") as told:
        SearchLayout(Path("results"), name)
    assert str(told.value).endswith(f"but got {name!r}")


@given(st.text(max_size=90), st.floats(0, 4e9))
@example("x" * 90, NOW)
def test_a_name_made_of_any_spaces_is_a_name(tmp_path_factory, space_name, now):
    name = unique_name(Path("a-folder-that-is-not-there"), space_name, now)
    assert SearchLayout(Path("results"), name).name == name


def test_a_name_tells_the_space_and_the_time(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    name = unique_name(tmp_path, "my space.v2", NOW)
    assert name.startswith("my-space.v2-2026092") and len(name) == len("my-space.v2-20260921-123456")
    assert unique_name(tmp_path, "...", NOW).startswith("search-2026")


def test_searches_of_one_second_are_numbered(tmp_path):
    names = []
    for _ in range(4):
        names.append(unique_name(tmp_path, "tiny", NOW))
        SearchLayout(tmp_path, names[-1]).folder.mkdir()
    assert names[1:] == [f"{names[0]}-{number}" for number in (2, 3, 4)]


@pytest.mark.parametrize(
    "category",
    ["colour/main", "../up", "x" * 300, "大" * 200, "a b", "a) [x](y", "<b>", "$x$", "..", "%41", "a\\b"],
)
def test_any_category_gives_a_file_of_the_folder(category, tmp_path):
    """Whatever a table's columns are called: a search must not end at its last picture."""
    for layout in (SearchLayout(tmp_path, "one"), SearchLayout(tmp_path, "one").final):
        path = layout.confusion(category)
        layout.folder.mkdir(parents=True, exist_ok=True)
        path.with_name(f"{path.name}.12345-140160711216000.tmp").write_text("")  # as it is while being written
        assert path.parent == layout.folder and re.fullmatch(r"confusion_[\w=.-]+\.png", path.name)
        assert len({layout.confusion(name) for name in (category, f"{category}/", f"{category}.")}) == 3


def test_a_checkpoint_is_found_where_its_model_is(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    assert layout.find_checkpoint(7) is None
    layout.checkpoint_folder(7).mkdir(parents=True)
    assert layout.find_checkpoint(7) is None  # kept, but not whole
    touch(layout.checkpoint_folder(7) / "model.safetensors")
    found = layout.find_checkpoint(7)
    assert found is not None and layout.folder / found == layout.checkpoint_folder(7)
    assert layout.find_checkpoint(8) is None


def test_what_goes_along_to_the_tracking_server_is_what_there_is(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    assert layout.list_artifacts() == []
    wanted = [layout.report, layout.page, layout.promotion_report, layout.trials_csv, layout.trials_parquet]
    wanted += [layout.curves, layout.audit, layout.best_config]
    wanted += [layout.folder / "confusion_fit.png", layout.folder / "curves.png"]
    for path in (*reversed(wanted), layout.ledger, layout.best_model, layout.options, layout.final.confusion("fit")):
        touch(path)
    assert layout.list_artifacts() == wanted
    layout.audit.unlink()
    assert layout.list_artifacts() == [path for path in wanted if path != layout.audit]


@pytest.mark.parametrize("name", ["mlflow.db", "mlartifacts"])
def test_no_search_has_the_name_of_mlflows_files(tmp_path, name):
    with pytest.raises(SearchError, match=f"must not be that of MLflow's files, but got '{name}'"):
        SearchLayout(tmp_path, name)
