"""The place of the tries: a drawn data set, a twin that nothing disturbed, one stopped half-way, a folder a try."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from judge import DONE, OF_RAY, REFUSED, judge_ending, judge_search
from moments import DELAY_S, DRIVER, GROUP, SHORT_S, Phase, Seen, has_plan, is_reached, tell_phase
from processes import STUCK_S, Command, Stuck, end_all, name_all, start, wait_until
from same_search import count_points
from tries import Outcome

from fashion_core.metrics import ACCURACY
from search.jobs.farewell import WORDS
from search.records.events import Event
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

NAME = "tried"
SPACE = """
description: a tiny network on drawn garments
trials: 6
fixed: {image_size: 32, weights: none, batch_size: 16}
search:
  backbone: {choice: [test_resnet, test_efficientnet]}
  optimizer: {choice: [adamw, sgd]}
  lr: {loguniform: [1e-4, 100]}
  head_lr_factor: {choice: [1, 1000]}
  category_weights: {proportions: [0.5, 2]}
try_first:
  - {backbone: test_efficientnet, optimizer: adamw, lr: 3e-3, head_lr_factor: 1, category_weights: 1}
  - {backbone: test_efficientnet, optimizer: sgd, lr: 100, head_lr_factor: 1000, category_weights: 1}
  - {backbone: test_resnet, optimizer: adamw, lr: 1e-4, head_lr_factor: 1, category_weights: 1}
