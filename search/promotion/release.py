"""The folder of a promoted model: written beside its place, and put there when it is whole. Paths: `FinalLayout`.

N validation images that it was judged on, M images that it was trained on, S networks, K categories, C classes of one.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core import metrics
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.errors import DataError, ExportError, first_line
from fashion_core.files import MODEL_FILE
from fashion_core.hardware.allocator import keep_freed_memory
from fashion_core.inference.onnx import export_onnx
from fashion_core.inference.submission import write_submission
from fashion_core.inference.temperatures import apply_temperatures
from fashion_core.models.ensemble import Saved, SavedEnsemble, as_ensemble, save_ensemble, save_member
from fashion_core.models.forward import predict_prepared
from search.promotion.card import describe_view, render_card
from search.promotion.licences import find_weights_licence
from search.promotion.networks import measure_cost
from search.promotion.options import SINGLE
from search.promotion.result import Member, PromotionResult, Shipped
from search.records.layout import FinalLayout
from search.reporting.figures import draw_confusion, draw_coverage
from search.statistics.calibration import compute_calibration, fit_temperatures
from search.statistics.coverage import cross_fit_coverage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fashion_core.data.prepared import PreparedData
    from fashion_core.data.reading import Reading
    from search.promotion.forms import Choice
    from search.promotion.judgement import Trained, TrainedCandidate
    from search.promotion.running import Promotion

ONNX_IMAGES = 32  # validation images that the exported model is checked on


@dataclass(frozen=True)
class Source:
    """The data set a submission answers, as the search read it: see `fashion_core.inference.submission`."""

    data: Path
    cache_dir: Path
    reading: Reading | None = None


@dataclass(frozen=True)
class Release:
    """A model that is to be shipped, with all that its folder tells.

    Attributes:
        data: prepared images, by how they were prepared: each of the model's views. The same rows in all.
        images: [N] positions in `data` of the validation images that it was judged on.
        folds: [N] of the cross-fitting.
        trained: [M] positions of all images that it, or one of its members, was trained on.
        answers: [S, N, K] cross-fitted, that the gate judged, NaN where an image is unlabelled in a category: kept for
            later comparisons.
        reruns: K arrays [S, N, C], probabilities of the recipe's re-runs, for a model that was trained on `images` too:
            recalls, confusion and temperatures are theirs. None otherwise: they are the model's, computed here.
        predictions: probabilities of whatever was trained on the way, [N, C] each, kept by these names.
        ms_per_image: time of an answer; None where it was not measured.
        measure: the objective on `images`.
        recipe: [S, N, K] of a single network's recipe, kept for later comparisons: see
            `search.registry.history.Answers`; None where there is none, or `answers` are these.
    """

    model: Saved
    data: Mapping[PrepareSettings, PreparedData]
    images: np.ndarray
    folds: np.ndarray
    trained: np.ndarray
    answers: np.ndarray
    source: Source
    reruns: Sequence[np.ndarray] | None = None
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    ms_per_image: float | None = None
    measure: metrics.Measure = field(default_factory=metrics.Measure)
    recipe: np.ndarray | None = None

    @property
    def prepared(self) -> PreparedData:
        """One of the prepared sets, whose rows are those of all."""
        return next(iter(self.data.values()))

    def list_digests(self, rows: np.ndarray) -> list[str]:
        """sha256 of the files of some images."""
        digests: list[str] = np.array(self.prepared.sha256)[rows].tolist()
        return digests


def build_release(promotion: Promotion, trained: Trained, result: PromotionResult, model: Saved) -> Release:
    """The release of what a promotion chose."""
    material, candidates, choice = promotion.material, trained.candidates, result.decision.choice
    both = np.concatenate([material.train, material.val])
    is_recipe = result.options.is_recipe
    return Release(
        model=model,
        data=material.data,
        images=material.val,
        folds=material.folds,
        trained=both if is_recipe else material.train,
        answers=result.gate.answers,
        source=Source(material.source, material.cache_dir, material.reading),
        reruns=list_recipe_answers(choice, candidates) if is_recipe else None,
        predictions=list_predictions(candidates, material.schema.names),
        ms_per_image=measure_cost(model, material).ms,
        measure=trained.measure,
        recipe=None if is_recipe else result.gate.recipe,
    )


def list_recipe_answers(choice: Choice, candidates: Sequence[TrainedCandidate]) -> list[np.ndarray]:
    """Probabilities of what was trained on train alone, K arrays [S, N, C_i]: of all seeds of a single candidate, else
    of the one model of these networks."""
    if choice.form != SINGLE:
        return [values[None] for values in choice.probabilities]
    seeds = candidates[choice.networks[0][0]].list_best()
    return [np.stack(columns) for columns in zip(*seeds, strict=True)]


def list_predictions(candidates: Sequence[TrainedCandidate], categories: Sequence[str]) -> dict[str, np.ndarray]:
    """Probabilities of every re-run at its best epoch, [N, C] each, by `LABEL-seedN/CATEGORY`."""
    return {
        f"{each.candidate.label}-seed{seed}/{name}": values
        for each in candidates
        for seed, probabilities in enumerate(each.list_best())
        for name, values in zip(categories, probabilities, strict=True)
    }


# ---------------------------------------------------------------------------------------------------------- the folder


def ship(release: Release, result: PromotionResult, folder: Path) -> Shipped:
    """Write the whole folder of a promoted model beside its place, then put it there, where an older one may stand.

    A reader never finds half a folder; none, only between the two renamings at the end. What a kill leaves, the next
    call or `restore_folder` puts right: the older folder is whole until the new one is. One process at a time may ship
    to a folder. A model that cannot be exported, or data that allows no submission, is told in the card, and the rest
    is shipped.

    Args:
        result: what its card tells.
        folder: `SearchLayout.final.folder`.

    Raises:
        ValueError: release and result contradict each other. Nothing is changed.
    """
    check_release(release, result)
    new, _ = name_places(folder)
    restore_folder(folder)
    keep_freed_memory()
    try:
        layout = FinalLayout(new)
        shipped = write_folder(release, layout)
        labels, digests = release.prepared.labels[release.images], np.array(release.list_digests(release.images))
        recipe = {} if release.recipe is None else {"recipe": release.recipe}
        np.savez(layout.answers, digests=digests, correct=release.answers, labels=labels, **recipe)  # type: ignore[arg-type]
        np.savez(layout.predictions, **dict(release.predictions))  # type: ignore[arg-type]
        write_json(layout.trained_on, {"digests": sorted(set(release.list_digests(release.trained)))})
        layout.card.write_text(render_card(replace(result, shipped=shipped)), encoding="utf-8")
        put_in_place(folder)
    finally:
        restore_folder(folder)
    return replace(shipped, layout=FinalLayout(folder))


def write_folder(release: Release, layout: FinalLayout) -> Shipped:
    """Write the model and all that follows from it alone; returns what was found on the way."""
    saved, data, images, prepared = release.model, release.data, release.images, release.prepared
    ensemble, reruns = as_ensemble(saved), release.reruns
    train_labels = prepared.labels[prepared.splits == "train"]
    layout.folder.mkdir(parents=True)
    if isinstance(saved, SavedEnsemble):
        save_ensemble(layout.folder, saved)
    else:
        save_member(layout.folder, saved)
    write_descriptions(ensemble, layout)

    if reruns is None:
        probabilities, labels = predict_prepared(saved, data, images), prepared.labels[images]
    else:  # of all networks, one after the other: [S * N, C]
        probabilities = [values.reshape(-1, values.shape[2]) for values in reruns]
        labels = np.tile(prepared.labels[images], (len(reruns[0]), 1))
    networks = 1 if reruns is None else len(reruns[0])
    temperatures = fit_temperatures(probabilities, labels)
    write_json(layout.temperatures, dict(zip(ensemble.schema.names, temperatures, strict=True)))
    coverage = cross_fit_coverage(probabilities, labels, np.resize(release.folds, len(labels)))
    curves = [each.compute_curve() for each in coverage]
    draw_coverage(dict(zip(ensemble.schema.names, curves, strict=True)), layout.coverage)
    confusion = count_answers(probabilities, labels)
    for category, matrix in zip(ensemble.schema.categories, confusion, strict=True):
        whose = "this model" if reruns is None else f"{len(reruns[0])} re-runs together"
        counted = matrix.sum() // (1 if reruns is None else len(reruns[0]))
        title = f"{category.name}: {whose}, {counted} validation images"
        draw_confusion(matrix, category.classes, title, layout.confusion(category.name))

    checked = images[:ONNX_IMAGES]
    onnx_difference, onnx_error = None, None
    try:
        pixels = {view: data[view].gather(checked) for view in ensemble.views}
        onnx_difference = export_onnx(saved, layout.onnx, pixels, temperatures)
    except (ExportError, RuntimeError) as error:  # PyTorch's exporter raises the second where it lacks an operation
        onnx_error = first_line(error)
    return Shipped(
        layout=layout,
        schema=ensemble.schema,
        members=tuple(
            Member(member.config, member.epoch, share)
            for member, share in zip(ensemble.members, ensemble.shares, strict=True)
        ),
        trained=len(release.trained),
        images=len(images),
        duplicates=int(np.isin(release.list_digests(images), release.list_digests(release.trained)).sum()),
        reruns=None if reruns is None else len(reruns[0]),
        confusion=confusion,
        majority=compute_majority(prepared.labels[images], train_labels),
        majority_score=metrics.compute_majority_score(prepared.labels[images], train_labels, release.measure),
        before=compute_calibration(probabilities, labels, networks),
        after=compute_calibration(apply_temperatures(probabilities, temperatures), labels, networks),
        temperatures=temperatures,
        coverage=coverage,
        parameters=sum(value.numel() for member in ensemble.members for value in member.network.parameters()),
        model_bytes=sum(file.stat().st_size for file in layout.folder.rglob(MODEL_FILE)),
        ms_per_image=release.ms_per_image,
        weights_licences=tuple(dict.fromkeys(find_weights_licence(member.config) for member in ensemble.members)),
        onnx_images=len(checked),
        onnx_difference=onnx_difference,
        onnx_error=onnx_error,
        submission_error=write_answers(release, layout.folder),
    )


def write_descriptions(ensemble: SavedEnsemble, layout: FinalLayout) -> None:
    """How the members were trained, what they tell apart, how their images are prepared."""
    pairs = zip(ensemble.members, ensemble.shares, strict=True)
    configs = [{"share": share, "config": member.config.model_dump(mode="json")} for member, share in pairs]
    write_json(layout.config, {"members": configs})
    write_json(layout.attributes, ensemble.schema.to_dict())
    settings = [build_settings(member.config) for member in ensemble.members]
    views = [
        {
            **asdict(view),
            "members": [number for number, each in enumerate(settings) if each == view],
            "in_words": describe_view(view),
        }
        for view in ensemble.views
    ]
    flips = [member.config.eval_flip for member in ensemble.members]
    note = "pixels are uint8, 0 to 255; the network itself normalises them and, where `flip` is true, averages the "
    note += "probabilities of the image and of its mirror image"
    write_json(layout.preprocessing, {"views": views, "flip": flips, "in_words": note})


def write_answers(release: Release, folder: Path) -> str | None:
    """The challenge's files; returns why there are none, None where they were written."""
    source = release.source
    if not len(release.prepared.indices("test")):
        return "the data has no test images"
    try:
        write_submission(release.model, source.data, folder, cache_dir=source.cache_dir, reading=source.reading)
    except DataError as error:
        return str(error)
    return None


