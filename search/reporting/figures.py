"""Pictures of a search: learning curves, confusion matrices, accuracy against coverage and against cost; as PNG files.

(Without pyplot: it has global state.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.escaping import take_literally
from fashion_core.files import whole
from search.reporting.front import bound_errors, find_front

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from search.records.record import SearchRecord
    from search.reporting.front import PricedTrial

DPI = 110
LEAST_SHARE = 0.05  # of images that are answered: of fewer, accuracy is that of a handful
LINE_STYLES = ("-", "--", ":", "-.")
MAX_LABELLED = 30  # classes of a matrix that can still be read
MAX_SIDE = 10.0  # inches, of a larger one
DARK = 0.55  # share of a row above which a cell is too dark for black digits
MAX_NAMED = 5  # curves that get a colour and a name of their own
OTHERS = "0.75"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito: told apart by colour-blind readers


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Draw one confusion matrix. Colours are shares of the row, so of a class's images; numbers are counts.

    Args:
        matrix: [C, C] int64, row = truth, column = answer.
        classes: C names.
    """
    from matplotlib.figure import Figure

    matrix = np.asarray(matrix)
    totals = matrix.sum(1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    count = len(classes)
    side = 2.2 + 0.62 * count if count <= MAX_LABELLED else MAX_SIDE
    figure = Figure(figsize=(side + 1.0, side), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth (number of images)" if count <= MAX_LABELLED else "truth")
    if count <= MAX_LABELLED:
        axes.set_xticks(range(count), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        names = [f"{name} ({total})" for name, total in zip(classes, totals[:, 0], strict=True)]
        axes.set_yticks(range(count), names, fontsize=8)
        for row in range(count):
            for column in range(count):
                ink = "white" if shares[row, column] > DARK else "black" if matrix[row, column] else "0.7"
                axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink, fontsize=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    save_figure(figure, path)


def draw_coverage(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Draw accuracy against coverage: where the least sure answers are left out, first those on the right.

    Args:
        curves: name of a category -> coverage and accuracy, [m] each, see `search.statistics.coverage`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (name, (coverage, accuracy)) in enumerate(curves.items()):
        style = LINE_STYLES[number // len(COLOURS) % len(LINE_STYLES)]
        colour, shown = COLOURS[number % len(COLOURS)], coverage >= LEAST_SHARE
        axes.plot(100 * coverage[shown], accuracy[shown], color=colour, ls=style, lw=1.6, label=name)
    legend = axes.legend(fontsize=8, loc="lower left", framealpha=0.9)
    for text in legend.get_texts():
        text.set_parse_math(False)
    axes.set_xlim(0, 100)
    axes.set_xlabel("images answered, %: the surest ones")
    axes.set_ylabel("accuracy of these")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_curves(record: SearchRecord, path: Path) -> bool:
    """Draw the score by epoch of every trial: the best ones in colour, the others grey.

    Returns:
        Whether there was anything to draw.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    name = record.objective.name
    curves = {
        number: [(row.epoch, score) for row in trial.epochs if (score := row.metrics.get(name)) is not None]
        for number, trial in record.trials.items()
    }
    if not any(curves.values()):
        return False
    named = [trial.number for trial in record.rank()[:MAX_NAMED]]
    figure = Figure(figsize=(7.2, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    label_once = "other trials"
    for number, points in curves.items():
        if number not in named and points:
            axes.plot(*zip(*points, strict=True), color=OTHERS, lw=1, marker="o", ms=3, label=label_once)
            label_once = "_"  # one entry in the legend
    for number, colour in reversed(list(zip(named, COLOURS, strict=False))):
        label = f"trial {number}: {record.trials[number].best:.4f}"
        axes.plot(*zip(*curves[number], strict=True), color=colour, lw=1.8, marker="o", ms=4, label=label)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], fontsize=8, loc="lower right", framealpha=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return True


def draw_front(priced: Sequence[PricedTrial], path: Path) -> None:
    """Draw the objective against milliseconds an image: those that no other beats in colour and joined, others grey."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    front = sorted(find_front(priced), key=lambda each: each.cost.ms)
    figure = Figure(figsize=(7.2, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    others = [each for each in priced if each not in front]
    for group, colour, label in ((others, OTHERS, "other trials"), (front, COLOURS[0], "beaten by none")):
        if group:
            axes.errorbar(
                [each.cost.ms for each in group],
                [each.score for each in group],
                xerr=([0.0] * len(group), [each.cost.spread for each in group]),
                yerr=bound_errors(group),
                color=colour,
                fmt="o",
                ms=5,
                elinewidth=1,
                label=label,
            )
    axes.plot([each.cost.ms for each in front], [each.score for each in front], color=COLOURS[0], lw=1, ls=":")
    for each in front:
        text = f"trial {each.trial.number}, {each.cost.parameters / 1e6:.1f} M"
        axes.annotate(text, (each.cost.ms, each.score), (-6, 6), textcoords="offset points", fontsize=8, ha="right")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=8, loc="lower right", framealpha=0.9)
    axes.margins(x=0.2, y=0.15)
    axes.set_xlabel("milliseconds an image")
    axes.set_ylabel(f"{front[0].trial.objective.name}, ± one standard error")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, complete or not at all."""
    take_literally(figure)
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