scheduler: {type: asha, max_epochs: 6, grace_epochs: 1, reduction_factor: 2}
"""
HALF_LINES = 12  # of the ledger of a search that is stopped half-way
MOST_STARTS = 12  # of one search: more are a circle


class Bench:
    """What tries share, under a folder that is theirs alone.

    A try's search stands in `here`, and so did the twin and the one stopped half-way before they were put away: what
    MLflow holds names absolute paths.

    Args:
        digest: of the sources that are tried: what others made is not compared with.
    """

    def __init__(self, folder: Path, digest: str = "") -> None:
        self.folder = folder.resolve()
        self.mark = str(self.folder)  # of all processes of its tries, which come one after another
        self.data, self.here, self.kept = (self.folder / name for name in ("data", "here", f"kept{digest[:8]}"))

    def prepare(self) -> None:
        """Take the folder, until this process ends, and draw the data set.

        Raises:
            SystemExit: another one has it.
        """
        from fashion_core.samples.dataset import draw_sample_data

        self.kept.mkdir(parents=True, exist_ok=True)
        self.lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"one torture works in a folder, but another is in {self.folder}; give --work") from None
        shutil.rmtree(self.data, ignore_errors=True)  # a try that was cut off may have changed it
        draw_sample_data(self.data, train=120, val=48, test=24)

    @property
    def twin(self) -> SearchLayout:
        """The search that nothing disturbed."""
        return SearchLayout(self.keep("twin", lambda tried: tried.run_to_end(tried.begin())) / "results", NAME)

    @property
    def half(self) -> Path:
        """The folder of one that was killed half-way, once it had decided something."""

        def stop(tried: Tried) -> None:
            command = tried.begin()
            wait_until(lambda: len(read_events(tried.layout.ledger)) >= HALF_LINES, command, tried.layout.folder)
            command.signal(signal.SIGKILL, group=True)
            command.process.wait()

        return self.keep("half", stop)

    def keep(self, name: str, make: Callable[[Tried], object], kind: type[Tried] | None = None) -> Path:
        """A folder that is made once, as a try would be, and put away."""
        folder = self.kept / name
        if not folder.exists():
            with self.open_try(kind=kind) as tried:
                make(tried)
                end_all(tried.mark)
                if tried.outcome.endings or tried.outcome.stuck:
                    raise RuntimeError(f"{name} must end as asked, but {'; '.join(tried.outcome.endings) or 'stuck'}")
                self.here.rename(folder)
        return folder

    @contextmanager
    def open_try(self, begun: Path | None = None, kind: type[Tried] | None = None) -> Iterator[Tried]:
        """A folder for a try, a copy of `begun`; in the end its processes are ended, and it is deleted."""
        end_all(self.mark)  # of a try that was cut off
        shutil.rmtree(self.here, ignore_errors=True)
        if begun is None:
            self.here.mkdir(parents=True)
        else:
            shutil.copytree(begun, self.here, symlinks=True)
        (self.here / "tiny.yaml").write_text(SPACE)
        try:
            yield (kind or Tried)(self)
        finally:
            end_all(self.mark)
            shutil.rmtree(self.here, ignore_errors=True)


class Tried:
    """One search under faults, and what was found.

    Attributes:
        mark: of all its processes.
        told: events of its ledger at the moments of faults.
        environment: of its commands, beside that of all.
        given: options of its first command.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.mark, self.folder = bench, bench.mark, bench.here
        self.layout = SearchLayout(self.folder / "results", NAME)
        self.outcome = Outcome()
        self.told: list[list[Event]] = []
        self.environment: Mapping[str, str] = {}
        self.script = "run.py"
        self.given: list[object] = ["--data", bench.data, "--space", "tiny.yaml", "--name", NAME, "--concurrent", 1]
        self.resuming: list[object] = ["--resume", NAME]

    # ------------------------------------------------------------------------------------------------------- commands

    def start(self, *options: object, script: str = "run.py") -> Command:
        """Start a command in the try's folder."""
        return start(script, options, self.folder, self.mark, self.environment)

    def begin(self) -> Command:
        """The first command."""
        return self.start(*self.given, script=self.script)

    def go_on(self) -> Command:
        """What a person types after an interruption: `--resume` where the search is there, else the first again."""
        if self.layout.options.exists():
            return self.start(*self.resuming, script=self.script)
        return self.begin()

    def run_to_end(self, command: Command, *expected: int, stuck_s: float = STUCK_S) -> int | None:
        """Its exit status, judged; None where it was stuck, and was ended."""
        try:
            status = command.wait(self.layout.folder, stuck_s)
        except Stuck as error:
            self.end_stuck(command, error)
            return None
        self.judge_ending(command, status, *expected)
        return status

    def judge_ending(self, command: Command, status: int, *expected: int) -> None:
        """Note what is wrong with how it ended; expected: exit statuses, default 0."""
        expected = expected or (DONE,)
        if self.outcome.kills and command.told.rstrip().endswith(WORDS):
            expected = (*expected, OF_RAY)
        self.outcome.endings += judge_ending(command.words, status, command.printed, command.told, expected)

    def end_stuck(self, command: Command, error: Stuck) -> None:
        """Count it, and end it as a person would in the end."""
        self.outcome.stuck += 1
        self.outcome.endings.append(str(error))
        end_all(self.mark)
        command.process.wait()

    def finish(self, command: Command | None = None) -> bool:
        """Go on until the search has ended, as often as a person would try. Returns whether it has."""
        for _ in range(MOST_STARTS):
            command = command or self.go_on()
            self.measure_going_on(command)
            if self.run_to_end(command) == DONE:
                return True
            end_all(self.mark)
            if not command.process.returncode or command.process.returncode == REFUSED:
                return False
            command = None
        return False

    def measure_going_on(self, command: Command) -> None:
        """Note how long it takes to its first new result."""
        wanted, before = {"epoch", "search_ended"}, len(read_events(self.layout.ledger))

        def has_result() -> bool:
            return any(event.kind in wanted for event in read_events(self.layout.ledger)[before:])

        try:
            if wait_until(has_result, command, self.layout.folder):
                self.outcome.going_on_s.append(round(time.monotonic() - command.started, 1))
        except Stuck:
            return  # told when its end is waited for

    def judge(self, twin: SearchLayout | None) -> None:
        """Compare what is there now with what was told before, and with the twin."""
        judge_search(self.outcome, self.layout, self.told, twin)

    # ---------------------------------------------------------------------------------------------------------- faults

    def remember(self) -> None:
        """Keep what the ledger tells now."""
        self.told.append(read_events(self.layout.ledger))

    def tell_phase(self, command: Command, before: int) -> Phase:
        """The phase that a command is in. before: events of the ledger when it began."""
        folder = self.layout.folder
        names = (path.name for path in folder.glob("*") if path.is_file() and is_after(path, command.at))
        events = [event.kind for event in read_events(self.layout.ledger)[before:]]
        printed = command.printed
        processes = () if has_plan(printed) else set(name_all(self.mark).values())  # looking takes long
        return tell_phase(Seen(processes, printed, events, set(names)))

    def wait_for(self, command: Command, phase: Phase, before: int, draws: random.Random) -> Phase | None:
        """Wait for a moment of a phase. Returns the phase that it was; None where the command ended first.

        Raises:
            Stuck: nothing moved.
        """
        wait_until(lambda: is_reached(phase, self.tell_phase(command, before)), command, self.layout.folder)
        time.sleep(draws.uniform(0, DELAY_S.get(phase, SHORT_S)))
        return None if command.is_over else self.tell_phase(command, before)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be done."""
        events = read_events(self.layout.ledger)
        return bool(events) and events[-1].kind == "search_ended" and is_after(self.layout.report, events[-1].time)

    def place_kill(self, seen: Phase) -> Phase:
        """The phase that a kill is counted in: while trials run, MLflow itself tells whether it lacked something."""
        if seen not in (Phase.TRIALS, Phase.BETWEEN):
            return seen
        return Phase.BETWEEN if self.is_behind() else Phase.TRIALS

    def is_behind(self) -> bool:
        """Whether MLflow lacks an epoch that the ledger tells."""
        events = read_events(self.layout.ledger)
        epochs = {(event.trial, event.epoch) for event in events if event.kind == "epoch"}
        with suppress(sqlite3.Error):  # no database yet
            points = count_points(self.layout.tracking_db, replay(events).search_id)
            return len({(trial, step) for trial, key, step, _ in points if key == ACCURACY}) < len(epochs)
        return bool(epochs)

    def kill(self, command: Command, target: str, draws: random.Random) -> bool:
        """SIGKILL what is aimed at. Returns whether it was there."""
        if target in (DRIVER, GROUP):
            command.signal(signal.SIGKILL, group=target == GROUP)
            command.process.wait()
            return True
        pids = sorted(pid for pid, name in name_all(self.mark).items() if name == target)
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(draws.choice(pids), signal.SIGKILL)
        return True


def is_after(path: Path, moment: float) -> bool:
    """Whether a file was written since; one that is gone by now was not."""
    with suppress(OSError):
        return path.stat().st_mtime >= moment
    return False
