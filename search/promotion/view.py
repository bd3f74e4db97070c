"""What a person sees of a promotion: the re-runs as they go, the table of candidates, the forms, and the verdict."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table

from fashion_core import metrics
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from search.address import Address
from search.cli import DEFAULT_RESULTS
from search.jobs.reruns import FINISHED, Training
from search.planning.steps import time_step
from search.promotion.options import SINGLE
from search.promotion.plan import describe_left_out
from search.records.provenance import python_command
from search.registry.versions import CHAMPION, list_models
from search.reporting.live import PROGRESS_INTERVAL_S
from search.reporting.terminal import draw_table, plain
from search.reporting.words import describe_objective, format_duration, format_score, write_interval, write_points
from search.statistics.gate import describe_attempt
from search.statistics.intervals import LEVEL
from search.statistics.rounds import LEAST_SEEDS
from search.tracking.store import default_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from search.planning.resources import Resources
    from search.promotion.attempt_state import PromotionAttempt
    from search.promotion.forms import Decision
    from search.promotion.judgement import Judgement
    from search.promotion.opponent import Gate
    from search.promotion.options import PromotionOptions
    from search.promotion.plan import Candidate, PromotionPlan
    from search.promotion.result import PromotionResult
    from search.records.record import SearchRecord
    from search.registry.versions import Registry

WAITING = "-"


class RerunView:
    """Shows networks while they are trained: a table on a terminal, a line a network elsewhere. A context manager."""

    def __init__(self, console: Console, title: str, trainings: Sequence[Training], names: dict[str, str]) -> None:
        """Nothing is shown before it is entered."""
        self.console, self.title, self.trainings, self.names = console, title, trainings, names
        self.cells = {training.folder: WAITING for training in trainings}
        self.best: dict[Any, float] = {}
        self.started = self.last_line = time.monotonic()
        self.live = Live(self.draw(), console=console, transient=True) if console.is_interactive else None

    def __enter__(self) -> RerunView:
        """Say what is to be done, and show it."""
        left = sum(training.status is None for training in self.trainings)
        done = len(self.trainings) - left
        text = f"{self.title}: {left} to train" + (f", {done} done before" if done else "")
        self.console.print(plain(text))
        for training in self.trainings:
            if training.status is not None:
                self.cells[training.folder] = training.status
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the table away."""
        if self.live is not None:
            self.live.stop()

    def update(self, training: Training, event: dict[str, Any]) -> None:
        """Take in an epoch, an end, or that it waits for room on a full disk."""
        where = training.folder
        epochs = training.stop_epoch or training.config.epochs
        if "note" in event:
            self.console.print(plain(event["note"], "yellow"))
        elif "epoch" in event:
            self.cells[where] = f"{event['epoch']}/{epochs}"
            if training.stop_epoch is None:  # else it is scored on images that it was trained on
                score = event["metrics"][training.config.objective]
                self.best[where] = max(score, self.best.get(where, 0.0))
                self.cells[where] += f"  {score:.4f}"
        else:
            best = self.best.get(where)
            words = event["status"] if event["status"] != FINISHED or best is None else format_score(best)
            self.cells[where] = words
            if self.live is None or event["status"] != FINISHED:
                text = f"{self.name(training)}, seed {training.seed_number}: {event['status']}"
                text += f", best {format_score(best)}" if best is not None else ""
                text += f" ({event['error']})" if event["error"] else ""
                self.print_line(text)
        if self.live is not None:
            self.live.update(self.draw())

    def look(self, doing: Mapping[str, str]) -> None:
        """Where there is no terminal, print now and then what each is at: in words, by the training's name."""
        if self.live is None and time.monotonic() - self.last_line >= PROGRESS_INTERVAL_S:
            each = [f"{name}: {text}" for name, text in doing.items()]
            self.print_line("; ".join(each) or "none has begun to train: they wait for resources, or start")

    def print_line(self, text: str) -> None:
        """A line, and the time since the beginning."""
        self.last_line = time.monotonic()
        self.console.print(plain(f"  {text} [{format_duration(self.last_line - self.started)}]"))

    def name(self, training: Training) -> str:
        """How the table calls its candidate."""
        return self.names[training.label]

    def draw(self) -> Table:
        """Candidates down, seeds across."""
        seeds = sorted({training.seed_number for training in self.trainings})
        title = plain(f"{self.title}, {format_duration(time.monotonic() - self.started)}")
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for seed in seeds:
            table.add_column(f"seed {seed}")
        for label in dict.fromkeys(training.label for training in self.trainings):
            cells = {each.seed_number: self.cells[each.folder] for each in self.trainings if each.label == label}
            table.add_row(plain(self.names[label]), *(plain(cells.get(seed, "")) for seed in seeds))
        return table


