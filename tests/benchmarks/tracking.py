"""Row 3: what it costs to have every result in MLflow. This project's ledger and tracker, and MLflow's own calls.

Case `results`: the driver of a search gets a result every 25 ms, from two trials in turn. That is half of what the
search of row 1 reaches without any training (about 80 a second), and far more than epochs of training yield. What the
driver does with a result is timed; a driver that is still busy with one gets the next later. Then the clock runs from
when the last result was due until MLflow's database holds the last value.

Case `project`: 5,000 trials in MLflow, and the first page of them sorted by score, as MLflow's pages ask for it: 100
runs of the experiment from a server on this machine. The content is the same whoever writes it, so only ours does: one
trial in twenty, in ten searches, through `Writer` from ledgers' events. Their rows are then copied within the database.

The database must hold what was promised, value by value, and the page must be the right one. Else the benchmark fails.
"""

from __future__ import annotations

import json
import math
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness import OURS, Goal, Measure, Row

# No import of ours at the top: the peers run this file too, and must not pay for it.

RESULTS, PROJECT = "results", "project"
TRIALS, EPOCHS, QUICK_TRIALS = 12, 20, 4
CONCURRENT = 2
RESULTS_PER_SECOND = 40
SCORE = "val/accuracy"
METRICS = (SCORE, *(f"val/measure_{number:02d}" for number in range(1, 30)))
PARAMETERS = {f"parameter_{number:02d}": 0.1 * number for number in range(12)}
DATABASE = "mlflow.db"
OF_RESULTS = "metrics WHERE key LIKE 'val/%'"  # ours has others beside them: the best score of each trial
TIMEOUT_S = 240

PROJECT_TRIALS, QUICK_PROJECT_TRIALS, PROJECT_SEARCHES, PROJECT_EPOCHS = 5000, 500, 10, 3
COPIES = 20  # of what is written, the original included
PAGE = 100
EXPERIMENT = "project"


def compute_metrics(trial: int, epoch: int) -> dict[str, float]:
    """The numbers of one result; no two results have the same."""
    base = 1 - 1 / (1 + epoch) + 1e-4 * (trial % 997)
    return {name: base + 1e-2 * number for number, name in enumerate(METRICS)}


# ------------------------------------------------------------------------------------------------ results


class Driver:
    """What the driver of a search does at a trial's start, for a result, at a trial's end."""

    def start(self, trial: int) -> None: ...

    def report(self, trial: int, epoch: int, metrics: dict[str, float]) -> None: ...

    def end(self, trial: int) -> None: ...


class MlflowDriver(Driver):
    """MLflow's client on the driver, as a callback of Ray Tune has it."""

    def __init__(self, folder: Path, variant: str) -> None:
        from mlflow.tracking import MlflowClient

        self.client, self.variant = MlflowClient(f"sqlite:///{folder / DATABASE}"), variant
        self.experiment = self.client.create_experiment("results", (folder / "artifacts").as_uri())
        self.runs: dict[int, str] = {}

    def start(self, trial: int) -> None:
        from mlflow.entities import Param

        self.runs[trial] = self.client.create_run(self.experiment, run_name=f"trial-{trial}").info.run_id
        self.client.log_batch(self.runs[trial], params=[Param(key, str(value)) for key, value in PARAMETERS.items()])

    def report(self, trial: int, epoch: int, metrics: dict[str, float]) -> None:
        from mlflow.entities import Metric

        run, milliseconds = self.runs[trial], int(time.time() * 1000)
        if self.variant == "one_call_a_metric":
            for key, value in metrics.items():
                self.client.log_metric(run, key, value, milliseconds, epoch)
            return
        rows = [Metric(key, value, milliseconds, epoch) for key, value in metrics.items()]
        self.client.log_batch(run, metrics=rows, synchronous=self.variant != "log_batch_async")

    def end(self, trial: int) -> None:
        self.client.set_terminated(self.runs[trial])


def run_peer(variant: str, folder: Path, trials: int) -> dict[str, float]:
    return time_results(MlflowDriver(folder, variant), folder, trials)


