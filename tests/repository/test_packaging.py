"""The wheel: what it holds, that its commands exist, and that every dependency is pinned."""

import configparser
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_INSTALLED = ("pillow-heif",)  # by `make env`: what it is for is tested where it is
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built without a network from a copy: a build leaves folders behind, and takes along what an earlier one left."""
    source, built = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns(".*", "results", "build", "dist", "*.egg-info", "__pycache__", "mlruns")
    shutil.copytree(REPOSITORY, source, ignore=skip)
    (source / "results" / "search").mkdir(parents=True)
    (source / "results" / "search" / "ledger.jsonl").touch()
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    result = subprocess.run([*command, "--wheel-dir", built, source], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.slow
def test_wheel_holds_the_packages_and_their_spaces_alone(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"fashion_core", "search", "spaces"}
    wanted = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("fashion_core", "search", "spaces")
        for path in (REPOSITORY / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".css", ".js") or path.name == "py.typed" or path.parent.name == "cluster"
    }
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert {"spaces/demo.yaml", "search/cluster/slurm.sbatch", "search/cluster/README.md"} <= wanted


def test_commands_can_be_imported(wheel: zipfile.ZipFile) -> None:
    (file,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(file).decode())
    commands = dict(parser["console_scripts"])
    assert commands == PROJECT["scripts"]
    for command, target in commands.items():
        entry = importlib.metadata.EntryPoint(command, target, "console_scripts")
        assert importlib.util.find_spec(entry.module) is not None, f"{command} names {entry.module}, which is not there"
        assert callable(entry.load()), target


def test_wheel_is_described(wheel: zipfile.ZipFile) -> None:
    (file,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = importlib.metadata.PathDistribution(zipfile.Path(wheel, str(Path(file).parent) + "/")).metadata
    assert metadata["Name"] == PROJECT["name"] and metadata["Requires-Python"] == ">=3.11"
    assert len(metadata.get_payload()) > 500  # the README


def read_constraints() -> dict[str, str]:
    pins = {}
    for line in (REPOSITORY / ".ci" / "constraints.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line.strip()).groups()
            pins[canonicalize_name(name)] = version
    return pins


def test_every_dependency_is_pinned_to_what_is_tested() -> None:
    """The requirements, and all that they require in turn on this machine."""
    pins = read_constraints()
    extras = PROJECT["optional-dependencies"].values()
    waiting = [(Requirement(text), "") for texts in (PROJECT["dependencies"], *extras) for text in texts]
    seen = set()
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        assert name in pins, f".ci/constraints.txt must pin {name}"
        if name in NOT_INSTALLED and importlib.util.find_spec(name.replace("-", "_")) is None:
            continue
        installed = importlib.metadata.version(name)
        assert installed.split("+")[0] == pins[name], f"{name} is pinned to {pins[name]}, but {installed} is installed"
        for wanted in (requirement.extras or set()) | {""}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in importlib.metadata.requires(name) or []]
    assert len(seen) > 50


def test_ci_runs_lint_and_test() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    assert (
        re.search(r"for target in .*\blint\b.*\btest\b", script) and (REPOSITORY / ".ci" / "run").stat().st_mode & 0o111
    )
    makefile = (REPOSITORY / "Makefile").read_text()
    listed = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    for target in listed[1].split():
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        assert target == "help" or f"make {target} " in makefile, f"make help must name {target}"


MAKEFILE = "env lint:\n\t@true\ntest:\n\t@sleep 1; echo strict=$$FASHION_CI\n"


@pytest.mark.slow
@pytest.mark.parametrize(("limit_s", "status"), [("60", 0), ("0", 1)])
def test_ci_fails_over_its_time(limit_s: str, status: int, tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    environment = os.environ | {"FASHION_CI_LIMIT_S": limit_s, "FASHION_CI": ""}
    done = subprocess.run([script], env=environment, capture_output=True, text=True)
    assert done.returncode == status and "strict=1" in done.stdout, done.stdout + done.stderr
    assert ("must end within 0 s" in done.stderr) == (status == 1)


def load_rooms():
    spec = importlib.util.spec_from_file_location("coverage_rooms", REPOSITORY / ".ci" / "coverage_rooms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_coverage_is_judged_room_by_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mean over all is good enough here; that of one room is not."""
    rooms, file = load_rooms(), tmp_path / "coverage.json"

    def judge(*lines: tuple[str, int, int]) -> int:
        files = {path: {"summary": {"covered_lines": a, "num_statements": b}} for path, a, b in lines}
        file.write_text(json.dumps({"files": files}))
        return rooms.main(file)

    good = [("search/tune/tuner.py", 50, 60), ("search/tune/searcher.py", 40, 40), ("fashion_core/metrics.py", 85, 100)]
    assert judge(*good, ("search/space/__init__.py", 0, 0)) == 0
    assert "90.0 %" in (told := capsys.readouterr().out) and "  search/tune\n" in told and "search/space" not in told
    assert "  fashion_core\n" in told
    assert judge(*good, ("search/records/ledger.py", 84, 100)) == 1
    assert "but search/records has fewer" in capsys.readouterr().out
