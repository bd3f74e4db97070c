"""The card of a promoted model, as Markdown: what it is for, what it was made from, how good it is, how that is known.

Its sections are those of Mitchell et al. 2019, Model Cards for Model Reporting. N validation images, S networks,
K categories, C classes of one category. A point is 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.config import build_config
from fashion_core.data.pixels import SQUARE, build_settings
from fashion_core.escaping import escape_markdown, show_lines, write_code, write_name
from fashion_core.metrics import compute_recalls
from search.promotion.attempts import render_attempts
from search.promotion.coverage import render_coverage
from search.promotion.plan import FRESH, ONE_START
from search.promotion.recipe import render_recipe
from search.records.events import SearchStarted
from search.records.layout import FinalLayout
from search.reporting.report import describe_run
from search.reporting.tables import hide_places, render_table
from search.reporting.words import format_duration, format_score, format_value
from search.statistics.calibration import BINS
from search.statistics.gate import describe_scarce
from search.statistics.intervals import IMAGES, LEVEL, Estimate, compute_wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.metrics import Objective
    from search.promotion.result import PromotionResult, Shipped

WEAK_RECALL = 0.5  # a class recalled less often is named among the limits


def render_card(result: PromotionResult) -> str:
    """The card of what was shipped. Its pictures of confusion matrices stand beside it: see `FinalLayout`."""
    shipped = result.shipped
    assert shipped is not None
    sections = [
        (f"# Model card: {write_code(result.name)}", render_summary(result, shipped)),
        ("## Intended use and limits", render_use(result, shipped)),
        ("## Data", render_data(result, shipped)),
        ("## Training", render_training(shipped)),
        ("## Metrics", render_metrics(result, shipped)),
        ("## Calibration", render_calibration(shipped)),
        ("## Abstaining", render_coverage(shipped, FinalLayout(Path()).coverage.name)),
        (f"## Against {result.opponent.words}", render_comparison(result, shipped)),
        ("## How the score was made", render_method(result, shipped)),
        ("## Cost", render_cost(result, shipped)),
        ("## How to use it", render_commands(result, shipped)),
        ("## Licences", [render_table(["of", "terms"], list_licences(result, shipped))]),
        ("## Provenance", render_provenance(result)),
    ]
    return show_lines("\n\n".join(part for title, parts in sections for part in (title, *parts)) + "\n")


def render_summary(result: PromotionResult, shipped: Shipped) -> list[str]:
    """What it is and how good, and in bold what must not be missed."""
    sizes = shipped.schema.sizes
    what = "what the box in an image shows" if shipped.needs_box else "an image"
    is_shared = result.labelled and result.objective.category is None
    labelled = ", each category on those labelled in it" if is_shared else ""
    parts = [
        f"{escape_markdown(result.origin)} It says of {what} which class it has in each of {len(sizes)} categories, "
        f"{sum(sizes)} classes in all.",
        f"Score, {describe_score(result.objective)}: **{format_score(result.score.value)}** "
        f"({LEVEL:.0%} interval over {result.score.covers}: {show_interval(result.score)}), on {result.scored:,} "
        f"validation images{labelled}. Always answering the commonest class scores {shipped.majority_score:.4f}.",
    ]
    if result.options.is_recipe:
        parts.append(
            "**This model was trained on the validation images too, so nothing here scores this very model: all scores "
            "are those of its recipe, from re-runs trained on train alone.**"
        )
    if result.options.is_fresh:
        parts.append(FRESH)
    elif result.search.selection["select_on"] == "val":
        parts.append(
            "**val was used by the search**: it chose by the images that give the score above, which may be too high "
            "for that. A search with `--select-on heldout` leaves val unseen until the candidates are judged."
        )
    if not result.verdict.passed:
        how = "Promoted by `--force`" if result.forced else "Not promoted"
        parts.append(f"**{how}: the gate did not let it pass against {result.opponent.words}.**")
    return parts


def describe_score(objective: Objective) -> str:
    """What the score is; its name too, where it is not the default."""
    words = escape_markdown(objective.words)
    return words if objective.is_default else f"{write_code(objective.name)}, {words}"


def render_use(result: PromotionResult, shipped: Shipped) -> list[str]:
    """What it is for, and what it cannot do."""
    lines = [
        "- For: the categories below, in images like those of the data below, and research on such models. "
        "The licences of data and weights bind whoever uses it.",
        "- Not for: judging people, or any decision on a person; images of another kind, before it was measured "
        "on labelled ones.",
        "- It names one class a category, also where none fits or nothing of the kind is to be seen, unless it is "
        "asked with `--min-confidence`.",
    ]
    if shipped.needs_box:
        lines.append(
            "- It looks at a box, which must be given with the image: it does not find by itself where to look."
        )
    if scarce := describe_scarce([(write_name(name), count) for name, count in result.scarce]):
        lines.append(f"- {scarce}")
    recalls = list(list_recalls(shipped))
    if weak := [each for each in recalls if each.recall is not None and each.recall < WEAK_RECALL]:
        lines.append(f"- It misses these classes more often than it finds them: {name_classes(weak)}.")
    if unseen := [each for each in recalls if each.recall is None]:
        lines.append(f"- Nothing is known of these classes, which no validation image has: {name_classes(unseen)}.")
    return ["\n".join(lines)]


def render_data(result: PromotionResult, shipped: Shipped) -> list[str]:
    """Which images it was trained and judged on."""
    data = result.search.data
    counts = ", ".join(f"{count:,} {split}" for split, count in data["counts"].items())
    text = (
        f"{write_code(data['folder'])}: {counts} images, fingerprint `{data['fingerprint']}`. The model was trained on "
        f"{shipped.trained:,} of them ({result.options.fit_on}); the score is that of {shipped.images:,} images of val."
    )
    if data.get("skipped"):
        text += f" {data['skipped']} faults in the annotations were left out."
    if shipped.duplicates and not result.options.is_recipe:
        text += (
            f" {shipped.duplicates} of these have the very file of an image that was trained on: the data set lists "
            "it twice."
        )
    return [text, "`trained_on.json` names every image trained on by the SHA-256 of its file."]


def render_training(shipped: Shipped) -> list[str]:
    """How the members were trained: where they differ from the defaults."""
    defaults = build_config({}).model_dump()
    own = [member.config.model_dump() for member in shipped.members]
    shown = [name for name, default in defaults.items() if any(values[name] != default for values in own)]
    shown = list(dict.fromkeys(["backbone", "weights", "image_size", "epochs", *shown]))
    rows = [[f"`{name}`", *(show_setting(values[name]) for values in own)] for name in shown]
    rows.append(["epoch kept", *(str(member.epoch) for member in shipped.members)])
    head = ["setting", "value"]
    if len(own) > 1:
        head = ["setting", *(f"member {number}" for number in range(len(own)))]
        rows.append(["share in the answer", *(format_value(member.share) for member in shipped.members)])
    views = dict.fromkeys(build_settings(member.config) for member in shipped.members)
    return [
        f"Images: {'; or '.join(map(describe_view, views))}.",
        "Settings of `fashion_core.config.TrainConfig` that are not its defaults; `config.json` has all.",
        render_table(head, rows),
    ]


def render_metrics(result: PromotionResult, shipped: Shipped) -> list[str]:
    """Accuracy by category, recall by class, and the pictures."""
    rows = [
        [write_name(name), format_score(estimate.value), show_interval(estimate), format_score(majority)]
        for name, estimate, majority in zip(shipped.schema.names, result.categories, shipped.majority, strict=True)
    ]
    own, score = result.objective, f"**{result.score.value:.4f}**"
    name = "mean" if own.is_default else write_name(own.name)
    rows.append([f"**{name}**", score, show_interval(result.score), f"{shipped.majority_score:.4f}"])
    head = ["category", "accuracy", f"{LEVEL:.0%} interval", "commonest class"]
    if result.labelled:
        head.append("labelled images")
        rows = [[*row, f"{count:,}"] for row, count in zip(rows, (*result.labelled, result.scored), strict=True)]
    recalls = list(list_recalls(shipped))
    known = [each.recall for each in recalls if each.recall is not None]
    classes = [
        [
            write_name(each.category),
            write_name(each.name),
            str(each.count),
            format_score(each.recall),
            show_range(each.compute_interval()),
        ]
        for each in recalls
    ]
    pictures = "\n".join(
        f"![{write_name(name)}]({FinalLayout(Path()).confusion(name)})" for name in shipped.schema.names
    )
    return [
        f"Accuracy, cross-fitted; each interval holds for its own row, over {result.score.covers}.",
        render_table(head, rows),
        f"Recall: the share of a class's validation images answered right by {shipped.whose}, with Wilson's interval "
        f"over images. Averaged over the classes: {format_score(float(np.mean(known)))}.",
        render_table(["category", "class", "images", "recall", f"{LEVEL:.0%} interval"], classes),
        "Confusion matrices of the same answers: a row is a true class, a column an answer; colours are shares of the "
        "row.",
        pictures,
    ]


def render_calibration(shipped: Shipped) -> list[str]:
    """Whether probabilities mean what they say."""
    before, after = shipped.before, shipped.after
    columns = (before.categories, before.category_floors, after.categories, after.category_floors)
    rows = [
        [write_name(name), f"{temperature:.3f}", *map(format_score, values)]
        for name, temperature, *values in zip(shipped.schema.names, shipped.temperatures, *columns, strict=True)
    ]
    rows.append(["**all answers**", "", *map(format_score, (before.pooled, before.floor, after.pooled, after.floor))])
    text = (
        f"Expected calibration error (ECE, {BINS} bins) of {shipped.whose} on the validation images, "
        "as answered and with a temperature a category. The temperatures were fitted on the same validation images, so "
        "the error after them looks smaller than it is on new ones. Floor: what answers that are right as often as "
        "they say have of it by chance, on as many images; an error near it is none."
    )
    if shipped.reruns is not None:
        text += " This very model could not be measured: they are the recipe's."
    return [
        text,
        render_table(["category", "temperature", "ECE before", "floor", "ECE after", "floor"], rows),
        "A temperature T makes p^(1/T), scaled to sum 1, of the probabilities p; the answers stay the same. Where "
        "`temperatures.json` stands beside the model, `fashion_core.predict` applies it; `model.onnx` has it inside.",
    ]


def render_comparison(result: PromotionResult, shipped: Shipped) -> list[str]:
    """What the gate says, with its reasons."""
    difference = result.verdict.difference
    rows = [
        [write_name(name), f"{100 * estimate.value:+.2f}", show_points(estimate)]
        for name, estimate in zip(shipped.schema.names, difference.categories, strict=True)
    ]
    name = "mean" if result.objective.is_default else write_name(result.objective.name)
    rows.append([f"**{name}**", f"**{100 * difference.mean.value:+.2f}**", show_points(difference.mean)])
    return [
        f"The gate is {'passed' if result.verdict.passed else 'not passed'}:",
        "\n".join(f"- {escape_markdown(reason)}" for reason in result.gate.reasons),
        f"Accuracy less that of {result.opponent.words}, in points; each interval holds for its own row, over "
        f"{difference.mean.covers}.",
        render_table(["category", "difference", f"{LEVEL:.0%} interval"], rows),
        *render_attempts(result.gate.attempts),
    ]


def render_method(result: PromotionResult, shipped: Shipped) -> list[str]:
    """Re-runs, cross-fitting, what each choice has seen."""
    seen = "- The search selected on val: see the warning at the top."
    if result.options.is_fresh:
        seen = f"- {FRESH}"
    elif result.search.selection["select_on"] == "heldout":
        seen = "- The search selected on images held out of train; val was first looked at when candidates were judged."
    lines = [
        f"- Re-runs: {result.judgement.count} candidates were trained again, on train alone, each with "
        f"{len(result.plan.seeds)} fresh seeds{' and starts of its new layers' if result.plan.start_seeds else ''}.",
        f"- Cross-fitting: what to ship was chosen on {result.folds - 1} of {result.folds} parts of the validation "
        "images and scored on the one left out, in turns, near-duplicates together. So no image scores a choice that "
        "it took part in. The figure is that of the procedure; what ships was chosen on all images.",
        seen,
        "- Recalls, confusion matrices and calibration are those of "
        f"{shipped.whose}, on the images that chose it: they lean to the good side.",
    ]
    if result.score.covers == IMAGES:
        lines.append("- The intervals are over images alone: they say nothing of other seeds.")
    if not result.plan.start_seeds:
        lines.append(f"- {ONE_START}")
    if result.gap is not None:
        lines.append(f"- Winner's curse, the score in the search less that of the re-runs: {result.gap.render()}.")
    return ["\n".join([*lines, *(f"- {escape_markdown(note)}" for note in result.notes)])]


def render_cost(result: PromotionResult, shipped: Shipped) -> list[str]:
    """Size and time of an answer, and the file for ONNX Runtime."""
    time = "not measured" if shipped.ms_per_image is None else f"{shipped.ms_per_image:.3g} ms on {result.machine}"
    onnx = f"none: {escape_markdown(hide_places(shipped.onnx_error or ''))}"
    if shipped.onnx_difference is not None:
        onnx = (
            f"`model.onnx`; its probabilities differ from PyTorch's by at most {shipped.onnx_difference:.1e} on "
            f"{shipped.onnx_images} validation images"
        )
    submission = "`prediction.txt`, `prediction.zip`: as the challenge wants them"
    if shipped.submission_error is not None:
        submission = f"none: {escape_markdown(hide_places(shipped.submission_error))}"
    rows = [
        ["parameters", f"{shipped.parameters:,}"],
        ["weights on disk", f"{shipped.model_bytes / 1e6:.1f} MB"],
        ["time an image", time],
        ["ONNX", onnx],
        ["answers to the test images", submission],
    ]
    return [render_table(["", ""], rows)]


def render_commands(result: PromotionResult, shipped: Shipped) -> list[str]:
    """The ways to ask it."""
    box = " --box x1,y1,x2,y2" if shipped.needs_box else ""
    commands = (
        f"python -m search.predict models:/{result.model_name}@champion photo.jpg{box}   # while it is the champion\n"
        f"python -m fashion_core.predict FOLDER photo.jpg{box}   # from the folder of this card"
    )
    parts = [f"```\n{commands}\n```"]
    if shipped.onnx_difference is not None:
        parts.append(render_recipe(shipped.needs_box))
    return parts


def list_licences(result: PromotionResult, shipped: Shipped) -> list[list[str]]:
    """(of, terms) of the data and of the starting weights."""
    found = [("data", result.data_licence), *shipped.weights_licences]
    return [[escape_markdown(what), escape_markdown(terms)] for what, terms in found]


def render_provenance(result: PromotionResult) -> list[str]:
    """Code, versions, machine, command: of the promotion, and of the search before it."""
    promotion = SearchStarted(name=result.search.name, time=result.ended, provenance=dict(result.provenance))
    rows = []
    for what, run, seconds in (
        ("promotion", promotion, result.seconds),
        ("search", result.search, result.search_seconds),
    ):
        rows += [(f"{what}: {topic}", text) for topic, text in describe_run(run, format_duration(seconds))]
    return [render_table(["", ""], rows)]


def show_setting(value: Any) -> str:
    """A setting of a member: category weights by name, a file without its folder."""
    if isinstance(value, dict):
        return ", ".join(f"{write_name(name)} {format_value(part)}" for name, part in value.items()) or "all 1"
    return write_name(hide_places(format_value(value)))


def show_interval(estimate: Estimate) -> str:
    """The ends of its interval."""
    return show_range(estimate.compute_interval())


def show_range(bounds: tuple[float, float] | None) -> str:
    """Of an accuracy, so inside 0 to 1."""
    return "-" if bounds is None else f"{max(bounds[0], 0.0):.4f} to {min(bounds[1], 1.0):.4f}"


def show_points(estimate: Estimate) -> str:
    """The ends of a difference's interval, in points."""
    low, high = estimate.compute_interval()
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


