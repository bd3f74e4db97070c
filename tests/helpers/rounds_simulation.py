"""Do early re-runs pay? Candidates of known truth, trained again in rounds, some of them dropped on the way.

python tests/helpers/rounds_simulation.py --out results/promotion_statistics

Networks and images are drawn as in `judging_simulation.py`. C candidates, S seeds, N images, K categories. A point is
0.01.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from judging_simulation import SCORE, Truth, holds, render_table

from search.statistics.crossfit import assign_folds, cross_fit, find_best
from search.statistics.intervals import estimate_score
from search.statistics.rounds import LEAST_SEEDS, count_looks, find_sure_losers, share_error

COUNT, IMAGES, MOST = 4, 500, 6  # candidates, images, seeds at most
ERROR = 0.05  # with which a test drops the best
SPREADS, SEED_SDS = (0.0, 0.5, 1.0, 2.0), (0.4, 0.8)  # of true scores, and of a network's over seeds, points
SEED = 20261128
Drop = Callable[[Sequence[np.ndarray], np.ndarray, int], Sequence[int]]


@dataclass(frozen=True)
class Way:
    """How candidates are trained again.

    Args:
        seeds: of those that stay. drop: scores so far [S, N] each, folds, seeds -> positions of those that leave; None:
            all stay.
    """

    words: str
    seeds: int
    drop: Drop | None = None


def drop_by_test(scores: Sequence[np.ndarray], folds: np.ndarray, seeds: int) -> Sequence[int]:
    """Those that the product drops."""
    if not LEAST_SEEDS <= max(map(len, scores)) < LEAST_SEEDS + count_looks(seeds):
        return []
    return find_sure_losers(scores, folds, share_error(ERROR, COUNT, seeds))


def drop_half(scores: Sequence[np.ndarray], folds: np.ndarray, seeds: int) -> Sequence[int]:
    """The worse half after the first round, by rank: successive halving."""
    if max(map(len, scores)) > 1:
        return []
    return np.argsort([each.mean() for each in scores])[: len(scores) // 2].tolist()


WAYS = (
    Way("all, 3 seeds", 3),
    Way("sure losers leave, 3 seeds", 3, drop_by_test),
    Way("half leave after one, 3 seeds", 3, drop_half),
    Way("all, 6 seeds", 6),
    Way("sure losers leave, 6 seeds", 6, drop_by_test),
    Way("half leave after one, 6 seeds", 6, drop_half),
)


def run_rounds(way: Way, scores: Sequence[np.ndarray], folds: np.ndarray) -> tuple[list[int], int]:
    """Candidates that are left, and how many trainings that took. scores: [S, N] of each with all its seeds."""
    left, trainings = list(range(len(scores))), 0
    for seeds in range(1, way.seeds + 1):
        trainings += len(left)
        if way.drop is None or seeds == way.seeds:
            continue
        lost = {left[place] for place in way.drop([scores[each][:seeds] for each in left], folds, way.seeds)}
        left = [each for each in left if each not in lost]
    return left, trainings


def measure_way(way: Way, spread: float, seed_sd: float, repetitions: int) -> dict[str, float]:
    """What a way to train again spends, loses and says of the networks that it chooses.

    `trainings`: mean; `lost`: true score of the best less that of the recipe chosen, points; `dropped`: share in which
    the best left; `bias`, points, and `held`: of the cross-fitted score of the chosen networks and its interval over
    images, against their true score.
    """
    rng = np.random.default_rng([SEED, round(1000 * spread), round(1000 * seed_sd)])  # the same draws for all ways
    folds = assign_folds(np.arange(IMAGES), seed=0)
    rows: dict[str, list[float]] = {}
    for _ in range(repetitions):
        truth = Truth(SCORE + spread / 100 * rng.standard_normal(COUNT), seed_sd)
        drawn = truth.draw(rng, MOST, IMAGES)
        scores = list(drawn.scores)
        left, trainings = run_rounds(way, scores, folds)
        kept = [scores[each][: way.seeds] for each in left]
        chosen = left[find_best(kept, np.arange(IMAGES))]
        by_images = cross_fit(lambda images, kept=kept: kept[find_best(kept, images)], folds)
        real = drawn.expected[chosen, : way.seeds].mean()
        found = {
            "trainings": float(trainings),
            "lost": 100 * (truth.scores.max() - truth.scores[chosen]),
            "dropped": float(int(truth.scores.argmax()) not in left),
            "held": float(holds(estimate_score(by_images, None), real)),
            # what all candidates share by the luck of these images is 0 in the mean, and only blurs a bias
            "bias": 100 * (by_images.mean() - real - (drawn.scores.mean() - drawn.expected.mean())),
        }
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    means = {name: float(np.mean(values)) for name, values in rows.items()}
    errors = {f"{name}_error": float(np.std(rows[name])) / math.sqrt(repetitions) for name in ("lost", "bias")}
    return means | errors


def describe_savings(rows: Sequence[dict[str, float | str]], way: Way) -> str:
    """What a way saves against that in which all stay, and what it loses, over all rows, in a sentence."""
    base = next(each for each in WAYS if each.drop is None and each.seeds == way.seeds)
    ours, theirs = ([row for row in rows if row["way"] == each.words] for each in (way, base))
    pairs = list(zip(ours, theirs, strict=True))
    saved = [1 - float(own["trainings"]) / float(other["trainings"]) for own, other in pairs]
    lost = [float(own["lost"]) - float(other["lost"]) for own, other in pairs]
    return (
        f"{way.words.capitalize()}: {min(saved):.0%} to {max(saved):.0%} fewer trainings than with all, and "
        f"{min(lost):+.3f} to {max(lost):+.3f} points lost beside that."
    )


def render_report(rows: Sequence[dict[str, float | str]], repetitions: int) -> str:
    """The table as markdown."""
    head = ["spread", "seed SD", "how", "trainings", "lost, points", "best dropped", "bias, points", "held"]
    table = [
        [
            f"{row['spread']}",
            f"{row['seed_sd']}",
            str(row["way"]),
            f"{row['trainings']:.2f}",
            f"{row['lost']:.3f} ± {row['lost_error']:.3f}",
            f"{row['dropped']:.1%}",
            f"{row['bias']:+.3f} ± {row['bias_error']:.3f}",
            f"{row['held']:.1%}",
        ]
        for row in rows
    ]
    parts = [
        "# Do early re-runs pay?",
        f"{COUNT} candidates of known truth are trained again in rounds, a seed each, and judged on {IMAGES} images; "
        f"{repetitions:,} promotions a row, the same draws for all ways of one spread and seed SD. Some leave on the "
        f"way: *sure losers* as `--drop-error {ERROR}` has it, from two seeds on; *half* by rank, after one seed. The "
        "rows as CSV lie beside this file. Made by",
        f"    python tests/helpers/rounds_simulation.py --repetitions {repetitions}",
        render_table(head, table),
        *(describe_savings(rows, way) for way in WAYS if way.drop is not None),
        "*spread*: standard deviation of the candidates' true scores, in points; *seed SD*: of a network's score over "
        "seeds. *lost*: true score of the best recipe less that of the chosen one. *best dropped*: the truly best one "
        f"left on the way; where sure losers leave, at most {ERROR:.0%} were meant. *bias*, *held*: of the "
        "cross-fitted score of the networks chosen, and of its 95% interval over images, against their true score. "
        "± is one standard error.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/promotion_statistics"), help="folder of the table")
    parser.add_argument("--repetitions", type=int, default=1000, help="a row")
    given = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    for spread in SPREADS:
        for seed_sd in SEED_SDS:
            for way in WAYS:
                cell: dict[str, float | str] = {"spread": spread, "seed_sd": seed_sd, "way": way.words}
                cell["repetitions"] = float(given.repetitions)
                rows.append(cell | measure_way(way, spread, seed_sd, given.repetitions))
                print(rows[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "rounds.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )
    (given.out / "ROUNDS.md").write_text(render_report(rows, given.repetitions), encoding="utf-8")


if __name__ == "__main__":
    main()
