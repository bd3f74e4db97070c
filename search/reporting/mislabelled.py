"""Labels that look wrong among the images that trials are compared on: as a file beside the report, and shown in it."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel
from scipy.special import pdtrc

from fashion_core.files import read_if_whole, write_whole
from search.reporting.markup import Html, code, command, fold, join, note, say, table, tag
from search.reporting.words import name_trials
from search.statistics.crossfit import FOLDS, assign_folds
from search.statistics.label_errors import cross_fit_confidence, find_label_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.schema import AttributeSchema
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

SHOWN = 20
SEEN = "its networks start from a model that was trained on some of the images that trials are compared on"
FOLD_SEED = 0
ERROR = 0.05  # of calling chance evidence
RULE = 2  # 1: a class less sure than the label, and one with few members, could be suggested too


class LabelError(BaseModel):
    """A label that looks wrong.

    Attributes:
        image: name of its file.
        given, suggested: classes; with the confidence in each.
    """

    image: str
    category: str
    given: str
    suggested: str
    given_confidence: float
    suggested_confidence: float


class Mislabelled(BaseModel):
    """All labels that look wrong, the least likely first.

    Attributes:
        trials: whose networks were asked, in the mean.
        images: that were looked at.
        labels: of these, looked at.
        by_chance: how many would look wrong were all of them right.
        shown_by_chance: the same of the first `SHOWN`.
        rule: by which they were found; `RULE` is of today.
    """

    rule: int = 1
    trials: list[int]
    images: int
    labels: int
    by_chance: float
    shown_by_chance: float
    found: list[LabelError]

    @property
    def is_evidence(self) -> bool:
        """Whether more look wrong than chance gives: of all, or of the first `SHOWN`.

        By Poisson's distribution, one-sided; the two share `ERROR`. How many are at most as confident as the last shown
        is known beforehand, the confidence is not: both say the same of a Poisson process.
        """
        return is_more(len(self.found), self.by_chance) or is_more(self.shown, self.shown_by_chance)

    @property
    def shown(self) -> int:
        """How many are shown."""
        return min(SHOWN, len(self.found))


def is_more(count: int, by_chance: float) -> bool:
    """Whether one of the two looks sees more than chance gives."""
    return bool(count and pdtrc(count - 1, by_chance) < ERROR / 2)


def find_mislabelled(
    probabilities: Sequence[np.ndarray],
    labels: np.ndarray,
    groups: np.ndarray,
    names: Sequence[str],
    schema: AttributeSchema,
    trials: Sequence[int],
) -> Mislabelled:
    """The labels that look wrong to networks that were trained on none of these N images.

    Args:
        probabilities: K arrays [N, C_i].
        labels: [N, K], negative where unlabelled.
        groups: [N] near duplicates have one number.
        names: N, of the images' files.
        trials: whose networks these are.
    """
    folds = assign_folds(groups, FOLD_SEED, min(FOLDS, len(np.unique(groups))))
    found, errors = [], []
    for category, values, own in zip(schema.categories, probabilities, labels.T, strict=True):
        each = find_label_errors(cross_fit_confidence(values, own, folds), own)
        errors.append(each)
        rows = zip(each.images, each.suggested, each.given_confidence, each.suggested_confidence, strict=True)
        found += [
            LabelError(
                image=names[image],
                category=category.name,
                given=category.classes[own[image]],
                suggested=category.classes[suggested],
                given_confidence=float(given_confidence),
                suggested_confidence=float(confidence),
            )
            for image, suggested, given_confidence, confidence in rows
        ]
    found.sort(key=lambda each: each.given_confidence)
    last = found[:SHOWN][-1].given_confidence if found else 0.0
    return Mislabelled(
        rule=RULE,
        trials=list(trials),
        images=len(names),
        labels=int((labels >= 0).sum()),
        by_chance=sum(each.count_by_chance() for each in errors),
        shown_by_chance=sum(each.count_by_chance(last) for each in errors),
        found=found,
    )


def write_mislabelled(layout: SearchLayout, mislabelled: Mislabelled) -> None:
    """Keep them beside the report, for it to be made again, and as a table for people."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LabelError.model_fields)
    for each in mislabelled.found:
        writer.writerow([round(value, 4) if isinstance(value, float) else value for _, value in each])
    write_whole(layout.label_errors_csv, text.getvalue())
    write_whole(layout.label_errors, mislabelled.model_dump_json() + "\n")


