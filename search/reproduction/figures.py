"""Pictures of the studies: claims with their intervals, and curves by epoch in the places of the report's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.metrics import ACCURACY, TRAIN_LOSS, VAL_LOSS
from search.reporting.figures import COLOURS, DPI, save_figure
from search.reproduction.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from search.reproduction.findings import Judged, Reproduction
    from search.reproduction.studies import Study

WIDTH = 7.2  # inches
INKS = {Verdict.HOLDS: "#009e73", Verdict.DOES_NOT: "#d55e00", Verdict.UNKNOWN: "0.45"}
POINTS = 100  # of a difference of 1


def draw_claims(judged: Sequence[Judged], path: Path) -> bool:
    """Draw every claim's interval, beside what was published. Returns whether there was anything to draw."""
    from matplotlib.figure import Figure

    shown = [each for each in judged if each.finding.estimate is not None and np.isfinite(each.finding.estimate.error)]
    if not shown:
        return False
    figure = Figure(figsize=(WIDTH + 2, 1.2 + 0.42 * len(shown)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    labelled = set()
    for row, each in enumerate(reversed(shown)):
        estimate = each.finding.estimate
        assert estimate is not None
        low, high = estimate.compute_interval()
        verdict = each.finding.verdict
        label = str(verdict) if verdict not in labelled else "_"
        labelled.add(verdict)
        axes.plot([POINTS * low, POINTS * high], [row, row], color=INKS[verdict], lw=2)
        axes.plot([POINTS * estimate.value], [row], "o", color=INKS[verdict], ms=6, label=label)
        if each.claim.published is not None:
            axes.plot([POINTS * each.claim.published], [row], "D", color="black", ms=5, mfc="white")
    if any(each.claim.published is not None for each in shown):
        axes.plot([], [], "D", color="black", mfc="white", ms=5, label="published")
    axes.axvline(0, color="0.7", lw=1)
    axes.set_yticks(range(len(shown)), [wrap(each.claim.text) for each in reversed(shown)], fontsize=7)
    axes.set_xlabel("points, with the 95% interval")
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, frameon=False)
    axes.grid(alpha=0.3, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return True


def wrap(text: str, width: int = 48) -> str:
    """The text on lines of this width."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def draw_arms(found: Reproduction, study: Study, path: Path) -> bool:
    """Draw the score by epoch of a study's arms, the mean of their trainings with the span between these."""
    from matplotlib.figure import Figure

    curves = {found.name_arm(name, arm): found.list_curves(arm) for name, arm in study.arms.items()}
    curves = {name: values for name, values in curves.items() if values}
    if not curves:
        return False
    figure = Figure(figsize=(WIDTH, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    draw_spans(axes, curves)
    axes.set_ylabel(ACCURACY)
    axes.legend(fontsize=8, loc="lower right")
    save_figure(figure, path)
    return True


def draw_categories(found: Reproduction, study: Study, path: Path) -> bool:
    """Draw the best accuracy of each category, of a study's arms: the mean of their trainings, and each of these."""
    from matplotlib.figure import Figure

    categories = found.trained.categories
    answers = {
        found.name_arm(name, arm): found.trained.stack(found.protocol.build_key(arm))
        for name, arm in study.arms.items()
    }
    answers = {name: each for name, each in answers.items() if len(each)}
    if not answers:
        return False
    figure = Figure(figsize=(WIDTH, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, each) in enumerate(answers.items()):
        scores = np.nanmean(each, 1)  # [S, K]
        places = np.arange(len(categories)) + 0.2 * (index - (len(answers) - 1) / 2)
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(np.tile(places, (len(scores), 1)), scores, ".", color=colour, alpha=0.5, ms=6)
        axes.plot(places, scores.mean(0), "_", color=colour, ms=18, mew=2.5, label=name)
    axes.set_xticks(range(len(categories)), categories)
    axes.set_ylabel("accuracy of the category, at the best epoch")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, axis="y")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
    return True


def draw_epochs(found: Reproduction, study: Study, path: Path) -> bool:
    """Draw loss and accuracy by epoch in each category, of a study's only arm: the mean of its trainings, its span."""
    from matplotlib.figure import Figure

    (arm,) = study.arms.values()
    panels = {
        "training loss": TRAIN_LOSS,
        "validation loss": VAL_LOSS,
        "validation accuracy": ACCURACY,
    }
    if not found.list_curves(arm):
        return False
    figure = Figure(figsize=(WIDTH + 3, 3.6), dpi=DPI, layout="constrained")
    for index, (title, metric) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), index + 1)
        draw_spans(axes, {name: found.list_curves(arm, f"{metric}/{name}") for name in found.trained.categories})
        axes.set_title(title, fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=6)
    save_figure(figure, path)
    return True


def draw_spans(axes: Axes, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """The mean of some curves by epoch, and the span between the lowest and the highest, by name."""
    from matplotlib.ticker import MaxNLocator

    inks = (*COLOURS, "#56b4e9", "#000000", "#f0e442", "0.5")
    for index, (name, each) in enumerate(curves.items()):
        values = np.array(each)  # [S, E]
        epochs = np.arange(1, values.shape[1] + 1)
        colour = inks[index % len(inks)]
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, lw=0)
        axes.plot(epochs, values.mean(0), color=colour, lw=1.8, marker="o", ms=3, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
