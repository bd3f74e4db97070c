"""Searches and promotions under every fault that could be thought of, and what they lose: `results/reliability/`.

python tests/torture/torture.py                      # what is left of a whole run: some six hours
python tests/torture/torture.py --budget 30m         # for so long: a share of every row
python tests/torture/torture.py --rows kill,signals  # some rows
python tests/torture/torture.py --report             # write the table again from the tries

It goes on where it was cut off: tries of the present `search/` and `fashion_core/` are not made twice.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from moments import PROMOTING, SEARCHING
from plans import Planned, Row, plan_tries
from tries import Outcome, Try, append_try, compute_digest, describe_fault, read_tries, render_report

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]  # for what rows import
sys.path.append(str(ROOT / "tests" / "benchmarks"))  # last: it has a `bench` too

MODULES = (
    "kills",
    "promotions",
    "interruptions",
    "servers",
    "disks",
    "damages",
    "changes",
    "pairs",
    "clocks",
    "trials",
    "photographs",
)
PHASES = tuple(map(str, dict.fromkeys((*SEARCHING, *PROMOTING))))
RECORD, REPORT = "tries.jsonl", "README.md"


def load_rows() -> list[Row]:
    """All rows, in the order of the table."""
    return [row for name in MODULES for row in importlib.import_module(name).ROWS]


def run_tries(planned: Sequence[Planned], folder: Path, bench, *, digest: str, seed: int, budget_s: float) -> int:
    """Make the tries that are not made yet, until the time is spent. Returns how many it made."""
    done = {(each.row, each.number) for each in read_tries(folder / RECORD, digest)}
    left = [each for each in planned if (each.row.name, each.number) not in done]
    begun, made = time.monotonic(), 0
    for each in left:
        if time.monotonic() - begun >= budget_s:
            break
        started = time.monotonic()
        outcome = play(each, bench, seed)
        wall_s = round(time.monotonic() - started, 1)
        append_try(folder / RECORD, Try(digest, each.row.name, each.number, each.case, wall_s, outcome, name_place()))
        made += 1
        told = outcome.skipped or describe_fault(outcome) or "nothing found"
        print(f"{each.row.name} {each.number} ({each.case}): {told} ({wall_s:.0f} s)", flush=True)
    return made


def name_place() -> str:
    """The day and the machine, in words."""
    from harness import describe_machine

    machine = describe_machine()
    return f"{machine['date']}, {machine['cores']} cores of {machine['cpu']}, {machine['versions']}"


def play(planned: Planned, bench, seed: int) -> Outcome:
    """Make one try. A fault of the harness is told as one, and costs no other try."""
    try:
        return planned.row.play(bench, planned.case, planned.number, planned.draw_random(seed))
    except Exception as error:
        return Outcome(endings=[f"the harness failed: {type(error).__name__}: {error}"])


def write_report(rows: Sequence[Row], folder: Path, digest: str) -> None:
    """The table of all that was tried with these sources."""
    tries = read_tries(folder / RECORD, digest)
    (folder / REPORT).write_text(render_report(rows, tries, digest, PHASES))


def choose_rows(rows: Sequence[Row], names: str | None) -> list[Row]:
    """Those that are named, or all.

    Raises:
        SystemExit: one is unknown.
    """
    wanted = [row.name for row in rows] if names is None else names.split(",")
    if unknown := sorted(set(wanted) - {row.name for row in rows}):
        known = ", ".join(row.name for row in rows)
        raise SystemExit(f"rows must be of {known}, but got {', '.join(unknown)}; name those with commas between")
    return [row for row in rows if row.name in wanted]


def main() -> int:
    """Make tries, and write the table."""
    from search.planning.options import parse_duration

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", type=parse_duration, default=float("inf"), help="90s, 30m, 2h; default: no end")
    parser.add_argument("--rows", help="names with commas between; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--report", action="store_true", help="try nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reliability", help="folder of the table")
    parser.add_argument("--work", type=Path, help="folder of the searches; default: a temporary one of these sources")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a try's processes are ended
    rows, digest = load_rows(), compute_digest(ROOT)
    chosen = choose_rows(rows, options.rows)
    if not options.report:
        from bench import Bench

        # short: Ray's sockets may stand below it
        bench = Bench(options.work or Path(tempfile.gettempdir()) / f"ft-{digest[:8]}", digest)
        bench.prepare()
        planned = plan_tries(chosen, options.seed)
        run_tries(planned, options.out, bench, digest=digest, seed=options.seed, budget_s=options.budget)
    options.out.mkdir(parents=True, exist_ok=True)
    write_report(rows, options.out, digest)
    print(f"report: {options.out / REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