def draw_plan(
    plan: PromotionPlan,
    options: PromotionOptions,
    search: SearchRecord,
    resources: Resources,
    registry: Registry,
    counts: Mapping[str, int],
    attempt: int | None = None,
    own: PromotionAttempt | None = None,
) -> Table:
    """What the promotion will do.

    Args:
        search: what is promoted.
        counts: images to train on, as `train`, and to judge on, as `val`.
        attempt: which try on these images it is, from 1; None where it is none.
        own: which attempt of the search it is; None where it is none.
    """
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    seeds = len(plan.seeds)
    per_network = f"{resources.cpus_per_trial} CPU core{'s' if resources.cpus_per_trial > 1 else ''}"
    if resources.gpus_per_trial:
        per_network += f" and {resources.gpus_per_trial:g} GPU"
    alike = plan.everyone if plan.is_baseline_alike else plan.candidates
    reruns = describe_price(alike, seeds, search, resources)
    soup = describe_price([each for each in plan.candidates if not each.config.is_probe], seeds, search, resources)
    for topic, text in (
        ("search", f"{search.name}, which selected on {plan.select_on}"),
        ("attempt", "" if own is None else describe_own(own)),
        ("objective", describe_objective(plan.objective)),
        ("candidates", ", ".join(f"{each.words} ({format_score(each.search_score)})" for each in plan.candidates)),
        ("left out", describe_left_out(search)),
        ("baseline", plan.baseline_words),
        ("trained on", f"{counts['train']:,} images"),
        ("re-runs", f"{reruns}, each with a start and a seed of its own"),
        ("dropped", describe_dropping(options)),
        ("for the baseline", describe_baseline_price(plan, search.begun.categories, counts)),
        ("for soups", f"{soup}, all from one start" if options.has_soup else ""),
        ("judged on", f"{counts['val']:,} validation images, cross-fitted"),
        ("the gate", "" if attempt is None else describe_attempt(attempt)),
        ("may ship", options.forms.replace(",", ", ")),
        ("ships", "networks of these" if not options.is_recipe else "what is trained once more on train and val"),
        ("at once", f"{resources.concurrent} networks, each with {per_network}"),
        ("registry", str(registry.uri)),
        ("model", describe_model(registry)),
    ):
        if text:
            table.add_row(topic, plain(text))
    return table


def describe_dropping(options: PromotionOptions) -> str:
    """Who is dropped on the way; empty where nobody is."""
    if options.drop_error is None:
        return ""
    return (
        f"from {LEAST_SEEDS} seeds on, who is surely worse than the best so far; the best in at most "
        f"{options.drop_error:.3g} of cases"
    )


def describe_own(own: PromotionAttempt) -> str:
    """`2 of this search; attempt 1 was promoted`; empty where it is the first."""
    if own.number == 1:
        return ""
    before = own.promoted
    if before is None:
        return f"{own.number} of this search, none promoted so far"
    was = "was of an earlier version" if before == 1 and own.has_older else "was promoted"
    return f"{own.number} of this search; attempt {before} {was}, and stands unless this one passes"


def describe_price(candidates: Sequence[Candidate], seeds: int, search: SearchRecord, resources: Resources) -> str:
    """`12 networks, 60 epochs, about 1 h 10 min`: what training candidates again takes, as far as the search tells.

    Args:
        seeds: how often each is trained.
    """
    epochs = seeds * sum(each.config.epochs for each in candidates)
    text = f"{seeds * len(candidates)} networks, {epochs} epochs"
    seconds = [
        (row.metrics.get(metrics.TRAIN_SECONDS) or 0.0) + (row.metrics.get(metrics.VAL_SECONDS) or 0.0)
        for each in candidates
        if each.trial is not None
        for row in search.trials[each.trial].epochs
    ]
    if not seconds:
        return text
    return f"{text}, about {format_duration(epochs * sum(seconds) / len(seconds) / resources.concurrent)}"


