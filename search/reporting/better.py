"""Whether the best trial is better: than what was known before, than the other trials, than the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashion_core.data.schema import KNOWN_CATEGORIES
from fashion_core.metrics import ACCURACY
from search.records.events import TrialStatus
from search.reporting import published
from search.reporting.answers import Answer
from search.reporting.champion import Champion, name_fresh, say_unknown, show_champion, sum_up_champion
from search.reporting.charts import draw_differences
from search.reporting.markup import Html, command, fold, join, lead, note, say, table, tag
from search.reporting.ties import compare_with_best, find_answers
from search.reporting.won import name_search
from search.reporting.words import describe_pairing, name_trials, write_count, write_points
from search.statistics.gate import compare_answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.record import SearchRecord, TrialRecord
    from search.reporting.answers import Source
    from search.reporting.ties import Standing
    from search.reporting.words import SearchWords
    from search.statistics.intervals import Estimate

MAX_KNOWN = 10  # known configurations that the best is compared with
MAX_TIED = 8  # trials that are named
MAX_SHOWN = 40  # trials of a table that is open at first


def judge_gain(gain: Estimate, level: float) -> str:
    """`better`, `worse` or `within noise`: by an interval of this level."""
    low, high = gain.compute_interval(level)
    return "better" if low > 0 else "worse" if high < 0 else "within noise"


def judge_standing(standing: Standing) -> str:
    """The same of the best beside another trial: `better` where that is not tied with it."""
    return "within noise" if standing.is_tied else "better"


def find_known(record: SearchRecord) -> list[TrialRecord]:
    """The known configurations that were tried first and have a score, the best first."""
    if record.settings.get("sampler") == "grid":
        return []
    return [trial for trial in record.rank() if trial.enqueued][:MAX_KNOWN]


def answer_better(source: Source) -> Answer:
    """Whether it is better."""
    record, search = source.record, source.search
    ranked = record.rank()
    if not ranked:
        return Answer("There is nothing to compare yet.", [say("There is nothing to compare yet.")])
    best, known = ranked[0], find_known(record)
    standings = compare_with_best(record, ranked)
    gains = [(trial, (standings or {}).get(trial.number)) for trial in known if trial is not best]
    short = describe_known(best, known, gains) + sum_up_champion(record, best, source.champion)
    if search.tied:
        short += f" {write_count(len(search.tied), 'other trial')} cannot be told apart from the best."
    parts = [lead(short)]
    if gains:
        rows = [
            (
                f"trial {trial.number}",
                "" if standing is None else show_verdict(judge_standing(standing)),
                f"{trial.best:.4f}",
                "" if standing is None else write_points(standing.gain, standing.level),
                describe_end(trial),
                "" if standing is None else "image by image" if standing.is_paired else "without each image's answers",
            )
            for trial, standing in gains
        ]
        head = ("known configuration", "the best is", "score", "lead of the best, points", "trained", "compared")
        parts.append(table(head, rows, class_="short"))
        level = describe_level(len(ranked) - 1)
        parts.append(note(f"Intervals: {level}. The best is better than what is not tied with it."))
        parts += compare_categories(record, best, gains[0][0], len(ranked) - 1)
    best_of = f"The best of {len(ranked)} scores" if len(ranked) > 1 else "A best epoch's score"
    parts.append(
        note(
            f"{best_of} on one set of images looks better than it is: verdicts and intervals allow for its having been "
            "picked, the score does not. None of them tells whether other seeds would give the same order: promoting "
            f"trains the best again with {name_fresh(record)}."
        )
    )
    parts += [tag("h3", "Beside the champion"), *compare_champion(source, best)]
    parts += compare_published(record, best)
    parts.append(tag("h3", "Beside the other trials"))
    if standings is not None and (chart := draw_differences(record, standings)):
        parts += [say(describe_tied(search)), chart.render()]
    parts.append(list_trials(search))
    return Answer(short, parts)


def describe_level(comparisons: int) -> str:
    """How sure the end of an interval is that decides on a tie, in words."""
    return f"95% at each end{f', over all {comparisons} comparisons with the best' if comparisons > 1 else ''}"


def describe_known(
    best: TrialRecord, known: list[TrialRecord], gains: Sequence[tuple[TrialRecord, Standing | None]]
) -> str:
    """Whether the best is better than the best known configuration, in a sentence."""
    if not known:
        return "No known configuration was tried, so there is nothing from before to be better than."
    if known[0] is best:
        return (
            f"The best is itself a known configuration, trial {best.number}: the search found none that scores better."
        )
    trial, standing = gains[0]
    if standing is None:
        return f"Against the best known configuration, trial {trial.number}, no error is known."
    verdict = {
        "better": "Yes: better than the best known configuration",
        "within noise": "Not surely: within noise of the best known configuration",
    }[judge_standing(standing)]
    points = write_points(standing.gain, standing.level)
    return f"{verdict} (trial {trial.number}) by {points} points over images, {describe_level(standing.comparisons)}."


def describe_end(trial: TrialRecord) -> str:
    """How far it was trained."""
    stopped = ", then stopped" if trial.status == TrialStatus.STOPPED else ""
    return write_count(len(trial.epochs), "epoch") + stopped


def show_verdict(verdict: str) -> Html:
    """A verdict in its colour."""
    return tag("span", verdict, class_={"better": "verdict good", "worse": "verdict bad"}.get(verdict, "verdict"))


def compare_categories(record: SearchRecord, best: TrialRecord, other: TrialRecord, comparisons: int) -> list[Html]:
    """The best less a known configuration, by category; nothing where the ledger has not what both answered.

    Args:
        comparisons: how many trials the best was picked before.
    """
    own, theirs = find_answers(record, best), find_answers(record, other)
    if own is None or theirs is None:
        return []
    found = compare_answers(own, theirs, [], record.measure)
    level = 1 - (1 - found.category_level) / comparisons
    rows = [
        (name, show_verdict(judge_gain(each, level)), write_points(each, level))
        for name, each in zip(record.category_names, found.categories, strict=True)
    ]
    head = ("category", "the best is", "lead of the best, points")
    over = f", over all {comparisons} comparisons with the best" if comparisons > 1 else ""
    words = f"By category, against trial {other.number}. The intervals hold together with 95%{over}."
    return [say(words), table(head, rows, class_="short")]


def compare_champion(source: Source, best: TrialRecord) -> list[Html]:
    """Where it stands beside the model in use, and how to find out on the same images."""
    layout, name, champion = source.layout, name_search(source.layout), source.champion
    parts = []
    if isinstance(champion, str):
        parts += say_unknown(champion)
    elif champion is not None:
        parts += show_champion(source.record, best, champion)
    if layout.promotion_report.is_file():
        report = tag("a", layout.promotion_report.name, href=layout.promotion_report.name)
        text = "What a promotion of this search judged, against what, and what came of it stands in "
        return [*parts, say(text, report, ".")]
    if champion is None:
        return [say("No champion is known here: a search that is promoted, and passes the gate, becomes the first.")]
    if not layout.best_model.is_file():
        return parts
    model = f"{champion.model}@champion" if isinstance(champion, Champion) else "MODEL@champion"
    line = f"python search/promote.py --compare {name} models:/{model}"
    return [*parts, command("compare the two on the same validation images", line)]


def compare_published(record: SearchRecord, best: TrialRecord) -> list[Html]:
    """The best trial's figures beside those of the seed report; nothing of a data set with other categories."""
    if record.search is None or record.search.categories != {name: [*own] for name, own in KNOWN_CATEGORIES.items()}:
        return []
    accuracy = best.best_metrics.get(ACCURACY)
    if accuracy is None:
        return []
    chosen = "val" if record.settings.get("select_on") == "val" else "images held out of train"
    logs = max(max(row) for row in published.LOGS.values())
    rows = [
        (f"trial {best.number} of this search", f"{accuracy:.4f}", chosen),
        ("the report's best, with category weights", f"{published.BEST_SCORE:.4f}", "its test images"),
        ("the best of its training logs", f"{logs:.4f}", "its validation images"),
    ]
    return [
        tag("h3", "Beside the seed report"),
        table(("", "mean accuracy", "on"), rows, class_="short"),
        note(
            "Side by side, unpaired: no verdict. Categories are the report's; images, networks and epochs are not, "
            "and what it answered to each image is not known. Its studies, done again here: fashion-search reproduce."
        ),
    ]


