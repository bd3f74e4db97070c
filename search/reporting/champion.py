"""The best trial beside the model in use: image by image where both answered the same ones, else figure by figure."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.reporting.markup import Html, note, say, table
from search.reporting.ties import find_answers
from search.reporting.words import format_score, write_interval, write_points
from search.statistics.gate import compare_answers
from search.statistics.intervals import IMAGES, LEVEL, Estimate

if TYPE_CHECKING:
    import numpy as np

    from search.records.record import SearchRecord, TrialRecord
    from search.statistics.gate import Difference

FEW = 30  # images that both answered: of fewer, a difference is not told


@dataclass(frozen=True)
class Champion:
    """The champion of a registry, as far as that tells.

    Attributes:
        model, number: its registered model, and the version.
        search: that it comes from; "" where it does not say.
        since: unix seconds; None where that is not known.
        score: with its interval, of its promotion; "" where it does not say.
        images: [n] positions among the images that the search's trials are compared on, of those that it was judged on.
        correct: [S, n, K] what it answered to these right, without each image's own part in what was chosen.
    """

    model: str
    number: int
    search: str = ""
    since: float | None = None
    score: str = ""
    images: np.ndarray | None = None
    correct: np.ndarray | None = None

    @property
    def words(self) -> str:
        """Which it is: `version 3 of garments, from search lite, champion since 2026-11-26`."""
        text = f"version {self.number} of {self.model}" + (f", from search {self.search}" if self.search else "")
        day = "" if self.since is None else time.strftime("%Y-%m-%d", time.gmtime(self.since))
        return text + (f", champion since {day}" if day else "")


def show_champion(record: SearchRecord, best: TrialRecord, champion: Champion) -> list[Html]:
    """The best trial beside the champion."""
    if champion.search == record.name:
        return [say(f"The champion comes from this search: {describe_own(champion)}.")]
    found = compare_with_champion(record, best, champion)
    if found is None:
        return show_unpaired(record, best, champion)
    difference, count = found
    trials = len(record.rank())
    level, of_category = allow_for_best(LEVEL, trials), allow_for_best(difference.category_level, trials)
    text = (
        f"Trial {best.number} is {judge(difference, level)} the champion, {champion.words}, by "
        f"{write_points(difference.mean, level)} points "
        f"in {record.objective.name} on {count:,} images that both answered, compared image by image"
        f"{f', 95% over all {trials} trials that the best was picked from' if trials > 1 else ''}."
    )
    rows = [
        (name, write_points(each, of_category))
        for name, each in zip(record.category_names, difference.categories, strict=True)
    ]
    return [
        say(text),
        table(("category", "the best less the champion, points"), rows, class_="short"),
        note(
            "The search has chosen its best by these images, which flatters its score; verdict and intervals allow for "
            f"that. The champion's are cross-fitted. Promoting compares the two with {name_fresh(record)}."
        ),
    ]


def describe_own(champion: Champion) -> str:
    """A champion that comes from the search: `version 1 of garments, champion since 2026-11-26, scored 0.86 then`."""
    score = f", with {champion.score} when it was promoted" if champion.score else ""
    return replace(champion, search="").words + score


def name_fresh(record: SearchRecord) -> str:
    """What a promotion judges by that the search has not chosen by."""
    is_unseen = record.settings.get("select_on") == "heldout"
    return "fresh seeds" + (", on images that nothing was chosen by" if is_unseen else "")


def sum_up_champion(record: SearchRecord, best: TrialRecord, champion: Champion | str | None) -> str:
    """The same in a sentence; empty where the two have not answered the same images."""
    if not isinstance(champion, Champion):
        return ""
    if champion.search == record.name:
        return f" Promoted from this search: {describe_own(champion)}."
    found = compare_with_champion(record, best, champion)
    if found is None:
        return ""
    level = allow_for_best(LEVEL, len(record.rank()))
    return f" It is {judge(found[0], level)} the champion, by {write_points(found[0].mean, level)} points."


def allow_for_best(level: float, trials: int) -> float:
    """The level of each interval that makes those of all trials hold together, so that of whichever is best too."""
    return 1 - (1 - level) / max(trials, 1)


def judge(difference: Difference, level: float) -> str:
    """`better than`, `worse than` or `within noise of`, by an interval of this level."""
    low, high = difference.mean.compute_interval(level)
    return "better than" if low > 0 else "worse than" if high < 0 else "within noise of"


def compare_with_champion(record: SearchRecord, best: TrialRecord, champion: Champion) -> tuple[Difference, int] | None:
    """The best less the champion, and on how many images; None where they have not answered the same ones."""
    own, rows, theirs = find_answers(record, best), champion.images, champion.correct
    if own is None or rows is None or theirs is None or len(rows) < FEW or theirs.shape[2] != own.shape[2]:
        return None
    try:
        return compare_answers(own[:, rows], theirs, [], record.measure.take(rows)), len(rows)
    except ValueError:  # labels were others then, or a category has too few
        return None


def show_unpaired(record: SearchRecord, best: TrialRecord, champion: Champion) -> list[Html]:
    """The figures of both, which are of different images."""
    error = best.standard_error
    own = (
        format_score(best.best)
        if not error
        else write_interval(Estimate(best.best or 0.0, error, float("inf"), IMAGES))
    )
    chosen = "val" if record.settings.get("select_on") == "val" else "images held out of train"
    rows = [
        (f"trial {best.number} of this search", own, f"{chosen}, by which it was chosen"),
        ("the champion", champion.score or "not told", "the images of its promotion, cross-fitted"),
    ]
    return [
        say(f"The champion is {champion.words}. Unpaired: the two were not scored on the same images."),
        table(("", "score", "on"), rows, class_="short"),
    ]


def say_unknown(reason: str) -> list[Html]:
    """Why the champion is not known."""
    return [note(f"The registry could not be asked: {reason}.")]
