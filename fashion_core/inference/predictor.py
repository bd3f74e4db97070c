"""What a saved model says of image files. N images, S pixels a side, K categories, C classes of one category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fashion_core.data.decoding import IMAGE_SUFFIXES, open_image
from fashion_core.data.pixels import PrepareSettings, crop_and_resize
from fashion_core.errors import DataError, Fault, first_line
from fashion_core.inference.answers import Answer, Box
from fashion_core.inference.temperatures import apply_temperatures
from fashion_core.models.ensemble import Saved, as_ensemble
from fashion_core.models.forward import predict_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    saved: Saved, images: Sequence[Path | str], box: Box | None = None, temperatures: Sequence[float] | None = None
) -> Iterator[Answer]:
    """Answer image files, with one box for all: see `answer_questions`."""
    return answer_questions(saved, [Question(str(path), Path(path), box) for path in images], temperatures)


def answer_questions(
    saved: Saved, questions: Sequence[Question], temperatures: Sequence[float] | None = None
) -> Iterator[Answer]:
    """Answer images in order, as many at once as `eval_batch_size`.

    Args:
        temperatures: of the categories, applied to the probabilities; None leaves them as they are.

    Raises:
        DataError: after the answers, lists every image that cannot be read or does not hold its box.
    """
    faults: list[Fault] = []
    ensemble = as_ensemble(saved)
    size, views = ensemble.eval_batch_size, ensemble.views
    for start in range(0, len(questions), size):
        readable, pixels = [], []
        for question in questions[start : start + size]:
            try:
                pixels.append(read_views(question.file, question.box, views))
                readable.append(question)
            except DataError as error:
                faults.append(Fault(question.name, None, first_line(error)))
        if readable:
            probabilities = predict_views(saved, {view: np.stack([each[view] for each in pixels]) for view in views})
            if temperatures is not None:
                probabilities = [v.astype(np.float32) for v in apply_temperatures(probabilities, temperatures)]
            for index, question in enumerate(readable):
                values = [column[index] for column in probabilities]
                yield Answer(question.name, question.box, ensemble.schema, values)
    if faults:
        raise DataError("an image must be readable, and hold its box:", faults)


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
    words = text.split(",")
    try:
        x1, y1, x2, y2 = map(int, words)
    except ValueError:
        raise DataError(f"a box must be four whole numbers x1,y1,x2,y2, but is {text!r}") from None
    return x1, y1, x2, y2


def find_images(places: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files named, and what stands in the folders named and their sub-folders, by path.

    Returns:
        the images, and the files of the folders that are left out: their endings are no image's.

    Raises:
        DataError: a folder holds no image.
    """
    images: list[Path] = []
    left_out: list[Path] = []
    for place in places:
        if not place.is_dir():
            images.append(place)
            continue
        files = sorted(path for path in place.rglob("*") if not path.is_dir())
        found = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise DataError(f"a folder must hold images ({', '.join(IMAGE_SUFFIXES)}), but {place} has none")
        images += found
        left_out += [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    return images, left_out
