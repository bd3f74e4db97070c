"""What the tables of `make statistics` must show, whatever the number of repetitions; says where they do not.

python tests/helpers/statistics_check.py results/promotion_statistics

A bound is what is claimed, and three standard errors of a share of so many repetitions beyond it.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

INTERVALS = ("of_two", "of_all", "uneven", "score", "gap_same", "gap_other")  # columns of coverage.csv: of 95% each
HOLDS = 0.92, 0.98  # share of 95% intervals that hold the truth
OPENS = 0.06  # a gate that errs in 5% of cases
POWER, POWER_OFF = 0.8, 0.05
FIRST, TENTH = 0.8, 0.5  # a truly better challenger at these tries, of a promotion of five, seeds that differ little
BIAS = 0.1  # points
SLOPE_OFF = 0.05  # of estimated effects over true ones
WIDEST = 1.2  # half width of an effect's interval over the oracle's
DROPPED = 0.05  # the best of all, by a test with that error
ERRORS = 3  # standard errors
OF_RECIPES = (0, 3)  # forms of chains.csv in which recipes are compared, and not networks as they are
SLOPE_SPREAD = 0.1  # standard deviation of a slope over repetitions, about
Row = Mapping[str, float]


def compute_spare(share: float, repetitions: float) -> float:
    """By how much an observed share may miss a true one."""
    return ERRORS * math.sqrt(share * (1 - share) / repetitions)


def check_coverage(row: Row) -> list[str]:
    """Of a row of coverage.csv."""
    count = row["repetitions"]
    spare = compute_spare(0.95, count)
    faults = [
        f"{name} holds the truth in {row[name]:.1%} of cases, where {HOLDS[0]:.0%} to {HOLDS[1]:.0%} is right"
        for name in INTERVALS
        if not HOLDS[0] - spare <= row[name] <= HOLDS[1] + spare
    ]
    if row["opens"] > OPENS + compute_spare(OPENS, count):
        faults.append(f"the gate opens for an equal in {row['opens']:.1%} of cases, where {OPENS:.0%} is allowed")
    if abs(row["power"] - POWER) > POWER_OFF + compute_spare(POWER, count):
        faults.append(f"the gain that the gate names is found in {row['power']:.1%} of cases, not in {POWER:.0%}")
    return faults


def check_choice(row: Row) -> list[str]:
    """Of a row of choice.csv."""
    return [
        f"{name} is off by {row[name]:+.2f} points, where {BIAS} is allowed"
        for name in ("images_network", "both_recipe")
        if abs(row[name]) > BIAS + ERRORS * row["bias_error"]
    ]


def check_chain(row: Row) -> list[str]:
    """Of a row of chains.csv."""
    count, faults = row["repetitions"], []
    claims = (("opens", "equal challengers"), ("no_better", "networks that are no better"))
    for name, who in claims if row["form"] in OF_RECIPES else claims[1:]:
        if row[name] > OPENS + compute_spare(OPENS, count):
            faults.append(f"{who} open the gate in {row[name]:.1%} of chains, where {OPENS:.0%} is allowed")
    if row["form"] in OF_RECIPES and row["pool"] >= 5 and row["seed_sd"] <= 0.4:
        for name, least in (("first", FIRST), ("tenth", TENTH)):
            if row[name] < least - compute_spare(least, count):
                faults.append(f"a better one passes the {name} try in {row[name]:.1%} of chains, not in {least:.0%}")
    return faults


def check_effects(row: Row) -> list[str]:
    """Of a row of effects.csv."""
    count, faults = row.get("repetitions", 400.0), []
    if abs(row["slope"] - 1) > SLOPE_OFF + ERRORS * SLOPE_SPREAD / math.sqrt(count):
        faults.append(f"estimated effects are {row['slope']:.2f} times the true ones")
    spare = compute_spare(0.95, count)
    if not HOLDS[0] - spare <= row["holds"] <= HOLDS[1] + spare:
        faults.append(f"intervals of effects hold the truth in {row['holds']:.1%} of cases")
    if "oracle" in row and not 0.95 <= row["half"] / row["oracle"] <= WIDEST:
        faults.append(f"intervals of effects are {row['half'] / row['oracle']:.2f} times as wide as the oracle's")
    return faults


def check_rounds(row: Row) -> list[str]:
    """Of a row of rounds.csv where sure losers leave."""
    faults = []
    if row["dropped"] > DROPPED + compute_spare(DROPPED, row["repetitions"]):
        faults.append(f"the best is dropped in {row['dropped']:.1%} of cases, where {DROPPED:.0%} is allowed")
    if abs(row["bias"]) > BIAS + ERRORS * row["bias_error"]:
        faults.append(f"the score of what is chosen is off by {row['bias']:+.2f} points")
    return faults


CHECKS: Mapping[str, Callable[[Row], list[str]]] = {
    "coverage.csv": check_coverage,
    "choice.csv": check_choice,
    "chains.csv": check_chain,
    "effects.csv": check_effects,
    "rounds.csv": check_rounds,
}


def read_rows(path: Path) -> list[dict[str, float]]:
    """Numbers of a table by column; of rounds.csv those where sure losers leave."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if "sure losers" in row.get("way", "sure losers")]
    return [{name: float(value) for name, value in row.items() if name != "way" and value} for row in kept]


def find_faults(folder: Path) -> list[str]:
    """Of all tables in a folder, a line each; a table that is not there is one."""
    faults = []
    for name, check in CHECKS.items():
        if not (folder / name).is_file():
            faults.append(f"{name} is not there")
            continue
        for number, row in enumerate(read_rows(folder / name), 1):
            faults += [f"{name}, row {number}: {fault}" for fault in check(row)]
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the tables")
    faults = find_faults(parser.parse_args().folder)
    print("\n".join(faults) or "every table shows what is claimed")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
