"""Which of two candidates is better, and how surely.

Every candidate was trained with S seeds, and each of its networks answered the same N images. An image's score is the
share of its categories answered right; where labels are missing, what it adds to the mean over categories of the
accuracy on labelled images, see `fashion_core.metrics.score_images`; of another objective, what it adds to that, see
`fashion_core.metrics.Measure`. Two-way random effects: candidate c with seed s
scores on image i

    x_csi = mean_c + image_ci + seed_cs + rest_csi

and what is estimated is mean_c: over all images and all seeds. Scores are [S, N], between 0 and 1 but where labels are
missing. A point is 0.01. K categories; answers are [S, N, K], NaN where an image is unlabelled.
Intervals are checked against known truth by `tests/helpers/judging_simulation.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincinv, nctdtrinc, ndtri, stdtr, stdtrit

from fashion_core.metrics import DIGITS, Measure, has_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCURACY = Measure()  # the mean over the categories of the accuracy
LEVEL = 0.95  # of intervals and bounds
POWER = 0.8  # with which the smallest gain named is found
BOTH = "images and seeds"
IMAGES = "images alone"
SEEDS = "seeds alone"
LESS, OWN = 2, 4  # images that the floor adds to a difference, and to a score by itself: see `compute_floor`
NODES, CROWDING = 64, 6  # of the integral over what the seeds' variance may be; most of them stand at its large values


@dataclass(frozen=True)
class SeedNoise:
    """How the seeds of one candidate differ: mean squares pooled over candidates.

    Attributes:
        between: variance of the seeds' scores over all images: that of seed_cs + that of rest_csi / N.
        rest: variance of rest_csi: what is left of x_csi without the means of its image and of its seed.
        df: degrees of freedom of `between`; `rest` has N - 1 times as many.
        images: N.
    """

    between: float
    rest: float
    df: int
    images: int

    @property
    def seed_sd(self) -> float:
        """Standard deviation of seed_cs: of a candidate's score over seeds, were the images without number."""
        return math.sqrt(max(self.between - self.rest / self.images, 0.0))


@dataclass(frozen=True)
class VarianceParts:
    """What the squared error of an estimate over images and seeds is made of: see `combine`.

    Attributes:
        over_images: of the images; `image_df`: its degrees of freedom.
        between, rest: of the seeds' scores, and what of it the first holds too; `df`: degrees of freedom of `between`.
    """

    over_images: float
    between: float
    rest: float
    df: int
    image_df: float

    def compute_p_value(self, value: float) -> float:
        """The one-sided p-value of a value: the mean of those for all that the seeds' variance may be.

        `between` times `df` over its true value follows chi-square, so the true one is `between * df / chi-square`, and
        not below `rest`. A t test with Satterthwaite's degrees of freedom takes a variance that is small by chance for
        one that is well known, and with few seeds errs by up to eight times at p <= 0.0005; this does not. Source:
        Tsui & Weerahandi 1989, Generalized p-values in significance testing of hypotheses in the presence of nuisance
        parameters.
        """
        shares, weights = build_nodes()
        chi_squares = 2 * gammaincinv(self.df / 2, shares)
        variances = self.over_images + np.maximum(self.between * self.df / chi_squares - self.rest, 0.0)
        tails = stdtr(self.image_df, -value / np.sqrt(np.maximum(variances, np.finfo(float).tiny)))
        return float(weights @ tails)


