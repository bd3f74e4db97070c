"""Row 2 on several hosts: 1,000 trials of a second, 16 at once, on one host and on four, in one run.

python tests/benchmarks/spread.py --repeats 3      # as root; see tests/helpers/hosts.py

The hosts are network namespaces of this machine (tests/helpers/hosts_cluster.py): a store (moto's S3 server), Ray's
head and a driver without cores. Where the trials run is what differs: one host that says it has 16 cores, or four with
4 each. What is measured, and checked, is what `bookkeeping` measures; the trials sleep. `local` is row 2 itself: no
cluster, and a folder in the place of the store.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers"), str(HERE.parents[1])]

import bookkeeping  # noqa: E402

LAYOUTS = {"one host": (16,), "four hosts": (4, 4, 4, 4)}  # cores of each
LOCAL = "local"
SHARED = "/var/tmp"  # that all hosts have in common: a line a trial is written there
TIMEOUT_S = 900.0


def measure(layout: str, repeat: int, *, quick: bool) -> dict[str, float]:
    """One search on a cluster of this layout, or without one."""
    folder = Path(tempfile.mkdtemp(prefix="spread-", dir=SHARED))
    try:
        if layout == LOCAL:
            return run_inside(folder, repeat, quick=quick)
        from hosts_cluster import open_cluster

        with open_cluster(folder, 0) as cluster:
            for cores in LAYOUTS[layout]:
                cluster.add_worker(cores)
            inside = [sys.executable, __file__, "--inside", folder, "--address", cluster.address]
            inside += ["--storage", cluster.storage, "--seed", repeat, *(["--quick"] if quick else [])]
            printed = cluster.driver.run(inside, environment=cluster.environment, folder=folder, timeout_s=TIMEOUT_S)
            found: dict[str, float] = json.loads(printed.splitlines()[-1])
            return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_inside(folder: Path, seed: int, *, quick: bool, **where: str) -> dict[str, float]:
    """One search, from the machine that starts it. where: see `formula_search.launch`."""
    return bookkeeping.run_case("ours", folder, seed, quick=quick, **where)


def render(found: dict[str, list[dict[str, float]]]) -> str:
    """A table of medians, with all repeats."""
    lines = ["| trials run on | s until all is stored | all repeats | times one host |", "| --- | --- | --- | --- |"]
    base = median(each["seconds"] for each in found["one host"]) if found.get("one host") else float("nan")
    for layout, runs in found.items():
        seconds = [each["seconds"] for each in runs]
        told = ", ".join(f"{value:.1f}" for value in seconds)
        lines.append(f"| {layout} | {median(seconds):.1f} | {told} | {median(seconds) / base:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all layouts in turn, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="60 trials of 0.2 s, 4 at once")
    parser.add_argument("--inside", type=Path, help="of the driver's host: the folder")
    parser.add_argument("--address")
    parser.add_argument("--storage")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.inside is not None:
        where = {"address": options.address, "storage": options.storage}
        print(json.dumps(run_inside(options.inside, options.seed, quick=options.quick, **where)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for repeat in range(options.repeats):
        for layout in (LOCAL, *LAYOUTS):
            found.setdefault(layout, []).append(measure(layout, repeat, quick=options.quick))
            print(f"{layout}: {found[layout][-1]}", file=sys.stderr, flush=True)
    print(render(found))


if __name__ == "__main__":
    main()
