"""Does a search find more for the same pixels if its first rung sees smaller images?

python tests/benchmarks/replay_sizes.py

Successive halving on the recorded configurations that have all three trainings: at 128 px, at 96 px, and at 96 px for
three epochs and at 128 px for the other five. Some are drawn, all are trained to a rung, the best third goes on to the
end, and the best there is taken. What is spent is counted in pixels, in full trainings at the full size. D draws, C
configurations drawn, R recorded, E epochs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LINES = Path(__file__).resolve().parents[2] / "results/curves/lite0.jsonl"
FULL, SMALL, GROWING = GROUPS = ("full", "small", "growing")
SIZES = {FULL: 128, SMALL: 96}
CHANGE = 3  # epochs of `growing` at the small size
DRAWN, DRAWS, KEEP = 9, 4000, 3  # configurations of a search; searches; one of so many goes on
SCORE = "val/accuracy"


@dataclass(frozen=True)
class Way:
    """Where the rung is, and what is trained before and after it.

    Args:
        before, after: groups of the recordings. rung: the epoch after which is chosen; None: all train to the end.
        anew: what goes on begins at its first epoch again: the small training before was a look alone.
    """

    before: str
    after: str
    rung: int | None
    anew: bool = False

    @property
    def words(self) -> str:
        """As a row of the table."""
        if self.rung is None:
            return f"all to the end at {SIZES[self.after]} px"
        end = f"then {SIZES[FULL]} px" + (" from the beginning" if self.anew else "")
        return f"{self.rung} epoch{'s' * (self.rung > 1)} at {SIZES[self.before]} px, {end}"


WAYS = (
    Way(FULL, FULL, None),
    *(Way(FULL, FULL, rung) for rung in (1, 2, 3)),
    *(Way(SMALL, FULL, rung, anew=True) for rung in (1, 2, 3)),
    Way(SMALL, GROWING, CHANGE),
)


def load_scores(path: Path) -> dict[str, np.ndarray]:
    """[R, E] by group, of the configurations that have all three, in one order."""
    found: dict[str, dict[str, list[float]]] = {group: {} for group in GROUPS}
    for text in path.read_text().splitlines()[1:]:
        line = json.loads(text)
        number, _, group = line["name"].partition("-")
        if line["status"] == "finished" and group in found:
            found[group][number] = [epoch["metrics"][SCORE] for epoch in line["epochs"]]
    common = sorted(set.intersection(*(set(each) for each in found.values())))
    return {group: np.array([each[number] for number in common]) for group, each in found.items()}


def draw_searches(count: int, seed: int = 0) -> np.ndarray:
    """[D, C] which configurations each search draws, none twice."""
    return np.random.default_rng(seed).random((DRAWS, count)).argsort(1)[:, : min(DRAWN, count)]


def run_ways(way: Way, scores: Mapping[str, np.ndarray], drawn: np.ndarray) -> tuple[float, np.ndarray]:
    """What a search spends, in full trainings, and [D] the regret of each, in points.

    Regret is of the configuration taken, trained at the full size as a promotion trains it again, from the best drawn.
    """
    truth, epochs = scores[FULL][:, -1][drawn], scores[FULL].shape[1]
    last = scores[way.after][:, -1][drawn]
    count = drawn.shape[1]
    if way.rung is None:
        spent, kept = float(count), np.ones_like(last, bool)
    else:
        early = scores[way.before][:, way.rung - 1][drawn]
        going = max(count // KEEP, 1)
        kept = np.zeros_like(last, bool)
        np.put_along_axis(kept, np.argsort(-early, axis=1, kind="stable")[:, :going], values=True, axis=1)
        share = (SIZES[way.before] / SIZES[FULL]) ** 2
        left = epochs if way.anew else epochs - way.rung
        spent = (count * way.rung * share + going * left) / epochs
    taken = np.where(kept, last, -np.inf).argmax(1)
    return spent, 100 * (truth.max(1) - np.take_along_axis(truth, taken[:, None], axis=1)[:, 0])


def jackknife(way: Way, other: Way, scores: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The mean regret of one way less that of another, and its standard error: each configuration left out in turn."""
    count = len(scores[FULL])

    def measure(rows: Sequence[int]) -> float:
        chosen = {group: each[list(rows)] for group, each in scores.items()}
        drawn = draw_searches(len(rows))
        return float(run_ways(way, chosen, drawn)[1].mean() - run_ways(other, chosen, drawn)[1].mean())

    without = np.array([measure([row for row in range(count) if row != left]) for left in range(count)])
    error = float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    return measure(range(count)), error


def render_table(scores: Mapping[str, np.ndarray]) -> str:
    """The table as markdown: cheapest first."""
    drawn, base = draw_searches(len(scores[FULL])), Way(FULL, FULL, 1)
    head = ["first rung", "full trainings", "regret, points", "finds the best", "less one epoch at 128 px"]
    rows = []
    for way in WAYS:
        spent, regrets = run_ways(way, scores, drawn)
        gap, error = jackknife(way, base, scores)
        told = "" if way == base else f"{gap:+.2f} (standard error {error:.2f})"
        rows.append((spent, [way.words, f"{spent:.2f}", f"{regrets.mean():.2f}", f"{(regrets <= 0).mean():.0%}", told]))
    lines = [head, ["---"] * len(head), *(cells for _, cells in sorted(rows, key=lambda row: row[0]))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--curves", type=Path, default=LINES, help="recordings of record_curves.py")
    scores = load_scores(parser.parse_args().curves)
    print(f"{len(scores[FULL])} configurations, {min(DRAWN, len(scores[FULL]))} of them drawn {DRAWS:,} times")
    print(render_table(scores))


if __name__ == "__main__":
    main()
