"""What a saved model says of images: the attribute of every category, or the challenge's submission.

python -m fashion_core.predict MODEL IMAGE... [--box x1,y1,x2,y2] [--json] [--explain DIR]
python -m fashion_core.predict MODEL --submission DATA [--out DIR]

MODEL is a saved model or ensemble; temperatures that stand beside it are applied to its probabilities. Images are
cropped and resized by the code that prepared the training images, as each member of an ensemble wants them. N images,
S pixels a side, K categories, C classes of one category.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from fashion_core.answers import Answer, Box
from fashion_core.checkpoint import SavedModel
from fashion_core.config import TrainConfig
from fashion_core.ensemble import Saved, as_ensemble, load_saved, set_flip
from fashion_core.errors import ConfigError, DataError, FashionError, Fault
from fashion_core.evaluation import predict_batch
from fashion_core.pixels import PrepareSettings, build_settings, crop_and_resize, open_image
from fashion_core.precision import build_autocast
from fashion_core.temperatures import apply_temperatures, load_temperatures

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # those looked for in a folder; a file named may have any
DEFAULT_CACHE = Path("results/.prepared")  # where a search keeps its prepared images too


@dataclass(frozen=True)
class Question:
    """An image to be answered.

    Attributes:
        name: what its answer, or its fault, is called by.
        box: of the garment; None for the whole image.
    """

    name: str
    file: Path | BinaryIO
    box: Box | None = None


def predict_images(
    saved: Saved, images: Sequence[Path], box: Box | None = None, temperatures: Sequence[float] | None = None
) -> Iterator[Answer]:
    """Answer image files, with one box for all: see `answer_questions`."""
    return answer_questions(saved, [Question(str(path), path, box) for path in images], temperatures)


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
            except Exception as error:  # a decoder may raise anything on damaged bytes
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                faults.append(Fault(question.name, None, reason))
        if readable:
            probabilities = predict_views(saved, {view: np.stack([each[view] for each in pixels]) for view in views})
            if temperatures is not None:
                probabilities = [v.astype(np.float32) for v in apply_temperatures(probabilities, temperatures)]
            for index, question in enumerate(readable):
                values = [column[index] for column in probabilities]
                yield Answer(question.name, question.box, ensemble.schema, values)
    if faults:
        raise DataError("an image must be readable, and hold its box:", faults)


def read_pixels(path: Path, box: Box | None, config: TrainConfig) -> np.ndarray:
    """[S, S, 3] uint8: an image as the training images of a model of this configuration were prepared.

    Raises:
        OSError, ValueError, DecompressionBombError: see `read_views`.
    """
    view = build_settings(config)
    return read_views(path, box, [view])[view]


def read_views(
    file: Path | BinaryIO, box: Box | None, views: Sequence[PrepareSettings]
) -> dict[PrepareSettings, np.ndarray]:
    """An image prepared in each of these ways: [S, S, 3] uint8 each. Its file is decoded once.

    Raises:
        OSError, ValueError, DecompressionBombError: it cannot be read, or the box leaves it.
    """
    image = open_image(file)
    if box is not None and not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise ValueError(
            f"a box must be x1,y1,x2,y2 with x1 < x2 and y1 < y2, inside the image of {image.width} x {image.height} "
            f"pixels, but is {','.join(map(str, box))}"
        )
    return {view: crop_and_resize(image, box, view) for view in views}


def predict_views(saved: Saved, images: Mapping[PrepareSettings, np.ndarray]) -> list[np.ndarray]:
    """Probabilities of prepared images, averaged over the members of an ensemble: K arrays [N, C_i] float32.

    Args:
        images: [N, S, S, 3] uint8, by how they were prepared; each of the ensemble's `views`.
    """
    ensemble = as_ensemble(saved)
    answers = [predict_pixels(member, images[build_settings(member.config)]) for member in ensemble.members]
    columns = zip(*answers, strict=True)
    return [np.average(values, axis=0, weights=ensemble.shares).astype(np.float32) for values in columns]


def predict_pixels(saved: SavedModel, pixels: np.ndarray) -> list[np.ndarray]:
    """Probabilities of one model for prepared images, as its configuration says: K arrays [N, C_i] float32.

    Args:
        pixels: [N, S, S, 3] uint8.
    """
    config, network = saved.config, saved.network
    device = next(network.parameters()).device
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    parts = []
    for start in range(0, len(pixels), config.eval_batch_size):
        batch = torch.from_numpy(pixels[start : start + config.eval_batch_size]).to(device).permute(0, 3, 1, 2)
        log_probabilities = predict_batch(
            network, batch, flip=config.eval_flip, autocast=choose_autocast(saved, device)
        )
        parts.append([values.exp().cpu().numpy() for values in log_probabilities])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def choose_autocast(saved: SavedModel, device: torch.device) -> AbstractContextManager[Any]:
    """The precision the model was evaluated in, a probe's is fp32; fp16 is fp32 too where there is no GPU."""
    is_probe = saved.epoch <= saved.config.probe_epochs
    if is_probe or (saved.config.precision == "fp16" and device.type == "cpu"):
        return nullcontext()
    return build_autocast(saved.config, device)


