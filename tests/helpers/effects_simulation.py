"""Do the effects of a search hold the truth? Trials with planted effects, drawn again and again.

python tests/helpers/effects_simulation.py --out results/promotion_statistics

A trial's chance of a right answer on an image is BASE + the effects of its parameters + its own noise (its seed's) +
the image's own + what the image makes of the parameters, the last two 0 in the mean over all images. Under ASHA,
effects grow with the rungs, and a trial keeps a part of its noise from one rung to the next.
T trials, N images, K categories, P columns, Q effects.
"""

from __future__ import annotations

import argparse
import csv
import math
from bisect import insort
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from search.reporting.effects import IS_THERE, build_design
from search.space.rungs import compute_cutoff
from search.statistics.effects import Design, Effects, Rung, count_wanted, estimate_effects

BASE = 0.75
NOISE = 0.008  # standard deviation of a trial's score over seeds
KEPT = 0.65  # share of its noise that a trial keeps from a rung to the next
IMAGES, CATEGORIES = 400, 2
IMAGE_SD, SHIFT_SD = 0.1, 0.04  # of an image's own chance, and of what an image makes of a column
CLASSES = {"backbone": ("r", "s", "t"), "fc_layers": (0, 2, 4), "batch_size": (512, 1024)}
PLANTED = {  # of the columns of a design, in its own units; a parameter not named does nothing
    "backbone": (0.007, 0.011),
    "fc_layers": (0.004, -0.031),
    "lr": (0.020, -0.025),
    "batch_size": (-0.013,),
    "dropout": (-0.005, 0.0),
    "momentum": (0.006, 0.0),
    "nesterov_decay": (0.012, -0.008),
    "nesterov_decay" + IS_THERE: (0.008,),
}
EARLY = {"fc_layers": 0.6, "lr": 1.5}  # of these effects at the first rung, of the others 0.8
COUNTS = (30, 60, 320)
STOPPED = ((60, 2), (120, 2), (320, 2), (320, 3))  # trials and rungs
OF_TWO = ((60, 1), (120, 1), (320, 1), (320, 2))  # the same, where a parameter hangs on two others
SEED = 20261127


def draw_trials(rng: np.random.Generator, count: int, *, has_two_parents: bool = False) -> list[dict[str, Any]]:
    """Parameters of a random search; two of three trials have `momentum`.

    Args:
        has_two_parents: there is a parameter that only trials have which have certain values of two others: 4 of 9.
    """
    trials = []
    for _ in range(count):
        trial = {name: values[rng.integers(len(values))] for name, values in CLASSES.items()}
        trial |= {"lr": float(10 ** rng.uniform(-4, -2)), "gamma": float(rng.uniform(0, 5))}
        trial |= {"dropout": float(rng.uniform(0, 0.5))}
        if trial["backbone"] != "r":
            trial["momentum"] = float(rng.uniform(0.5, 1))
        if has_two_parents and trial["backbone"] != "r" and trial["fc_layers"] != 0:
            trial["nesterov_decay"] = float(rng.uniform(0, 1))
        trials.append(trial)
    return trials


