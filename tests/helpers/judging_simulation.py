"""Does the judge keep its word? Candidates of known truth, drawn again and again.

python tests/helpers/judging_simulation.py --out results/promotion_statistics

A network's answer to image i in category q is right where z + seed + a_i + b_iq + c_iq + e_iq > 0: `seed` moves all
answers of a network; a and b are the image's own, the same for all candidates; c is the candidate's, e the network's.
Shares of variance as measured on 500 validation photographs, three trained networks: 8 to 10% of answers are right in
one network and wrong in another, categories of one image correlate by 0.05, an image's score has a variance of 0.027.
C candidates, S seeds, N images, K categories. A point is 0.01.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

from search.statistics.crossfit import assign_folds, cross_fit, cross_fit_seeds, find_best
from search.statistics.gate import judge
from search.statistics.intervals import BOTH, Estimate, compare, compute_gap, estimate_score, estimate_seed_noise
from search.statistics.spending import ERROR, spend_error

CATEGORIES = 6
SCORE = 0.84
IMAGE, IMAGE_CATEGORY, CANDIDATE, NETWORK = 0.10, 0.76, 0.04, 0.10  # shares of variance
SIZES, SEEDS, SEED_SDS = (250, 500, 1000), (3, 5), (0.2, 0.4, 0.8)  # images, seeds, points
POOL = 5  # candidates re-run: four and the baseline
GAIN = 0.01  # true difference of the first two candidates
COUNTS, SPREADS = (4, 8, 16), (0.0, 0.5)  # candidates to choose from; standard deviation of their true scores, points
POOLS = (POOL, 2)  # candidates of a promotion whose tries are counted
FORMS = RECIPE, SINGLE, ENSEMBLE, RERUNS = ("recipe", "single", "ensemble", "reruns")
CHAIN, LEAD = 20, 0.02  # challengers of one champion; by how much a better one is better
SEED = 20261125
Asks = Callable[[int], float]


@dataclass(frozen=True)
class Experiment:
    """Networks of C candidates and their scores.

    Attributes:
        answers: [C, S, N, K] bool: right or wrong.
        expected: [C, S] each network's score on all images.
        here: [C] a fresh network's expected score on these N images.
    """

    answers: np.ndarray
    expected: np.ndarray
    here: np.ndarray

    @cached_property
    def scores(self) -> np.ndarray:
        """[C, S, N]: shares of an image's categories."""
        return self.answers.mean(3)


class Truth:
    """Candidates of known scores.

    Args:
        scores: [C] expected scores over images and seeds.
        seed_sd: standard deviation of a network's score over seeds, points.
    """

    def __init__(self, scores: Sequence[float] | np.ndarray, seed_sd: float) -> None:
        centre = float(ndtri(SCORE))
        slope = math.exp(-(centre**2) / 2) / math.sqrt(2 * math.pi)  # of the score over z
        self.scores = np.asarray(scores)
        self.shift_sd = seed_sd / 100 / slope
        self.centres = ndtri(self.scores) * math.sqrt(1 + self.shift_sd**2)

    def draw(self, rng: np.random.Generator, seeds: int, images: int) -> Experiment:
        """An experiment with fresh images and networks."""

        def normal(share: float, *shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(share))

        count = len(self.centres)
        place = self.centres[:, None] + self.shift_sd * rng.standard_normal((count, seeds))  # [C, S]
        own = normal(IMAGE, images, 1) + normal(IMAGE_CATEGORY, images, CATEGORIES)
        own = own + normal(CANDIDATE, count, images, CATEGORIES)  # [C, N, K]
        right = normal(NETWORK, count, seeds, images, CATEGORIES) + own[:, None] > -place[:, :, None, None]
        chance = ndtr((own + self.centres[:, None, None]) / math.sqrt(NETWORK + self.shift_sd**2))
        return Experiment(right, ndtr(place), chance.mean((1, 2)))


