"""Is A better than B? Two saved models on the same validation images of a data set.

See `search.registry.models` for what A and B can be. N images, K categories, C classes of one category. Probabilities
are K arrays [N, C]; labels [N, K].
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.data.reading import Reading
from fashion_core.errors import SearchError
from fashion_core.hardware.allocator import keep_freed_memory
from fashion_core.hardware.device import choose_device
from fashion_core.inference.temperatures import apply_temperatures
from fashion_core.metrics import Measure, Objective
from fashion_core.models.ensemble import as_ensemble
from fashion_core.models.forward import predict_prepared
from search.cli import DEFAULT_RESULTS
from search.records.attempts import Attempt, describe_images, enter_look
from search.records.layout import ATTEMPTS
from search.registry.history import History, check_unseen, find_history
from search.registry.models import Model, open_model
from search.reporting.live import preparing
from search.reporting.terminal import choose_console, plain
from search.statistics.calibration import compute_calibration
from search.statistics.gate import Difference, compare_answers, list_scarce
from search.statistics.intervals import LEVEL, Estimate, estimate_answers
from search.statistics.members import find_correct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.rows import Annotations
    from search.address import Address
    from search.planning.options import SearchOptions

SIDES = ("A", "B")
EITHER_P = (1 - LEVEL) / 2  # one-sided p-value of a two-sided test: either of the two may be the better one


@dataclass(frozen=True)
class Score:
    """How one of the two answers.

    Attributes:
        mean: score of the objective.
        categories: accuracy of each.
        calibration_error: expected calibration error of all its answers, see `search.statistics.calibration`;
            calibration_floor: what it would be of calibrated answers.
    """

    mean: Estimate
    categories: tuple[Estimate, ...]
    calibration_error: float
    calibration_floor: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Attributes:
        categories: K names.
        images: N.
        labelled: how many of them are labelled in each category; empty where all are in all.
        scores: of A and of B.
        difference: A less B.
        names: of the two, as they were typed.
        words: what A and B are.
        what: the images, in words: "validation images of sample".
        remarks: what a reader must know beside the numbers, a sentence or two each.
        objective: the score that they are compared by.
        is_alike: whether both answer every image alike: right, or wrong.
    """

    categories: tuple[str, ...]
    images: int
    scores: tuple[Score, Score]
    difference: Difference
    names: tuple[str, str] = SIDES
    words: tuple[str, str] = ("", "")
    what: str = ""
    remarks: tuple[str, ...] = ()
    labelled: tuple[int, ...] = ()
    objective: Objective = field(default_factory=Objective)
    is_alike: bool = False

    @property
    def scarce(self) -> list[tuple[str, int]]:
        """(name, labelled images) of the categories that few are labelled in."""
        return list_scarce(self.categories, self.labelled or [self.images] * len(self.categories))

    @property
    def p_value(self) -> float:
        """Of the two-sided test that neither is better."""
        return self.difference.mean.two_sided_p_value

    @property
    def winner(self) -> int | None:
        """0 where A is surely better, 1 where B is: the interval of the difference leaves out 0. Else None.

        The gate asks of one side alone, since there only one of the two can be promoted, and counts its tries.
        """
        return find_winner(self.difference.mean, LEVEL)

    @property
    def detectable(self) -> float:
        """The smallest true lead, of either side, that makes it the winner in a share `POWER` of all cases."""
        return self.difference.mean.compute_detectable(EITHER_P)

    def list_won(self, side: int) -> list[str]:
        """Categories in which this side is surely better: with `LEVEL`, all of them together."""
        level = self.difference.category_level
        pairs = zip(self.categories, self.difference.categories, strict=True)
        return [name for name, estimate in pairs if find_winner(estimate, level) == side]

    def to_dict(self) -> dict[str, Any]:
        """All of it with intervals; JSON-able."""
        sides = {
            side: {
                "name": name,
                "words": words,
                "score": score.mean.to_dict(),
                "categories": {k: each.to_dict() for k, each in zip(self.categories, score.categories, strict=True)},
                "calibration_error": score.calibration_error,
                "calibration_floor": score.calibration_floor,
            }
            for side, name, words, score in zip(SIDES, self.names, self.words, self.scores, strict=True)
        }
        level = self.difference.category_level
        pairs = zip(self.categories, self.difference.categories, strict=True)
        return {
            **sides,
            "images": self.images,
            **({"labelled": dict(zip(self.categories, self.labelled, strict=True))} if self.labelled else {}),
            "scarce": dict(self.scarce),
            "what": self.what,
            "objective": self.objective.name,
            "difference": self.difference.mean.to_dict(),
            "categories": {name: estimate.to_dict(level) for name, estimate in pairs},
            "p_value": self.p_value,
            "winner": None if self.winner is None else SIDES[self.winner],
            "detectable": self.detectable,
            "remarks": list(self.remarks),
        }


