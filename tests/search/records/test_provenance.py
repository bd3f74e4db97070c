"""Provenance says which code ran, and nothing of where a person keeps things."""

import shlex
import subprocess

import pytest

from search.records import provenance


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with the packages' folders, in which the module believes to stand."""
    for package in provenance.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "code.py").write_text("one = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "search" / "records" / "provenance.py"))
    return tmp_path


def git(folder, *command):
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *names, *command], check=True, capture_output=True)


def test_code_that_differs_from_its_commit_is_told(repository):
    assert provenance.describe_git() == {}  # no repository of its own
    git(repository, "init")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    clean = provenance.describe_git()
    assert len(clean["git_commit"]) == 40 and clean["git_dirty"] == "false"
    (repository / "results").mkdir()
    (repository / "results" / "ledger.jsonl").write_text("{}\n")
    assert provenance.describe_git() == clean  # a search's own files are no change of the code
    (repository / "spaces" / "own.yaml").write_text("trials: 1\n")
    assert provenance.describe_git()["git_dirty"] == "true"
    git(repository, "add", ".")
    git(repository, "commit", "-m", "second")
    (repository / "fashion_core" / "code.py").write_text("one = 2\n")
    assert provenance.describe_git()["git_dirty"] == "true"


def test_a_command_holds_no_place():
    words = ["search/run.py", "--data", "/srv/me/FashionDataset", "--results=/srv/me/results", "--trials", "3"]
    told = provenance.describe_command(words)
    assert told == "python search/run.py --data FashionDataset --results=results --trials 3"


def test_a_package_that_is_called_is_named():
    words = ["/srv/me/search/__main__.py", "promote", "mine", "--top", "2"]
    assert provenance.describe_command(words) == "python -m search promote mine --top 2"


@pytest.mark.parametrize("name", ["my results", "it's", "a$b", "plain", "100%_of-it.yaml"])
def test_a_command_can_be_copied_as_it_is_told(name):
    words = ["search/run.py", "--data", f"folder/{name}", f"--name={name}"]
    assert shlex.split(provenance.describe_command(words)) == ["python", *words]


def test_what_is_collected_is_text():
    found = provenance.collect_provenance(["search/run.py"])
    assert all(isinstance(value, str) for value in found.values())
    assert {"command", "python", "torch", "ray", "optuna", "mlflow", "cpu", "cpu_count"} <= found.keys()


def test_a_command_to_copy_finds_this_python(tmp_path, monkeypatch):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(0o755)
    monkeypatch.setattr(provenance.sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert provenance.python_command() == ".venv/bin/python"
    monkeypatch.setenv("PATH", str(python.parent))  # the environment is activated
    assert provenance.python_command() == "python"
    monkeypatch.setenv("PATH", "")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert provenance.python_command() == str(python)
