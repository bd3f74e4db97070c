"""A comparison of two models, for a terminal: a table, and what it comes to in words. A point is 0.01."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.registry.comparing import SIDES, Comparison, find_winner
from search.reporting.terminal import FoldingTable, plain
from search.statistics.gate import describe_scarce, write_p_value
from search.statistics.intervals import LEVEL, POWER, Estimate

NO_POINTS = 0.00005  # what rounds to 0.00 points has no sign


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Print it."""
    console.print(plain(f"compared on the {comparison.images:,} {comparison.what}"))
    console.print(render_comparison(comparison))


def render_comparison(comparison: Comparison) -> Group:
    """What A and B are, the numbers, and what they come to."""
    what = Table(show_header=False, box=None, pad_edge=False)
    what.add_column(style="bold", no_wrap=True)
    what.add_column(overflow="fold")
    for side, name, words in zip(SIDES, comparison.names, comparison.words, strict=True):
        what.add_row(side, plain(f"{name}, {words}"))
    notes = Table(show_header=False, box=None, pad_edge=False)
    for remark in comparison.remarks:
        notes.add_row("-", plain(remark, "yellow"))
    for line in (describe_categories(comparison), *describe_numbers(comparison)):
        notes.add_row("-", plain(line))
    return Group(
        what, Text(), build_table(comparison), Text(), plain(describe_verdict(comparison), "bold"), Text(), notes
    )


def build_table(comparison: Comparison) -> Table:
    """A row for the score, one for each category, and one for the calibration error."""
    table = FoldingTable()
    table.add_column("")
    heads = [*SIDES, "A less B, points", "interval", *(["labelled images"] if comparison.labelled else [])]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    one, other = comparison.scores
    mean = render_row("score", one.mean, other.mean, comparison.difference.mean, LEVEL)
    table.add_row(*mean, *([f"{comparison.images:,}"] if comparison.labelled else []), style="bold")
    counts = [[f"{count:,}"] for count in comparison.labelled] or [[]] * len(comparison.categories)
    pairs = zip(one.categories, other.categories, comparison.difference.categories, strict=True)
    for name, (left, right, gap), count in zip(comparison.categories, pairs, counts, strict=True):
        table.add_row(*render_row(name, left, right, gap, comparison.difference.category_level), *count)
    table.add_row("calibration error", f"{one.calibration_error:.4f}", f"{other.calibration_error:.4f}", style="dim")
    return table


def render_row(name: str, one: Estimate, other: Estimate, difference: Estimate, level: float) -> list[Text]:
    """The cells of a row, the difference in points; marked where one side is surely better."""
    low, high = difference.compute_interval(level)
    mark = "  " if find_winner(difference, level) is None else " *"
    cells = [name, f"{one.value:.4f}", f"{other.value:.4f}", render_points(difference.value) + mark]
    return [plain(cell) for cell in (*cells, f"{render_points(low)} to {render_points(high)}")]


def render_points(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * value:+.2f}" if abs(value) >= NO_POINTS else "0.00"


def describe_verdict(comparison: Comparison) -> str:
    """Who is better, for somebody who has not read the table."""
    difference, images = comparison.difference.mean, f"these {comparison.images:,} images"
    if comparison.is_alike:
        return f"Nothing tells A and B apart: they have the same answers right on every one of {images}."
    low, high = difference.compute_interval()
    if comparison.winner is None:
        return (
            f"It is not sure which is better. A less B is {render_points(difference.value)} points on {images}, and "
            f"anything from {render_points(low)} to {render_points(high)} on all images like them ({LEVEL:.0%} "
            f"interval; p = {write_p_value(comparison.p_value)}, two-sided)."
        )
    winner, loser = SIDES[comparison.winner], SIDES[1 - comparison.winner]
    low, high = sorted((abs(low), abs(high)))
    return (
        f"{winner} is better than {loser}: by {100 * abs(difference.value):.2f} points on {images}, and by "
        f"{100 * low:.2f} to {100 * high:.2f} on all images like them ({LEVEL:.0%} interval; p = "
        f"{write_p_value(comparison.p_value)}, two-sided)."
    )


def describe_categories(comparison: Comparison) -> str:
    """Where one side is surely better."""
    won = [(side, comparison.list_won(index)) for index, side in enumerate(SIDES)]
    lines = [f"{side} is surely better in {', '.join(names)} (marked *)." for side, names in won if names]
    scarce = describe_scarce(comparison.scarce)
    return " ".join([*(lines or ["In no category is one of them surely better."]), *([scarce] if scarce else [])])


def describe_numbers(comparison: Comparison) -> list[str]:
    """How the table is to be read, and how far it reaches."""
    spans = [[min(max(end, 0.0), 1.0) for end in score.mean.compute_interval()] for score in comparison.scores]
    level, count = comparison.difference.category_level, len(comparison.categories)
    floors = " and ".join(
        f"{side} {score.calibration_floor:.4f}" for side, score in zip(SIDES, comparison.scores, strict=True)
    )
    objective = comparison.objective
    score = f"{objective.name}, {objective.words}"
    if objective.is_default:
        score = "share of right answers, averaged over the categories"
    lines = [
        f"score: {score}. Each by itself has a wider interval, "
        f"{' and '.join(f'{side} {low:.3f} to {high:.3f}' for side, (low, high) in zip(SIDES, spans, strict=True))}: "
        "what is hard for both counts there, and not in their difference.",
        f"interval: {LEVEL:.0%} for the score; {level:.1%} for a category, so that all {count} hold together with "
        f"{LEVEL:.0%}.",
        "calibration error: by how much the probabilities of the answers miss the share that is right. By chance alone "
        f"it would be {floors} were they right: no less can be told from none.",
    ]
    if comparison.detectable > 0:
        lines.append(
            f"With {comparison.images:,} images, a true lead of {100 * comparison.detectable:.2f} points is found in "
            f"{POWER:.0%} of cases, a smaller one more rarely."
        )
    return [
        *lines,
        "All this is of these two models as they are; it says nothing of other seeds: of what the same settings would "
        "score if trained again.",
    ]