# -------------------------------------------------------------------------------------------- recall by class


@dataclass(frozen=True)
class ClassRecall:
    """Recall of one class: mean over the S networks of the share of its `count` images answered right."""

    category: str
    name: str
    count: int
    recall: float | None

    def compute_interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Wilson's interval over images; None for a class without one."""
        return None if self.recall is None else compute_wilson(self.recall, self.count, level)


def describe_view(view: PrepareSettings) -> str:
    """How images are prepared, in plain words."""
    crop = {
        "box": "cropped to the box",
        "box_margin": f"cropped to the box with {view.crop_margin:.0%} of its side added on each side",
        "box_square": f"cropped to the square around the box with {view.crop_margin:.0%} of its side added on each "
        "side, grey beyond the image's edge",
        "whole": "the whole image",
    }[view.crop]
    aspect = "kept" if view.crop == SQUARE else "not kept"
    return f"upright RGB, {crop}, resized to {view.image_size} x {view.image_size} pixels (bilinear, aspect {aspect})"


def list_recalls(shipped: Shipped) -> Iterator[ClassRecall]:
    """Every class of every category, in order."""
    for category, matrix in zip(shipped.schema.categories, shipped.confusion, strict=True):
        counts = matrix.sum(1) // (shipped.reruns or 1)
        for name, count, recall in zip(category.classes, counts.tolist(), compute_recalls(matrix), strict=True):
            yield ClassRecall(category.name, name, count, recall)


def name_classes(recalls: Sequence[ClassRecall]) -> str:
    """Names of classes, by category."""
    found: dict[str, list[str]] = {}
    for each in recalls:
        found.setdefault(each.category, []).append(write_name(each.name))
    return "; ".join(f"{write_name(category)}: {', '.join(names)}" for category, names in found.items())