def measure_coverage(images: int, seeds: int, seed_sd: float, repetitions: int, seed: int = SEED) -> dict[str, float]:
    """How often the intervals of one cell hold the truth, and how often the gate opens: shares of the repetitions.

    `of_two` and `of_all`: the difference of two candidates, seed noise from these two or from all five. `uneven`: the
    first has one seed alone, as a champion may.
    `images_only` and `twice`: what they would be without the seeds, and with the rest counted twice.
    """
    rng = np.random.default_rng([seed, images, seeds, round(1000 * seed_sd)])
    scores = np.full(POOL, SCORE)
    scores[:2] += GAIN / 2, -GAIN / 2
    truth = Truth(scores, seed_sd)
    share = 2 / seeds
    hits: dict[str, list[float]] = {}
    equals = []
    for _ in range(repetitions):
        drawn = truth.draw(rng, seeds, images)
        one, other, *_ = drawn.scores
        noise = estimate_seed_noise(list(drawn.scores))
        noise_of_two = estimate_seed_noise([one, other])
        noise_of_rest = estimate_seed_noise([one[:1], *drawn.scores[1:]])
        assert noise is not None
        gain = compare(one, other, noise)
        alone = compare(one, other, None)
        twice = Estimate(gain.value, math.hypot(alone.error, math.sqrt(share * noise.between)), gain.df, BOTH)
        # the last two are equal; their difference moved by the gain that a comparison names is one to be found
        equal = compare(drawn.scores[-1], drawn.scores[-2], noise)
        equals.append(equal)
        # the first network of one candidate is the search's own, the others are its re-runs
        search, again = drawn.scores[-1, 0].mean(), drawn.scores[-1, 1:]
        found = {
            "of_two": holds(compare(one, other, noise_of_two), GAIN),
            "of_all": holds(gain, GAIN),
            "uneven": holds(compare(one[:1], other, noise_of_rest), GAIN),
            "images_only": holds(alone, GAIN),
            "twice": holds(twice, GAIN),
            "score": holds(estimate_score(one, noise), truth.scores[0]),
            "gap_same": holds(compute_gap(search, again, noise, same_images=True), search - drawn.here[-1]),
            "gap_other": holds(compute_gap(0.9, again, noise, same_images=False), 0.9 - SCORE),
            "opens": equal.p_value <= ERROR,
            "detectable": equal.compute_detectable(),
        }
        for name, value in found.items():
            hits.setdefault(name, []).append(float(value))
    columns = {name: np.array(values) for name, values in hits.items()}
    detectable = float(np.mean(columns["detectable"]))
    moved = [each.test(each.value + detectable) <= ERROR for each in equals]
    return {
        **{name: float(values.mean()) for name, values in columns.items()},
        "power": float(np.mean(moved)),
    }


def holds(estimate: Estimate, truth: float) -> bool:
    low, high = estimate.compute_interval()
    return low <= truth <= high


def measure_choice(
    count: int, spread: float, repetitions: int, images: int = 500, seeds: int = 3, seed_sd: float = 0.4
) -> dict[str, float]:
    """Bias in points of scores of the best of several, and coverage of their intervals.

    `naive`: the best mean; `images`: cross-fitted over images; `both`: over images and seeds. `_network`: against the
    score on all images of the networks that are chosen on these; `_recipe`: against that of their recipe.
    """
    rng = np.random.default_rng([SEED, count, round(1000 * spread), images, seeds, round(1000 * seed_sd)])
    folds = assign_folds(np.arange(images), seed=0)
    rows: dict[str, list[float]] = {}
    for _ in range(repetitions):
        truth = Truth(SCORE + spread / 100 * rng.standard_normal(count), seed_sd)
        drawn = truth.draw(rng, seeds, images)
        candidates = list(drawn.scores)
        noise = estimate_seed_noise(candidates)
        best = find_best(candidates, np.arange(images))
        network, recipe = drawn.expected[best].mean(), truth.scores[best]
        naive = candidates[best].mean()
        by_images = cross_fit(lambda chosen, c=candidates: c[find_best(c, chosen)], folds)
        by_both = cross_fit_seeds(lambda chosen, others, c=candidates: c[find_best(c, chosen, others)], folds, seeds)
        found: dict[str, float] = {
            "images_holds": holds(estimate_score(by_images, None), network),
            "both_holds": holds(estimate_score(by_both, noise), recipe),
            "naive_holds": holds(estimate_score(candidates[best], noise), recipe),
        }
        # what all candidates share by the luck of these images and networks is 0 in the mean, and only blurs a bias
        network += drawn.scores.mean() - drawn.expected.mean()
        recipe += drawn.scores.mean() - truth.scores.mean()
        found |= {
            "naive_network": 100 * (naive - network),
            "images_network": 100 * (by_images.mean() - network),
            "naive_recipe": 100 * (naive - recipe),
            "images_recipe": 100 * (by_images.mean() - recipe),
            "both_recipe": 100 * (by_both.mean() - recipe),
        }
        for name, value in found.items():
            rows.setdefault(name, []).append(float(value))
    return {
        **{name: float(np.mean(values)) for name, values in rows.items()},
        "bias_error": max(float(np.std(rows[name])) for name in rows if "holds" not in name) / math.sqrt(repetitions),
    }