def count_answers(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """K confusion matrices [C, C] int64, row = truth; an image counts where it is labelled.

    Args:
        probabilities: K arrays [N, C].
        labels: [N, K], negative where unlabelled.
    """
    matrices = []
    for values, column in zip(probabilities, labels.T, strict=True):
        matrix = np.zeros((values.shape[1], values.shape[1]), np.int64)
        known = column >= 0
        np.add.at(matrix, (column[known], values.argmax(1)[known]), 1)
        matrices.append(matrix)
    return tuple(matrices)


def compute_majority(labels: np.ndarray, train_labels: np.ndarray) -> tuple[float, ...]:
    """Accuracy of always answering the commonest class of train, by category. labels: [N, K], [M, K]."""
    columns = zip(labels.T, train_labels.T, strict=True)
    return tuple(metrics.compute_majority_score(one[:, None], other[:, None]) for one, other in columns)


def check_release(release: Release, result: PromotionResult) -> None:
    """Raises ValueError where they contradict each other."""
    ensemble, images = as_ensemble(release.model), release.images
    if missing := [view for view in ensemble.views if view not in release.data]:
        raise ValueError(f"`data` must hold every view of the model, but lacks {missing}; prepare the images so too")
    expected = [len(images), len(ensemble.schema.sizes)]
    if list(np.shape(release.answers)[1:]) != expected or len(result.categories) != expected[1]:
        raise ValueError(
            f"answers and scores must be of the {expected[0]} images and {expected[1]} categories, but the answers are "
            f"{list(np.shape(release.answers))} and {len(result.categories)} categories have a score; give those of "
            "this model"
        )
    seen, reruns = int(np.isin(images, release.trained).sum()), release.reruns
    is_recipe = result.options.is_recipe
    if bool(seen) != is_recipe or is_recipe == (reruns is None):
        raise ValueError(
            "a model that was trained on images it is judged on must be told as fit on train+val, with the answers of "
            f"re-runs, and no other, but it was trained on {seen} of {len(images)}, is told as fit on "
            f"{result.options.fit_on}, and there are {'no' if reruns is None else ''} answers of re-runs; correct one "
            "of these"
        )
    if reruns is not None and [values.shape[1:] for values in reruns] != [
        (len(images), size) for size in ensemble.schema.sizes
    ]:
        raise ValueError(
            f"answers of re-runs must be [seeds, {len(images)}, classes] of each category, but are "
            f"{[list(values.shape) for values in reruns]}; give those of the same images"
        )


# ----------------------------------------------------------------------------------------------------- put in its place


def name_places(folder: Path) -> tuple[Path, Path]:
    """Beside the folder: where a new one is written, and where an old one stands while the new takes its place."""
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


def put_in_place(folder: Path) -> None:
    """The new folder in place of the old one: two renamings, of which `restore_folder` finishes or undoes half."""
    new, old = name_places(folder)
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)


def restore_folder(folder: Path) -> None:
    """Clear what a kill left beside the folder; put an old one back whose place nothing took."""
    new, old = name_places(folder)
    if old.exists() and not folder.exists():
        os.rename(old, folder)
    for rest in (new, old):
        shutil.rmtree(rest, ignore_errors=True)


def write_json(path: Path, content: Any) -> None:
    """Indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