def find_winner(difference: Estimate, level: float) -> int | None:
    """0 where the interval lies above 0, 1 where below, None where it holds 0."""
    low, high = difference.compute_interval(level)
    return 0 if low > 0 else 1 if high < 0 else None


def compute_comparison(
    one: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    labels: np.ndarray,
    categories: Sequence[str],
    objective: Objective | None = None,
) -> Comparison:
    """Judge the answers of two models.

    The models are taken as they are, one each, so nothing is said of other seeds. The interval of the difference is
    paired over images: an image that is hard for both does not widen it.

    Args:
        one, other: probabilities, K arrays [N, C].
        labels: [N, K], negative where an image is unlabelled in a category.
        categories: K names.
        objective: the score to compare by; None: the mean over the categories of the accuracy.

    Raises:
        ValueError: labels of other images or categories, or fewer than two images, in all or in a category.
    """
    measure = Measure(objective or Objective(), labels, tuple(categories))
    correct = [find_correct(each, labels).astype(np.float64)[None] for each in (one, other)]  # [1, N, K]
    calibrations = [compute_calibration(probabilities, labels) for probabilities in (one, other)]
    scores = [
        Score(*estimate_answers(answers, (), measure), calibration.pooled, calibration.floor)
        for answers, calibration in zip(correct, calibrations, strict=True)
    ]
    difference = compare_answers(correct[0], correct[1], [], measure)
    known = labels >= 0
    labelled = () if known.all() else tuple(known.sum(0).tolist())
    return Comparison(
        tuple(categories),
        len(labels),
        (scores[0], scores[1]),
        difference,
        labelled=labelled,
        objective=measure.objective,
        is_alike=np.array_equal(correct[0], correct[1], equal_nan=True),
    )


def compare(
    one: str,
    other: str,
    *,
    results: Path = DEFAULT_RESULTS,
    data: Path | None = None,
    tracking_uri: Address | str | None = None,
    cache_dir: Path | None = None,
    console: Console | None = None,
) -> Comparison:
    """Compare two models on the validation images of a data set.

    Args:
        one, other: see `search.registry.models`.
        results: folder of all searches.
        data: folder of the data set; None: that of A's search, or where A comes from none, of B's.
        tracking_uri: of the registry; None: SQLite under the results.
        cache_dir: of prepared images; None: one that a search of the two named, else `.prepared` under the results.
        console: shows how far it is; None shows nothing.

    Raises:
        SearchError: one of them is not there, their categories differ, there is no data set, or one of them was trained
            on its validation images.
        CheckpointError, DataError: a model or the data set cannot be read.
    """
    console, device = choose_console(console), choose_device(None)
    if device.type == "cpu":
        keep_freed_memory()
    models = [open_model(name, results=results, tracking_uri=tracking_uri, device=device) for name in (one, other)]
    known = [options for model in models if (options := model.options) is not None]
    readings = [reading for model in models if (reading := model.reading) is not None]
    annotations = load_judged(known, readings, data)
    check_categories(models, annotations)
    cache_dir = cache_dir or next((options.cache_dir for options in known if options.cache_dir), results / ".prepared")
    prepared = prepare_views(annotations, models, cache_dir, console)
    firsts = [prepared[as_ensemble(model.saved).views[0]] for model in models]
    images, what = find_judged(firsts[0]), f"validation images of {annotations.folder.resolve().name}"
    judged = [firsts[0].sha256[index] for index in images]
    histories = [find_history(model, annotations, each) for model, each in zip(models, firsts, strict=True)]
    check_unseen(SIDES, models, histories, judged, what)
    looks = enter_comparison(results / ATTEMPTS, models, judged)
    answers = []
    for side, model in zip(SIDES, models, strict=True):
        with console.status(plain(f"{side} answers {len(images):,} images")):
            answers.append(answer_images(model, prepared, images))
    labels, names = firsts[0].labels[images], annotations.schema.names
    objective, remark = choose_objective(models, Measure(labels=labels, names=tuple(names)))
    found = compute_comparison(answers[0], answers[1], labels, names, objective)
    remarks = (*remark, looks, *describe_picking(models, histories, judged), *describe_remarks(histories))
    return replace(found, names=(one, other), words=(models[0].words, models[1].words), what=what, remarks=remarks)


def enter_comparison(folder: Path, models: Sequence[Model], judged: Sequence[str]) -> str:
    """Write down that two models are scored on images, once for the same two. Returns what to tell of it.

    Args:
        folder: of tries, see `search.records.attempts`.
        judged: SHA-256 of the images' files.
    """
    digests = sorted(digest_weights(model) for model in models)
    note = f"compared: {' and '.join(Path(model.name).name for model in models)}"
    look = Attempt(time=time.time(), search="", key=f"compared {' '.join(digests)}", answers="compared", note=note)
    count = enter_look(folder, describe_images(judged), look)
    return (
        f"Look {count:,} at these images: a promotion that is judged on them counts each, and is asked for more. The "
        "same two models again are the same look."
    )


