"""What a saved model says of image files. N images, S pixels a side, K categories, C classes of one category."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fashion_core.data.decoding import IMAGE_SUFFIXES, open_image
from fashion_core.data.mistakes import convert_boxes
from fashion_core.data.pixels import PrepareSettings, crop_and_resize
from fashion_core.data.spreadsheet import BOX_COLUMNS
from fashion_core.errors import DataError, Fault, first_line
from fashion_core.inference.answers import Answer, Box, check_min_confidence
from fashion_core.inference.temperatures import apply_temperatures
from fashion_core.models.ensemble import Saved, as_ensemble
from fashion_core.models.forward import predict_views

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from fashion_core.data.reading import BoxForm

MAX_NAMED = 5  # files that are left out


@dataclass(frozen=True)
class Question:
    """An image to be answered.

    Attributes:
        name: what its answer, or its fault, is called by.
        box: to look at; None for the whole image.
    """

    name: str
    file: Path | BinaryIO
    box: Box | None = None


def predict_images(
    saved: Saved,
    images: Iterable[Path | str],
    box: Any = None,
    temperatures: Sequence[float] | None = None,
    min_confidence: float | None = None,
) -> Iterator[Answer]:
    """Answer image files, with one box for all: see `answer_questions`. box: in a form that `read_box` reads."""
    found = read_box(box)
    return answer_questions(
        saved, (Question(str(path), Path(path), found) for path in images), temperatures, min_confidence
    )


def answer_questions(
    saved: Saved,
    questions: Iterable[Question],
    temperatures: Sequence[float] | None = None,
    min_confidence: float | None = None,
) -> Iterator[Answer]:
    """Answer images in order: see `answer_each`.

    Raises:
        DataError: after the answers, lists every image that cannot be read or does not hold its box.
    """
    faults: list[Fault] = []
    for answer in answer_each(saved, questions, temperatures, min_confidence):
        if isinstance(answer, Fault):
            faults.append(answer)
        else:
            yield answer
    if faults:
        raise DataError("an image must be readable, and hold its box:", faults)


def answer_each(
    saved: Saved,
    questions: Iterable[Question | Fault],
    temperatures: Sequence[float] | None = None,
    min_confidence: float | None = None,
) -> Iterator[Answer | Fault]:
    """Answer images in order, as many at once as `eval_batch_size`: no more are held, however many are asked.

    Args:
        questions: those that are at fault already are handed on.
        temperatures: of the categories, applied to the probabilities; None leaves them as they are.
        min_confidence: see `Answer`.

    Yields:
        for each question its answer, or why the image cannot be read or does not hold its box.

    Raises:
        ConfigError: the smallest confidence is none.
    """
    ensemble = as_ensemble(saved)
    check_min_confidence(min_confidence, ensemble.schema)
    views, waiting = ensemble.views, iter(questions)
    while batch := list(islice(waiting, ensemble.eval_batch_size)):
        found: list[Question | Fault] = []
        pixels = []
        for question in batch:
            read = question if isinstance(question, Fault) else read_question(question, views)
            if not isinstance(read, Fault):
                pixels.append(read)
            found.append(read if isinstance(read, Fault) else question)
        probabilities = []
        if pixels:
            probabilities = predict_views(saved, {view: np.stack([each[view] for each in pixels]) for view in views})
            if temperatures is not None:
                probabilities = [v.astype(np.float32) for v in apply_temperatures(probabilities, temperatures)]
        rows = iter(zip(*probabilities, strict=True))
        for each in found:
            if isinstance(each, Fault):
                yield each
            else:
                warning = find_warning(each.box, views)
                yield Answer(each.name, each.box, ensemble.schema, list(next(rows)), min_confidence, warning)


def read_question(question: Question, views: Sequence[PrepareSettings]) -> dict[PrepareSettings, np.ndarray] | Fault:
    """The image of a question, prepared: see `read_views`; or what is wrong with it."""
    try:
        return read_views(question.file, question.box, views)
    except DataError as error:
        return Fault(question.name, None, first_line(error))


def find_warning(box: Box | None, views: Sequence[PrepareSettings]) -> str | None:
    """What a person must know who asks with, or without, a box."""
    needs_box = any(view.needs_box for view in views)
    if not needs_box and box is not None:
        return "this model sees whole images; the box is not used"
    if needs_box and box is None:
        return "this model was trained on images cropped by their boxes, but was asked of a whole image; give its box"
    return None


def read_views(
    file: Path | BinaryIO, box: Box | None, views: Sequence[PrepareSettings]
) -> dict[PrepareSettings, np.ndarray]:
    """An image prepared in each of these ways: [S, S, 3] uint8 each. Its file is decoded once.

    Raises:
        ImageError: it cannot be read.
        DataError: the box leaves it.
    """
    image = open_image(file)
    if box is not None and not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise DataError(
            f"a box must be x1,y1,x2,y2 with x1 < x2 and y1 < y2, inside the image of {image.width} x {image.height} "
            f"pixels, upright, but is {','.join(map(str, box))}; correct it"
        )
    return {view: crop_and_resize(image, box, view) for view in views}


# ------------------------------------------------------------------------------------------------- what a person names


def parse_box(text: str) -> Box:
    """`x1,y1,x2,y2` -> four whole numbers.

    Raises:
        DataError: it is something else.
    """
    return build_box(text.split(","), text)


def read_box(value: Any) -> Box | None:
    """A box in any form that programs have it in; None for the whole image, which nothing, NaN and blank text are.

    Text (`x1,y1,x2,y2`, also with blanks or in brackets), four numbers in a row, or numbers by name, whose names say
    what they are (`x1 y1 x2 y2`, `x y w h` and others of `BOX_COLUMNS`).

    Raises:
        DataError: it is something else, or no whole numbers.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        text = value.strip()
        return build_box(re.split(r"[\s,;]+", text.strip("[]() ")), value) if text else None
    if isinstance(value, Mapping):
        names, form = find_box_form(value, value)
        return build_box(convert_box([read_side(value[name], value) for name in names], form), value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise refuse_box(value)
    return build_box(value, value)


def find_box_form(names: Collection[str], value: Any) -> tuple[tuple[str, ...], BoxForm]:
    """The four names that a box has, in order, and what they say it is.

    Raises:
        DataError: they are other names. value: what it shows then.
    """
    for known, form in BOX_COLUMNS.items():
        if set(known) == set(names):
            return known, form
    raise refuse_box(value)


def convert_box(numbers: Sequence[float], form: BoxForm) -> list[float]:
    """Four numbers of a form as x1, y1, x2, y2."""
    converted: list[float] = convert_boxes(np.array([numbers], float), form)[0].tolist()
    return converted


def build_box(numbers: Sequence[Any], value: Any) -> Box:
    """Four whole numbers, or the texts of some. value: what an error shows.

    Raises:
        DataError: they are something else.
    """
    sides = [read_side(number, value) for number in numbers]
    if len(sides) != 4 or not all(side.is_integer() for side in sides):
        raise refuse_box(value)
    x1, y1, x2, y2 = map(int, sides)
    return x1, y1, x2, y2


def read_side(number: Any, value: Any) -> float:
    """A number, or its text.

    Raises:
        DataError: it is something else, or infinite. value: what it shows then.
    """
    try:
        side = float(number)
    except (TypeError, ValueError, OverflowError):
        raise refuse_box(value) from None
    if isinstance(number, (bool, np.bool_)) or not math.isfinite(side):
        raise refuse_box(value)
    return side


def refuse_box(value: Any) -> DataError:
    """The error of a box that is none."""
    return DataError(f"a box must be four whole numbers x1,y1,x2,y2, but is {value!r:.80}; correct it")


@dataclass(frozen=True)
class Survey:
    """What stands at the places that a person named.

    Attributes:
        count: of images.
        left_out: number of files that are left out, being no images by their endings; and the first of them.
    """

    count: int
    left_out: int
    named: tuple[Path, ...]


def survey_images(places: Sequence[Path]) -> Survey:
    """Count what `list_images` lists, and what it leaves out.

    Raises:
        DataError: a folder holds no image.
    """
    count, left_out = 0, 0
    named: list[Path] = []
    for place in places:
        if not place.is_dir():
            count += 1
            continue
        found = 0
        for path in walk_files(place):
            if is_image(path):
                found += 1
            else:
                left_out += 1
                named += [path] if len(named) < MAX_NAMED else []
        if not found:
            raise DataError(f"a folder must hold images ({', '.join(IMAGE_SUFFIXES)}), but {place} has none")
        count += found
    return Survey(count, left_out, tuple(named))


def list_images(places: Sequence[Path]) -> Iterator[Path]:
    """The files named, and the images in the folders named and their sub-folders, by path."""
    for place in places:
        if place.is_dir():
            yield from filter(is_image, walk_files(place))
        else:
            yield place


def walk_files(folder: Path) -> Iterator[Path]:
    """All files below a folder, by path; a link to a folder is one of them, for it may lead back, and so is a folder
    below that nobody may look into. No more is held than the names of the folders on the way."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        if is_folder and can_list(folder / name):
            yield from walk_files(folder / name)
        else:
            yield folder / name


def can_list(folder: Path) -> bool:
    """Whether this user may see what stands in a folder, and open it."""
    return os.access(folder, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def is_image(path: Path) -> bool:
    """Whether a file in a folder is one to be answered, by its ending."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
