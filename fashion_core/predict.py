"""What a saved model says of images: the attribute of every category, or the challenge's submission.

python -m fashion_core.predict MODEL IMAGE... [--box x1,y1,x2,y2] [--json]
python -m fashion_core.predict MODEL --submission DATA [--out DIR]

Images are cropped and resized by the code that prepared the training images. N images, S pixels a side, K categories, C
classes of one category.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fashion_core.attributes import AttributeSchema
from fashion_core.checkpoint import SavedModel, load_model
from fashion_core.config import TrainConfig
from fashion_core.errors import ConfigError, DataError, FashionError, Fault
from fashion_core.evaluation import predict_batch
from fashion_core.prepared import PrepareSettings, crop_and_resize, open_image
from fashion_core.training import build_autocast

Box = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels, x2 and y2 excluded

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # those looked for in a folder; a file named may have any
DEFAULT_CACHE = Path("results/.prepared")  # where a search keeps its prepared images too


@dataclass(frozen=True)
class Answer:
    """The attributes of one image.

    Attributes:
        image: its path, as given.
        box: the garment's box used; None for the whole image.
        probabilities: K arrays [C_i] float32, each of sum 1.
    """

    image: str
    box: Box | None
    schema: AttributeSchema
    probabilities: list[np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """All probabilities, by category and class; JSON-able."""
        attributes = {}
        for category, values in zip(self.schema.categories, self.probabilities, strict=True):
            best = int(values.argmax())
            attributes[category.name] = {
                "class": category.classes[best],
                "probability": float(values[best]),
                "probabilities": dict(zip(category.classes, values.tolist(), strict=True)),
            }
        return {"image": self.image, "box": self.box and list(self.box), "attributes": attributes}

    def render(self) -> str:
        """One line a category: class, probability, and the runner-up with its own."""
        lines = [self.image if self.box is None else f"{self.image}, box {','.join(map(str, self.box))}"]
        width = max(map(len, self.schema.names))
        class_width = max(len(name) for category in self.schema.categories for name in category.classes)
        for category, values in zip(self.schema.categories, self.probabilities, strict=True):
            first, second = np.argsort(-values, kind="stable")[:2]
            lines.append(
                f"  {category.name:<{width}}  {category.classes[first]:<{class_width}}  {values[first]:.2f}"
                f"   then {category.classes[second]} {values[second]:.2f}"
            )
        return "\n".join(lines)


def predict_images(saved: SavedModel, images: Sequence[Path], box: Box | None = None) -> Iterator[Answer]:
    """Answer image files in order, as many at once as the model's `eval_batch_size`.

    Args:
        box: of the garment, in every one of the images; None for the whole image.

    Raises:
        DataError: after the answers, lists every image that cannot be read or does not hold the box.
    """
    faults: list[Fault] = []
    size = saved.config.eval_batch_size
    for start in range(0, len(images), size):
        readable, pixels = [], []
        for path in images[start : start + size]:
            try:
                pixels.append(read_pixels(path, box, saved.config))
                readable.append(path)
            except Exception as error:  # a decoder may raise anything on damaged bytes
                faults.append(
                    Fault(str(path), None, str(error).splitlines()[0] if str(error) else type(error).__name__)
                )
        if readable:
            probabilities = predict_pixels(saved, np.stack(pixels))
            for index, path in enumerate(readable):
                yield Answer(str(path), box, saved.schema, [values[index] for values in probabilities])
    if faults:
        raise DataError("an image must be readable, and hold its box:", faults)


def read_pixels(path: Path, box: Box | None, config: TrainConfig) -> np.ndarray:
    """[S, S, 3] uint8: an image as the model's training images were prepared.

    Raises:
        OSError, ValueError, DecompressionBombError: it cannot be read, or the box leaves it.
    """
    image = open_image(path)
    if box is not None and not (0 <= box[0] < box[2] <= image.width and 0 <= box[1] < box[3] <= image.height):
        raise ValueError(
            f"a box must be x1,y1,x2,y2 with x1 < x2 and y1 < y2, inside the image of {image.width} x {image.height} "
            f"pixels, but is {','.join(map(str, box))}"
        )
    return crop_and_resize(image, box, build_settings(config))


def build_settings(config: TrainConfig) -> PrepareSettings:
    """How a configuration wants its images prepared."""
    return PrepareSettings(config.image_size, config.crop, config.crop_margin)


def predict_pixels(saved: SavedModel, pixels: np.ndarray) -> list[np.ndarray]:
    """Probabilities of prepared images, in evaluation as the configuration says: K arrays [N, C_i] float32.

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
            network, batch, flip=config.eval_flip, autocast=choose_autocast(config, device)
        )
        parts.append([values.exp().cpu().numpy() for values in log_probabilities])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def choose_autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The precision the model was evaluated in; a model of fp16 runs in fp32 where there is no GPU."""
    return nullcontext() if config.precision == "fp16" and device.type == "cpu" else build_autocast(config, device)


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
    parser.add_argument(
        "model", type=Path, metavar="MODEL", help="a saved model: its file, or the folder that holds it"
    )
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--box", metavar="x1,y1,x2,y2", help="the garment's box in pixels; default: the whole image")
    parser.add_argument("--json", action="store_true", help="one JSON object an image and line, with all probabilities")
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
    parser = build_parser()
    given = parser.parse_intermixed_args(arguments)  # options may stand between model and images
    if bool(given.images) == bool(given.submission):
        parser.error("name images, or --submission DATA, and not both")
    try:
        run(given)
    except (FashionError, OSError) as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def run(given: argparse.Namespace) -> None:
    """Do what the command line asks."""
    from fashion_core.submission import write_submission  # submission imports this module

    box = None if given.box is None else parse_box(given.box)
    images = find_images(given.images)
    saved = load_model(given.model, choose_device(given.device))
    if given.submission:
        path = write_submission(saved, given.submission, given.out, cache_dir=given.cache_dir, skip_bad=given.skip_bad)
        print(path)
        return
    if saved.config.crop == "whole" and box is not None:
        print("note: this model sees whole images; the box is not used", file=sys.stderr)
        box = None
    elif saved.config.crop != "whole" and box is None:
        print("note: this model was trained on garments cropped by their boxes; name one by --box", file=sys.stderr)
    for answer in predict_images(saved, images, box):
        print(json.dumps(answer.to_dict()) if given.json else answer.render(), flush=True)


if __name__ == "__main__":
    main()