def digest_weights(model: Model) -> str:
    """Tells models apart by their networks' weights."""
    digest = hashlib.blake2b(digest_size=8)
    for member in as_ensemble(model.saved).members:
        for name, values in member.network.state_dict().items():
            digest.update(name.encode())
            digest.update(values.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def load_judged(known: Sequence[SearchOptions], readings: Sequence[Reading], data: Path | None) -> Annotations:
    """The data set to judge on.

    Args:
        known: options of the searches that the models come from; readings: how these read their data.

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
        if not data.exists():
            raise SearchError(
                f"a comparison needs a data set, but that of the search, {data}, is gone; say where it is with --data"
            )
    reading = readings[0] if readings else Reading()
    most = max((each.skip_bad for each in readings), key=float, default=False)
    return load_annotations(data, replace(reading, skip_bad=most))


def check_categories(models: Sequence[Model], annotations: Annotations) -> None:
    """Raise SearchError unless both models, and the data set, have the same categories."""
    one, other = (as_ensemble(model.saved).schema for model in models)
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
    annotations: Annotations, models: Sequence[Model], cache_dir: Path, console: Console
) -> dict[PrepareSettings, PreparedData]:
    """The data set as each network of the two wants its images."""
    views = list(dict.fromkeys(view for model in models for view in as_ensemble(model.saved).views))
    with preparing(console) as progress:
        return prepare_all(annotations, views, cache_dir, progress=progress)


def find_judged(data: PreparedData) -> np.ndarray:
    """Positions of the validation images that are labelled in a category, [N] int64.

    Raises:
        SearchError: there are fewer than two, in all or in a category.
    """
    images = data.labelled("val")
    if len(images) < 2:
        raise SearchError(
            f"a comparison needs two labelled validation images or more, but there is {len(images)}; name another data "
            "set with --data"
        )
    counts = zip(data.schema.names, (data.labels[images] >= 0).sum(0).tolist(), strict=True)
    if few := [f"{name} has {count}" for name, count in counts if count < 2]:
        raise SearchError(
            f"a comparison needs two validation images or more labelled in each category, but {', '.join(few)}; name "
            "another data set with --data"
        )
    return images


def choose_objective(models: Sequence[Model], images: Measure) -> tuple[Objective, tuple[str, ...]]:
    """The score to compare by: that which both were made for; else the mean over the categories, and why, in words.

    Args:
        images: any objective on the images that are judged on.
    """
    wanted = [{member.config.objective for member in as_ensemble(model.saved).members} for model in models]
    found, usual = set.union(*wanted), Objective()
    if len(found) > 1:
        listed = "; ".join(f"{side} for {' and '.join(sorted(each))}" for side, each in zip(SIDES, wanted, strict=True))
        return usual, (f"The two were chosen by different scores, {listed}: compared is {usual.name}.",)
    objective = Objective(found.pop())
    if single := replace(images, objective=objective).list_single():
        listed = ", ".join(sorted({category for category, _ in single}))
        why = f"{objective.name} cannot be compared where a class has one image alone, as in {listed}"
        return usual, (f"{why}: compared is {usual.name}.",)
    return objective, ()


def answer_images(
    model: Model, prepared: Mapping[PrepareSettings, PreparedData], images: np.ndarray
) -> list[np.ndarray]:
    """Probabilities as `fashion_core.predict` gives them: K arrays [N, C]. images: [N] positions in the data."""
    probabilities = predict_prepared(model.saved, prepared, images)
    return probabilities if model.temperatures is None else apply_temperatures(probabilities, model.temperatures)


def describe_picking(models: Sequence[Model], histories: Sequence[History], judged: Sequence[str]) -> list[str]:
    """What it does to the scores that images judged on picked a model."""
    counts = [sum(digest in history.picked_on for digest in judged) for history in histories]
    lines = []
    for side, model, count in zip(SIDES, models, counts, strict=True):
        if count:
            which = "these very" if count == len(judged) else f"{count:,} of these"
            lines.append(f"{side}'s score flatters it: {model.place.picked} by scores on {which} images.")
    if all(counts):
        lines.append("So the difference leans towards the one that was picked among more.")
    elif any(counts) and all(history.trained_on is not None for history in histories):
        lines.append(f"So the difference leans towards {SIDES[counts[0] == 0]}.")
    return [" ".join(lines)] if lines else []


def describe_remarks(histories: Sequence[History]) -> list[str]:
    """What is not known of the two, with the side it is about."""
    return [f"{side}: {history.remark}" for side, history in zip(SIDES, histories, strict=True) if history.remark]
