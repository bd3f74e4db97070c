"""Is A better than B? The answers of two models to the same images, judged, and what came out in words.

N images, K categories, C classes of one category. Probabilities are K arrays [N, C]; labels [N, K]. A point is 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from search.statistics.calibration import compute_calibration
from search.statistics.gate import Comparison, compare_answers
from search.statistics.intervals import LEVEL, POWER, Estimate, estimate_score
from search.statistics.members import find_correct

SIDES = ("A", "B")
EITHER_LEVEL = (1 + LEVEL) / 2  # one-sided level of a two-sided interval: either of the two may be the better one
NO_POINTS = 0.00005  # what rounds to 0.00 points has no sign


@dataclass(frozen=True)
class Score:
    """How one of the two answers.

    Attributes:
        mean: accuracy averaged over categories.
        categories: accuracy of each.
        calibration_error: expected calibration error of all its answers, see `search.statistics.calibration`.
    """

    mean: Estimate
    categories: tuple[Estimate, ...]
    calibration_error: float


@dataclass(frozen=True)
class Contest:
    """Two models on the same images.

    Attributes:
        categories: K names.
        images: N.
        scores: of A and of B.
        difference: A less B.
    """

    categories: tuple[str, ...]
    images: int
    scores: tuple[Score, Score]
    difference: Comparison

    @property
    def probability(self) -> float:
        """That A is better."""
        return self.difference.mean.probability

    @property
    def winner(self) -> int | None:
        """0 where A is surely better, 1 where B is: the interval of the difference leaves out 0. Else None.

        The gate asks less, a probability of `LEVEL`, since there only one of the two can be promoted.
        """
        return find_winner(self.difference.mean, LEVEL)

    @property
    def detectable(self) -> float:
        """The smallest true lead, of either side, that makes it the winner in a share `POWER` of all cases."""
        return self.difference.mean.compute_detectable(EITHER_LEVEL)

    def list_won(self, side: int) -> list[str]:
        """Categories in which this side is surely better: with `LEVEL`, all of them together."""
        level = self.difference.category_level
        pairs = zip(self.categories, self.difference.categories, strict=True)
        return [name for name, estimate in pairs if find_winner(estimate, level) == side]


def find_winner(difference: Estimate, level: float) -> int | None:
    """0 where the interval lies above 0, 1 where below, None where it holds 0."""
    low, high = difference.compute_interval(level)
    return 0 if low > 0 else 1 if high < 0 else None


def compute_contest(
    one: Sequence[np.ndarray], other: Sequence[np.ndarray], labels: np.ndarray, categories: Sequence[str]
) -> Contest:
    """Judge the answers of two models.

    The models are taken as they are, one each, so nothing is said of other seeds. The interval of the difference is
    paired over images: an image that is hard for both does not widen it.

    Args:
        one, other: probabilities, K arrays [N, C].
        labels: [N, K].
        categories: K names.

    Raises:
        SearchError: labels of other images or categories, or fewer than two images.
    """
    correct = [find_correct(each, labels).astype(np.float64)[None] for each in (one, other)]  # [1, N, K]
    scores = []
    for answers, probabilities in zip(correct, (one, other), strict=True):
        by_category = tuple(estimate_score(answers[:, :, index], None) for index in range(answers.shape[2]))
        pooled = compute_calibration(probabilities, labels).pooled
        scores.append(Score(estimate_score(answers.mean(2), None), by_category, pooled))
    difference = compare_answers(correct[0], correct[1], pool=[])
    return Contest(tuple(categories), len(labels), (scores[0], scores[1]), difference)


# ------------------------------------------------------------------------------------------------------------ in words


def render_comparison(contest: Contest, words: Sequence[str], remarks: Sequence[str]) -> Group:
    """What A and B are, the numbers, and what they come to.

    Args:
        words: what A and B are.
        remarks: what a reader must know beside the numbers, a sentence or two each.
    """
    what = Table(show_header=False, box=None, pad_edge=False)
    what.add_column(style="bold", no_wrap=True)
    what.add_column(overflow="fold")
    for side, text in zip(SIDES, words, strict=True):
        what.add_row(side, Text(text))
    notes = Table(show_header=False, box=None, pad_edge=False)
    for remark in remarks:
        notes.add_row("-", Text(remark, "yellow"))
    for line in (describe_categories(contest), *describe_numbers(contest)):
        notes.add_row("-", Text(line))
    return Group(what, Text(), build_table(contest), Text(), Text(describe_verdict(contest), "bold"), Text(), notes)


def build_table(contest: Contest) -> Table:
    """A row for the score, one for each category, and one for the calibration error."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for head in (*SIDES, "A less B, points", "interval"):
        table.add_column(head, justify="right", no_wrap=True)
    one, other = contest.scores
    table.add_row(*render_row("score", one.mean, other.mean, contest.difference.mean, LEVEL), style="bold")
    rows = zip(contest.categories, one.categories, other.categories, contest.difference.categories, strict=True)
    for name, left, right, gap in rows:
        table.add_row(*render_row(name, left, right, gap, contest.difference.category_level))
    table.add_row("calibration error", f"{one.calibration_error:.4f}", f"{other.calibration_error:.4f}", style="dim")
    return table


