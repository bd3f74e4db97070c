"""PROMOTION.md: what was trained again, what it showed, what ships, and what the gate said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fashion_core.escaping import escape_markdown, show_lines, write_code, write_name
from search.promotion.attempts import render_attempts
from search.promotion.coverage import render_coverage
from search.promotion.plan import FRESH, ONE_START, flatten_config
from search.reporting.tables import hide_places, render_table
from search.reporting.words import format_duration, group_params, write_interval, write_points
from search.statistics.intervals import LEVEL, POWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.promotion.judgement import Row
    from search.promotion.result import PromotionResult

CURSE = "winner's curse"


def render_promotion(result: PromotionResult, picture: str = "final/coverage.png") -> str:
    """The report. picture: address of that of accuracy against coverage, from the report."""
    number = f", attempt {result.attempt}" if result.attempt > 1 else ""
    sections = [
        (f"# Promotion of {write_code(result.name)}{number}", render_summary(result)),
        ("## Candidates", render_candidates(result)),
        ("## What could ship", render_forms(result)),
        ("## The model by category", render_categories(result)),
        *render_abstaining(result, picture),
        (f"## The gate: against {result.opponent.words}", render_gate(result)),
        ("## How it was made", render_method(result)),
    ]
    return show_lines("\n\n".join(part for title, parts in sections for part in (title, *parts) if part) + "\n")


def render_summary(result: PromotionResult) -> list[str]:
    """The figure, and in bold what must not be missed."""
    state = "passed the gate" if result.verdict.passed else "did not pass the gate"
    state += ", and was promoted by force" if result.forced else ""
    own = result.objective
    objective = "" if own.is_default else f" in {write_code(own.name)}, {escape_markdown(own.words)},"
    parts = [
        f"{escape_markdown(result.origin)} It scores **{write_interval(result.score)}** ({LEVEL:.0%} interval over "
        f"{result.score.covers}){objective} on {result.scored:,} validation images and **{state}**: "
        f"{escape_markdown(result.verdict.reasons[0])}."
    ]
    if result.options.is_fresh:
        parts.append(FRESH)
    elif result.plan.select_on == "val":
        parts.append(
            "**val was used by the search.** The search chose its trials by the images that judge them here, so these "
            "scores may be too high. The clean figure comes from a search with `--select-on heldout`."
        )
    else:
        parts.append("The search chose on images held out of train; val was unseen until the re-runs were judged.")
    return parts


def describe_of(result: PromotionResult) -> str:
    """` of `val/class_accuracy``: the objective, as a part of a sentence; empty where it is the default."""
    return "" if result.objective.is_default else f" of {write_code(result.objective.name)}"


def render_candidates(result: PromotionResult) -> list[str]:
    """Each with its interval, the baseline last."""
    rows = []
    for row in result.judgement.rows:
        found = row.candidate.search_score
        rows.append(
            [
                escape_markdown(row.candidate.words),
                f"{found:.4f}" if found is not None else "",
                write_interval(row.score),
                write_points(row.gap),
                f"{row.best_share:.0%}" if row.candidate.trial is not None else "",
                write_points(row.versus.mean if row.versus else None),
                f"{row.calibration_error:.3f} ({row.calibration_floor:.3f})",
                ", ".join(map(str, row.best_epochs)),
                str(row.cost),
            ]
        )
    head = [
        "",
        "in the search",
        f"trained again [{LEVEL:.0%}]",
        f"{CURSE} [{LEVEL:.0%}]",
        "best in",
        f"less the baseline [{LEVEL:.0%}]",
        "ECE (floor)",
        "best epochs",
        "cost",
    ]
    noise = result.judgement.noise
    seeds = len(result.plan.seeds)
    text = (
        f"Each was trained {seeds} {'time' if seeds == 1 else 'times'} on train with fresh seeds"
        f"{' and starts of its new layers' if result.plan.start_seeds else ''}, the same for all; "
        f"scores{describe_of(result)} are means over seeds, of epochs chosen without the images scored. "
        f"{CURSE.capitalize()}: its score in the search less that now, in points; best in: share of resamples of "
        "images and seeds in which it is the best candidate; ECE: expected calibration error; floor: what calibrated "
        "answers to as many images have of it by chance."
    )
    if result.plan.select_on == "heldout" or result.options.is_fresh:
        text += (
            " The search scored on other images, and trained on fewer: the difference holds both beside the luck of "
            "having been chosen."
        )
    if not result.plan.start_seeds:
        text += f" {ONE_START}"
    if noise is not None:
        text += f" Standard deviation of a score over seeds: {100 * noise.seed_sd:.2f} points."
    return [
        render_table(head, rows),
        text,
        render_configs(result.judgement.rows, result.category_names),
        "" if result.plan.baseline is None else f"The baseline: {escape_markdown(result.plan.baseline_words)}",
        render_versus(result),
    ]


def render_configs(rows: Sequence[Row], categories: Sequence[str]) -> str:
    """Every setting of the candidates, those that they differ in first and bold."""
    configs = [flatten_config(row.candidate.config) for row in rows]
    every = dict.fromkeys(name for config in configs for name in config if name not in ("seed", "start_seed"))
    shown = [group_params({name: config.get(name) for name in every}, list(categories)) for config in configs]

    def is_shared(key: str) -> bool:
        return len({each.get(key) for each in shown}) == 1

    def write_row(key: str) -> list[str]:
        name = write_code(key) if is_shared(key) else f"**{write_code(key)}**"
        return [name, *(write_name(each.get(key, "")) for each in shown)]

    keys = sorted(dict.fromkeys(key for each in shown for key in each), key=is_shared)
    table = [write_row(key) for key in keys]
    return render_table(["setting", *(escape_markdown(row.candidate.words) for row in rows)], table)


def render_versus(result: PromotionResult) -> str:
    """Every candidate less the baseline, by category."""
    rows = [row for row in result.judgement.rows if row.versus is not None]
    if not rows:
        return ""
    table = []
    for row in rows:
        assert row.versus is not None
        level = row.versus.category_level
        table.append(
            [escape_markdown(row.candidate.words), *(write_points(each, level) for each in row.versus.categories)]
        )
    return "\n\n".join(
        [
            "Less the baseline by category, in points (intervals that hold together, by Bonferroni):",
            render_table(["", *map(write_name, result.category_names)], table),
        ]
    )


def render_forms(result: PromotionResult) -> list[str]:
    """Single, soup, ensembles: gain and cost."""
    rows = []
    for form in result.decision.forms:
        state = result.decision.describe_state(form).replace("ships", "**ships**")
        rows.append(
            [
                form.choice.form,
                str(len(set(form.choice.networks))),
                write_interval(form.score),
                write_points(form.gain),
                f"{form.cost.parameters / 1e6:.1f} M",
                form.cost.ms_words,
                state,
            ]
        )
    head = ["", "networks", f"score [{LEVEL:.0%}]", "less one network, points", "parameters", "ms an image", ""]
    text = (
        f"All under one cross-fitting of {result.folds} folds: what is chosen (candidate, network, epoch, members) is "
        "chosen without the images it is scored on. Intervals are over images alone: these networks as they are. "
        "One network: the mean of those of the best candidate, what one more of them can be expected to do; single: "
        "the best of them on the other images. Seeds: an ensemble of them all; ensemble: a greedy one of networks of "
        "any. A soup averages weights at each network's best epoch on all images, the one that is kept, so its score "
        "is a little too high. None: on all images, nothing was added to the best network."
    )
    return [render_table(head, rows), text]


def render_categories(result: PromotionResult) -> list[str]:
    """Accuracy by category, and whose it is."""
    pairs = zip(result.category_names, result.categories, strict=True)
    rows = [[write_name(name), write_interval(each)] for name, each in pairs]
    own = result.objective
    rows.append([f"**{'mean' if own.is_default else write_name(own.name)}**", f"**{write_interval(result.score)}**"])
    head = ["category", f"accuracy [{LEVEL:.0%}]"]
    if result.labelled:
        head.append("labelled images")
        rows = [[*row, f"{count:,}"] for row, count in zip(rows, (*result.labelled, result.scored), strict=True)]
    return [f"{result.answers_of}", render_table(head, rows)]


def render_abstaining(result: PromotionResult, picture: str) -> list[tuple[str, list[str]]]:
    """The section on accuracy against coverage, once a model was shipped whose answers could be counted."""
    return [] if result.shipped is None else [("## Abstaining", render_coverage(result.shipped, picture))]


def render_gate(result: PromotionResult) -> list[str]:
    """The reasons, and the difference by category."""
    difference = result.verdict.difference
    level = difference.category_level
    rows = [
        [write_name(name), write_points(each, level), f"{100 * loss:.2f}"]
        for name, each, loss in zip(
            result.category_names, difference.categories, result.verdict.detectable_losses, strict=True
        )
    ]
    lines = "\n".join(f"- {escape_markdown(reason)}" for reason in result.gate.reasons)
    head = ["category", f"difference, points [{level:.1%}, all together {LEVEL:.0%}]"]
    head.append(f"loss that is found in {POWER:.0%} of cases")
    text = ""
    if not result.objective.is_default:
        text = f"The gate compares {write_code(result.objective.name)}; no category may lose too much of its accuracy:"
    return [lines, text, render_table(head, rows), *render_attempts(result.gate.attempts)]


def render_method(result: PromotionResult) -> list[str]:
    """Command, machine, time, and what else a reader must know."""
    date = time.strftime("%Y-%m-%d", time.localtime(result.ended))
    lines = [
        f"- command: {write_code(hide_places(result.provenance['command']))}, {date}",
        f"- machine: {result.machine}",
        f"- training of all re-runs: {format_duration(result.judgement.seconds)} of one worker's time",
        *(f"- {escape_markdown(note)}" for note in result.notes),
    ]
    return ["\n".join(lines)]
