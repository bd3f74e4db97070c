"""The card of a promoted model, as Markdown: what it is for, what it was made from, how good it is, how that is known.

Its sections are those of Mitchell et al. 2019, Model Cards for Model Reporting. N validation images, S networks,
K categories, C classes of one category. A point is 0.01.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fashion_core.config import build_config
from fashion_core.data.pixels import build_settings
from search.records.layout import FinalLayout
from search.records.record import SearchRecord
from search.registry.facts import Facts, Measured, describe_view, list_recalls, name_classes
from search.reporting.report import describe_run
from search.reporting.tables import hide_places, render_table
from search.reporting.words import format_score, format_value
from search.statistics.calibration import BINS
from search.statistics.intervals import IMAGES, LEVEL, Estimate

WEAK_RECALL = 0.5  # a class recalled less often is named among the limits


def render_card(facts: Facts, measured: Measured) -> str:
    """The card. Pictures of confusion matrices are those of `search.records.layout.FinalLayout`, beside it."""
    sections = [
        (f"# Model card: `{facts.name}`", render_summary(facts, measured)),
        ("## Intended use and limits", render_use(facts, measured)),
        ("## Data", render_data(facts, measured)),
        ("## Training", render_training(measured)),
        ("## Metrics", render_metrics(facts, measured)),
        ("## Calibration", render_calibration(measured)),
        (f"## Against {facts.opponent}", render_comparison(facts, measured)),
        ("## How the score was made", render_method(facts, measured)),
        ("## Cost", render_cost(facts, measured)),
        ("## How to use it", render_commands(facts, measured)),
        ("## Licences", [render_table(["of", "terms"], [("data", facts.data_licence), *measured.weights_licences])]),
        ("## Provenance", render_provenance(facts)),
    ]
    return "\n\n".join(part for title, parts in sections for part in (title, *parts)) + "\n"


def render_summary(facts: Facts, measured: Measured) -> list[str]:
    """What it is and how good, and in bold what must not be missed."""
    sizes = measured.schema.sizes
    parts = [
        f"{facts.origin} It says of a garment in a photograph which class it has in each of {len(sizes)} categories, "
        f"{sum(sizes)} classes in all.",
        f"Score, the mean over the categories of the accuracy: **{format_score(facts.score.value)}** "
        f"({LEVEL:.0%} interval over {facts.score.covers}: {show_interval(facts.score)}), on {measured.images:,} "
        f"validation images. Always answering the commonest class scores {np.mean(measured.majority):.4f}.",
    ]
    if facts.fit_on == "train+val":
        parts.append(
            "**This model was trained on the validation images too, so nothing here scores this very model: all scores "
            "are those of its recipe, from re-runs trained on train alone.**"
        )
    if facts.search["selection"]["select_on"] == "val":
        parts.append(
            "**val was used by the search**: it chose by the images that give the score above, which may be too high "
            "for that. A search with `--select-on heldout` leaves val unseen until the candidates are judged."
        )
    if not facts.verdict.passed:
        how = "Promoted by `--force`" if facts.forced else "Not promoted"
        parts.append(f"**{how}: the gate did not let it pass against {facts.opponent}.**")
    return parts


def render_use(facts: Facts, measured: Measured) -> list[str]:
    """What it is for, and what it cannot do."""
    crops = dict.fromkeys(member.config.crop for member in measured.members)
    lines = [
        "- For: attributes of clothes in photographs like those of the data below, and research on such models. "
        "The licences of data and weights bind whoever uses it.",
        "- Not for: judging people, or any decision on a person; photographs of another kind, before it was measured "
        "on labelled ones.",
        "- It always names one class a category, also where none fits or no garment is to be seen.",
    ]
    if any(crop != "whole" for crop in crops):
        lines.append("- It looks at the garment's box, which must be given with the image: it does not find garments.")
    recalls = list(list_recalls(measured))
    if weak := [each for each in recalls if each.recall is not None and each.recall < WEAK_RECALL]:
        lines.append(f"- It misses these classes more often than it finds them: {name_classes(weak)}.")
    if unseen := [each for each in recalls if each.recall is None]:
        lines.append(f"- Nothing is known of these classes, which no validation image has: {name_classes(unseen)}.")
    return ["\n".join(lines)]


def render_data(facts: Facts, measured: Measured) -> list[str]:
    """Which images it was trained and judged on."""
    data = facts.search["data"]
    counts = ", ".join(f"{count:,} {split}" for split, count in data["counts"].items())
    text = (
        f"`{data['folder']}`: {counts} images, fingerprint `{data['fingerprint']}`. The model was trained on "
        f"{measured.trained:,} of them ({facts.fit_on}); the score is that of {measured.images:,} images of val."
    )
    if data.get("skipped"):
        text += f" {data['skipped']} faults in the annotations were left out."
    if measured.duplicates and facts.fit_on == "train":
        text += (
            f" {measured.duplicates} of these have the very file of an image that was trained on: the data set lists "
            "it twice."
        )
    return [text, "`trained_on.json` names every image trained on by the SHA-256 of its file."]


def render_training(measured: Measured) -> list[str]:
    """How the members were trained: where they differ from the defaults."""
    defaults = build_config({}).model_dump()
    own = [member.config.model_dump() for member in measured.members]
    shown = [name for name, default in defaults.items() if any(values[name] != default for values in own)]
    shown = list(dict.fromkeys(["backbone", "weights", "image_size", "epochs", *shown]))
    rows = [[f"`{name}`", *(show_setting(values[name]) for values in own)] for name in shown]
    rows.append(["epoch kept", *(str(member.epoch) for member in measured.members)])
    head = ["setting", "value"]
    if len(own) > 1:
        head = ["setting", *(f"member {number}" for number in range(len(own)))]
        rows.append(["share in the answer", *(format_value(member.share) for member in measured.members)])
    views = dict.fromkeys(build_settings(member.config) for member in measured.members)
    return [
        f"Images: {'; or '.join(map(describe_view, views))}.",
        "Settings of `fashion_core.config.TrainConfig` that are not its defaults; `config.json` has all.",
        render_table(head, rows),
    ]


def render_metrics(facts: Facts, measured: Measured) -> list[str]:
    """Accuracy by category, recall by class, and the pictures."""
    rows = [
        [name, format_score(estimate.value), show_interval(estimate), format_score(majority)]
        for name, estimate, majority in zip(measured.schema.names, facts.categories, measured.majority, strict=True)
    ]
    rows.append(
        ["**mean**", f"**{facts.score.value:.4f}**", show_interval(facts.score), f"{np.mean(measured.majority):.4f}"]
    )
    head = ["category", "accuracy", f"{LEVEL:.0%} interval", "commonest class"]
    recalls = list(list_recalls(measured))
    known = [each.recall for each in recalls if each.recall is not None]
    classes = [
        [each.category, each.name, str(each.count), format_score(each.recall), show_range(each.compute_interval())]
        for each in recalls
    ]
    pictures = "\n".join(f"![{name}]({FinalLayout(Path()).confusion(name)})" for name in measured.schema.names)
    return [
        f"Accuracy, cross-fitted; each interval holds for its own row, over {facts.score.covers}.",
        render_table(head, rows),
        f"Recall: the share of a class's validation images answered right by {measured.whose}, with Wilson's interval "
        f"over images. Averaged over the classes: {format_score(float(np.mean(known)))}.",
        render_table(["category", "class", "images", "recall", f"{LEVEL:.0%} interval"], classes),
        "Confusion matrices of the same answers: a row is a true class, a column an answer; colours are shares of the "
        "row.",
        pictures,
    ]


def render_calibration(measured: Measured) -> list[str]:
    """Whether probabilities mean what they say."""
    columns = (measured.temperatures, measured.before.categories, measured.after.categories)
    rows = [
        [name, f"{temperature:.3f}", format_score(before), format_score(after)]
        for name, temperature, before, after in zip(measured.schema.names, *columns, strict=True)
    ]
    rows.append(["**all answers**", "", format_score(measured.before.pooled), format_score(measured.after.pooled)])
    text = (
        f"Expected calibration error (ECE, {BINS} bins) of {measured.whose} on the validation images, "
        "as answered and with a temperature a category. The temperatures were fitted on the same validation images, so "
        "the error after them looks smaller than it is on new ones."
    )
    if measured.reruns is not None:
        text += " This very model could not be measured: they are the recipe's."
    return [
        text,
        render_table(["category", "temperature", "ECE before", "ECE after"], rows),
        "A temperature T makes p^(1/T), scaled to sum 1, of the probabilities p; the answers stay the same. Where "
        "`temperatures.json` stands beside the model, `fashion_core.predict` applies it; `model.onnx` does not.",
    ]


def render_comparison(facts: Facts, measured: Measured) -> list[str]:
    """What the gate says, with its reasons."""
    comparison = facts.verdict.comparison
    rows = [
        [name, f"{100 * estimate.value:+.2f}", show_points(estimate)]
        for name, estimate in zip(measured.schema.names, comparison.categories, strict=True)
    ]
    rows.append(["**mean**", f"**{100 * comparison.mean.value:+.2f}**", show_points(comparison.mean)])
    attempts = f"Earlier attempts against the same opponent: **{facts.attempts or 'none'}**."
    if facts.attempts:
        attempts += " Each further one makes it likelier that one passes by luck."
    return [
        f"The gate is {'passed' if facts.verdict.passed else 'not passed'}:",
        "\n".join(f"- {reason}" for reason in facts.verdict.reasons),
        f"Accuracy less that of {facts.opponent}, in points; each interval holds for its own row, over "
        f"{comparison.mean.covers}.",
        render_table(["category", "difference", f"{LEVEL:.0%} interval"], rows),
        attempts,
    ]


def render_method(facts: Facts, measured: Measured) -> list[str]:
    """Re-runs, cross-fitting, what each choice has seen."""
    select_on = facts.search["selection"]["select_on"]
    lines = [
        f"- Re-runs: {facts.candidates} candidates were trained again, on train alone, each with {facts.seeds} fresh "
        "seeds.",
        f"- Cross-fitting: what to ship was chosen on {facts.folds - 1} of {facts.folds} parts of the validation "
        "images and scored on the one left out, in turns, near-duplicates together. So no image scores a choice that "
        "it took part in. The figure is that of the procedure; what ships was chosen on all images.",
        "- The search selected on images held out of train; val was first looked at when the candidates were judged."
        if select_on == "heldout"
        else "- The search selected on val: see the warning at the top.",
        "- Recalls, confusion matrices and calibration are those of "
        f"{measured.whose}, on the images that chose it: they lean to the good side.",
    ]
    if facts.score.covers == IMAGES:
        lines.append("- The intervals are over images alone: they say nothing of other seeds.")
    if facts.gap is not None:
        lines.append(f"- Winner's curse, the score in the search less that of the re-runs: {facts.gap.render()}.")
    return ["\n".join([*lines, *(f"- {note}" for note in facts.notes)])]


def render_cost(facts: Facts, measured: Measured) -> list[str]:
    """Size and time of an answer, and the file for ONNX Runtime."""
    time = "not measured" if facts.ms_per_image is None else f"{facts.ms_per_image:.3g} ms on {facts.machine}"
    onnx = f"none: {hide_places(measured.onnx_error or '')}"
    if measured.onnx_difference is not None:
        onnx = (
            f"`model.onnx`; its probabilities differ from PyTorch's by at most {measured.onnx_difference:.1e} on "
            f"{measured.onnx_images} validation images"
        )
    submission = "`prediction.txt`, `prediction.zip`: answers to the test images"
    if measured.submission_error is not None:
        submission = f"none: {hide_places(measured.submission_error)}"
    rows = [
        ["parameters", f"{measured.parameters:,}"],
        ["weights on disk", f"{measured.model_bytes / 1e6:.1f} MB"],
        ["time an image", time],
        ["ONNX", onnx],
        ["submission to the challenge", submission],
    ]
    return [render_table(["", ""], rows)]


def render_commands(facts: Facts, measured: Measured) -> list[str]:
    """The ways to ask it."""
    needs_box = any(member.config.crop != "whole" for member in measured.members)
    box = " --box x1,y1,x2,y2" if needs_box else ""
    commands = (
        f"python -m search.predict models:/{facts.model_name}@champion photo.jpg{box}   # while it is the champion\n"
        f"python -m fashion_core.predict FOLDER photo.jpg{box}   # from the folder of this card"
    )
    parts = [f"```\n{commands}\n```"]
    if measured.onnx_difference is not None:
        where = "box = (62, 62, 165, 300)  # x1, y1, x2, y2 in pixels" if needs_box else "box = None"
        code = (
            "from pathlib import Path\n\nfrom fashion_core.onnx_export import OnnxModel\n"
            f"from fashion_core.predict import read_views\n\n{where}\nmodel = OnnxModel(Path('model.onnx'))\n"
            "views = read_views(Path('photo.jpg'), box, model.views)\n"
            "probabilities = model.predict({view: image[None] for view, image in views.items()})"
        )
        parts += ["With ONNX Runtime:", f"```python\n{code}\n```"]
    return parts


def render_provenance(facts: Facts) -> list[str]:
    """Code, versions, machine, command: of the promotion, and of the search before it."""
    promotion = {"time": facts.promoted, "provenance": facts.provenance}
    rows = []
    for what, fields, seconds in (
        ("promotion", promotion, facts.seconds),
        ("search", dict(facts.search), facts.search_seconds),
    ):
        rows += [(f"{what}: {topic}", text) for topic, text in describe_run(SearchRecord(fields), seconds)]
    return [render_table(["", ""], rows)]


def show_setting(value: Any) -> str:
    """A setting of a member: category weights by name, a file without its folder."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(part)}" for name, part in value.items()) or "all 1"
    return hide_places(format_value(value))


def show_interval(estimate: Estimate) -> str:
    return show_range(estimate.compute_interval())


def show_range(bounds: tuple[float, float] | None) -> str:
    """Of an accuracy, so inside 0 to 1."""
    return "-" if bounds is None else f"{max(bounds[0], 0.0):.4f} to {min(bounds[1], 1.0):.4f}"


def show_points(estimate: Estimate) -> str:
    low, high = estimate.compute_interval()
    return f"{100 * low:+.2f} to {100 * high:+.2f}"
