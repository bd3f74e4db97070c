"""The rules of a run of the tests, on runs of small ones: what is told, what is left out, which skip fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house_rules import describe_commit, find_room

TESTS = Path(__file__).resolve().parents[1]
MODULES = {
    "tests/search/tune/test_one.py": "import pytest\n"
    "def test_passes(): pass\n"
    "def test_stands_out(): pytest.skip('needs a GPU')\n"
    "@pytest.mark.xfail\ndef test_known(): assert False\n",
    "tests/system/test_two.py": "import pytest\n"
    "from house_rules import by_size\n"
    "def test_whole_command(): pass\n"
    "@pytest.mark.long\ndef test_of_hours(): print('by size', by_size('little', 'much'))\n",
}


def run(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Pytest with the rules alone, in a process of its own, on the modules and what the folder holds beside them."""
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n  long\naddopts = --strict-markers\n")
    command = [sys.executable, "-m", "pytest", "-p", "house_rules", "-p", "no:cacheprovider", *options]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "PYTEST_"))}
    environment = {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(TESTS / "helpers"), **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_room_is_a_folder_of_tests() -> None:
    assert find_room("tests/search/tune/test_searcher.py::TestX::test_y[a/b]") == "search/tune"
    assert find_room("tests/system/test_search.py::test_y") == "system"
    assert find_room("test_library.py::test_y") == "."


@pytest.mark.slow
def test_sizes_of_a_run(tmp_path: Path) -> None:
    usual = run(tmp_path)
    assert usual.returncode == 0 and "2 passed, 1 skipped, 1 deselected, 1 xfailed" in usual.stdout, usual.stdout
    assert "seconds a room" not in usual.stdout
    fast = run(tmp_path, "-m", "not slow", FASHION_TESTS="fast")
    assert "1 passed, 1 skipped, 2 deselected, 1 xfailed" in fast.stdout  # nothing of tests/system
    assert "must be one of fast, ci, all, but is huge" in run(tmp_path, FASHION_TESTS="huge").stderr


def test_ci_tells_seconds_a_room(tmp_path: Path) -> None:
    told = run(tmp_path, FASHION_CI="1")
    assert told.returncode == 0 and "seconds a room" in told.stdout, told.stdout + told.stderr
    assert " s  search/tune\n" in told.stdout and " s  system\n" in told.stdout and "not allowed" not in told.stdout


LAZY = {
    "inside": "def test_lazy(): pytest.skip('no time today')\n",
    "module": "pytest.skip('no time today', allow_module_level=True)\n",
    "mark": "@pytest.mark.skipif(True, reason='no time today, and needs a GPU')\ndef test_lazy(): pass\n",
}


@pytest.mark.slow
def test_a_skip_that_is_not_allowed_fails_in_ci(tmp_path: Path) -> None:
    for name, text in LAZY.items():
        (tmp_path / f"test_{name}.py").write_text(f"import pytest\n{text}")
    told = run(tmp_path, FASHION_CI="1")
    strays = told.stdout.split("not allowed")[1]
    assert told.returncode == 1 and "needs a GPU\n" in strays, told.stdout
    assert [strays.count(f"test_{name}.py") for name in LAZY] == [1, 1, 1] and "test_stands_out" not in strays
    assert run(tmp_path).returncode == 0


def test_the_summary_of_a_run(tmp_path: Path) -> None:
    page = tmp_path / "results" / "tests" / "README.md"
    whole = run(tmp_path, "-rP", "--summary", str(page), FASHION_TESTS="all")
    assert "by size much" in whole.stdout
    text = page.read_text()
    assert (
        re.search(r"\| commit \| (`\w{10}`.*|unknown) \|", text)
        and "| tests | 3 passed, 1 skipped, 1 xfailed |" in text
    )
    assert "| `tests/search/tune/test_one.py::test_stands_out` | needs a GPU |" in text
    assert "\n| search/tune | 0 |\n" in text and str(tmp_path) not in text


def test_the_commit_is_told_with_what_differs_from_it(tmp_path: Path) -> None:
    assert describe_commit(tmp_path) == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    (tmp_path / "one.py").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], check=True, capture_output=True, text=True)
    (tmp_path / "results" / "tests").mkdir(parents=True)
    (tmp_path / "results" / "tests" / "README.md").touch()  # the page itself
    assert describe_commit(tmp_path) == f"`{head.stdout.strip()}`"
    (tmp_path / "one.py").write_text("1")
    assert describe_commit(tmp_path) == f"`{head.stdout.strip()}`, with files changed since"
