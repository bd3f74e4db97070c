"""A package's face loads a file when a name of it is first used, and no other."""

import importlib
import sys

import pytest

from fashion_core.lazy import attach

FILES = {
    "__init__": "from fashion_core.lazy import attach\n"
    "__getattr__ = attach(__name__, {'shapes': ['Circle', 'PI'], 'deep.colours': ['RED'], 'broken': ['Lost'],"
    " 'shy': ['Hidden']})\n",
    "shapes": "PI = 3\nclass Circle: pass\nUNLISTED = 1\n",
    "deep/__init__": "",
    "deep/colours": "RED = 'ff0000'\n",
    "broken": "import a_library_that_is_not_there\nLost = 1\n",
    "shy": "",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a package on the disk; it is forgotten in the end."""
    name = "some_lazy_package"
    for file, text in FILES.items():
        path = tmp_path / name / f"{file}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in list_loaded(name):
        del sys.modules[module]


def list_loaded(package):
    return {name for name in sys.modules if name.split(".")[0] == package}


def test_a_file_is_loaded_when_a_name_of_it_is_used(package):
    face = importlib.import_module(package)
    assert list_loaded(package) == {package}
    assert face.PI == 3
    assert list_loaded(package) == {package, f"{package}.shapes"}
    assert face.RED == "ff0000"
    assert f"{package}.deep.colours" in list_loaded(package) and f"{package}.broken" not in list_loaded(package)


def test_a_name_is_that_of_its_file(package):
    face = importlib.import_module(package)
    shapes = importlib.import_module(f"{package}.shapes")
    assert face.Circle is shapes.Circle is face.Circle
    names = {}
    exec(f"from {package} import Circle, RED", names)
    assert names["Circle"] is shapes.Circle and names["RED"] == "ff0000"


@pytest.mark.parametrize("name", ["Square", "UNLISTED", "__wrapped__"])
def test_a_name_that_is_not_listed_is_an_ordinary_attribute_error(package, name):
    face = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute '{name}'$"):
        getattr(face, name)
    assert not hasattr(face, name) and list_loaded(package) == {package}
    with pytest.raises(ImportError, match=f"cannot import name '{name}'"):
        exec(f"from {package} import {name}")


def test_what_is_wrong_with_a_file_is_told_as_it_is(package):
    """Not as a name that is missing: `hasattr` must not turn a library that is not there into a no."""
    face = importlib.import_module(package)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
            hasattr(face, "Lost")
    with pytest.raises(AttributeError, match=rf"{package}\.shy' has no attribute 'Hidden'"):
        face.Hidden  # noqa: B018


def test_nothing_is_looked_up_when_it_is_attached():
    find = attach("a_package_that_is_not_there", {"file": ["name"]})
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        find("name")
