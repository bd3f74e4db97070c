"""What `python search/promote.py --compare A B` does: two saved models on the same validation images.

See `subjects.py` for what A and B can be, and `contest.py` for the statistics. N images, K categories, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from fashion_core.data.annotations import Annotations, load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.errors import SearchError
from fashion_core.hardware.allocator import keep_freed_memory
from fashion_core.hardware.device import choose_device
from fashion_core.inference.temperatures import apply_temperatures
from fashion_core.models.ensemble import as_ensemble
from fashion_core.models.forward import predict_views
from search.planning.options import SearchOptions
from search.registry.contest import SIDES, Contest, compute_contest, render_comparison
from search.registry.subjects import History, Subject, check_unseen, find_history, open_subject
from search.reporting.live import preparing


def compare_subjects(
    one: str,
    other: str,
    *,
    results: Path,
    data: Path | None,
    tracking_uri: str | None,
    cache_dir: Path | None,
    console: Console,
) -> Contest:
    """Compare two models on the validation images of a data set, and print what came out.

    Args:
        one, other: see `search.registry.subjects`.
        results: folder of all searches.
        data: folder of the data set; None: that of A's search, or where A comes from none, of B's.
        tracking_uri: of the registry; None: SQLite under the results.
        cache_dir: of prepared images; None: one that a search of the two named, else `.prepared` under the results.

    Raises:
        SearchError: one of them is not there, their categories differ, there is no data set, or one of them was trained
            on its validation images.
        CheckpointError, DataError: a model or the data set cannot be read.
    """
    device = choose_device(None)
    if device.type == "cpu":
        keep_freed_memory()
    subjects = [open_subject(name, results, tracking_uri, device) for name in (one, other)]
    known = [options for subject in subjects if (options := subject.options) is not None]
    annotations = load_judged(known, data)
    check_categories(subjects, annotations)
    cache_dir = cache_dir or next((options.cache_dir for options in known if options.cache_dir), results / ".prepared")
    prepared = prepare_views(annotations, subjects, cache_dir, console)
    firsts = [prepared[as_ensemble(subject.saved).views[0]] for subject in subjects]
    images, what = find_judged(firsts[0]), f"validation images of {annotations.folder.resolve().name}"
    judged = [firsts[0].sha256[index] for index in images]
    histories = [
        find_history(subject, annotations.folder, each) for subject, each in zip(subjects, firsts, strict=True)
    ]
    check_unseen(SIDES, subjects, histories, judged, what)
    answers = []
    for side, subject in zip(SIDES, subjects, strict=True):
        with console.status(f"{side} answers {len(images):,} images"):
            answers.append(answer_images(subject, prepared, images))
    contest = compute_contest(answers[0], answers[1], firsts[0].labels[images], annotations.schema.names)
    remarks = [*describe_picking(subjects, histories, judged), *describe_remarks(histories)]
    console.print(f"compared on the {len(images):,} {what}", highlight=False, markup=False)
    console.print(render_comparison(contest, [f"{each.name}, {each.words}" for each in subjects], remarks))
    return contest


def load_judged(known: Sequence[SearchOptions], data: Path | None) -> Annotations:
    """The data set to judge on.

    Args:
        known: options of the searches that the models come from.

    Raises:
        SearchError: none is known, or that of the search is gone.
        DataError: it is at fault.
    """
    if data is None:
        if not known:
            raise SearchError(
                "a comparison needs a data set, but neither model comes from a search; name one with --data"
            )
        data = known[0].data
        if not data.is_dir():
            raise SearchError(
                f"a comparison needs a data set, but that of the search, {data}, is gone; say where it is with --data"
            )
    return load_annotations(data, skip_bad=any(options.skip_bad for options in known))


def check_categories(subjects: Sequence[Subject], annotations: Annotations) -> None:
    """Raise SearchError unless both models, and the data set, have the same categories."""
    one, other = (as_ensemble(subject.saved).schema for subject in subjects)
    if one != other:
        raise SearchError(
            f"two models to compare must have the same categories, but A has {one.to_dict()} and B {other.to_dict()}; "
            "compare models of one data set"
        )
    if annotations.schema != one:
        raise SearchError(
            f"models must be compared on a data set of their categories, {one.to_dict()}, but {annotations.folder} has "
            f"{annotations.schema.to_dict()}; name another with --data"
        )


def prepare_views(
    annotations: Annotations, subjects: Sequence[Subject], cache_dir: Path, console: Console
) -> dict[PrepareSettings, PreparedData]:
    """The data set as each network of the two wants its images."""
    views = list(dict.fromkeys(view for subject in subjects for view in as_ensemble(subject.saved).views))
    with preparing(console) as progress:
        return prepare_all(annotations, views, cache_dir, progress=progress)


def find_judged(data: PreparedData) -> np.ndarray:
    """Positions of the labelled validation images, [N] int64.

    Raises:
        SearchError: there are fewer than two.
    """
    images = data.indices("val")
    images = images[(data.labels[images] >= 0).all(1)]
    if len(images) < 2:
        raise SearchError(
            f"a comparison needs two labelled validation images or more, but there is {len(images)}; name another data "
            "set with --data"
        )
    return images


def answer_images(
    subject: Subject, prepared: Mapping[PrepareSettings, PreparedData], images: np.ndarray
) -> list[np.ndarray]:
    """Probabilities as `fashion_core.predict` gives them: K arrays [N, C]. images: [N] positions in the data."""
    ensemble, parts = as_ensemble(subject.saved), []
    for start in range(0, len(images), ensemble.eval_batch_size):
        batch = images[start : start + ensemble.eval_batch_size]
        parts.append(predict_views(ensemble, {view: prepared[view].gather(batch) for view in ensemble.views}))
    probabilities = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    return probabilities if subject.temperatures is None else apply_temperatures(probabilities, subject.temperatures)


def describe_picking(subjects: Sequence[Subject], histories: Sequence[History], judged: Sequence[str]) -> list[str]:
    """What it does to the scores that images judged on picked a model."""
    counts = [sum(digest in history.picked_on for digest in judged) for history in histories]
    lines = []
    for side, subject, count in zip(SIDES, subjects, counts, strict=True):
        if count:
            which = "these very" if count == len(judged) else f"{count:,} of these"
            lines.append(f"{side}'s score flatters it: {subject.picked} by scores on {which} images.")
    if all(counts):
        lines.append("So the difference leans towards the one that was picked among more.")
    elif any(counts) and all(history.trained_on is not None for history in histories):
        lines.append(f"So the difference leans towards {SIDES[counts[0] == 0]}.")
    return [" ".join(lines)] if lines else []


def describe_remarks(histories: Sequence[History]) -> list[str]:
    """What is not known of the two, with the side it is about."""
    return [f"{side}: {history.remark}" for side, history in zip(SIDES, histories, strict=True) if history.remark]