# ------------------------------------------------------------------------------------------------------- command line


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


def find_images(places: Sequence[Path]) -> list[Path]:
    """The files named, and the images directly in the folders named, by name.

    Raises:
        DataError: a folder holds none.
    """
    images: list[Path] = []
    for place in places:
        found = [place]
        if place.is_dir():
            found = sorted(path for path in place.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise DataError(f"a folder must hold images ({', '.join(IMAGE_SUFFIXES)}), but {place} has none")
        images += found
    return images


def choose_device(name: str | None) -> torch.device:
    """The device named; by default the first GPU, else the CPU.

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the device must be one of this machine, but {name!r} is not ({reason}); try cpu") from None
    return device


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fashion-predict", description="Print the attributes of garments, or write the challenge's submission."
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a saved model or ensemble: its file or folder")
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--box", metavar="x1,y1,x2,y2", help="the garment's box in pixels; default: the whole image")
    parser.add_argument("--json", action="store_true", help="one JSON object an image and line, with all probabilities")
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        help="average with the mirrored image, or not; default: as the model was evaluated",
    )
    parser.add_argument(
        "--explain", type=Path, metavar="DIR", help="draw into DIR, for each category, where the model looked"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: the first GPU, else the CPU")
    parser.add_argument(
        "--submission", type=Path, metavar="DATA", help="write prediction.txt and .zip for DATA's test.txt"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="submission: its folder; default: this one"
    )
    parser.add_argument(
        "--cache-dir",
        type=Path,
        default=DEFAULT_CACHE,
        metavar="DIR",
        help="submission: prepared images; default: %(default)s",
    )
    parser.add_argument("--skip-bad", action="store_true", help="submission: let faulty rows of train and val pass")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-predict`."""
    run_command(build_parser(), arguments, run)


def run_command(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, run: Callable[[argparse.Namespace], None]
) -> None:
    """Run what the parser, `build_parser`'s or one with more options, reads; errors end it with status 2."""
    given = parser.parse_intermixed_args(arguments)  # options may stand between model and images
    if bool(given.images) == bool(given.submission):
        parser.error("name images, or --submission DATA, and not both")
    if given.explain and given.submission:
        parser.error("--explain DIR goes with images, not with --submission; leave one of them out")
    try:
        run(given)
    except (FashionError, OSError) as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def run(given: argparse.Namespace) -> None:
    """Do what the command line asks."""
    box = None if given.box is None else parse_box(given.box)
    images = find_images(given.images)
    saved = load_saved(given.model, choose_device(given.device))
    if given.tta is not None:
        saved = set_flip(saved, given.tta)
    if given.submission:
        from fashion_core.submission import write_submission  # submission imports this module

        path = write_submission(saved, given.submission, given.out, cache_dir=given.cache_dir, skip_bad=given.skip_bad)
        print(path)
        return
    is_whole = all(view.crop == "whole" for view in as_ensemble(saved).views)
    if is_whole and box is not None:
        print("note: this model sees whole images; the box is not used", file=sys.stderr)
        box = None
    elif not is_whole and box is None:
        print("note: this model was trained on garments cropped by their boxes; name one by --box", file=sys.stderr)
    if given.explain is not None:
        from fashion_core.explain import check_picture_names, draw_explanation  # captum takes a second to import

        check_picture_names(images)
    temperatures = load_temperatures(given.model, saved.schema)
    for answer in predict_images(saved, images, box, temperatures):
        print(json.dumps(answer.to_dict()) if given.json else answer.render(), flush=True)
        if given.explain is not None:
            draw_explanation(saved, answer, given.explain)


if __name__ == "__main__":
    main()
