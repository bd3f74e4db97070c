"""The walls between the packages, and what no file may hold."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("fashion_core", "search", "spaces")
FILES = sorted(path for package in (*PACKAGES, "tests") for path in (REPOSITORY / package).rglob("*.py"))
SHIPPED = [path for path in FILES if path.relative_to(REPOSITORY).parts[0] in PACKAGES]
FACES = [path for path in SHIPPED if path.name == "__init__.py" and len(path.relative_to(REPOSITORY).parts) > 2]
MLFLOW_FILES = (
    "search/tracking/models.py",
    "search/tracking/store.py",
    "search/tracking/writer.py",
    "search/registry/versions.py",
    "search/registry/access.py",
    "search/registry/attempts.py",
    "search/registry/copying.py",
    "search/registry/lock.py",
    "search/registry/served_model.py",
    "search/registry/serving.py",
)
# A file imports from lower floors and from its own room alone.
CORE_FLOORS = (
    ("escaping", "lazy", "secrets"),
    ("errors", "metrics"),
    ("config", "files", "command"),
    ("hardware",),
    ("data",),
    ("samples",),
    ("models",),
    ("loading",),
    ("training",),
    ("inference",),
    ("predict", "audit", "onnx_export", "sample_data", "attributes", "ensemble", "temperatures"),
)
SEARCH_FLOORS = (
    ("address",),
    ("cli", "statistics", "space"),
    ("records",),
    ("tracking", "reporting"),
    ("planning",),
    ("jobs", "registry"),
    ("tune",),
    ("experiment",),
    ("promotion", "reproduction"),
    ("commands",),
    ("run", "promote", "predict", "report", "effects", "reproduce", "ui", "__main__"),
)
CORE_FLOORS = tuple(tuple(f"fashion_core.{room}" for room in floor) for floor in CORE_FLOORS)
SEARCH_FLOORS = tuple(tuple(f"search.{room}" for room in floor) for floor in SEARCH_FLOORS)
# An absolute path of somebody's machine. Written in parts, else this file would hold one.
MACHINE_PATH = re.compile(
    "|".join(rf"(?<![\w.:/-])/{name}/\w" for name in ("work", "root", "home", "Users", "mnt", "data"))
)


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def find_imports(path: Path) -> Iterator[str]:
    """Top-level names of all that a file imports, wherever in it; a relative import stays in its own package."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield path.parent.name if node.level else (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value).split(".")[0]


def test_the_walk_finds_every_kind_of_import(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "import os.path as p, ray\n"
        "def f():\n    from mlflow.tracking import x\n    importlib.import_module('optuna.storages')\n"
    )
    assert set(find_imports(file)) == {"os", "ray", "mlflow", "optuna"}


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    imports = set(find_imports(path))
    package = path.relative_to(REPOSITORY).parts[0]
    if package == "fashion_core":
        assert not imports & {"ray", "optuna", "mlflow", "typer", "rich", "search", "spaces"}
    if package == "spaces":
        assert not imports & {"search", "fashion_core"}
    if name_of(path) not in MLFLOW_FILES:
        assert "mlflow" not in imports
    assert "tests" not in imports


def name_room(module: str) -> str:
    """`search.records` of `search.records.ledger`; of a file on the top level its own name.

    What makes a command of a package, its `__main__`, stands on the top level too.
    """
    if module.endswith(".__main__"):
        return f"{module.split('.')[0]}.__main__"
    return ".".join(module.split(".")[:2])


def list_arrows() -> dict[str, set[str]]:
    """Every file -> the files that it imports, wherever in it, both as dotted names. Faces are left out."""
    modules = {path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".") for path in SHIPPED}
    arrows: dict[str, set[str]] = {}
    for module in sorted(modules):
        if module.endswith("__init__"):
            continue
        arrows[module] = set()
        for node in ast.walk(ast.parse((REPOSITORY / f"{module.replace('.', '/')}.py").read_text())):
            if isinstance(node, ast.Import):
                arrows[module] |= {alias.name for alias in node.names} & modules
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                arrows[module] |= names & modules if node.module not in modules else {node.module}
    return arrows