def describe_tied(search: SearchWords) -> str:
    """Who cannot be told apart from the best."""
    if not search.tied:
        who = "No other trial is tied with the best."
    else:
        verb = "is" if len(search.tied) == 1 else "are"
        more = f", and {len(search.tied) - MAX_TIED} more," if len(search.tied) > MAX_TIED else ""
        who = (
            f"{name_trials(search.tied[:MAX_TIED])}{more} {verb} tied with the best: this data cannot tell them apart."
        )
        who = who[0].upper() + who[1:]
    return f"{who} {describe_pairing(search)}"


def list_trials(search: SearchWords) -> Html:
    """All trials, the ranked first; marked is who is tied with the best."""
    everyone = (*search.ranked, *search.others)
    columns = list(dict.fromkeys(name for trial in everyone for name in trial.params))
    tied, rows = set(search.tied or ()), []
    for place, trial in enumerate(everyone, 1):
        mark = "best" if place == 1 and search.ranked else "tied" if trial.number in tied else ""
        status = (
            f"stopped below {trial.cutoff:.4f}"
            if trial.cutoff and trial.status == TrialStatus.STOPPED
            else trial.status
        )
        rank = str(place) if place <= len(search.ranked) else "-"
        cells = (
            rank,
            str(trial.number),
            tag("strong", mark),
            trial.score,
            trial.against,
            str(status),
            str(trial.epochs),
            trial.origin,
        )
        rows.append((*cells, *(trial.params.get(name, "") for name in columns)))
    head = ("rank", "trial", "", "score", "less the best, points", "status", "epochs", "origin", *columns)
    whole = join(
        [
            table(head, rows, class_="trials"),
            note("± one standard error over images; = tied with the best. In full: trials.csv, trials.parquet."),
        ]
    )
    return fold(f"all {len(everyone)} trials", whole, is_open=len(everyone) <= MAX_SHOWN)