class Planted:
    """Trials of known effects and what they answer.

    Args:
        rungs: 1 where none is stopped.
        reduction_factor: of ASHA.
        has_two_parents: see `draw_trials`.

    Attributes:
        at_rung: [R, Q] the true effects.
        rungs: what estimators get.
        correct: [T, N, K].
    """

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        rungs: int = 1,
        reduction_factor: int = 3,
        *,
        has_two_parents: bool = False,
    ) -> None:
        trials = draw_trials(rng, count, has_two_parents=has_two_parents)
        names = [*CLASSES, "lr", "gamma", "dropout", "momentum", "nesterov_decay"]
        self.design = build_design(trials, names, [])
        matrix = self.design.matrix
        shares = np.linspace(0, 1, rungs) if rungs > 1 else np.ones(1)
        self.weights = np.zeros((rungs, matrix.shape[1]))
        for name, places in self.design.columns.items():
            early = EARLY.get(name, 0.8)
            self.weights[:, places] = np.outer(early + (1 - early) * shares, PLANTED.get(name, (0.0,) * len(places)))
        self.differences = np.stack([difference for *_, difference in self.design.effects])
        self.at_rung = self.weights @ self.differences.T
        shifts = rng.normal(0, SHIFT_SD, (IMAGES, matrix.shape[1])) / math.sqrt(matrix.shape[1])
        self.shift_variance = SHIFT_SD**2 / matrix.shape[1]
        own = rng.normal(0, IMAGE_SD, (IMAGES, CATEGORIES))
        noise, scores, answers = np.zeros(count), [], []
        for rung in range(rungs):
            fresh = rng.normal(0, NOISE * (math.sqrt(1 - KEPT**2) if rung else 1), count)
            noise = (KEPT * noise if rung else 0.0) + fresh
            chance = BASE + (matrix @ self.weights[rung] + noise)[:, None] + matrix @ shifts.T  # [T, N]
            drawn = rng.random((count, IMAGES, CATEGORIES)) < chance[:, :, None] + own
            answers.append(drawn)
            scores.append(np.concatenate([drawn.mean((1, 2))[:, None], drawn.mean(1)], 1))
        reached, self.correct = np.ones((rungs, count), bool), answers[-1].copy()
        for rung in range(rungs - 1):
            seen: list[float] = []
            for trial in np.flatnonzero(reached[rung]):
                score = float(scores[rung][trial, 0])
                cutoff = compute_cutoff(seen, reduction_factor)
                insort(seen, score)
                if cutoff is not None and score < cutoff:
                    reached[rung + 1 :, trial] = False
                    self.correct[trial] = answers[rung][trial]
        self.rungs = [Rung(np.flatnonzero(found), each[found]) for found, each in zip(reached, scores, strict=True)]

    def compute_oracle(self) -> np.ndarray:
        """[Q] half widths of who knows which columns matter, and every variance; of the first outcome."""
        matrix = self.design.matrix
        matter = np.flatnonzero(self.weights[-1])
        chance = np.clip(BASE + matrix @ self.weights[-1], 0, 1)
        rest = float(np.mean(chance * (1 - chance)) - IMAGE_SD**2) / CATEGORIES / IMAGES
        halves = []
        for difference in self.differences:
            kept = sorted({0, *matter.tolist(), *np.flatnonzero(difference).tolist()})
            weights = difference[kept] @ np.linalg.pinv(matrix[:, kept])
            shift = difference @ difference * self.shift_variance / IMAGES
            halves.append(float(ndtri(0.975)) * math.sqrt(weights @ weights * (NOISE**2 + rest) + shift))
        return np.array(halves)


def measure(
    count: int, repetitions: int, rungs: int = 1, seed: int = SEED, *, has_two_parents: bool = False
) -> dict[str, float]:
    """How often the 95% intervals hold the truth, their mean half width (points), that of the oracle, and the slope of
    estimates over truth (1: not shrunk), of the estimator and of plain least squares among who reached the last rung.
    """
    rng = np.random.default_rng([seed, count, rungs])
    rows: dict[str, list[float]] = {}
    for _ in range(repetitions):
        planted = Planted(rng, count, rungs, has_two_parents=has_two_parents)
        last = max(
            n for n, rung in enumerate(planted.rungs) if n == 0 or len(rung.rows) >= count_wanted(planted.design, n)
        )
        truth = planted.at_rung[last]
        effects = estimate_effects(planted.design, planted.correct, planted.rungs[: last + 1])
        alone, picked = estimate_alone(planted, planted.rungs[last])
        known = ~np.isnan(effects.values[:, 0])
        found = {
            "holds": np.mean(np.abs(effects.values[:, 0] - truth)[known] <= effects.halves[known, 0]),
            "half": 100 * np.mean(effects.halves[known, 0]),
            "slope": compute_slope(effects.values[known, 0], truth[known]),
            "told": np.mean(known),
            "rung": last + 1.0,
            "reached": len(planted.rungs[last].rows),
            "alone_holds": np.mean(np.abs(alone.values[:, 0] - truth)[picked] <= alone.halves[picked, 0]),
            "alone_slope": compute_slope(alone.values[picked, 0], truth[picked]),
        }
        if rungs == 1:
            found["oracle"] = 100 * np.mean(planted.compute_oracle())
        for name, value in found.items():
            rows.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in rows.items()}


