"""The pictures of a search's page, as Plotly's data: curves, slices, parallel coordinates, score against cost.

Text from outside goes through `write_label`; colours are names of the page's own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from search.records.events import TrialStatus
from search.reporting.effects import is_logarithmic
from search.reporting.front import bound_errors, find_front
from search.reporting.markup import Chart, write_label
from search.reporting.words import format_duration, format_score, format_value
from search.space.rungs import list_rungs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.records.record import SearchRecord, TrialRecord
    from search.reporting.front import PricedTrial
    from search.reporting.ties import Standing

TOP = 5  # curves, and points, that have a colour of their own
MAX_LINES = 20  # of the other curves: of more, quantiles are drawn
BANDS = ((0.05, 0.95), (0.25, 0.75))  # quantiles of these
MAX_SLICES = 16
MAX_LEVELS = 12  # values of a parameter that has an axis of names
MAX_COMPARED = 20  # trials beside the best one
CROWD = 60  # trials, from which on lines and points are thinner
MAX_LETTERS = 12  # at the end of an upright
WIDE = 10  # the largest of numbers over the smallest, from which on an axis may be logarithmic
QUINTILES = 5  # shades of parallel coordinates
DONE = (TrialStatus.FINISHED, TrialStatus.STOPPED, TrialStatus.PAUSED)
SMALL = {"margin": {"l": 4, "r": 10, "t": 26, "b": 8}}


def draw_learning(record: SearchRecord) -> Chart | None:
    """The score of every trial by epoch, rungs and cut-offs; None where there is no epoch.

    The five best have a name and a colour; the others are lines, or quantiles where there are many of them.
    """
    trials = [trial for _, trial in sorted(record.trials.items()) if trial.epochs]
    if not trials:
        return None
    best = record.rank()[:TOP]
    named = {trial.number for trial in best}
    others = [trial for trial in trials if trial.number not in named]
    traces = draw_lines(others) if len(others) <= MAX_LINES else draw_bands(others)
    traces += draw_cutoffs(record)
    for place, trial in reversed(list(enumerate(best))):
        texts = [f"trial {trial.number}, epoch {row.epoch}: {trial.read_score(row):.4f}" for row in trial.epochs]
        colour = f"@c{place}"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{'best: ' if not place else ''}trial {trial.number}",
                "x": [row.epoch for row in trial.epochs],
                "y": [trial.read_score(row) for row in trial.epochs],
                "line": {"color": colour, "width": 3 if not place else 1.8},
                "marker": {"color": colour, "size": 5},
                "hoverinfo": "text",
                "hovertext": texts,
            }
        )
    how = "each of the others is a thin line" if len(others) <= MAX_LINES else describe_bands(len(others))
    who = f"The best {len(best)} trials have" if len(best) > 1 else "The best trial has" if best else "No trial has"
    words = f"Score by epoch. {who} a colour; {how if others else 'there are no others'}."
    rungs = find_rungs(record)
    shapes = [
        {"type": "line", "x0": rung, "x1": rung, "yref": "paper", "y0": 0, "y1": 1}
        | {"line": {"color": "@muted", "dash": "dot", "width": 1}, "layer": "below"}
        for rung in rungs
    ]
    if rungs:
        words += f" Dotted: the rungs, {name_epochs(rungs)}, where ASHA decides who goes on"
        words += "; a diamond is a score below which it stopped a trial." if has_cutoffs(record) else "."
    score, last = record.objective.name, max(trial.last_epoch for trial in trials)
    layout = {
        "showlegend": True,
        "hovermode": "closest",
        "shapes": shapes,
        "xaxis": {
            "title": {"text": "epoch", "standoff": 4},
            "tickformat": "d",
            "dtick": max(1, round(last / 10)),
            "range": [0.5, last + 0.5],
        },
        "yaxis": {"title": {"text": write_label(score)}},
    }
    return Chart(words, traces, layout, height=460)


def name_epochs(epochs: Sequence[int]) -> str:
    """`after epoch 1`, `after epochs 1, 3 and 9`."""
    *first, last = map(str, epochs)
    return f"after epochs {', '.join(first)} and {last}" if first else f"after epoch {last}"


def find_rungs(record: SearchRecord) -> list[int]:
    """After which epochs trials could be stopped."""
    settings = record.settings
    if settings.get("scheduler", "asha") != "asha" or not settings.get("grace_epochs"):
        return []
    return list_rungs(settings.get("max_epochs", 0), settings.get("grace_epochs"), settings.get("reduction_factor"))


def has_cutoffs(record: SearchRecord) -> bool:
    """Whether the ledger tells below which scores trials were stopped."""
    return any(trial.cutoff is not None for trial in record.trials.values())


def draw_lines(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Curves without a colour of their own, in one trace; each ends in a point."""
    x: list[int | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for trial in trials:
        for row in trial.epochs:
            x.append(row.epoch)
            y.append(trial.read_score(row))
            texts.append(f"trial {trial.number}, epoch {row.epoch}: {trial.read_score(row):.4f} ({trial.status})")
        x.append(None)
        y.append(None)
        texts.append("")
    if not x:
        return []
    line = {"type": "scatter", "mode": "lines+markers", "name": "others", "x": x, "y": y, "connectgaps": False}
    line |= {"line": {"color": "@others/0.7", "width": 1}, "marker": {"color": "@others", "size": 4}}
    return [line | {"hoverinfo": "text", "hovertext": texts}]


def draw_bands(trials: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """Quantiles of the curves that have an epoch, by epoch: two bands and the median."""
    scores: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        for row in trial.epochs:
            scores[row.epoch].append(trial.read_score(row))
    epochs = sorted(scores)
    traces = []
    for (low, high), shade in zip(BANDS, ("@others/0.22", "@others/0.4"), strict=True):
        lower, upper = ([float(np.quantile(scores[epoch], share)) for epoch in epochs] for share in (low, high))
        traces.append(
            {"type": "scatter", "mode": "lines", "name": f"others, {high - low:.0%} of them", "fill": "toself"}
            | {"x": [*epochs, *reversed(epochs)], "y": [*upper, *reversed(lower)], "fillcolor": shade}
            | {"line": {"width": 0}, "hoverinfo": "skip"}
        )
    medians = [float(np.median(scores[epoch])) for epoch in epochs]
    texts = [
        f"epoch {epoch}: half of {len(scores[epoch])} others above {median:.4f}"
        for epoch, median in zip(epochs, medians, strict=True)
    ]
    middle = {"type": "scatter", "mode": "lines", "name": "others, median", "x": epochs, "y": medians}
    return [
        *traces,
        middle | {"line": {"color": "@muted", "width": 1.5}, "hoverinfo": "text", "hovertext": texts},
    ]


def describe_bands(count: int) -> str:
    """What the bands are."""
    return (
        f"of the {count} others the bands hold 90% and 50% at each epoch, of those that trained that long, and the "
        "grey line is their median"
    )


def draw_cutoffs(record: SearchRecord) -> list[dict[str, Any]]:
    """Where and below which score trials were stopped."""
    stopped = [trial for trial in record.trials.values() if trial.cutoff is not None and trial.rung is not None]
    if not stopped:
        return []
    texts = [f"trial {trial.number} stopped at epoch {trial.rung}: below {trial.cutoff:.4f}" for trial in stopped]
    marks: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": "cut-off",
        "x": [trial.rung for trial in stopped],
    }
    marks |= {"y": [trial.cutoff for trial in stopped], "hoverinfo": "text", "hovertext": texts}
    return [marks | {"marker": {"symbol": "diamond-open", "size": 7, "color": "@bad"}}]


def draw_differences(record: SearchRecord, standings: Mapping[int, Standing]) -> Chart | None:
    """The trials next to the best one, each with its score less the best and an interval; None where there is none."""
    shown = [trial for trial in record.rank() if trial.number in standings][:MAX_COMPARED]
    if not shown:
        return None
    traces = []
    for name, colour, is_tied in (("told apart from the best", "@others", False), ("tied with the best", "@c0", True)):
        rows = [trial for trial in shown if standings[trial.number].is_tied == is_tied]
        if not rows:
            continue
        found = [standings[trial.number].difference for trial in rows]
        halves = [100 * standings[trial.number].bound for trial in rows]
        texts = [
            f"trial {trial.number}: {100 * each.value:+.2f} points, ± {half:.2f}"
            for trial, each, half in zip(rows, found, halves, strict=True)
        ]
        traces.append(
            {"type": "scatter", "mode": "markers", "name": name, "x": [100 * each.value for each in found]}
            | {"y": [f"trial {trial.number}" for trial in rows], "hoverinfo": "text", "hovertext": texts}
            | {"error_x": {"type": "data", "array": halves, "color": colour, "thickness": 2, "width": 0}}
            | {"marker": {"color": colour, "size": 8}}
        )
    order = [f"trial {trial.number}" for trial in reversed(shown)]
    layout = {
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": {"text": "score less that of the best, points"}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": order},
        "shapes": [
            {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "@ink", "width": 1}}
        ],
    }
    words = (
        "Score less that of the best trial, in points, over images"
        + (f"; the {len(shown)} best of {len(standings)}" if len(shown) < len(standings) else "")
        + ". A trial whose line reaches 0 is tied with the best: within noise, judged one-sided at 95% over all "
        "comparisons at once."
    )
    return Chart(words, traces, layout, height=120 + 24 * len(shown))


