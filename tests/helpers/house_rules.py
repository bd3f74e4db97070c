"""The rules of a run of the tests: how much of them it takes, which skips are allowed, and what it tells at its end.

FASHION_TESTS   `all` takes the tests marked `long` along and draws more examples; `fast` draws fewer; else CI's form
FASHION_CI      `1`: seconds a room and of the slowest tests are told, and a skip that is not allowed fails the run
--summary FILE  writes the run down, in Markdown
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = os.environ.get("FASHION_TESTS", "ci")
SIZES = ("fast", "ci", "all")
EXAMPLES = {"fast": 20, "ci": 100, "all": 500}  # that Hypothesis draws, where a test names no number of its own
# What the reason of a skip may begin with, as patterns.
ALLOWED_SKIPS = (
    "needs a GPU",
    "no real data set",
    "not a git checkout",
    "not root",
    "no hosts here",
    "no browser",
    "needs Slurm",
    "needs SkyPilot",
    r"needs ray\[default\]",
)
SLOWEST = 30  # tests that are told with their seconds
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "deselected")


def by_size(ci: T, whole: T) -> T:
    """How much a test does: `whole` in a run of all tests, else `ci`, by the same code."""
    return whole if SIZE == "all" else ci


def is_strict() -> bool:
    return os.environ.get("FASHION_CI") == "1"


def find_room(nodeid: str) -> str:
    """The folder of a test, under tests/: `search/tune` of `tests/search/tune/test_searcher.py::test_x`."""
    parts = nodeid.split("::")[0].split("/")[:-1]
    return "/".join(parts[1:] if parts[:1] == ["tests"] else parts) or "."


def find_strays(skips: Counter[tuple[str, str]]) -> list[str]:
    """Skips, as (test, reason), whose reason is not allowed."""
    allowed = re.compile("|".join(ALLOWED_SKIPS))
    return [f"{test}: {reason}" for test, reason in sorted(skips) if not allowed.match(reason)]


class Run:
    """What happened in one run of pytest.

    Attributes:
        seconds: by room, set-up and tear-down included.
        skips: (test, reason) -> how often.
    """

    def __init__(self) -> None:
        self.started = time.time()
        self.seconds: Counter[str] = Counter()
        self.skips: Counter[tuple[str, str]] = Counter()

    def note_skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skips[report.nodeid, reason.removeprefix("Skipped: ")] += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[find_room(report.nodeid)] += report.duration
        self.note_skip(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note_skip(report)

    def render_rooms(self) -> list[str]:
        return [f"{seconds:7.1f} s  {room}" for room, seconds in self.seconds.most_common()]


RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--summary", type=Path, metavar="FILE", help="write what the run was down in this Markdown file")


def pytest_configure(config: pytest.Config) -> None:
    if SIZE not in SIZES:
        raise pytest.UsageError(f"FASHION_TESTS must be one of {', '.join(SIZES)}, but is {SIZE}")
    # No test is timed: a busy machine is not a fault.
    hypothesis.settings.register_profile(SIZE, deadline=None, max_examples=EXAMPLES[SIZE])
    hypothesis.settings.load_profile(SIZE)
    if is_strict():
        config.option.durations = config.option.durations or SLOWEST
    config.stash[RUN] = Run()
    config.pluginmanager.register(config.stash[RUN])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whole commands are slow wherever they stand, and begin first; long tests run with all tests alone."""
    for item in items:
        if find_room(item.nodeid) == "system":
            item.add_marker("slow")
    items.sort(key=rank_start)  # one that takes minutes, and is left to the end, runs alone
    long = [item for item in items if item.get_closest_marker("long")]
    if long and SIZE != "all":
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def rank_start(item: pytest.Item) -> int:
    """Which begin first: whole commands, those that share a Ray side by side, then slow files, then the others."""
    module = item.getparent(pytest.Module)
    is_slow = module is not None and any(mark.name == "slow" for mark in module.own_markers)
    if find_room(item.nodeid) == "system":
        return 0 if "shared_ray" in getattr(item, "fixturenames", ()) else 1
    return 2 if is_slow else 3


def pytest_collection_finish() -> None:
    """What the imports made stays: searching it for garbage again and again took a twentieth of a run."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if is_strict() and session.exitstatus == pytest.ExitCode.OK and find_strays(session.config.stash[RUN].skips):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash[RUN]
    if is_strict():
        terminalreporter.section("seconds a room")
        terminalreporter.write("".join(f"{line}\n" for line in run.render_rooms()))
        if strays := find_strays(run.skips):
            terminalreporter.section("skips that are not allowed (tests/helpers/house_rules.py)", red=True)
            terminalreporter.write("".join(f"{line}\n" for line in strays))
    if path := config.getoption("--summary"):
        counts = {name: len(terminalreporter.stats.get(name, [])) for name in OUTCOMES}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_summary(run, counts))


def render_summary(run: Run, counts: dict[str, int]) -> str:
    """The run as a page in Markdown."""
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no test"
    lines = [
        "# The last run of all tests",
        "",
        "Written by `make test-all`.",
        "",
        "| | |",
        "| --- | --- |",
        f"| commit | {describe_commit(REPOSITORY)} |",
        f"| date | {time.strftime('%Y-%m-%d %H:%M', time.gmtime(run.started))} UTC |",
        f"| machine | {len(os.sched_getaffinity(0))} cores, Python {sys.version.split()[0]} |",
        f"| tests | {told} |",
        f"| time | {time.time() - run.started:.0f} s |",
        "",
        "| room | seconds |",
        "| --- | ---: |",
        *(f"| {room} | {seconds:.0f} |" for room, seconds in run.seconds.most_common()),
        "",
    ]
    if run.skips:
        lines += [
            "| skipped | why |",
            "| --- | --- |",
            *(f"| `{test}` | {why} |" for test, why in sorted(run.skips)),
            "",
        ]
    return "\n".join(lines)


def describe_commit(repository: Path) -> str:
    """The commit that was tested, and whether files differed from it; the page itself does not count."""
    git = ["git", "-C", str(repository)]
    head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        return "unknown"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", ".", ":!results/tests"], capture_output=True, text=True
    )
    return f"`{head.stdout.strip()}`" + (", with files changed since" if changed.stdout.strip() else "")