def estimate_alone(planted: Planted, rung: Rung) -> tuple[Effects, np.ndarray]:
    """What the same model says of those who reached a rung alone, as if they were all; and which effects it tells."""
    whole = planted.design
    design = Design(whole.matrix[rung.rows], whole.columns, whole.effects, whole.unshrunk)
    effects = estimate_effects(design, planted.correct[rung.rows], [Rung(np.arange(len(rung.rows)), rung.scores)])
    return effects, ~np.isnan(effects.values[:, 0])


def compute_slope(values: np.ndarray, truth: np.ndarray) -> float:
    """Of values over truth, through 0."""
    return float(values @ truth / (truth @ truth))


def render_report(rows: list[dict[str, float]], repetitions: int) -> str:
    """The table as markdown."""
    head = ["trials", "rungs", "hang on two", "rung told", "trials there", "**held**", "half width", "of the oracle"]
    head += ["slope", "held, those alone", "slope, those alone"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        ratio = f"{row['half'] / row['oracle']:.2f}" if "oracle" in row else "-"
        cells = [f"{row['trials']:.0f}", f"{row['rungs']:.0f}", "yes" if row["two"] else ""]
        cells += [f"{row['rung']:.2f}", f"{row['reached']:.0f}"]
        cells += [f"**{row['holds']:.1%}**", f"{row['half']:.2f}", ratio, f"{row['slope']:.3f}"]
        lines.append([*cells, f"{row['alone_holds']:.1%}", f"{row['alone_slope']:.3f}"])
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    command = f"python tests/helpers/effects_simulation.py --repetitions {repetitions}"
    parts = [
        "# Do the effects of a search hold the truth?",
        "Trials with planted effects of seven parameters, one of which a third of the trials lack (*hang on two*: and "
        "of an eighth, which only trials have that have certain values of two others: 4 of 9), drawn "
        f"{repetitions} times a row, each time with fresh parameters, networks and images; the model stands in the "
        "script. The rows as CSV lie beside this file. Made by",
        f"    {command}",
        table,
        "*held*: share of all 95% intervals that hold the truth, on the mean score. *half width*: mean, in points; "
        "*of the oracle*: over that of who knows which columns do something, and every variance. *rungs*: 1 where no "
        "trial is stopped, else ASHA with factor 3; *rung told*: the last one that enough trials reached, whose "
        "effects are estimated (mean), and how many reached it. *slope*: of the estimates over the truth; below 1 they "
        "are shrunk. *those alone*: the same model of the trials that reached that rung, as if there were no others.",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Try the effects of a search on planted ones; write the table.")
    parser.add_argument("--out", type=Path, default=Path("results/promotion_statistics"), help="folder of the table")
    parser.add_argument("--repetitions", type=int, default=400, help="a row")
    given = parser.parse_args()
    rows: list[dict[str, float]] = []
    cells = [*((count, 1, False) for count in COUNTS), *((*each, False) for each in STOPPED)]
    for count, rungs, is_two in [*cells, *((*each, True) for each in OF_TWO)]:
        rows.append(
            {"trials": count, "rungs": rungs, "two": float(is_two), "repetitions": given.repetitions}
            | measure(count, given.repetitions, rungs, has_two_parents=is_two)
        )
        print(rows[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "effects.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows([{name: f"{value:.6g}" for name, value in row.items()} for row in rows])
    (given.out / "EFFECTS.md").write_text(render_report(rows, given.repetitions), encoding="utf-8")


if __name__ == "__main__":
    main()