@cache
def build_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Places between 0 and 1 and weights of a mean over them, [NODES] each, by Gauss and Legendre; most near 0."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    places = (places + 1) / 2
    return places**CROWDING, weights / 2 * CROWDING * places ** (CROWDING - 1)


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty: (value - truth) / error follows Student's t with `df` degrees of freedom.

    Attributes:
        covers: what another draw of would change the value within the error: `BOTH`, `IMAGES` or `SEEDS`.
        parts: of the squared error, where it is over images and seeds.
    """

    value: float
    error: float
    df: float
    covers: str
    parts: VarianceParts | None = None

    def compute_interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The interval that holds the truth with this probability."""
        half = self.error * float(stdtrit(self.df, (1 + level) / 2))
        return self.value - half, self.value + half

    def compute_upper(self, level: float = LEVEL) -> float:
        """The bound that the truth lies below with this probability."""
        return self.value + self.error * float(stdtrit(self.df, level))

    @property
    def p_value(self) -> float:
        """Of the one-sided test that the truth is 0 or less: how often a value as large, or larger, comes of it."""
        return self.test(self.value)

    @property
    def two_sided_p_value(self) -> float:
        """Of the two-sided test that the truth is 0."""
        return min(2 * min(self.p_value, self.test(-self.value)), 1.0)

    def test(self, value: float) -> float:
        """The p-value that another value with this uncertainty had."""
        if self.error == 0:
            return 0.5 if value == 0 else float(value < 0)
        if self.parts is not None:
            return self.parts.compute_p_value(value)
        return float(stdtr(self.df, -value / self.error))

    def find_critical(self, p_value: float) -> float:
        """The value that has this p-value, below 0.5."""
        if self.error == 0:
            return 0.0
        upper = self.error
        while self.test(upper) > p_value:
            upper *= 2
        return float(brentq(lambda value: self.test(value) - p_value, 0.0, upper, rtol=1e-9))

    def compute_detectable(self, p_value: float = 1 - LEVEL, power: float = POWER) -> float:
        """The smallest true gain whose estimate has this p-value, or a smaller one, in a share `power` of all cases."""
        return self.compute_reaching(self.find_critical(p_value), power)

    def compute_reaching(self, value: float, power: float = POWER) -> float:
        """The smallest truth whose estimate reaches a value, above 0, in a share `power` of all cases.

        It follows a noncentral t distribution then; its noncentrality is the truth in standard errors.
        """
        if self.error == 0:
            return value
        return self.error * float(nctdtrinc(self.df, 1 - power, value / self.error))

    def to_dict(self, level: float = LEVEL) -> dict[str, float | str]:
        """The number and the ends of its interval; JSON-able."""
        low, high = self.compute_interval(level)
        return {"value": self.value, "low": low, "high": high, "level": level, "covers": self.covers}

    def render(self, level: float = LEVEL) -> str:
        """In points, with the interval and what it covers."""
        low, high = self.compute_interval(level)
        return (
            f"{100 * self.value:+.2f} points ({100 * level:.3g}% interval over {self.covers}: "
            f"{100 * low:+.2f} to {100 * high:+.2f})"
        )


def list_outcomes(answers: np.ndarray, measure: Measure = ACCURACY) -> list[np.ndarray]:
    """What is estimated of answers, 1 + K arrays of scores: that of the objective [S, N], then each category.

    A category's are [S, n_k], of its labelled images alone: their mean is its accuracy. The n_k are the same for all
    who answered these images.

    Args:
        answers: [S, N, K], 1 for right, 0 for wrong, NaN for unlabelled.
        measure: the objective on the N images.
    """
    score = measure.score_images(answers)
    if not has_missing(answers):
        return [score, *(answers[:, :, index] for index in range(answers.shape[2]))]
    known = ~np.isnan(answers[0])
    return [score, *(answers[:, known[:, k], k] for k in range(answers.shape[2]))]


def estimate_answers(
    answers: np.ndarray, pool: Sequence[np.ndarray], measure: Measure = ACCURACY
) -> tuple[Estimate, tuple[Estimate, ...]]:
    """The score of answers, and the accuracy of each category: see `estimate_score`.

    Args:
        answers: [S, N, K].
        pool: [S, N, K] each, of candidates that tell how seeds vary; empty: over images alone.
        measure: the objective on the N images.
    """
    noises = [estimate_seed_noise(each) for each in zip(*(list_outcomes(each, measure) for each in pool), strict=True)]
    outcomes = list_outcomes(answers, measure)
    known = [measure.count_freedom(answers), *[None] * len(outcomes[1:])]
    floors = list_floors(answers.mean(0), measure, OWN)
    mean, *categories = map(estimate_score, outcomes, noises or [None] * len(outcomes), known, floors)
    return mean, tuple(categories)


def list_floors(by_image: np.ndarray, measure: Measure, added: int) -> list[float]:
    """`compute_floor` for what `list_outcomes` lists: the objective, then each category.

    Args:
        by_image: [N, K] averages over seeds, or their differences, NaN where an image is unlabelled.
        added: `OWN` or `LESS`.
    """
    tables = [measure.select(by_image), *(each[:, None] for each in by_image.T)]
    return [compute_floor(table, added) for table in tables]


