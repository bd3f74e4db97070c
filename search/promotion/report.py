"""PROMOTION.md: what was trained again, what it showed, what ships, and what the gate said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.promotion.candidates import flatten_config
from search.promotion.contenders import Judgement, Row
from search.promotion.forms import Decision
from search.promotion.plan import PromotionPlan
from search.promotion.view import describe_state
from search.reporting.tables import hide_places, render_table
from search.reporting.words import format_duration, group_params, write_interval, write_points
from search.statistics.gate import Verdict
from search.statistics.intervals import LEVEL, Estimate

CURSE = "winner's curse"


@dataclass(frozen=True)
class Outcome:
    """A promotion that was judged.

    Attributes:
        name: of the search.
        score, categories: of what ships: cross-fitted.
        answers_of: what these are scores of, in words.
        origin: where the weights come from, a sentence.
        opponent: what it was judged against.
        forced: promoted whatever the gate says.
        images: validation images judged on.
        seconds: of training, over all re-runs.
        machine, command, date: where and how it ran.
    """

    name: str
    category_names: tuple[str, ...]
    plan: PromotionPlan
    fit_on: str
    judgement: Judgement
    decision: Decision
    score: Estimate
    categories: tuple[Estimate, ...]
    answers_of: str
    origin: str
    opponent: str
    verdict: Verdict
    forced: bool
    notes: tuple[str, ...]
    images: int
    folds: int
    seconds: float
    machine: str
    command: str
    date: str


def render_promotion(outcome: Outcome) -> str:
    """The report."""
    sections = [
        (f"# Promotion of `{outcome.name}`", render_summary(outcome)),
        ("## Candidates", render_candidates(outcome)),
        ("## What could ship", render_forms(outcome)),
        ("## The model by category", render_categories(outcome)),
        (f"## The gate: against {outcome.opponent}", render_gate(outcome)),
        ("## How it was made", render_method(outcome)),
    ]
    return "\n\n".join(part for title, parts in sections for part in (title, *parts) if part) + "\n"


def render_summary(outcome: Outcome) -> list[str]:
    """The figure, and in bold what must not be missed."""
    state = "passed the gate" if outcome.verdict.passed else "did not pass the gate"
    state += ", and was promoted by force" if outcome.forced else ""
    parts = [
        f"{outcome.origin} It scores **{write_interval(outcome.score)}** ({LEVEL:.0%} interval over "
        f"{outcome.score.covers}) on {outcome.images:,} validation images and **{state}**: "
        f"{outcome.verdict.reasons[0]}."
    ]
    if outcome.plan.select_on == "val":
        parts.append(
            "**val was used by the search.** The search chose its trials by the images that judge them here, so these "
            "scores may be too high. The clean figure comes from a search with `--select-on heldout`."
        )
    else:
        parts.append("The search chose on images held out of train; val was unseen until the re-runs were judged.")
    return parts


def render_candidates(outcome: Outcome) -> list[str]:
    """Each with its interval, the baseline last."""
    rows = []
    for row in outcome.judgement.rows:
        found = row.candidate.search_score
        rows.append(
            [
                row.candidate.words,
                f"{found:.4f}" if found is not None else "",
                write_interval(row.score),
                write_points(row.gap),
                f"{row.best_share:.0%}" if row.candidate.trial is not None else "",
                write_points(row.versus.mean if row.versus else None),
                f"{row.calibration_error:.3f}",
                ", ".join(map(str, row.best_epochs)),
                f"{row.cost.parameters / 1e6:.1f} M, {row.cost.ms:.1f} ms",
            ]
        )
    head = [
        "",
        "in the search",
        f"trained again [{LEVEL:.0%}]",
        f"{CURSE} [{LEVEL:.0%}]",
        "best in",
        f"less the baseline [{LEVEL:.0%}]",
        "ECE",
        "best epochs",
        "cost",
    ]
    noise = outcome.judgement.noise
    seeds = len(outcome.plan.seeds)
    text = (
        f"Each was trained {seeds} {'time' if seeds == 1 else 'times'} on train with fresh seeds, the same for all; "
        f"scores are means over seeds, of epochs chosen without the images scored. {CURSE.capitalize()}: its score in "
        "the search less that now, in points; best in: share of resamples of images and seeds in which it is the best "
        "candidate; ECE: expected calibration error."
    )
    if outcome.plan.select_on == "heldout":
        text += (
            " The search scored on other images, and trained on fewer: the difference holds both beside the luck of "
            "having been chosen."
        )
    if noise is not None:
        text += f" Standard deviation of a score over seeds: {100 * noise.seed_sd:.2f} points."
    return [
        render_table(head, rows),
        text,
        render_configs(outcome.judgement.rows, outcome.category_names),
        render_versus(outcome),
    ]


def render_configs(rows: Sequence[Row], categories: Sequence[str]) -> str:
    """What the candidates differ in."""
    configs = [flatten_config(row.candidate.config) for row in rows]
    every = dict.fromkeys(name for config in configs for name in config if name != "seed")
    names = [name for name in every if len({str(config.get(name)) for config in configs}) > 1]
    shown = [group_params({name: config.get(name) for name in names}, list(categories)) for config in configs]
    keys = list(dict.fromkeys(key for each in shown for key in each))
    table = [[f"`{key}`", *(str(each.get(key, "")) for each in shown)] for key in keys]
    return render_table(["setting", *(row.candidate.words for row in rows)], table)


def render_versus(outcome: Outcome) -> str:
    """Every candidate less the baseline, by category."""
    rows = [row for row in outcome.judgement.rows if row.versus is not None]
    if not rows:
        return ""
    table = []
    for row in rows:
        assert row.versus is not None
        level = row.versus.category_level
        table.append([row.candidate.words, *(write_points(each, level) for each in row.versus.categories)])
    return "\n\n".join(
        [
            "Less the baseline by category, in points (intervals that hold together, by Bonferroni):",
            render_table(["", *outcome.category_names], table),
        ]
    )


def render_forms(outcome: Outcome) -> list[str]:
    """Single, soup, ensembles: gain and cost."""
    rows = []
    for form in outcome.decision.forms:
        state = describe_state(form, outcome.decision).replace("ships", "**ships**")
        rows.append(
            [
                form.choice.form,
                str(len(set(form.choice.networks))),
                write_interval(form.score),
                write_points(form.gain),
                f"{form.cost.parameters / 1e6:.1f} M",
                f"{form.cost.ms:.1f}",
                state,
            ]
        )
    head = ["", "networks", f"score [{LEVEL:.0%}]", "less the single, points", "parameters", "ms an image", ""]
    text = (
        f"All under one cross-fitting of {outcome.folds} folds: what is chosen (candidate, network, epoch, members) is "
        "chosen without the images it is scored on. Intervals are over images alone: these networks as they are. "
        "Seeds: an ensemble of all networks of the best candidate; ensemble: a greedy one of networks of any. A "
        "soup averages weights at each network's best epoch on all images, the one that is kept, so its score is a "
        "little too high. None: on all images, nothing was added to the best network."
    )
    return [render_table(head, rows), text]


def render_categories(outcome: Outcome) -> list[str]:
    rows = [[name, write_interval(each)] for name, each in zip(outcome.category_names, outcome.categories, strict=True)]
    rows.append(["**mean**", f"**{write_interval(outcome.score)}**"])
    return [f"{outcome.answers_of}", render_table(["category", f"accuracy [{LEVEL:.0%}]"], rows)]


def render_gate(outcome: Outcome) -> list[str]:
    """The reasons, and the difference by category."""
    comparison = outcome.verdict.comparison
    level = comparison.category_level
    rows = [
        [name, write_points(each, level)]
        for name, each in zip(outcome.category_names, comparison.categories, strict=True)
    ]
    lines = "\n".join(f"- {reason}" for reason in outcome.verdict.reasons)
    return [lines, render_table(["category", f"difference, points [{level:.1%}, all together {LEVEL:.0%}]"], rows)]


def render_method(outcome: Outcome) -> list[str]:
    lines = [
        f"- command: `{hide_places(outcome.command)}`, {outcome.date}",
        f"- machine: {outcome.machine}",
        f"- training of all re-runs: {format_duration(outcome.seconds)} of one worker's time",
        *(f"- {note}" for note in outcome.notes),
    ]
    return ["\n".join(lines)]
