"""The walls between the packages, and what no file may hold."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("fashion_core", "search", "spaces")
FILES = sorted(path for package in (*PACKAGES, "tests") for path in (REPOSITORY / package).rglob("*.py"))
SHIPPED = [path for path in FILES if path.relative_to(REPOSITORY).parts[0] in PACKAGES]
MAX_LINES = 300
MLFLOW_FILES = tuple(
    f"search/{name}.py"
    for name in (
        "store",
        "tracking",
        "registry",
        "registry_access",
        "registry_lock",
        "served_model",
        "serving",
    )
)
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


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_a_file_stays_short(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines < MAX_LINES


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
    assert top == {*PACKAGES, "tests", "results", ".ci", ".gitignore", "Makefile", "README.md", "pyproject.toml"}


def test_no_file_names_a_machines_path() -> None:
    faults = []
    for name in list_files():
        path = REPOSITORY / name
        if path.is_file() and path.suffix not in (".png", ".arrow", ".safetensors", ".zip"):
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if MACHINE_PATH.search(line):
                    faults.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not faults, "\n".join(faults)


def test_training_loads_nothing_of_the_search() -> None:
    """In a fresh process, so that what libraries import for each other counts too."""
    code = "import json, sys, fashion_core.training, fashion_core.predict; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(result.stdout)}
    assert "torch" in loaded and not loaded & {"ray", "optuna", "mlflow", "search", "spaces"}