def compute_floor(columns: np.ndarray, added: int) -> float:
    """The least that the variance over images of a mean over columns is taken for: that of the plus-four estimate.

    Where few images are labelled, they may all be answered alike by chance: a spread of zero is no certainty. Beside
    the images that there are, each column counts `OWN` more of a score, two right and two wrong (Agresti & Coull 1998,
    Approximate is better than "exact" for interval estimation of binomial proportions); of a difference `LESS` more,
    half a one for each of the four ways in which two may answer (Agresti & Min 2005, Simple improved confidence
    intervals for comparing matched proportions). With hundreds of images that is no more than their spread says.

    Args:
        columns: [N, M], NaN where an image has no part in a column. Averages of right and wrong, or their differences.
        added: `OWN` or `LESS`.
    """
    known = ~np.isnan(columns)
    counts = known.sum(0)
    columns, counts = columns[:, counts > 0], counts[counts > 0]
    means = np.nanmean(columns, 0)
    if added == OWN:
        more = 2 + counts * means**2 - (counts * means + 2) ** 2 / (counts + 4)
    else:
        more = 1 + 2 * counts * means**2 / (counts + 2)
    own = (np.where(np.isnan(columns), 0.0, columns - means) / (counts + added)).mean(1)  # of each image
    return float((own**2).sum()) + float((more / (counts + added) ** 2).sum()) / len(counts) ** 2


def estimate_seed_noise(pool: Sequence[np.ndarray]) -> SeedNoise | None:
    """Mean squares over the seeds, pooled over candidates. None where no candidate has two seeds.

    Source: analysis of variance of a two-way layout without replication, e.g. Searle, Casella & McCulloch (1992),
    Variance Components, chapter 4.

    Args:
        pool: scores [S, N] of candidates on the same images; S may differ.

    Raises:
        ValueError: scores of another shape, not finite, or not of the same images.
    """
    checked = [check_scores(scores) for scores in pool]
    if len({scores.shape[1] for scores in checked}) > 1:
        raise ValueError(
            f"candidates must be scored on the same images, but were on {[scores.shape[1] for scores in checked]}; "
            "score them again on one set"
        )
    between = rest = 0.0
    df = 0
    for scores in checked:
        seeds, images = scores.shape
        if seeds > 1:
            by_seed = scores.mean(1, keepdims=True)
            between += float(((by_seed - scores.mean()) ** 2).sum())
            rest += float(((scores - by_seed - scores.mean(0) + scores.mean()) ** 2).sum())
            df += seeds - 1
    if not df:
        return None
    return SeedNoise(between / df, rest / (df * (images - 1)), df, images)


def estimate_score(
    scores: np.ndarray, noise: SeedNoise | None, image_df: float | None = None, floor: float = 0.0
) -> Estimate:
    """A candidate's score: mean_c. scores: [S, N]; noise, image_df, floor: see `compare`."""
    scores = check_scores(scores)
    return combine(scores.mean(0), 1 / len(scores), noise, image_df, floor)


def compare(
    one: np.ndarray,
    other: np.ndarray,
    noise: SeedNoise | None,
    image_df: float | None = None,
    share: float | None = None,
    floor: float = 0.0,
) -> Estimate:
    """The score of one candidate less that of another: paired over images, seeds averaged.

    Args:
        one, other: [S, N] scores on the same images in the same order; S may differ.
        noise: of the seeds, from `estimate_seed_noise`; None where only images can vary: one seed each and no other
            candidate with more, or networks that are fixed. `covers` says so then.
        image_df: degrees of freedom of the spread over images, see `Measure.count_freedom`; None: N - 1.
        share: how often the variance of one network over seeds is in the difference. None: 1 / S of each of both; to be
            given where scores are of something that was made of several networks, as an ensemble is.
        floor: the least that the variance over images is taken for, see `compute_floor`.

    Raises:
        ValueError: scores of another shape, not finite, or not of the same images.
    """
    one, other = check_scores(one), check_scores(other)
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"two candidates must be scored on the same images, but were on {one.shape[1]} and {other.shape[1]}; "
            "score both on one set"
        )
    if share is None:
        share = 1 / len(one) + 1 / len(other)
    return combine(one.mean(0) - other.mean(0), share, noise, image_df, floor)