def run_ours(folder: Path, trials: int) -> dict[str, float]:
    """Ledger, tracker and live view, put together as `search.experiment.search.run_search` does."""
    from rich.console import Console

    from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialStarted, TrialStatus
    from search.records.layout import SearchLayout
    from search.records.ledger import Ledger
    from search.records.record import SearchRecord
    from search.records.session import Session
    from search.reporting.live import LiveView
    from search.tracking.sender import Tracker

    layout = SearchLayout(folder / "results", "tracking")

    class SessionDriver(Driver):
        def start(self, trial: int) -> None:
            session.append(TrialStarted(trial=trial, trial_id=f"{trial:08x}", params=PARAMETERS, enqueued=False))

        def report(self, trial: int, epoch: int, metrics: dict[str, float]) -> None:
            session.append(EpochEnded(trial=trial, epoch=epoch, metrics=metrics))

        def end(self, trial: int) -> None:
            best = compute_metrics(trial, EPOCHS)[SCORE]
            session.append(TrialEnded(trial=trial, status=TrialStatus.FINISHED, best=best, best_epoch=EPOCHS))

    with Ledger(layout.ledger) as ledger, Tracker(layout, f"sqlite:///{folder / DATABASE}") as tracker:
        session = Session(layout, ledger, SearchRecord())
        session.listeners.append(tracker.send)
        session.append(SearchStarted(**describe_search("tracking", 0)))
        with LiveView(Console(width=120), session.record, trials, EPOCHS) as live:
            session.listeners.append(live.update)
            wait_for(
                "the search's run", lambda: count_rows(folder / DATABASE, "runs") == 1
            )  # as the peers' client, the tracker is ready
            values = time_results(SessionDriver(), folder, trials)
        if (missing := tracker.close()) is not None:
            raise RuntimeError(missing)
    return values