def answer_in_form(form: str, answers: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, float]:
    """What the gate judges of a candidate's networks, and the share of one's variance over seeds that is in it.

    Args:
        form: of `FORMS`. A single one is the best on the other folds; most of the networks speak for their ensemble;
            of a recipe, and of a single champion's re-runs, all are judged in the mean.
        answers: [S, N, K].
    """
    if form in (RECIPE, RERUNS):
        return answers, 1 / len(answers)
    if form == ENSEMBLE:
        return (2 * answers.sum(0, keepdims=True) > len(answers)).astype(float), 1 / len(answers)
    return cross_fit(lambda chosen: answers[[answers[:, chosen].mean((1, 2)).argmax()]], folds).astype(float), 1.0


def measure_chain(
    pool: int,
    seed_sd: float,
    repetitions: int,
    images: int = 500,
    seeds: int = 3,
    asks: Asks = spend_error,
    form: str = RECIPE,
    has_noise: bool = True,
) -> dict[str, float]:
    """Shares of chains in which equal challengers, one after the other, open the gate against one champion.

    Every challenger comes with the others of its promotion, as equal, whose seeds tell of the noise; all are judged on
    the same images. Equal are the recipes: their networks differ by their seeds. `opens`: one or more of `CHAIN` does;
    `no_better`: one or more does whose networks are truly no better than the champion's, on all images: of a single
    one the network that is chosen, else the mean; `uncounted`: where every try is judged as if it stood alone, at
    p <= 0.05. `first`, `tenth`: shares of challengers `LEAD` better that open it at the first and at the tenth try.

    Args:
        pool: candidates and baseline of a promotion that are trained on all seeds.
        asks: the largest p-value that opens the gate at a try.
        form: what is held against what: of `FORMS`.
        has_noise: without it the gate of recipes knows of images alone, as that of networks as they are does.
    """
    rng = np.random.default_rng([SEED, pool, round(1000 * seed_sd), images, seeds])
    folds = assign_folds(np.arange(images), seed=0)
    scores = np.full(1 + (CHAIN + 1) * pool, SCORE)
    scores[-pool] += LEAD
    truth, names = Truth(scores, seed_sd), [f"category {number}" for number in range(CATEGORIES)]
    rows = []
    for _ in range(repetitions):
        drawn = truth.draw(rng, seeds, images)
        champion, *rest = drawn.answers
        own, own_share = answer_in_form(form, champion, folds)
        tries, places = [], range(0, len(rest), pool)
        for at in places:
            answers, share = answer_in_form(form, rest[at], folds)
            noisy = rest[at : at + pool] if has_noise and form in (RECIPE, RERUNS) else ()
            noisy = (*noisy, champion) if len(noisy) and form == RERUNS else noisy
            tries.append(judge(answers, own, noisy, names, share=share + own_share))
        expected = find_expected(form, drawn)
        no_better = [expected[1 + at] <= expected[0] for at in places]
        blocked = [each.passed != (each.difference.mean.p_value <= each.allowed) for each in tries]
        values = [1.0 if out else each.difference.mean.p_value for out, each in zip(blocked, tries, strict=True)]
        *equal, better = values
        rows.append(
            {
                "opens": any(value <= asks(number) for number, value in enumerate(equal, 1)),
                "no_better": any(
                    value <= asks(number) and no_better[number - 1] for number, value in enumerate(equal, 1)
                ),
                "uncounted": any(value <= ERROR for value in equal),
                "first": better <= asks(1),
                "tenth": better <= asks(10),
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def list_chains(repetitions: int, forms: Sequence[str]) -> Iterator[dict[str, float]]:
    """The rows of chains.csv, one after the other."""
    for form in forms:
        for pool in POOLS:
            for seed_sd in SEED_SDS:
                cell = {"form": FORMS.index(form), "pool": pool, "seed_sd": seed_sd, "repetitions": repetitions}
                yield cell | measure_chain(pool, seed_sd, repetitions, form=form)


def find_expected(form: str, drawn: Experiment) -> np.ndarray:
    """[C] score on all images of the network that a candidate ships, or the mean of its networks."""
    if form not in (SINGLE, RERUNS):
        return drawn.expected.mean(1)
    best = drawn.answers.mean((2, 3)).argmax(1)
    return drawn.expected[np.arange(len(best)), best]


def render_report(
    coverage: Sequence[dict[str, float]],
    choices: Sequence[dict[str, float]],
    chains: Sequence[dict[str, float]],
    command: str,
) -> str:
    """The tables as markdown."""
    parts = [
        "# Does the judge keep its word?",
        f"Candidates whose true scores are known, drawn {coverage[0]['repetitions']:,.0f} times a row, each time with "
        "fresh images and networks; the model, and where its numbers come from, stand in the script. Six categories an "
        f"image, five candidates (four and a baseline), true scores about {SCORE}, two of them {100 * GAIN:.0f} point "
        "apart. The rows as CSV lie beside this file. Made by",
        f"    {command}",
        "## Intervals that should hold the truth in 95% of cases",
    ]
    head = ["images", "seeds", "seed SD", "**difference**", "noise of two", "one seed against all", "score"]
    head += ["gap, same images", "gap, others", "images alone", "counted twice"]
    head += ["gate opens for an equal", "finds the gain it names", "that gain"]
    rows = []
    for row in coverage:
        cells = [f"{row['images']:,.0f}", f"{row['seeds']:.0f}", f"{row['seed_sd']}", f"**{row['of_all']:.1%}**"]
        shares = ("of_two", "uneven", "score", "gap_same", "gap_other", "images_only", "twice", "opens", "power")
        rows.append([*cells, *(f"{row[name]:.1%}" for name in shares), f"{100 * row['detectable']:.2f}"])
    error = math.sqrt(0.95 * 0.05 / coverage[0]["repetitions"])
    parts += [
        render_table(head, rows),
        f"Shares have a standard error of about {error:.1%}. *seed SD*: of a network's score over seeds, in points. "
        "*difference*: of two candidates, seed noise pooled over five; *noise of two*: over these two alone; "
        "*one seed against all*: the first has one network. *score*: "
        "of one candidate. *gap*: the winner's curse, on the images of the search or on others. Two intervals that are "
        "not used: *images alone* leaves the seeds out, as a paired t test over images does; *counted twice* adds "
        "the variance of the seeds' scores whole, though the spread over images holds a part of it. A gate that asks "
        "for p <= 0.05 should open for an equal candidate in 5% of cases at most, and find the gain "
        "that it names (last column, points, mean) in 80%.",
        "## The score of the best of several",
    ]
    head = ["candidates", "spread", "naive", "over images", "held", "naive", "held", "over images"]
    head += ["**over images and seeds**", "held"]
    rows = []
    for row in choices:
        cells = [f"{row['count']:.0f}", f"{row['spread']}"]
        cells += [f"{row['naive_network']:+.2f}", f"{row['images_network']:+.2f}", f"{row['images_holds']:.1%}"]
        cells += [f"{row['naive_recipe']:+.2f}", f"{row['naive_holds']:.1%}", f"{row['images_recipe']:+.2f}"]
        rows.append([*cells, f"**{row['both_recipe']:+.2f}**", f"{row['both_holds']:.1%}"])
    parts += [
        "Bias in points, and share of the 95% intervals that hold the truth; 500 images, 3 seeds, seed SD 0.4, 10 "
        "folds. Columns 3 to 5: against the score on all images of the very networks that are chosen; the others: "
        "against that of their recipe, trained again.",
        render_table(head, rows),
        f"Standard error of a bias: at most {max(row['bias_error'] for row in choices):.3f}. *spread*: standard "
        "deviation of the candidates' true scores, in points; at 0 all are equal, and what the best shows is luck. "
        "Crossing over images alone leaves the luck of the seeds in: right for the networks that ship, too good for "
        "their recipe. Crossing over both chooses with one seed less than what ships, so where candidates differ it "
        "is a little low. *held* over images: fixed networks, so an interval over images alone; it leaves out that "
        "another set of images would choose otherwise, and is a little narrow where many are equal.",
    ]
    head = ["judged", "candidates", "seed SD", "**opens for an equal recipe**", "for networks no better", "uncounted"]
    head += ["2 points better, first try", "tenth try"]
    names = ("opens", "no_better", "uncounted", "first", "tenth")
    rows = [
        [FORMS[int(row["form"])], f"{row['pool']:.0f}", f"{row['seed_sd']}", *(f"{row[name]:.1%}" for name in names)]
        for row in chains
    ]
    parts += [
        "## One champion, many tries",
        f"Chains of {CHAIN} challengers of an equal recipe against one champion on the same 500 images, 3 seeds, "
        f"{min(row['repetitions'] for row in chains):,.0f} chains a row or more: shares in which one or more opens the "
        "gate, with the tries counted and as if each stood alone at p <= 0.05; and how often a truly better one opens "
        "it. *judged*: *recipe*, networks in the mean (`--fit-on train+val`, and a single network where there is no "
        "champion); *reruns*, networks in the mean against the re-runs of a champion that is a single network, whose "
        "seeds tell of the noise too (the default against such a one); *single*, the best network of each, and "
        "*ensemble*, all of each, as they are (the default against any other). *for an equal recipe*: trained again, "
        "it would be no better, though these networks may be: that is no error where networks are judged as they are. "
        "*for networks no better*: those that open it are themselves no better on all images; of *reruns* what ships, "
        "the best network of each. "
        "*candidates*: of a promotion, the baseline among them; their seeds tell how seeds vary.",
        render_table(head, rows),
    ]
    return "\n\n".join(parts) + "\n"


def render_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def write_rows(path: Path, rows: Sequence[dict[str, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([f"{value:.6g}" for value in row.values()] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Try the judge on candidates of known truth; write the tables.")
    parser.add_argument("--out", type=Path, default=Path("results/promotion_statistics"), help="folder of the tables")
    parser.add_argument("--repetitions", type=int, default=2000, help="a row")
    parser.add_argument("--chains", type=int, default=1000, help="a row of the last table")
    parser.add_argument("--form", choices=FORMS, help="only print the rows of the last table that judge so")
    given = parser.parse_args()
    start, coverage, choices, chains = time.monotonic(), [], [], []
    if given.form is not None:
        for row in list_chains(given.chains, [given.form]):
            print(f"{time.monotonic() - start:4.0f} s", row, flush=True)
        return
    for images in SIZES:
        for seeds in SEEDS:
            for seed_sd in SEED_SDS:
                cell = {"images": images, "seeds": seeds, "seed_sd": seed_sd, "repetitions": given.repetitions}
                coverage.append(cell | measure_coverage(images, seeds, seed_sd, given.repetitions))
                print(f"{time.monotonic() - start:4.0f} s", coverage[-1], flush=True)
    for count in COUNTS:
        for spread in SPREADS:
            cell = {"count": count, "spread": spread, "repetitions": given.repetitions}
            choices.append(cell | measure_choice(count, spread, given.repetitions))
            print(f"{time.monotonic() - start:4.0f} s", choices[-1], flush=True)
    for row in list_chains(given.chains, FORMS):
        chains.append(row)
        print(f"{time.monotonic() - start:4.0f} s", row, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    write_rows(given.out / "coverage.csv", coverage)
    write_rows(given.out / "choice.csv", choices)
    write_rows(given.out / "chains.csv", chains)
    command = f"python tests/helpers/judging_simulation.py --repetitions {given.repetitions} --chains {given.chains}"
    (given.out / "README.md").write_text(render_report(coverage, choices, chains, command), encoding="utf-8")


if __name__ == "__main__":
    main()