# ----------------------------------------------------------------------------------------------------- what mattered


def list_varied(record: SearchRecord) -> list[str]:
    """The parameters that differ between trials."""
    trials = record.trials.values()
    return [name for name in record.param_names if len({str(trial.params.get(name)) for trial in trials}) > 1]


def draw_slices(record: SearchRecord) -> list[Chart]:
    """The score against each parameter that differs, one small picture each."""
    trials = list_shown(record)
    return [draw_slice(record, name, trials) for name in list_varied(record)[:MAX_SLICES]] if len(trials) > 1 else []


def list_shown(record: SearchRecord) -> list[TrialRecord]:
    """The trials that trained to their end or were stopped, and the best, the best first."""
    return [trial for place, trial in enumerate(record.rank()) if not place or trial.status in DONE]


def draw_slice(record: SearchRecord, name: str, trials: Sequence[TrialRecord]) -> Chart:
    """The score against one parameter."""
    has = [trial for trial in trials if name in trial.params]
    values = [trial.params[name] for trial in has]
    axis: dict[str, Any]
    if is_numeric(values):
        axis, x = build_axis(values), values
    else:
        x = [write_label(format_value(value)) for value in values]
        order = [write_label(format_value(value)) for value in sort_values(values)]
        axis = {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": order,
            "tickangle": -30 if max(map(len, x)) > 8 else 0,
        }
    traces = []
    for status, symbol in ((TrialStatus.STOPPED, "circle-open"), (TrialStatus.FINISHED, "circle")):
        rows = [n for n, trial in enumerate(has) if (trial.status == TrialStatus.FINISHED) == (symbol == "circle")]
        traces.append(draw_points(f"{status}", [has[n] for n in rows], [x[n] for n in rows], symbol))
    if has and has[0] is trials[0]:
        star = draw_points("best", has[:1], x[:1], "star")
        traces.append(star | {"marker": {"symbol": "star", "size": 13, "color": "@c1"}})
    layout = SMALL | {
        "title": {"text": write_label(name), "font": {"size": 13}, "x": 0.02, "y": 0.98, "yanchor": "top"},
        "xaxis": axis,
        "yaxis": {"nticks": 5},
        "hovermode": "closest",
    }
    return Chart(f"{record.objective.name} against {name}", traces, layout, height=220)