def render_row(name: str, one: Estimate, other: Estimate, difference: Estimate, level: float) -> list[Text]:
    """The cells of a row, the difference in points; marked where one side is surely better."""
    low, high = difference.compute_interval(level)
    mark = "  " if find_winner(difference, level) is None else " *"
    cells = [name, f"{one.value:.4f}", f"{other.value:.4f}", render_points(difference.value) + mark]
    return [Text(cell) for cell in (*cells, f"{render_points(low)} to {render_points(high)}")]


def render_points(value: float) -> str:
    return f"{100 * value:+.2f}" if abs(value) >= NO_POINTS else "0.00"


def describe_verdict(contest: Contest) -> str:
    """Who is better, for somebody who has not read the table."""
    difference, images = contest.difference.mean, f"these {contest.images:,} images"
    if difference.error == 0 and difference.value == 0:
        return f"Nothing tells A and B apart: they have equally many answers right on every one of {images}."
    low, high = difference.compute_interval()
    if contest.winner is None:
        return (
            f"It is not sure which is better. A less B is {render_points(difference.value)} points on {images}, and "
            f"anything from {render_points(low)} to {render_points(high)} on all images like them ({LEVEL:.0%} "
            f"interval). A is better with probability {contest.probability:.2f}."
        )
    winner, loser = SIDES[contest.winner], SIDES[1 - contest.winner]
    low, high = sorted((abs(low), abs(high)))
    return (
        f"{winner} is better than {loser}: by {100 * abs(difference.value):.2f} points on {images}, and by "
        f"{100 * low:.2f} to {100 * high:.2f} on all images like them ({LEVEL:.0%} interval). A is better with "
        f"probability {contest.probability:.3f}."
    )


def describe_categories(contest: Contest) -> str:
    """Where one side is surely better."""
    won = [(side, contest.list_won(index)) for index, side in enumerate(SIDES)]
    lines = [f"{side} is surely better in {', '.join(names)} (marked *)." for side, names in won if names]
    return " ".join(lines) or "In no category is one of them surely better."


def describe_numbers(contest: Contest) -> list[str]:
    """How the table is to be read, and how far it reaches."""
    spans = [score.mean.compute_interval() for score in contest.scores]
    level, count = contest.difference.category_level, len(contest.categories)
    lines = [
        "score: share of right answers, averaged over the categories. Each by itself has a wider interval, "
        f"{' and '.join(f'{side} {low:.3f} to {high:.3f}' for side, (low, high) in zip(SIDES, spans, strict=True))}: "
        "what is hard for both counts there, and not in their difference.",
        f"interval: {LEVEL:.0%} for the score; {level:.1%} for a category, so that all {count} hold together with "
        f"{LEVEL:.0%}.",
        "calibration error: by how much the probabilities of the answers miss the share that is right; 0 is best.",
    ]
    if contest.detectable > 0:
        lines.append(
            f"With {contest.images:,} images, a true lead of {100 * contest.detectable:.2f} points is found in "
            f"{POWER:.0%} of cases, a smaller one more rarely."
        )
    return [
        *lines,
        "All this is of these two models as they are; it says nothing of other seeds: of what the same settings would "
        "score if trained again.",
    ]