def combine(
    by_image: np.ndarray,
    share: float,
    noise: SeedNoise | None,
    image_df: float | None = None,
    floor: float = 0.0,
) -> Estimate:
    """The mean of [N] values that are averages over seeds, and its error over images and seeds.

    The spread of the values over images holds that of image_ci and of rest_csi averaged over seeds. What it lacks is
    seed_cs, the same on every image: the variance of the seeds' scores less what rest_csi adds to that, else it would
    count twice. A difference that chance makes negative counts as 0. Degrees of freedom by Satterthwaite (1946) over
    the three mean squares, never below those of the least certain.

    Args:
        share: sum over the candidates involved of 1 / seeds.
        image_df, floor: see `compare`.
    """
    images = len(by_image)
    image_df = images - 1 if image_df is None else image_df
    by_image = by_image.round(DIGITS)
    value = float(by_image.mean())
    over_images = max(float(by_image.var(ddof=1)) / images, floor)
    if noise is None:
        return Estimate(value, math.sqrt(over_images), image_df, IMAGES)
    between, rest = share * noise.between, share * noise.rest / noise.images
    variance = over_images + max(between - rest, 0.0)
    spread = over_images**2 / image_df + between**2 / noise.df + rest**2 / (noise.df * (noise.images - 1))
    df = variance**2 / spread if spread > 0 else image_df
    parts = VarianceParts(over_images, between, rest, noise.df, image_df)
    return Estimate(value, math.sqrt(variance), max(df, min(noise.df, image_df)), BOTH, parts)


def compute_gap(
    search_score: float,
    scores: np.ndarray,
    noise: SeedNoise | None,
    *,
    same_images: bool,
    image_df: float | None = None,
) -> Estimate:
    """The winner's curse: what the search showed of a trial, less what its configuration scores with a fresh seed.

    The search's score is taken as it is, a number that was printed; uncertain is the other one. On the images that the
    search selected on, that is the expected score on these very images, so only the seeds vary; on other images, it is
    that on all images.

    Args:
        search_score: between 0 and 1.
        scores: [S, N] of the re-runs.
        image_df: see `compare`.

    Raises:
        ValueError: the same images, and nothing that tells how seeds vary.
    """
    scores = check_scores(scores)
    value = search_score - float(scores.mean())
    if not same_images:
        mean = estimate_score(scores, noise, image_df)
        return Estimate(value, mean.error, mean.df, mean.covers)
    if noise is None:
        raise ValueError(
            "the gap on the search's own images needs a candidate with two seeds or more, but there is none; "
            "re-run one with more seeds"
        )
    return Estimate(value, math.sqrt(noise.between / len(scores)), noise.df, SEEDS)


def check_scores(scores: np.ndarray) -> np.ndarray:
    """Scores as [S, N] float64."""
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise ValueError(
            f"scores must be [seeds, images] with a seed and two images or more, but are {list(scores.shape)}; "
            "give one row a seed"
        )
    if not np.isfinite(scores).all():
        wrong = int((~np.isfinite(scores)).sum())
        raise ValueError(f"scores must be finite, but {wrong} of {scores.size} are not; leave these images out of all")
    return scores


def compute_finite(found: int, drawn: int, everyone: int, level: float = LEVEL) -> tuple[int, int]:
    """Interval of how many of `everyone` are of a kind, where `found` of `drawn` without putting back were.

    Exact, by the hypergeometric distribution: all numbers that leave each tail more than half the error. Source:
    Buonaccorsi 1987, A Note on Confidence Intervals for Proportions in Finite Populations, Am. Statistician 41.
    """
    ways = math.comb(everyone, drawn)

    def is_likely(number: int, counts: range) -> bool:
        found_so = sum(math.comb(number, k) * math.comb(everyone - number, drawn - k) for k in counts)
        return found_so / ways > (1 - level) / 2

    can = [
        number
        for number in range(found, everyone - drawn + found + 1)
        if is_likely(number, range(found + 1)) and is_likely(number, range(found, drawn + 1))
    ]
    return can[0], can[-1]


def compute_wilson(share: float, count: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a share of `count` images. Source: Wilson 1927."""
    z = float(ndtri((1 + level) / 2))
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(max(share * (1 - share), 0.0) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)