def read_mislabelled(layout: SearchLayout) -> Mislabelled | None:
    """Those that were found; None where nobody looked, or by an older rule, or the file is damaged."""
    found = read_if_whole(layout.label_errors, Mislabelled)
    return found if found is not None and found.rule == RULE else None


def has_seen(record: SearchRecord) -> bool:
    """Whether its networks may know the labels of the images that trials are compared on."""
    return bool(record.selection.get("seen_by_starts"))


def has_models(record: SearchRecord, layout: SearchLayout) -> bool:
    """Whether it has kept a model, by which its data can be looked at."""
    return any(layout.find_checkpoint(trial.number) for trial in record.rank())


def show_mislabelled(record: SearchRecord, layout: SearchLayout, name: str) -> list[Html]:
    """The first of them; or how they are found. name: of the search, as a command takes it."""
    found, title = read_mislabelled(layout), tag("h3", "Labels that look wrong")
    if found is None and has_seen(record):
        return [title, note(f"Not looked for: {SEEN}.")]
    if found is None:
        why = "Not looked for: that takes the models kept and the images, and is done at the end of a search."
        if layout.label_errors.is_file():
            why = "Looked for by an earlier version, whose suggestions were often less sure than the labels."
        line = f"python -m search.report {name} --check-data"
        return [title, note(why), *([command("look for them now", line)] if has_models(record, layout) else [])]
    parts = [title, say(describe_mislabelled(found))]
    if found.found:
        rows = [
            (
                code(each.image),
                join([each.given, ", ", write_confidence(each.given_confidence)]),
                join([tag("strong", each.suggested), ", ", write_confidence(each.suggested_confidence)]),
                each.category,
            )
            for each in found.found[:SHOWN]
        ]
        head = ("image", "its label, how sure", "suggested, how sure", "category")
        listed = table(head, rows)
        parts.append(listed if found.is_evidence else fold(f"the {len(rows)} that look most so", listed))
    file = tag("a", layout.label_errors_csv.name, href=layout.label_errors_csv.name)
    parts.append(
        note(
            f"A suggestion, not a verdict: look at the images first. Asked were the networks of "
            f"{name_trials(found.trials)}, in the mean, which were trained on none of these images; how sure they are "
            "was set right on other images of these (a temperature, cross-fitted). A label looks wrong where "
            "another class is surer, and as sure as in that class's own members (confident learning, Northcutt et al. "
            "2021). Sureness was set right on these labels, wrong ones included: where many are wrong, chance is "
            "counted too high. ",
            file,
            " has all.",
        )
    )
    return parts


def describe_mislabelled(found: Mislabelled) -> str:
    """How many there are, and how many there would be by chance, in a sentence or two."""
    by_chance = write_expected(found.shown_by_chance)
    first = f" Labels as unlikely as the first {found.shown} here: chance gives about {by_chance}."
    return (
        f"{sum_up_mislabelled(found)}{first if found.shown else ''} Looked at were the images that are scored alone: "
        "train was not."
    )


def sum_up_mislabelled(found: Mislabelled) -> str:
    """The same, shorter."""
    where = f"{found.labels:,} labels of the {found.images:,} images scored"
    if not found.found:
        return f"None of {where} looks wrong."
    count, chance = len(found.found), write_expected(found.by_chance)
    told = f"{count:,} of {where} {'looks' if count == 1 else 'look'} wrong"
    if not found.is_evidence:
        return f"{told}, about as many as chance gives ({chance}): no evidence of wrong labels."
    if is_more(len(found.found), found.by_chance):
        return f"{told}; were all right, about {chance} would by chance."
    return f"{told}. Chance gives about as many ({chance}), but none so unlikely as the first {found.shown}."


def write_confidence(value: float) -> str:
    """A probability in percent; one that is small is not called none."""
    return "<0.1%" if value < 0.001 else f"{value:.1%}"


def write_expected(count: float) -> str:
    """A number of labels that chance gives."""
    return "under 0.1" if count < 0.1 else f"{count:.{0 if count >= 10 else 1}f}"