def sort_values(values: Sequence[Any]) -> list[Any]:
    """Values of any types in an order: numbers by size, the others by their words."""
    return sorted(
        values,
        key=lambda each: (
            isinstance(each, str) or each is None,
            str(each) if isinstance(each, str) or each is None else each,
        ),
    )


def build_axis(values: Sequence[float]) -> dict[str, Any]:
    """An axis of numbers: logarithmic where they lie more evenly so, over a factor of ten or more."""
    if min(values) <= 0 or max(values) < WIDE * min(values) or not is_logarithmic(np.array(values, float)):
        return {"type": "linear", "nticks": 5}
    return {"type": "log", "dtick": 1 if max(values) > WIDE**2 * min(values) else "D2", "exponentformat": "power"}


def draw_points(name: str, trials: Sequence[TrialRecord], x: Sequence[Any], symbol: str) -> dict[str, Any]:
    """Points of trials at their scores."""
    texts = [f"trial {trial.number}: {format_score(trial.best)}" for trial in trials]
    found = {"type": "scatter", "mode": "markers", "name": name, "x": list(x), "y": [trial.best for trial in trials]}
    colour = "@c0/0.75" if len(trials) <= CROWD else "@c0/0.4"
    marker = {"symbol": symbol, "size": 6, "color": colour, "line": {"width": 1, "color": colour}}
    return found | {"marker": marker, "hoverinfo": "text", "hovertext": texts}


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether values have an axis of numbers: numbers alone, and more than a few."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return len(numbers) == len(values) and len(set(numbers)) > 3


