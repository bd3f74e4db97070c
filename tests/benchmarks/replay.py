"""Ways to search, replayed on recorded learning curves: how near to the best each comes, and for how many trainings.

python tests/benchmarks/replay.py                # half an hour; into results/benchmarks/
python tests/benchmarks/replay.py --quick        # a quick look, into results/.bench-quick
python tests/benchmarks/replay.py --report       # write the report again from replay.csv
python tests/benchmarks/replay.py --pause-epochs 0.3 --out DIR   # going on after a pause costs that, see pauses.py

A search that replay.csv holds is not run again: delete that file to begin anew, as after a change of what is replayed.
The recordings are split by configuration before anything is replayed, and a surface is fitted to each half: rungs,
samplers and forms are compared on the first (`choose`), and the tables that set the product beside others are of the
second (`table`). The product's own study and decisions are driven, and other libraries' own objects.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from functools import cache
from itertools import groupby
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy: every process has one core

import optuna  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from replay_clock import Trace, replay  # noqa: E402
from replay_curves import Recordings, load_lines, load_table  # noqa: E402
from replay_methods import (  # noqa: E402
    PASHA,
    Build,
    ComparableTPE,
    RandomDraws,
    SobolDraws,
    build_halving,
    build_hyperband,
    build_pausing,
    build_plain,
    build_product,
    build_promotion,
    build_top_k,
)
from replay_peers import OptunaHyperband, RayASHA, build_syne_tune, has_syne_tune  # noqa: E402
from replay_report import NEVER, write_report  # noqa: E402
from replay_surface import RawWorld, Surface, World  # noqa: E402

SPLIT_SEED = 0
BUDGETS = (20, 60)  # full trainings
SHARES = (0.1, 0.25, 0.5, 1.0)  # of a budget, at which the regret is read
POINTS = (0.8, 0.7, 0.6)  # of regret
WORKERS = (1, 8)
SEEDS, QUICK_SEEDS = 30, 2
SLOW_SEEDS = {"Syne Tune BOHB": 10}  # of a method that draws so slowly that all seeds would take as long as all others
LINES, TABLE = REPOSITORY / "results/curves/lite0.jsonl", REPOSITORY / "results/curves/probe.parquet"

RUNGS = {"lite0": ((1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (3, 3)), "probe": ((1, 3), (3, 3), (4, 2), (4, 3), (9, 3))}
FORMS: dict[str, Build] = {  # first rung and factor: RUNGS of the recordings
    f"{form}, first rung {grace}, factor {factor}, {sampler}": build(drawn, grace, factor)
    for form, sampler, drawn, build in (
        ("stopping", "random", "random", build_product),
        ("promotion", "random", "random", build_pausing),
        ("promotion", "Sobol, then TPE from 10", "tpe", build_pausing),
    )
    for grace, factor in sorted({pair for pairs in RUNGS.values() for pair in pairs})
}
CHOICES: dict[str, Build] = {
    "random, none stopped": build_product("random"),
    "Sobol, then TPE, none stopped": build_product("tpe"),
    **FORMS,
    "stopping, first rung 1, factor 3, TPE told of all": build_plain,
    "stopping, first rung 1, factor 3, Sobol, then TPE told of all": build_product("tpe", 1),
    "promotion, first rung 1, factor 3, Sobol": build_promotion(SobolDraws, 1),
    "promotion, first rung 1, factor 3, TPE from 10": build_promotion(ComparableTPE, 1),
    "promotion, first rung 1, factor 3, Sobol, then joint TPE from 10": build_promotion(
        lambda *of: ComparableTPE(*of, is_spread=True, is_joint=True), 1
    ),
    "promotion, first rung 1, factor 3, TPE from 30": build_promotion(lambda *of: ComparableTPE(*of, enough=30), 1),
}
SAMPLED = {  # none of them learns from parameters: they can be replayed on raw curves too
    "stopping ASHA, random": build_product("random", 1),
    "random": build_product("random"),
    "promotion ASHA, random": build_promotion(RandomDraws, 1),
    "PASHA": build_promotion(RandomDraws, 1, form=PASHA),
    "one epoch, then the best": build_top_k,
    "successive halving": build_halving,
    "Hyperband": build_hyperband,
}
PEERS: dict[str, Build] = {
    "ours": build_pausing("tpe", 1),
    "ours until 0.2": build_plain,
    **SAMPLED,
    "promotion ASHA, Sobol": build_promotion(SobolDraws, 1),
    "promotion ASHA, TPE": build_promotion(ComparableTPE, 1),
    "promotion ASHA, Sobol, then TPE": build_promotion(lambda *of: ComparableTPE(*of, is_spread=True), 1),
    "Optuna": OptunaHyperband,
    "Ray Tune": RayASHA,
    **({f"Syne Tune {name}": build_syne_tune(name) for name in ("ASHA", "BOHB")} if has_syne_tune() else {}),
}
METHODS = {"choose": CHOICES, "table": PEERS, "raw": SAMPLED}
SHORT = tuple(method for method in CHOICES if "TPE" in method)  # for the first budget alone: they draw slowly
KNOWS_BUDGET = ("one epoch, then the best",)  # these search otherwise for another budget


@dataclass(frozen=True)
class Case:
    """One search.

    Args:
        data: name of the recordings. part: choose, table, or raw: the second half's curves as they are.
    """

    data: str
    part: str
    method: str
    workers: int
    seed: int


COLUMNS = (
    *(each.name for each in fields(Case)),
    "trials",
    *(f"{share * budget:g} of {budget}" for budget in BUDGETS for share in SHARES),
    *(f"until {points}" for points in POINTS),
)


def list_files() -> dict[str, Path]:
    """Recordings that are there, by name."""
    return {"lite0": LINES, **({"probe": TABLE} if TABLE.is_file() else {})}


@cache
def load_recordings(data: str) -> Recordings:
    """By name."""
    return load_lines(LINES) if data == "lite0" else load_table(TABLE, "probe")


@cache
def load_half(data: str, part: str) -> Recordings:
    """The half that a part is replayed on."""
    first, second = load_recordings(data).split(SPLIT_SEED)
    return first if part == "choose" else second


@cache
def load_surface(data: str, part: str) -> Surface:
    """The surface of a half."""
    return Surface(load_half(data, part))


def run_case(case: Case, pause_epochs: float = 0.0) -> dict[str, str | int]:
    """A row of `replay.csv`: regrets in points after some full trainings, full trainings until a regret.

    pause_epochs: see `replay_clock.replay`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    half, build = load_half(case.data, case.part), METHODS[case.part][case.method]

    def search(budget: int) -> Trace:
        is_raw = case.part == "raw"
        world = RawWorld(half, case.seed) if is_raw else World(load_surface(case.data, case.part), case.seed)
        epochs = budget * half.max_epochs
        method = build(half.space, half.max_epochs, epochs, case.seed)
        return replay(method, world, case.workers, epochs, case.seed, pause_epochs)

    budgets = BUDGETS[:1] if case.method in SHORT else BUDGETS
    whole = search(budgets[-1])
    row: dict[str, str | int] = {**asdict(case), "trials": whole.trials}
    for budget in budgets:
        trace = search(budget) if case.method in KNOWS_BUDGET and budget != budgets[-1] else whole
        for share in SHARES:
            row[f"{share * budget:g} of {budget}"] = f"{trace.at(round(share * budget * half.max_epochs)):.4f}"
    for points in POINTS if budgets == BUDGETS else ():
        found = whole.find(points)
        row[f"until {points}"] = NEVER if found is None else f"{found / half.max_epochs:.3f}"
    return row