def find_floor(module: str) -> int:
    """Of a file, by the table of floors."""
    for floors in (CORE_FLOORS, SEARCH_FLOORS):
        for floor, rooms in enumerate(floors):
            if name_room(module) in rooms:
                return floor
    raise AssertionError(f"{module} stands in no room of the table of floors; give it one")


def find_faults(arrows: dict[str, set[str]]) -> list[str]:
    """Imports that go up, or to another room of the same floor."""
    return [
        f"{module} (floor {find_floor(module)}) imports {other} (floor {find_floor(other)})"
        for module, others in arrows.items()
        for other in sorted(others)
        if module.split(".")[0] == other.split(".")[0]
        and name_room(module) != name_room(other)
        and find_floor(other) >= find_floor(module)
    ]


def test_imports_go_down_the_floors() -> None:
    assert not (faults := find_faults(list_arrows())), "\n".join(faults)


def test_an_import_that_goes_up_is_found() -> None:
    assert find_faults({"search.records.ledger": {"search.tune.tuner"}})
    assert find_faults({"search.tracking.writer": {"search.reporting.words"}})
    assert not find_faults({"search.tune.tuner": {"search.records.ledger", "search.tune.trainable"}})


def test_no_files_import_each_other_in_a_circle() -> None:
    TopologicalSorter(list_arrows()).prepare()  # raises CycleError, which names the circle


def test_inside_the_packages_names_come_from_files() -> None:
    """A face is for users: an import through it would hide which file needs which."""
    faces = {path.parent.relative_to(REPOSITORY).as_posix().replace("/", ".") for path in FACES}
    faults = []
    for path in SHIPPED:
        if path.name == "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in faces:
                files = [alias.name for alias in node.names]
                here = REPOSITORY / node.module.replace(".", "/")
                faults += [
                    f"{name_of(path)}: from {node.module} import {name}"
                    for name in files
                    if not (here / f"{name}.py").is_file() and not (here / name).is_dir()
                ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", FACES, ids=name_of)
def test_a_face_names_what_is_there(path: Path) -> None:
    package = path.parent.relative_to(REPOSITORY).as_posix().replace("/", ".")
    face = importlib.import_module(package)
    lines = (face.__doc__ or "").strip().splitlines()
    assert 1 <= len(lines) <= 3
    assert list(face.__all__) == sorted(face.__all__)
    for name in face.__all__:
        found = getattr(face, name)
        assert not inspect.ismodule(found), f"{package}.{name} is a file as well: name one of the two otherwise"
    shown = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package)
        for alias in node.names
    }
    assert shown == set(face.__all__), "what type checkers see of a face must be what it gives"


def list_files() -> list[str]:
    """All files that are in git, or would be by `git add --all`."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    return [name for name in listed if name]


def test_the_top_level_is_fixed() -> None:
    """Else what a command leaves in the folder it was called in is soon in the repository."""
    top = {name.split("/")[0] for name in list_files()}
    known = {"tests", "results", ".ci", ".github", ".gitignore", "Makefile", "pyproject.toml"}
    assert top == {*PACKAGES, *known, "README.md", "CHANGELOG.md", "CITATION.cff"}


def test_no_file_names_a_machines_path() -> None:
    faults = []
    for name in list_files():
        path = REPOSITORY / name
        if path.is_file() and path.suffix not in (".png", ".arrow", ".safetensors", ".zip"):
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if MACHINE_PATH.search(line):
                    faults.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not faults, "\n".join(faults)


@pytest.mark.slow
def test_training_loads_nothing_of_the_search() -> None:
    """In a fresh process, so that what libraries import for each other counts too."""
    code = "import json, sys, fashion_core.training.loop, fashion_core.predict; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(result.stdout)}
    assert "torch" in loaded and not loaded & {"ray", "optuna", "mlflow", "search", "spaces"}
