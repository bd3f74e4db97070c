"""The benchmarks: all of them, or some, resumed where they were cut off.

python tests/benchmarks/bench.py                  # all; hours, on a machine that rests
python tests/benchmarks/bench.py --rows 1,4       # some
python tests/benchmarks/bench.py --quick          # in three minutes: a quick look at all but row 2
python tests/benchmarks/bench.py --report         # write the report again from the raw numbers
python tests/benchmarks/bench.py --before FOLDER  # with `ours` of the commit that is checked out there as one more peer
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from harness import SLOWNESS, VariantFailed, load_row, measure_row, measure_slowness, render_report, run_variant

ROWS = (
    "trial_overhead",
    "bookkeeping",
    "tracking",
    "data",
    "training_step",
    "whole_search",
    "scale",
    "start",
    "neighbour",
)
QUICK_ROWS = tuple(name for name in ROWS if name != "bookkeeping")  # 16 workers take a minute to start
RESULTS = Path(__file__).resolve().parents[2] / "results"
PROGRESS = ".progress.json"  # rows finished since the last whole run; a row in it is not measured again


def run_rows(
    names: list[str], folder: Path, repeats: int | None, *, quick: bool, before: Path | None = None
) -> list[str]:
    """Measure rows one after another; a row that an earlier call finished, or began, is not measured twice.

    Args:
        before: a checkout of another commit.

    Returns:
        What failed, a line a row. The other rows are measured all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / PROGRESS
    states = json.loads(progress.read_text()) if progress.is_file() else {}
    failures = []
    for name in names:
        row, path, log = load_row(name), folder / f"{name}.csv", folder / f"{name}.log"
        if states.get(name) == "done":
            print(f"{name}: measured already; delete {progress} to measure it again")
            continue
        if name not in states:
            path.unlink(missing_ok=True)
        states[name] = "begun"
        progress.write_text(json.dumps(states))
        log.unlink(missing_ok=True)
        try:
            measure_row(row, path, repeats or (1 if quick else row.repeats), quick=quick, before=before)
        except VariantFailed as error:
            log.write_text(error.output)
            failures.append(f"row {row.number} failed: {error}; all of its output: {log}")
            print(failures[-1], flush=True)
        else:
            states[name] = "done"
            progress.write_text(json.dumps(states))
        write_report(folder)
    if all(states.get(name) == "done" for name in names):
        progress.unlink(missing_ok=True)
    return failures


def write_report(folder: Path) -> None:
    (folder / "README.md").write_text(render_report([load_row(name) for name in ROWS], folder))


def read_names(text: str) -> list[str]:
    names = [ROWS[int(part) - 1] if part.isdigit() and 0 < int(part) <= len(ROWS) else part for part in text.split(",")]
    if unknown := [name for name in names if name not in ROWS]:
        raise argparse.ArgumentTypeError(
            f"rows are numbers from 1 to {len(ROWS)} or {', '.join(ROWS)}, but got {', '.join(unknown)}"
        )
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=read_names, help="numbers or names, with commas between; default: all")
    parser.add_argument("--repeats", type=int, help="of every row; default: its own, 3 or 5")
    parser.add_argument(
        "--quick", action="store_true", help="one repeat, small, against one peer; into results/.bench-quick"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--before", type=Path, help="a checkout of another commit, whose `ours` is measured in turn")
    parser.add_argument("--out", type=Path, help="folder of the raw numbers and the report")
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("variant", help="one variant, in this process; what the others start")
    one.add_argument("row", choices=ROWS)
    one.add_argument("variant")
    one.add_argument("--case", default="")
    one.add_argument("--repeat", type=int, default=0)
    one.add_argument("--quick", action="store_true")
    one.add_argument("--outcome", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "variant":
        run_variant(options.row, options.variant, options.case, options.repeat, options.quick, options.outcome)
        return 0
    folder = options.out or RESULTS / (".bench-quick" if options.quick else "benchmarks")
    failures = []
    if options.report:
        write_report(folder)
    else:
        if options.quick:
            os.environ[SLOWNESS] = str(slowness := measure_slowness())
            print(f"times of the quick forms: {slowness:.1f} times those of two cores at rest", flush=True)
        rows = options.rows or list(QUICK_ROWS if options.quick else ROWS)
        failures = run_rows(rows, folder, options.repeats, quick=options.quick, before=options.before)
    print("\n".join([*failures, f"report: {folder / 'README.md'}"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