def describe_baseline_price(
    plan: PromotionPlan, categories: Mapping[str, Sequence[str]], counts: Mapping[str, int]
) -> str:
    """What training the baseline takes where its epochs are unlike the candidates', timed here; else "".

    Args:
        categories: that its networks tell apart, with their classes.
        counts: images to train on, as `train`.
    """
    if plan.baseline is None or plan.is_baseline_alike:
        return ""
    config, networks = plan.baseline.config, len(plan.seeds)
    epochs = networks * config.epochs
    step = time_step(config, AttributeSchema.from_dict(categories))
    seconds = epochs * step * counts["train"] / config.batch_size
    return f"{networks} networks, {epochs} epochs, about {format_duration(seconds)}, of steps that were timed here"


def describe_model(registry: Registry) -> str:
    """The registered model that a promotion adds to; where it has no champion yet, those that have one are named."""
    try:
        champion = registry.find(CHAMPION)
        others = [] if champion else list_models(registry.uri)
    except SearchError:
        return f"{registry.model}; the registry does not answer"
    if champion is not None:
        return f"{registry.model}, whose champion is version {champion.number}"
    also = f"; others that have one: {', '.join(others)} (name one with --model to go on with it)" if others else ""
    return f"{registry.model}, without a champion yet{also}"


def draw_judgement(judgement: Judgement) -> Table:
    """The candidates, best first: narrow enough for a terminal."""
    rows = []
    for row in judgement.rows:
        is_candidate = row.candidate.trial is not None
        rows.append(
            (
                row.candidate.words,
                write_interval(row.score, digits=3),
                f"{row.best_share:.0%}" if is_candidate else "",
                write_points(row.versus.mean if row.versus else None, digits=1),
                write_points(row.gap, digits=1),
            )
        )
    head = ("candidate", f"score [{LEVEL:.0%}]", "best", "vs baseline, pt", "gap to search, pt")
    return draw_table(head, rows)


def draw_decision(decision: Decision) -> Table:
    """The forms, the plainest first."""
    rows = []
    for form in decision.forms:
        rows.append(
            (
                form.choice.form + (f" of {len(set(form.choice.networks))}" if form.choice.form != SINGLE else ""),
                write_interval(form.score, digits=3),
                write_points(form.gain, digits=1),
                f"{form.cost.parameters / 1e6:.1f} M",
                f"{form.cost.ms:.1f}",
                decision.describe_state(form),
            )
        )
    return draw_table(("model", f"score [{LEVEL:.0%}]", "vs one, pt", "size", "ms", ""), rows)


def show_gate(gate: Gate, console: Console) -> None:
    """What the gate says, a line a reason."""
    console.print(plain(f"the gate, against {gate.opponent.words}:"))
    for reason in gate.reasons:
        console.print(plain(f"  {reason}"))


def show_end(result: PromotionResult, registry: Registry, console: Console) -> None:
    """What came of it, and what to do next."""
    layout, version = result.layout, result.version
    if version is None or result.shipped is None:
        console.print(
            plain("nothing is trained once more, and nothing registered: the gate did not let it pass (--force does)")
        )
        show_lines(console, [("report", str(result.report)), *describe_standing(result)])
        return
    state = (
        "is the champion" if result.is_champion else "is registered, but not the champion: the gate did not let it pass"
    )
    console.print(plain(f"{version.name}, version {version.number}, {state}: {write_interval(result.score)}"))
    where = [] if layout.results == DEFAULT_RESULTS else ["--results", str(layout.results)]
    where += [] if registry.uri == Address(default_uri(layout)) else ["--tracking-uri", str(registry.uri)]
    lines = [("report", str(result.report)), ("model card", str(result.shipped.layout.card))]
    lines += describe_standing(result)
    if result.is_champion:
        words = [python_command(), "-m", "search.predict", f"models:/{version.name}@{CHAMPION}", "IMAGE"]
        words += ["--box", "x1,y1,x2,y2"] if result.shipped.needs_box else []
        lines.append(("ask it", shlex.join([*words, *where])))
    show_lines(console, lines)


def describe_standing(result: PromotionResult) -> list[tuple[str, str]]:
    """What stays as it is, of an attempt that does not stand for its search."""
    if result.stands:
        return []
    layout = result.layout
    return [("unchanged", f"{layout.promotion_report} and {layout.final.folder}, of the attempt that was promoted")]


def show_lines(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """A topic and a text a line."""
    for topic, text in lines:
        console.print(plain(f"  {topic:10} {text}"), soft_wrap=True)