def time_results(driver: Driver, folder: Path, trials: int) -> dict[str, float]:
    """Give a driver the results of all trials, each when it is due or as soon as the driver is free."""
    blocked: list[float] = []
    ends: list[float] = []
    began, number = time.monotonic(), 0
    for first in range(0, trials, CONCURRENT):
        running = range(first, min(first + CONCURRENT, trials))
        ends += [clock_call(driver.start, trial) for trial in running]
        for epoch in range(1, EPOCHS + 1):
            for trial in running:
                due = began + number / RESULTS_PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                blocked.append(clock_call(driver.report, trial, epoch, compute_metrics(trial, epoch)))
                number += 1
        ends += [clock_call(driver.end, trial) for trial in running]
    wait_for("every value", lambda: count_rows(folder / DATABASE, OF_RESULTS) >= trials * EPOCHS * len(METRICS))
    stored = time.monotonic()
    check_values(folder / DATABASE, trials)
    ordered = sorted(blocked)
    return {
        "blocked_ms": 1000 * ordered[len(ordered) // 2],
        "blocked_p99_ms": 1000 * ordered[math.ceil(0.99 * len(ordered)) - 1],
        "blocked_ends_ms": 1000 * sorted(ends)[len(ends) // 2],
        "blocked_seconds": sum(blocked) + sum(ends),
        "stored_seconds": stored - due,
    }


def clock_call(call: Callable[..., None], *arguments: Any) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    """Look every 20 ms.

    Raises:
        RuntimeError: it does not become so.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} must be there within {TIMEOUT_S} s, but is not")
        time.sleep(0.02)


def open_database(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def count_rows(path: Path, table: str) -> int:
    """Rows of a table, or a part of one, as another process sees them; none where there is no such table yet."""
    try:
        with open_database(path) as database:
            (count,) = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    except sqlite3.OperationalError:  # not made yet, or busy
        return 0
    return int(count)


def check_values(path: Path, trials: int) -> None:
    """Raise RuntimeError unless every number of every result is there once, at its step, in a run of its own trial."""
    with open_database(path) as database:
        rows = database.execute(f"SELECT run_uuid, step, key, value FROM {OF_RESULTS}").fetchall()
    found: dict[str, dict[tuple[int, str], float]] = {}
    for run, step, key, value in rows:
        found.setdefault(run, {})[step, key] = value
    wanted = [
        {(epoch, key): value for epoch in range(1, EPOCHS + 1) for key, value in compute_metrics(trial, epoch).items()}
        for trial in range(trials)
    ]
    stored = sorted(found.values(), key=lambda values: values.get((1, SCORE), 0.0))
    if len(rows) != sum(map(len, wanted)) or stored != sorted(wanted, key=lambda values: values[1, SCORE]):
        raise RuntimeError(f"MLflow must hold every value of {trials} trials, but holds {len(rows)} that differ")


# ------------------------------------------------------------------------------------------------ the project


def describe_search(name: str, search: int) -> dict[str, Any]:
    """The fields of `search_started`."""
    return {
        "name": name,
        "settings": {"trials": PROJECT_TRIALS, "max_epochs": EPOCHS, "seed": search},
        "space": "trials: 5000\n",
        "space_name": EXPERIMENT,
        "space_hash": "0",
        "provenance": {"torch": "2"},
        "data": {"folder": "data", "fingerprint": "0"},
        "selection": {"train_count": 5000, "select_count": 1000, "select_images": []},
    }


def build_events(search: int, trials: range) -> list[Any]:
    """The ledger of a search whose trials have all finished."""
    from dataclasses import replace

    from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted, TrialStatus

    events: list[Any] = [SearchStarted(**describe_search(f"search-{search}", search))]
    for number in trials:
        events.append(TrialStarted(trial=number, trial_id=f"{number:08x}", params=PARAMETERS, enqueued=False))
        for epoch in range(1, PROJECT_EPOCHS + 1):
            events.append(EpochEnded(trial=number, epoch=epoch, metrics=compute_metrics(number, epoch)))
        best = compute_metrics(number, PROJECT_EPOCHS)[SCORE]
        ended = {"status": TrialStatus.FINISHED, "reason": "all", "best": best, "best_epoch": PROJECT_EPOCHS}
        events.append(TrialEnded(trial=number, **ended))
    events.append(SearchEnded(reason="all trials ended", seconds=1.0))
    now = time.time()
    return [replace(event, time=now + 0.01 * seq, seq=seq) for seq, event in enumerate(events)]


def run_project(folder: Path, trials: int) -> dict[str, float]:
    """Write a project, and ask a server for its first page."""
    from search.tracking.writer import Writer

    path, each = folder / DATABASE, trials // PROJECT_SEARCHES // COPIES
    Writer(f"sqlite:///{path}", folder / "artifacts").connect()
    began = time.monotonic()
    for search in range(PROJECT_SEARCHES):
        writer = Writer(f"sqlite:///{path}", folder / "artifacts")
        writer.send(build_events(search, range(search * each, (search + 1) * each)))
    seconds = time.monotonic() - began
    copy_runs(path)
    written = PROJECT_SEARCHES * each
    runs, values = (written + PROJECT_SEARCHES) * COPIES, written * COPIES * PROJECT_EPOCHS * len(METRICS)
    if count_rows(path, "runs") != runs or count_rows(path, "metrics") < values:
        raise RuntimeError(f"the project must have {runs} runs and {values} values, but has others")
    scores = [compute_metrics(trial, PROJECT_EPOCHS)[SCORE] for trial in range(written)]
    best = sorted(scores * COPIES, reverse=True)[:PAGE]
    with start_server(path, folder) as (address, _):
        starting = clock_page(address, best)
    with start_server(path, folder) as (address, server):
        wait_for("a server that rests", lambda: is_at_rest(server))
        pages = [clock_page(address, best) for _ in range(4)]
    return {
        "written_ms": 1000 * seconds / written,
        "page_starting_seconds": starting,
        "page_seconds": pages[0],
        "page_again_seconds": sorted(pages[1:])[1],
    }


def copy_runs(path: Path) -> None:
    """Copy all rows of all runs, under other ids, until there are `COPIES` of each."""
    with sqlite3.connect(path) as database:
        for table in ("runs", "params", "tags", "metrics", "latest_metrics"):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            database.execute(f"CREATE TEMP TABLE original AS SELECT * FROM {table}")
            for copy in range(1, COPIES):
                values = {name: name for name in columns}
                values["run_uuid"] = f"SUBSTR(run_uuid, 1, 29) || 'x{copy:02d}'"  # no id that MLflow makes has an x
                if table == "tags":
                    parent = f"SUBSTR(value, 1, 29) || 'x{copy:02d}'"
                    values["value"] = f"CASE key WHEN 'mlflow.parentRunId' THEN {parent} ELSE value END"
                names, expressions = ", ".join(values), ", ".join(values.values())
                database.execute(f"INSERT INTO {table} ({names}) SELECT {expressions} FROM original")
            database.execute("DROP TABLE original")


@contextmanager
def start_server(path: Path, folder: Path) -> Iterator[tuple[str, Any]]:
    """MLflow's server, one worker, on a free port of this machine; ended with all that it started.

    Yields:
        Its address and its process, as soon as it says that it is healthy.
    """
    import psutil

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{path}", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = psutil.Popen(command, cwd=folder, stdin=subprocess.DEVNULL)
    try:
        wait_for("MLflow's server", lambda: is_healthy(address, server))
        yield address, server
    finally:
        processes = [*server.children(recursive=True), server]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            process.kill()
        _, alive = psutil.wait_procs(alive, timeout=10)
        if alive:
            raise RuntimeError(f"MLflow's server must end, but these of its processes do not: {alive}")


def is_healthy(address: str, server: Any) -> bool:
    if not server.is_running():
        raise RuntimeError("MLflow's server must run, but has ended")
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:  # it answers, and refuses: waiting helps nothing
        raise
    except OSError:
        return False


def is_at_rest(server: Any) -> bool:
    """Whether the server and what it started use less than a tenth of a core: once healthy, it imports for seconds."""

    def measure() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in [server, *server.children(recursive=True)])

    before = measure()
    time.sleep(1)
    return measure() - before < 0.1


def clock_page(address: str, best: list[float]) -> float:
    """Seconds until the first page of the experiment, sorted by score, is here.

    Args:
        best: the scores that it must show.
    """
    request = {
        "experiment_ids": ["1"],
        "run_view_type": "ACTIVE_ONLY",
        "max_results": PAGE,
        "order_by": [f"metrics.`{SCORE}` DESC"],
    }
    began = time.perf_counter()
    with urllib.request.urlopen(
        urllib.request.Request(
            f"{address}/ajax-api/2.0/mlflow/runs/search",
            json.dumps(request).encode(),
            {"Content-Type": "application/json"},
        ),
        timeout=TIMEOUT_S,
    ) as answer:
        runs = json.loads(answer.read())["runs"]
    seconds = time.perf_counter() - began
    shown = [{row["key"]: row["value"] for row in run["data"]["metrics"]} for run in runs]
    if [row[SCORE] for row in shown] != best or any(row.keys() < set(METRICS) for row in shown):
        raise RuntimeError("the first page must show the best runs of the project with all their metrics, but does not")
    return seconds


# ------------------------------------------------------------------------------------------------ the row


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One variant, checked by what it stored."""
    if case == PROJECT:
        return run_project(folder, QUICK_PROJECT_TRIALS if quick else PROJECT_TRIALS)
    trials = QUICK_TRIALS if quick else TRIALS
    return run_ours(folder, trials) if variant == OURS else run_peer(variant, folder, trials)


ROW = Row(
    number=3,
    name="tracking",
    title="Tracking",
    workload=f"""
`{RESULTS}`: {TRIALS} trials of {EPOCHS} results, {len(METRICS)} metrics each, {CONCURRENT} trials at once,
{RESULTS_PER_SECOND} results a second: half of what the search of row 1 reaches at most. How long the driver is blocked
by a result, and how long after the last one was due all is stored. `{PROJECT}`: {PROJECT_TRIALS:,} trials in one
experiment of MLflow, and the first page, sorted by score, that MLflow's server is asked for once it has started and
rests. MLflow on a fresh SQLite file.
""",
    variants={
        "ours": "the ledger, the tracker's queue and its thread, the live view: what the driver does",
        "one_call_a_metric": "`MlflowClient.log_metric` for each metric on the driver, as Ray Tune's callback does",
        "log_batch": "one `MlflowClient.log_batch` a result on the driver",
        "log_batch_async": "the same with `synchronous=False`: a thread of MLflow's sends it; nothing else records it",
    },
    measures={
        "blocked_ms": Measure("ms the driver is blocked by a result, median"),
        "blocked_p99_ms": Measure("the same, 99th percentile", ".2f"),
        "blocked_ends_ms": Measure("ms it is blocked by a trial's start or end, median", ".2f"),
        "blocked_seconds": Measure("s it is blocked in all", ".2f"),
        "stored_seconds": Measure("s from when the last result was due until all is stored", ".2f"),
        "page_seconds": Measure(f"s to the first sorted page of {PROJECT_TRIALS:,} trials", ".2f"),
        "page_again_seconds": Measure("s to the same page again", ".2f"),
        "page_starting_seconds": Measure("s to the first page of a server that has just said it is healthy", ".2f"),
        "written_ms": Measure("ms to write a trial of the project", ".1f"),
    },
    goals=(
        Goal("ms the driver is blocked by a result, median", "blocked_ms", 0.2, at_most=True, case=RESULTS),
        Goal("ms the driver is blocked, 99th percentile", "blocked_p99_ms", 5, at_most=True, case=RESULTS),
        Goal("s from the last result until all is stored", "stored_seconds", 5, at_most=True, case=RESULTS),
        Goal(f"s to the first sorted page of {PROJECT_TRIALS:,}", "page_seconds", 2, at_most=True, case=PROJECT),
    ),
    run=run,
    cases=(RESULTS, PROJECT),
    quick_cases=(RESULTS,),
    quick_peers=("log_batch",),
    skip=frozenset((variant, PROJECT) for variant in ("one_call_a_metric", "log_batch", "log_batch_async")),
    timeout_s=600,
)
