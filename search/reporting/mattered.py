"""What mattered: effects of the parameters, the score against each, and against what an answer costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.errors import SearchError
from search.reporting.answers import Answer
from search.reporting.charts import compute_hypervolume, draw_cost, draw_parallel, draw_shares, draw_slices
from search.reporting.effects import describe_estimated, estimate_mattered
from search.reporting.front import describe_front, list_priced
from search.reporting.markup import Html, code, command, fold, lead, note, render_markdown, table, tag
from search.reporting.report import AGAINST
from search.reporting.won import name_search

if TYPE_CHECKING:
    from search.records.record import SearchRecord
    from search.reporting.answers import Source
    from search.reporting.effects import Mattered

MAX_ROWS = 14  # of the matrix that are shown at first


def answer_mattered(source: Source) -> Answer:
    """What mattered."""
    record = source.record
    slices, parallel, priced = draw_slices(record), draw_parallel(record), list_priced(record)
    try:
        found = estimate_mattered(record)
        short, shown = describe_effects(found), show_effects(record, found, name_search(source.layout))
    except SearchError as error:
        short = "Too early to say which parameters mattered"
        short += "; the pictures show what there is." if slices or parallel or priced else "."
        shown = [note(f"{str(error)[:1].upper()}{str(error)[1:]}.")]
    parts = [lead(short), *shown]
    if slices:
        parts.append(tag("h3", "The score against each parameter"))
        parts.append(tag("div", *(each.render(caption=False) for each in slices), class_="small"))
        parts.append(
            note(
                "A point is a trial: full where it was trained to its end, open where it was not; the star is the "
                "best. Other parameters differ between the points too."
            )
        )
    if parallel:
        parts += [tag("h3", "All parameters at once"), parallel.render()]
    if priced:
        parts += [tag("h3", "Score against cost"), draw_cost(priced).render()]
        parts += [render_markdown(part) for part in describe_front(source.search, priced, AGAINST)]
        parts.append(
            note(
                f"Hypervolume: {compute_hypervolume(priced):.2f} of the box between the worst and the best, in score "
                "and in the logarithm of milliseconds."
            )
        )
    return Answer(short, parts)


def describe_effects(found: Mattered) -> str:
    """Which parameters shift the score beyond noise, in a sentence."""
    values, halves = found.effects.values[:, 0], found.effects.halves[:, 0]
    sure = [n for n in range(len(values)) if np.isfinite(values[n]) and abs(values[n]) > halves[n]]
    sure.sort(key=lambda n: -abs(values[n]))
    names = list(dict.fromkeys(found.design.effects[n][0] for n in sure))
    total = len({name for name, *_ in found.design.effects})
    if not names:
        return f"None of the {total} parameters shifts the score beyond noise."
    name, change, _ = found.design.effects[sure[0]]
    most = f"most of all {name} ({change}: {100 * values[sure[0]]:+.1f} ± {100 * halves[sure[0]]:.1f} points)"
    rest = f", then {', '.join(names[1:4])}" if len(names) > 1 else ""
    return f"{len(names)} of {total} parameters shift the score beyond noise: {most}{rest}."


def show_effects(record: SearchRecord, found: Mattered, search: str) -> list[Html]:
    """The matrix of effects, and how much of the spread is whose."""
    effects = found.effects
    objective = record.objective
    head = ("parameter", "change", "mean" if objective.is_default else objective.name, *record.category_names)
    limit = float(np.nanmax(np.abs(effects.values), initial=1e-9))
    order = sorted(
        (n for n in range(len(effects.values)) if np.isfinite(effects.values[n, 0])),
        key=lambda n: -abs(effects.values[n, 0]),
    )
    rows = []
    for n in order:
        name, change, _ = found.design.effects[n]
        cells = [
            draw_effect(float(value), float(half), limit)
            for value, half in zip(effects.values[n], effects.halves[n], strict=True)
        ]
        rows.append((code(name), tag("td", change, class_="text"), *cells))
    parts = [
        note(
            f"{len(found.trials)} {describe_estimated(found)}. Changes of the score and of each category's accuracy in "
            "points, ± half a 95% interval over trials and images; the strongest first. Coloured and bold where the "
            "interval does not hold 0; of 20 cells about one is so by chance."
        ),
        table(head, rows[:MAX_ROWS], class_="effects"),
    ]
    if len(rows) > MAX_ROWS:
        parts.append(fold(f"{len(rows) - MAX_ROWS} weaker ones", table(head, rows[MAX_ROWS:], class_="effects")))
    parts.append(draw_shares(effects.shares, objective.name).render())
    parts.append(command("the same in full, and what acts together", f"python -m search.effects {search}"))
    return parts


def draw_effect(value: float, half: float, limit: float) -> Html:
    """A cell: coloured by its size where it is beyond noise."""
    text = f"{100 * value:+.1f} ± {100 * half:.1f}"
    if abs(value) <= half:
        return tag("td", text)
    return tag(
        "td",
        tag("strong", text),
        class_="up" if value > 0 else "down",
        style=f"--share:{min(abs(value) / limit, 1):.3f}",
    )
