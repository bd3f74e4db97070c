"""The console command as a whole: its sub-commands, their helps, its other names."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from search.commands import app

REPOSITORY = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "ray", "mlflow", "optuna", "timm", "pandas", "pyarrow", "matplotlib", "scipy")
NAMES = [
    "run",
    "extend",
    "stop",
    "promote",
    "predict",
    "report",
    "effects",
    "compare",
    "rollback",
    "champions",
    "copy",
    "reproduce",
    "audit",
    "export",
    "resend",
    "finish-stopped",
    "list",
    "show",
    "ui",
    "delete",
]
MODULES = [
    f"search.{name}" for name in ("run", "promote", "predict", "report", "effects", "reproduce", "ui", "tracking")
]
MODULES += [f"fashion_core.{name}" for name in ("predict", "audit", "onnx_export", "sample_data")]
SHOW = f"import sys; print(set({HEAVY}) & {{name.split('.')[0] for name in sys.modules}})"


def help_of(code: str) -> str:
    """What a command's help prints in a fresh process, and then which heavy libraries were loaded."""
    code = f"try:\n {code}\nfinally:\n {SHOW}"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_every_sub_command_is_there() -> None:
    text = help_of("from search.commands.app import main; main(['--help'])")
    assert all(f" {name} " in text for name in NAMES) and text.endswith("set()\n")
    assert len(app.app.registered_commands) == len(NAMES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name not in ("run", "list") else []) for name in NAMES]
)
def test_help_loads_nothing_heavy(name: str) -> None:
    text = help_of(f"from search.commands.app import main; main(['{name}', '--help'])")
    assert f"fashion-search {name}" in text and text.endswith("set()\n")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_modules_that_are_commands(module: str) -> None:
    text = help_of(f"import runpy, sys; sys.argv = ['x', '--help']; runpy.run_module('{module}', run_name='__main__')")
    assert "usage" in text.lower() and text.endswith("set()\n")


@pytest.mark.parametrize("script", ["run.py", "promote.py"])
def test_scripts_run_from_anywhere(script: str, tmp_path: Path) -> None:
    command = [sys.executable, REPOSITORY / "search" / script, "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert f"fashion-search {script.removesuffix('.py')} [OPTIONS]" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--trials", "3"], ["--data=x"], ["--resume", "no"], ["run"]])
def test_without_a_sub_command_it_runs(arguments: list[str], call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: no search of the name 'no'" if "no" in arguments else "error: --")


def test_what_is_no_sub_command_is_refused(call) -> None:
    status, out, err = call("runn")
    assert status == 2 and not out and "No such command 'runn'" in err


@pytest.mark.slow
def test_shells_complete_it() -> None:
    environment = os.environ | {"_FASHION_SEARCH_COMPLETE": "complete_bash", "COMP_WORDS": "fashion-search sh"}
    environment |= {"COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "fashion-search sh"}
    code = "from search.commands.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.split() == ["show"]
    environment |= {"COMP_WORDS": "fashion-search run --time", "COMP_CWORD": "2"}
    environment |= {"_TYPER_COMPLETE_ARGS": "fashion-search run --time"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.split() == ["--time-budget"]


def test_commands_of_the_library_end_as_all_do(call, tmp_path: Path) -> None:
    for command in (["audit", tmp_path], ["export", tmp_path, "x.jpg"], ["predict", tmp_path / "none", "x.jpg"]):
        status, out, err = call(*command)
        assert status == 2 and not out and err.startswith("error: ") and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "command", [["predict", "m"], ["predict", "m", "x.jpg", "--boxx", "1"], ["audit"], ["export", "m"]]
)
def test_they_keep_their_own_usage(command: list[str], call) -> None:
    status, _, err = call(*command)
    assert status == 2 and f"; see fashion-search {command[0]} --help" in err and err.count("\n") == 1


def test_the_console_command_has_the_sub_commands() -> None:
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert EntryPoint("fashion-search", scripts["fashion-search"], "console_scripts").load() is app.main
    assert EntryPoint("fashion-promote", scripts["fashion-promote"], "console_scripts").load() is app.promote_main


def test_console_scripts_are_called_as_sub_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(app, "app", lambda arguments, **_: given.append(arguments))
    calls = {
        "run.py": "run",
        "promote.py": "promote",
        "report.py": "report",
        "effects.py": "effects",
        "tracking/__main__.py": "resend",
    }
    monkeypatch.setattr(sys, "argv", ["command", "-x"])
    for file, wanted in calls.items():
        with pytest.raises(SystemExit):
            runpy.run_path(str(REPOSITORY / "search" / file))["main"]()
        assert given.pop() == [wanted, "-x"]