def draw_parallel(record: SearchRecord) -> Chart | None:
    """Each trial as a line over all parameters to its score; None where nothing differs."""
    trials = list_shown(record)
    names = [name for name in list_varied(record) if any(name in trial.params for trial in trials)][:MAX_SLICES]
    if len(trials) < 2 or not names:
        return None
    scales = [place_values([trial.params.get(name) for trial in trials]) for name in names]
    scales.append(place_values([trial.best for trial in trials], is_score=True))
    groups = np.array_split(np.arange(len(trials)), min(QUINTILES, len(trials)))  # the best first
    traces = []
    for shade, rows in reversed(list(enumerate(groups))):
        x: list[int | None] = []
        y: list[float | None] = []
        for row in rows:
            x += [*range(len(scales)), None]
            y += [*(places[row] for places, _, _ in scales), None]
        alpha = 1.0 if len(trials) <= CROWD else 0.45 if shade == 0 else 0.25
        colour = f"@q{QUINTILES - 1 - shade}/{alpha}"
        best, worst = trials[rows[0]].best or 0.0, trials[rows[-1]].best or 0.0
        traces.append(
            {"type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "connectgaps": False}
            | {"name": f"{worst:.3f} to {best:.3f}", "line": {"color": colour, "width": 1.6 if shade == 0 else 1}}
        )
    first = [places[0] for places, _, _ in scales]
    traces.append(
        {"type": "scatter", "mode": "lines+markers", "name": f"best: trial {trials[0].number}", "hoverinfo": "skip"}
        | {"x": list(range(len(scales))), "y": first, "line": {"color": "@c1", "width": 3}, "marker": {"color": "@c1"}}
    )
    ends = []
    for at, (_, low, high) in enumerate(scales):
        for place, text, anchor in ((-0.03, low, "top"), (1.03, high, "bottom")):
            ends.append(
                {"x": at, "y": place, "text": write_label(shorten(text)), "showarrow": False, "yanchor": anchor}
                | {"font": {"size": 10, "color": "@muted"}, "textangle": 0 if len(scales) <= 6 else -30}
            )
    titles = [write_label(name) for name in (*names, record.objective.name)]
    layout = {
        "showlegend": True,
        "margin": {"l": 56, "r": 24, "t": 8, "b": 8},
        "legend": {"orientation": "h", "y": 1.16, "yanchor": "bottom", "x": 0, "traceorder": "reversed"},
        "annotations": ends,
        "xaxis": {"tickmode": "array", "tickvals": list(range(len(scales))), "ticktext": titles, "tickangle": -40}
        | {"range": [-0.4, len(scales) - 0.6], "ticklabelstandoff": 22},
        "yaxis": {"visible": False, "range": [-0.16, 1.16]},
    }
    words = (
        "Each line is a trial: where it crosses an upright, it has that value, from the lowest at the bottom to the "
        "highest at the top. The darker (or, on a dark page, the brighter), the better."
    )
    return Chart(words, traces, layout, height=520)


def shorten(text: str) -> str:
    """The end of a long text, which is what tells names of one family apart."""
    return text if len(text) <= MAX_LETTERS else f"…{text[1 - MAX_LETTERS :]}"


def place_values(values: Sequence[Any], *, is_score: bool = False) -> tuple[list[float | None], str, str]:
    """Where values stand from 0 to 1, None where there is none; and what the lowest and the highest are."""
    known = [value for value in values if value is not None]
    if is_score or is_numeric(known):
        numbers = np.array(known, float)
        by_log = not is_score and np.ptp(numbers) > 0 and is_logarithmic(numbers)
        low, high = numbers.min(), numbers.max()

        def place(value: Any) -> float:
            if high == low:
                return 0.5
            if by_log:
                return math.log(value / low) / math.log(high / low)
            return float((value - low) / (high - low))

        ends = (
            (f"{low:.3f}", f"{high:.3f}") if is_score else (format_value(float(low), 2), format_value(float(high), 2))
        )
        return [None if value is None else place(value) for value in values], *ends
    levels = list(dict.fromkeys(map(format_value, sort_values(values))))
    places = {level: n / (len(levels) - 1) if len(levels) > 1 else 0.5 for n, level in enumerate(levels)}
    return [places[format_value(value)] for value in values], levels[0], levels[-1]


def draw_shares(shares: Mapping[str, float], score: str) -> Chart:
    """How much of the spread of the score goes with which parameter."""
    rows = sorted(shares.items(), key=lambda item: item[1])
    bar: dict[str, Any] = {"type": "bar", "orientation": "h"}
    bar |= {"x": [100 * max(share, 0.0) for _, share in rows]}
    bar |= {"y": [write_label(name) for name, _ in rows], "marker": {"color": "@c0"}, "hoverinfo": "text"}
    bar |= {"hovertext": [f"{write_label(name)}: {share:.1%}" for name, share in rows]}
    layout: dict[str, Any] = {"xaxis": {"title": {"text": "% of the variance"}}, "yaxis": {"type": "category"}}
    words = f"Which share of the variance of {score} goes with which parameter, less what chance alone would give it."
    return Chart(words, [bar], layout, height=80 + 26 * len(rows))


# ----------------------------------------------------------------------------------------------------- score and cost


def draw_cost(priced: Sequence[PricedTrial]) -> Chart:
    """Score against milliseconds an image, and the front. priced: see `list_priced`."""
    front = sorted(find_front(priced), key=lambda each: each.cost.ms)
    others = [each for each in priced if each not in front]
    traces = []
    for name, rows, colour in (("others", others, "@others"), ("on the front", front, "@c0")):
        texts = [
            f"trial {each.trial.number}: {format_score(each.score, each.trial.standard_error)}, {each.cost.ms:.3g} ms, "
            f"{each.cost.parameters / 1e6:.1f} M parameters"
            for each in rows
        ]
        below, above = bound_errors(rows)
        traces.append(
            {"type": "scatter", "mode": "lines+markers" if colour == "@c0" else "markers", "name": name}
            | {"x": [each.cost.ms for each in rows], "y": [each.score for each in rows]}
            | {"error_y": {"symmetric": False, "array": above, "arrayminus": below, "color": colour, "width": 0}}
            | {"line": {"color": colour, "dash": "dot", "shape": "hv"}, "marker": {"color": colour, "size": 8}}
            | {"hoverinfo": "text", "hovertext": texts}
        )
    layout = {
        "showlegend": True,
        "hovermode": "closest",
        "xaxis": build_axis([each.cost.ms for each in priced]) | {"title": {"text": "milliseconds an image"}},
        "yaxis": {"title": {"text": write_label(front[0].trial.objective.name)}},
    }
    words = "Score, ± one standard error, against what an answer costs. On the front: beaten by no other trial in both."
    return Chart(words, traces, layout)


def compute_hypervolume(priced: Sequence[PricedTrial]) -> float:
    """The share of the box between the worst and the best, in score and in the logarithm of milliseconds, that is
    beaten by a trial.

    0: one trial beats all and nothing lies between; near 1: one trial is best in both.
    """
    scores, costs = np.array([each.score for each in priced]), np.log([each.cost.ms for each in priced])
    if np.ptp(scores) == 0 or np.ptp(costs) == 0:
        return 1.0
    heights = (scores - scores.min()) / np.ptp(scores)
    places = (costs - costs.min()) / np.ptp(costs)
    volume = reached = 0.0
    for place, height in sorted(zip(places, heights, strict=True)):
        if height > reached:
            volume += (1 - place) * (height - reached)
            reached = height
    return float(volume)


def draw_time(hours: Mapping[str, float]) -> Chart:
    """Seconds of trials by how these ended."""
    rows = [(status, seconds) for status, seconds in hours.items() if seconds > 0]
    colours = {"finished": "@c2", "stopped": "@c4", "failed": "@bad", "diverged": "@c1", "running": "@c0"}
    unit, size = ("minutes", 60) if sum(hours.values()) < 7200 else ("hours", 3600)
    traces = [
        {"type": "bar", "orientation": "h", "x": [seconds / size], "y": ["time"], "name": status}
        | {"marker": {"color": colours.get(status, "@others")}, "hoverinfo": "text"}
        | {"hovertext": [f"{status}: {format_duration(seconds)}"]}
        for status, seconds in rows
    ]
    layout: dict[str, Any] = {"barmode": "stack", "showlegend": True, "xaxis": {"title": {"text": f"{unit} of trials"}}}
    layout |= {"yaxis": {"visible": False}, "legend": {"orientation": "h", "y": 1.05, "yanchor": "bottom", "x": 0}}
    return Chart("Time of all trials, by how these ended.", traces, layout, height=150)
