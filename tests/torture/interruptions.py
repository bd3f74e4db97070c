"""Signals that a person, a terminal or a system sends, and a reader of the output that goes away."""

from __future__ import annotations

import random
import signal
import time

from bench import Bench, Tried
from judge import DONE, HUNG_UP, INTERRUPTED, TERMINATED
from moments import SEARCHING, Phase
from plans import Row
from processes import ROOT, Command, Stuck, start
from tries import Outcome

from search.records.ledger import read_events

PAUSE_S = 60.0
AGAIN_S = 1.0  # between one Ctrl-C and the next
CASES: dict[str, tuple[tuple[int, ...], bool, tuple[int, ...]]] = {  # signals, to the whole group, exit statuses
    "Ctrl-C": ((signal.SIGINT,), True, (INTERRUPTED, DONE)),
    "Ctrl-C twice": ((signal.SIGINT, signal.SIGINT), True, (INTERRUPTED, -signal.SIGINT, DONE)),
    "SIGINT": ((signal.SIGINT,), False, (INTERRUPTED, DONE)),
    "SIGTERM": ((signal.SIGTERM,), False, (TERMINATED, DONE)),
    "SIGTERM to the group": ((signal.SIGTERM,), True, (TERMINATED, DONE)),
    "SIGHUP": ((signal.SIGHUP,), True, (HUNG_UP, TERMINATED, -signal.SIGHUP, DONE)),
    "SIGSTOP, SIGCONT": ((signal.SIGSTOP, signal.SIGCONT), True, (DONE,)),
    "SIGSTOP, SIGCONT of the driver": ((signal.SIGSTOP, signal.SIGCONT), False, (DONE,)),
    "output pipe closed": ((), False, (1, DONE, -signal.SIGPIPE)),
}


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Interrupt a search once at a moment drawn over all of it, go on, and compare it with its twin."""
    twin, (signals, to_group, expected) = bench.twin, CASES[case]
    with bench.open_try() as tried:
        command = begin_into_pipe(tried) if not signals else tried.begin()
        phase = draws.choice([Phase.TRIALS, draws.choice(SEARCHING)])
        if signals:
            try:
                tried.wait_for(command, phase, 0, draws)
            except Stuck as error:
                tried.end_stuck(command, error)
            send(command, signals, group=to_group)
        end = tried.run_to_end(command, *expected)
        tried.remember()
        is_done = end == DONE and any(event.kind == "search_ended" for event in read_events(tried.layout.ledger))
        if is_done or tried.finish():
            tried.judge(twin)
        return tried.outcome


def send(command: Command, signals: tuple[int, ...], *, group: bool) -> None:
    """Send them one after another."""
    for number, each in enumerate(signals):
        if number:
            time.sleep(PAUSE_S if signals[number - 1] == signal.SIGSTOP else AGAIN_S)
        command.signal(each, group=group)


def begin_into_pipe(tried: Tried) -> Command:
    """The first command, through `head -1`, by a shell that ends with the command's own status."""
    script = tried.folder / "piped.py"
    script.write_text(
        "import subprocess, sys\n"
        "one = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE)\n"
        "two = subprocess.run(['head', '-1'], stdin=one.stdout)\n"
        "one.stdout.close()\n"
        "status = one.wait()\n"
        "sys.exit(status if status >= 0 else 128 - status)\n"
    )
    return start(str(script), [ROOT / "search" / "run.py", *tried.given], tried.folder, tried.mark)


ROWS = (Row("signals", "signals, a closed pipe", tuple(CASES), 2, play),)