def list_cases(names: list[str], parts: list[str], seeds: int) -> Iterator[Case]:
    """By seed: the methods of one share draws and curves."""
    for data in names:
        for part in parts:
            methods = [method for method in METHODS[part] if method not in FORMS or has_rungs(method, data)]
            for seed in range(seeds):
                for method in methods:
                    if seed < SLOW_SEEDS.get(method, seeds):
                        yield from (Case(data, part, method, workers, seed) for workers in WORKERS)


def has_rungs(method: str, data: str) -> bool:
    """Whether a form is tried with its rungs on these recordings."""
    return any(f"first rung {grace}, factor {factor}," in method for grace, factor in RUNGS[data])


def run_all(cases: list[Case], path: Path, pause_epochs: float) -> None:
    """Run what the file does not hold yet, each row written as it comes; then put the rows in order."""
    known = {read_case(row): row for row in read_rows(path)}
    missing = [case for case in cases if case not in known]
    together = [list(group) for _, group in groupby(missing, lambda case: (case.data, case.part, case.seed))]
    with path.open("a", newline="") as file, ProcessPoolExecutor() as pool:
        for future in as_completed([pool.submit(run_cases, group, pause_epochs) for group in together]):
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerows(future.result())
            file.flush()
    rows = sorted(
        read_rows(path),
        key=lambda row: (row["data"], row["part"], row["method"], int(row["workers"]), int(row["seed"])),
    )
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def run_cases(cases: list[Case], pause_epochs: float) -> list[dict[str, str | int]]:
    """One after another, in one process."""
    return [run_case(case, pause_epochs) for case in cases]


def read_case(row: dict[str, str]) -> Case:
    """Whose row it is."""
    return Case(row["data"], row["part"], row["method"], int(row["workers"]), int(row["seed"]))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Of `replay.csv`; none where there is none."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=list(list_files()), default=list(list_files()))
    parser.add_argument("--parts", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--methods", nargs="+", help="by name; default: all")
    parser.add_argument("--seeds", type=int, help=f"of every method; default: {SEEDS}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SEEDS} seeds; into results/.bench-quick")
    parser.add_argument("--out", type=Path, help="folder of the raw numbers and the report")
    parser.add_argument("--report", action="store_true", help="replay nothing")
    parser.add_argument(
        "--pause-epochs",
        type=float,
        default=0.0,
        help="what going on after a pause costs, in epochs, see pauses.py; needs --out: a folder holds one such cost",
    )
    options = parser.parse_args()
    if options.pause_epochs and not options.out:
        parser.error("--pause-epochs needs --out: the rows of another cost of pauses must not be mixed with it")
    folder = options.out or REPOSITORY / "results" / (".bench-quick" if options.quick else "benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "replay.csv"
    if not options.report:
        begun = time.monotonic()
        cases = list(
            list_cases(options.data, options.parts, options.seeds or (QUICK_SEEDS if options.quick else SEEDS))
        )
        chosen = [case for case in cases if options.methods is None or case.method in options.methods]
        run_all(chosen, path, options.pause_epochs)
        print(f"{len(cases)} searches in {time.monotonic() - begun:.0f} s")
    write_report(
        folder / "REPLAY.md", read_rows(path), {name: load_recordings(name) for name in list_files()}, SPLIT_SEED
    )
    print(f"report: {folder / 'REPLAY.md'}")


if __name__ == "__main__":
    main()
