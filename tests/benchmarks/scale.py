"""Row 7: what a trial costs the driver, and how that grows with the number of trials.

A whole search runs as our command runs it: Tune's controller, Optuna, ASHA, ledger, tracker, live view. The time of the
driver's thread is counted as that of the code that spends it: ours, Optuna's, or Ray's (all the rest). What our
tracker's thread spends is added to ours; MLflow itself is replaced by a client that answers at once (row 3 measures the
real one).

The trials are simulated: `simulated_actors` answers the controller's calls in this process, and the time of that is
nobody's. The case with worker processes has Ray's own, and shows what a remote call adds to Ray's line. With 10,000
trials, Optuna draws at random until shortly before the window that is measured: TPE's time grows with the trials behind
it, so drawing all of them would take a quarter of an hour and show the same.

The search ends well for every trial, our record is only ever appended to, and no other file of ours is written while
trials run. Else the benchmark fails.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from formula_search import build_formula_trial, launch
from harness import OURS, Goal, Measure, Row
from stopwatch import Stopwatch, measure_bytes

# No import of ours at the top, as in every row.

PROCESSES = ", worker processes"  # ends the name of a case that has Ray's own
CASES = ("100", "1000", "10000", "1000" + PROCESSES)
QUICK_CASES = ("200",)
TPE_WINDOW = 200  # trials, the last ones, that Optuna's cost is of in a large search
ALL_TPE_TRIALS = 2000  # up to here, TPE draws every trial
TPE_LEAD = 20  # trials that TPE draws before the window
CHECKS = 10  # of the ledger, in a search
RAY_TRIALS = 100  # whose memory is looked at
OUR_TYPES = frozenset({"builtins", "collections", "pathlib", "search", "fashion_core", "spaces"})
OPTUNA_TYPES = frozenset({"builtins", "collections", "datetime", "numpy", "optuna"})
GOLDEN = 0.6180339887  # multiples of it fill the unit interval evenly
IMAGES = 500  # that a trial is scored on
CATEGORIES = ("pattern", "sleeve", "length", "neckline", "material", "fit")


def build_simulated_trial() -> type:
    """A trial with the metrics of a real epoch. It does not collect garbage: here that would be the driver's.

    Its score follows from its number, so that ASHA stops as many trials early in a search as late: what TPE finds would
    train longer and longer, and so cost more and more.
    """
    import numpy as np

    from fashion_core import metrics
    from search.records.ledger import pack_correct
    from search.tune.results import CORRECT, METRICS, SCORE

    plain = [
        metrics.ACCURACY_SE,
        metrics.CLASS_ACCURACY,
        metrics.VAL_LOSS,
        metrics.TRAIN_LOSS,
        metrics.LEARNING_RATE,
        metrics.IMAGES_PER_SECOND,
        metrics.TRAIN_SECONDS,
        metrics.VAL_SECONDS,
    ]
    parts = (metrics.ACCURACY, metrics.VAL_LOSS, metrics.TRAIN_LOSS)
    names = plain + [f"{name}/{category}" for name in parts for category in CATEGORIES]

    correct = pack_correct(np.zeros((IMAGES, len(CATEGORIES)), bool))

    class SimulatedTrial(build_formula_trial()):  # type: ignore[misc]
        def cleanup(self) -> None:
            self.begin()

        def step(self) -> dict[str, Any]:
            result: dict[str, Any] = super().step()
            quality = self.config["number"] * GOLDEN % 1
            result[SCORE] = score = quality * (1 - math.exp(-(self.iteration + 1) / 3))
            values = {name: score / (index + 2) for index, name in enumerate(names)}
            return result | {METRICS: json.dumps({metrics.ACCURACY: score, **values}), CORRECT: correct}

    return SimulatedTrial


class NoServer:
    """In the place of MLflow's client: takes everything, and answers at once."""

    def __init__(self) -> None:
        self.runs = 0

    def search_runs(self, *args: Any, **kwargs: Any) -> Any:
        from mlflow.store.entities import PagedList

        return PagedList([], token=None)

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, *args: Any, **kwargs: Any) -> str:
        return "1"

    def create_run(self, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return SimpleNamespace(info=SimpleNamespace(run_id=f"{self.runs:032x}"))

    def search_experiments(self, *args: Any, **kwargs: Any) -> list[Any]:
        return []

    def create_logged_model(self, *args: Any, **kwargs: Any) -> Any:
        return SimpleNamespace(model_id="m-1", metrics=[], tags={}, status=None)

    def get_run(self, run: str) -> Any:
        return SimpleNamespace(outputs=None)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


@dataclass(frozen=True)
class Mark:
    """How a search stands when a trial has ended.

    Attributes:
        cpu, wall: seconds of the driver's thread so far, by part.
        resident: bytes of the process.
    """

    cpu: dict[str, float]
    wall: dict[str, float]
    resident: int


class Probe:
    """Measures a search from inside its process.

    Attributes:
        marks: one a trial, in the order in which they ended.
        tracker_cpu: seconds that our code in the tracker's thread has taken so far, one a trial.
        faults: what was not as promised; raised after the search, because Tune would catch it.
    """

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.driver, self.tracker = Stopwatch("ray"), Stopwatch("rest")
        self.marks: list[Mark] = []
        self.tracker_cpu: list[float] = []
        self.faults: list[str] = []
        self.objects: dict[str, Any] = {}  # those that hold the state, to be weighed
        self.ledger: tuple[int, int, str] | None = None  # its inode, its size, a hash of it

    def install(self, *, simulate: bool) -> None:
        """Put the clocks around all parts. simulate: without worker processes."""
        import optuna
        from ray.tune.execution import tune_controller
        from simulated_actors import DirectActorManager

        from search.experiment import running, search
        from search.reporting import live
        from search.tracking import writer as tracking
        from search.tune import callback as recorder
        from search.tune.scheduler import LedgerScheduler
        from search.tune.searcher import LedgerSearcher

        if simulate:
            os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
            tune_controller.RayActorManager = DirectActorManager
        client = NoServer()
        tracking.Writer.connect = lambda writer: client
        for owner in (recorder.Recorder, LedgerScheduler, LedgerSearcher):
            for name in vars(owner):
                if name.startswith("on_") or name in ("suggest", "setup"):
                    self.driver.wrap(owner, name, OURS)
        for owner, names in ((optuna.Study, ("ask", "tell")), (optuna.Trial, ("report", "suggest_float"))):
            for name in names:
                self.driver.wrap(owner, name, "optuna")
        self.driver.wrap(DirectActorManager, "work", "worker")
        self.driver.wrap(self, "check_ledger", "worker")
        self.tracker.wrap(tracking.Writer, "send", OURS)
        follow(tune_controller.TuneController, "step", lambda controller: self.objects.update(controller=controller))
        follow(recorder.Recorder, "on_trial_complete", self.mark)
        follow(tracking.Writer, "end_trial", self.mark_tracker)
        follow(live.LiveView, "update", lambda view, *state: self.objects.update(live=view))
        self.watch_threads(running, search)

    def watch_threads(self, running: Any, search: Any) -> None:
        """Start the clock of each thread where it starts."""
        run_trials, run_tracker = running.run_trials, search.Tracker.run

        def timed_trials(plan: Any, site: Any, session: Any, events: Any, **options: Any) -> None:
            self.objects["session"] = session
            folder = plan.layout.folder
            sys.addaudithook(lambda event, args: self.note_open(folder, args) if event == "open" else None)
            self.driver.start()
            run_trials(plan, site, session, events, **options)
            self.driver.thread = None

        def timed_tracker(tracker: Any) -> None:
            import mlflow.entities  # noqa: F401  (importing it is no trial's cost)

            self.objects["tracker"] = tracker
            self.tracker.start()
            run_tracker(tracker)

        running.run_trials, search.Tracker.run = timed_trials, timed_tracker

    def mark(self, recorder: Any, **info: Any) -> None:
        """A trial has ended."""
        self.objects["watch"] = recorder.watch
        self.driver.switch()
        self.marks.append(Mark(dict(self.driver.cpu), dict(self.driver.wall), read_resident()))
        if len(self.marks) % max(self.trials // CHECKS, 1) == 0:
            self.check_ledger(recorder.watch.session.layout.ledger)

    def mark_tracker(self, *args: Any) -> None:
        """The tracker has sent a trial's end."""
        self.tracker.switch()
        self.tracker_cpu.append(self.tracker.cpu[OURS])

    def check_ledger(self, path: Path) -> None:
        """Is what stood in the ledger before still there, in the same file?"""
        content, inode = path.read_bytes(), path.stat().st_ino
        if self.ledger is not None:
            known, size, digest = self.ledger
            if inode != known or hashlib.sha256(content[:size]).hexdigest() != digest:
                self.faults.append(f"the ledger must only be appended to, but changed before byte {size:,}")
        self.ledger = inode, len(content), hashlib.sha256(content).hexdigest()

    def note_open(self, folder: Path, args: tuple[Any, ...]) -> None:
        """Of Python's audit hook: while trials run, none of our files is opened to be written, but kept models are."""
        if self.driver.thread is None or not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        path = Path(str(args[0]))
        if path.is_relative_to(folder) and path.relative_to(folder).parts[0] not in ("states", "checkpoints"):
            self.faults.append(f"no file of ours may be rewritten while trials run, but {path.name} was opened")


def follow(owner: Any, name: str, note: Callable[..., None]) -> None:
    """After every call of a method, call `note` with its arguments."""
    call = getattr(owner, name)

    @wraps(call)
    def noted(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        note(*args, **kwargs)
        return result

    setattr(owner, name, noted)


def read_resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def choose_windows(trials: int) -> tuple[int, int]:
    """Over how many trials, the last ones, costs are averaged; and how many of these TPE draws in a large search."""
    window = min(max(50, trials // 10), trials // 2)
    return window, min(window, TPE_WINDOW)


def use_random_start(trials: int, tpe_window: int) -> None:
    """Draw a large search at random, until TPE takes over for its last trials; TPE draws every trial of a small one."""
    import optuna

    from search.tune import study

    if trials <= ALL_TPE_TRIALS:
        return
    build_tpe, change_at = study.build_sampler, trials - tpe_window - TPE_LEAD

    def build(space: Any, seed: Any) -> Any:
        number = seed[-1]
        return build_tpe(space, seed) if number >= change_at else optuna.samplers.RandomSampler(seed=number)

    study.build_sampler = build


def run(variant: str, case: str, folder: Path, repeat: int, quick: bool) -> dict[str, float]:
    """One search, its costs by part, checked by what it left."""
    from search.records.ledger import read_events
    from search.records.record import replay

    trials = int(case.removesuffix(PROCESSES))
    window, tpe_window = choose_windows(trials)
    probe = Probe(trials)
    use_random_start(trials, tpe_window)
    probe.install(simulate=not case.endswith(PROCESSES))
    path = launch(build_simulated_trial(), folder, trials, repeat)
    probe.check_ledger(path)
    record = replay(read_events(path))
    ended = [trial for trial in record.trials.values() if trial.status in ("finished", "stopped")]
    if len(ended) != trials or len(probe.marks) != trials or len(probe.tracker_cpu) != trials:
        probe.faults.append(
            f"{trials} trials must have ended well, been marked and been tracked, but {len(ended)}, "
            f"{len(probe.marks)} and {len(probe.tracker_cpu)} were"
        )
    if probe.faults:
        raise RuntimeError("\n".join(dict.fromkeys(probe.faults)))
    return {
        **measure_times(probe, window, tpe_window),
        **measure_memory(probe, trials),
        "ledger_kb": path.stat().st_size / trials / 1000,
        "reports": sum(len(trial.epochs) for trial in ended) / trials,
    }


def measure_times(probe: Probe, window: int, tpe_window: int) -> dict[str, float]:
    """Milliseconds a trial over the last trials, by part, and how ours have grown since the first."""

    def spent(part: str, start: int, end: int, clock: str = "cpu") -> float:
        first, last = getattr(probe.marks[start - 1], clock), getattr(probe.marks[end - 1], clock)
        return float((last.get(part, 0.0) - first.get(part, 0.0)) / (end - start) * 1000)

    def tracked(start: int, end: int) -> float:
        return (probe.tracker_cpu[end - 1] - probe.tracker_cpu[start - 1]) / (end - start) * 1000

    count = len(probe.marks)
    first = max(window // 2, 1)  # the first ones warm up
    ours = spent(OURS, count - window, count) + tracked(count - window, count)
    return {
        "ours_ms": ours,
        "ours_wall_ms": spent(OURS, count - window, count, "wall"),
        "optuna_ms": spent("optuna", count - tpe_window, count),
        "ray_ms": spent("ray", count - window, count),
        "growth": ours / (spent(OURS, first, first + window) + tracked(first, first + window)),
    }


def measure_memory(probe: Probe, trials: int) -> dict[str, float]:
    """kB a trial: of our objects, Optuna's and Ray's (of some of its trials), and of the whole process."""
    seen: set[int] = set()
    controller, watched = probe.objects["controller"], probe.objects["watch"]
    session, live = (probe.objects[name] for name in ("session", "live"))
    study = watched.study
    ours = [session, probe.objects["tracker"], watched.rungs, watched.models, live]
    some = controller._trials[:: max(trials // RAY_TRIALS, 1)]
    saved = [controller._trial_metadata[trial.trial_id] for trial in some]
    first = trials // 10
    return {
        "ours_kb": measure_bytes(ours, seen, OUR_TYPES) / trials / 1000,
        "optuna_kb": measure_bytes([study.study, study.open], seen, OPTUNA_TYPES) / trials / 1000,
        "ray_kb": measure_bytes([some, saved], seen) / len(some) / 1000,
        "resident_kb": (probe.marks[-1].resident - probe.marks[first].resident) / (trials - 1 - first) / 1000,
    }


ROW = Row(
    number=7,
    name="scale",
    title="Scale",
    workload=f"""
Whole searches of 100, 1,000 and 10,000 trials with TPE and ASHA, two at once, {len(CATEGORIES) * 3 + 9} metrics a
report. Real: Tune's controller, the study, ledger, live view, tracker. Simulated: workers (their
calls are answered inside the driver's process and not counted; except in the last case, which has real ones), training,
and MLflow's client (which answers at once). CPU time a trial of the driver's process, by whose code takes it, averaged
over the last 50, 100 and 1,000 trials; ASHA stops as many early in a search as late. In the search of 10,000, TPE draws
the last {TPE_WINDOW + TPE_LEAD}, and Optuna's cost is that of the last {TPE_WINDOW}; the others are random. Memory:
sizes of all Python objects that hold the parts' state at the end, by the number of trials.
""",
    variants={OURS: "the whole command; its own cost, Optuna's, and Ray's stand on lines of their own"},
    measures={
        "ours_ms": Measure("ours, CPU ms a trial", ".2f"),
        "ours_wall_ms": Measure("ours, ms a trial that the driver waits (with the disk)", ".2f"),
        "optuna_ms": Measure("Optuna, CPU ms a trial", ".1f"),
        "ray_ms": Measure("Ray, CPU ms a trial", ".1f"),
        "snapshot_ms": Measure(
            "snapshots of Ray's, CPU ms a trial (commits before the ledger was all that is gone by)", ".1f"
        ),
        "growth": Measure("ours at the end, times ours at the start", ".2f"),
        "ours_kb": Measure("memory, ours, kB a trial", ".1f"),
        "optuna_kb": Measure("memory, Optuna, kB a trial", ".1f"),
        "ray_kb": Measure("memory, Ray, kB a trial", ".1f"),
        "resident_kb": Measure("memory, whole process, kB a trial", ".1f"),
        "ledger_kb": Measure("ledger on disk, kB a trial", ".1f"),
        "reports": Measure("reports a trial", ".1f"),
    },
    goals=(
        Goal("our CPU time a trial after 10,000, times that of the first", "growth", 1.2, at_most=True, case=CASES[2]),
        Goal("our memory, kB a trial", "ours_kb", 50, at_most=True),
    ),
    run=run,
    cases=CASES,
    quick_cases=QUICK_CASES,
    repeats=3,
)
