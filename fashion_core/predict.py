"""What a saved model says of images: the attribute of every category, or the challenge's submission.

python -m fashion_core.predict MODEL IMAGE... [--box x1,y1,x2,y2] [--json] [--explain DIR]
python -m fashion_core.predict MODEL FOLDER --boxes boxes.csv --out answers.parquet
python -m fashion_core.predict MODEL --submission DATA [--out DIR]

MODEL is a saved model or ensemble; temperatures that stand beside it are applied to its probabilities. Images are
cropped and resized by the code that prepared the training images, as each member of an ensemble wants them. N images,
S pixels a side, K categories, C classes of one category.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_core.command import SKIP_BAD, Parser, ProgressBar, give_share, run_command, share
from fashion_core.data.reading import BOX_FORMS, build_reading
from fashion_core.errors import DataError, Fault
from fashion_core.escaping import show_text, show_value
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE, hash_file
from fashion_core.lazy import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.hardware.device import choose_device
    from fashion_core.inference.answer_file import AnswerFile
    from fashion_core.inference.answers import Box
    from fashion_core.inference.boxes import BoxTable
    from fashion_core.inference.predictor import Question, answer_questions, parse_box, read_views
    from fashion_core.models.ensemble import Saved

# What cards of exported models and registered models import from here. Torch is loaded when a command begins to work.
__all__ = ["Question", "answer_questions", "choose_device", "parse_box", "read_views"]
__getattr__ = attach(
    "fashion_core",
    {
        "hardware.device": ["choose_device"],
        "inference.predictor": ["Question", "answer_questions", "parse_box", "read_views"],
    },
)
DEFAULT_CACHE = Path("results/.prepared")  # where a search keeps its prepared images too


def build_parser(program: str = "fashion-predict") -> argparse.ArgumentParser:
    """All options of the command. program: its name in the help."""
    parser = Parser(prog=program, description="Print the attributes of images, or write the challenge's submission.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a saved model or ensemble: its file or folder")
    parser.add_argument(
        "images", type=Path, nargs="*", metavar="IMAGE", help="image files, or folders, with all below them"
    )
    parser.add_argument("--box", metavar="x1,y1,x2,y2", help="the box to look at, in pixels; default: the whole image")
    parser.add_argument(
        "--boxes",
        action="append",
        default=[],
        metavar="FILE|FORM",
        help="a file with the images' boxes: a table with the columns image and x1 y1 x2 y2 (or x y w h, ...), a data "
        f"set's NAME_bbox.txt or list_bbox.txt; or what a box's four numbers are: {', '.join(BOX_FORMS)}; or both",
    )
    parser.add_argument(
        "--min-confidence", type=probability, metavar="P", help="answer `unsure` where no class is as likely as this"
    )
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
        "--out",
        type=Path,
        metavar="FILE|DIR",
        help="images: write the answers into FILE, .csv, .parquet or .jsonl, and go on with it where it was cut off; "
        "submission: its folder, default: this one",
    )
    parser.add_argument(
        "--cache-dir",
        type=Path,
        default=DEFAULT_CACHE,
        metavar="DIR",
        help="submission: prepared images; default: %(default)s",
    )
    parser.add_argument(
        SKIP_BAD,
        type=share,
        default=False,
        metavar="SHARE",
        help="submission: let faulty rows of train and val pass, up to 5%% of all or the share given",
    )
    parser.add_argument(
        "--attributes",
        type=Path,
        metavar="FILE",
        help="submission: YAML file that makes categories of the downloaded DeepFashion's attributes",
    )
    parser.add_argument(
        "--garments",
        action="store_true",
        help="submission: take the downloaded DeepFashion's kinds of garment as one more category",
    )
    parser.add_argument(
        "--categories", metavar="A,B", help="submission: a table's columns that are categories, as in the search"
    )
    parser.add_argument(
        "--follow-links", action="store_true", help="submission: read images that are links out of DATA's folder"
    )
    return parser


def probability(text: str) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError: it is something else.
    """
    value = float(text)
    if not 0 <= value <= 1:  # NaN too
        raise ValueError(f"must be a probability from 0 to 1, like 0.8, but got {show_value(text)}")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-predict`."""
    given = parse(build_parser(), arguments)
    run_command(lambda: run(given))


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the parser, `build_parser`'s or one with more options, reads; faults end the process with status 2."""
    given = parser.parse_intermixed_args(give_share(arguments))  # options may stand between model and images
    if bool(given.images) == bool(given.submission):
        parser.error("name images, or --submission DATA, and not both")
    split_boxes(parser, given)
    for_images = {"--explain DIR": given.explain, "--box": given.box, "--min-confidence": given.min_confidence}
    for_data = ("--attributes", "--garments", "--categories", "--follow-links", SKIP_BAD)
    for name, value in for_images.items():
        if given.submission and value is not None:
            parser.error(f"{name} goes with images, not with --submission; leave one of them out")
    for name in for_data:
        if given.images and getattr(given, name[2:].replace("-", "_")):
            parser.error(f"{name} goes with --submission, not with images; leave it out")
    if given.images and given.out is not None and (given.json or given.explain):
        parser.error("--out FILE goes without --json and --explain: its ending says its form; leave one of them out")
    return given


def split_boxes(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Tell the file of boxes from their form: into `boxes_file` and `box_form`, each None where it was not given."""
    forms = [text for text in given.boxes if text in BOX_FORMS]
    files = [text for text in given.boxes if text not in BOX_FORMS]
    if len(forms) > 1 or len(files) > 1:
        parser.error(f"--boxes names one file, and one form of boxes, but got {' '.join(given.boxes)}")
    if given.submission and files:
        parser.error(f"--boxes with --submission must be one of {', '.join(BOX_FORMS)}, but is {show_value(files[0])}")
    if given.images and forms and not files:
        parser.error(f"--boxes must name a file of boxes, but is {show_value(forms[0])}; name it beside the form")
    if files and given.box is not None:
        parser.error("--box is that of all images, --boxes has one for each; leave one of them out")
    given.boxes_file = Path(files[0]) if files else None
    given.box_form = forms[0] if forms else None


def run(given: argparse.Namespace) -> None:
    """Do what the command line asks."""
    if given.submission:
        submit(given)
    else:
        ask(given)


def submit(given: argparse.Namespace) -> None:
    """Write the challenge's submission."""
    from fashion_core.inference.submission import write_submission

    saved = load(given)
    out = given.out or Path()
    reading = build_reading(given, given.box_form)
    path = write_submission(saved, given.submission, out, cache_dir=given.cache_dir, reading=reading)
    print(show_text(str(path)))


def load(given: argparse.Namespace) -> Saved:
    """The model, that averages with the mirrored image as it is asked to."""
    from fashion_core.hardware.device import choose_device
    from fashion_core.models.ensemble import load_saved, set_flip

    saved = load_saved(given.model, choose_device(given.device))
    return saved if given.tta is None else set_flip(saved, given.tta)


# --------------------------------------------------------------------------------------------------------------- images


def ask(given: argparse.Namespace) -> None:
    """Answer images: on the terminal, or into a file."""
    from fashion_core.inference.answer_file import check_ending
    from fashion_core.inference.boxes import load_boxes
    from fashion_core.inference.predictor import find_warning, parse_box, survey_images
    from fashion_core.inference.temperatures import load_temperatures
    from fashion_core.models.ensemble import as_ensemble

    if given.out is not None:
        check_ending(given.out)
    box = None if given.box is None else parse_box(given.box)
    survey = survey_images(given.images)
    if survey.left_out:
        named = ", ".join(map(str, survey.named)) + (", ..." if survey.left_out > len(survey.named) else "")
        note(f"left out, unreadable or no images: {survey.left_out} ({named})")
    table = None if given.boxes_file is None else load_boxes(given.boxes_file, given.box_form)
    saved = load(given)
    views = as_ensemble(saved).views
    if not any(view.needs_box for view in views):
        if box is not None or table is not None:
            note("this model sees whole images; the box is not used")
        box = table = None
    elif box is None and table is None:
        note(f"{find_warning(None, views)} by --box, or --boxes")
    asker = Asker(box, table)
    temperatures = load_temperatures(given.model, saved.schema)
    file = None
    if given.out is None:
        tell(given, saved, temperatures, asker)
    else:
        file = write(given, saved, temperatures, asker, survey.count)
    if asker.without:
        note(f"images without a box in {given.boxes_file}, seen whole: {asker.without}")
    if table is not None and table.unused and asker.is_first:
        note(f"rows of {given.boxes_file} that are those of no image asked: {table.unused}")
    if file is not None and file.faulty:
        raise DataError(f"{file.faulty} of {file.done} images were not answered; `error` in {given.out} says why")
    if asker.faults:
        raise DataError("an image must be readable, and hold its box:", asker.faults)


def note(text: str) -> None:
    """What a person should know who looks on."""
    print(f"note: {show_text(text)}", file=sys.stderr)


@dataclass
class Asker:
    """Makes questions of images, and counts.

    Attributes:
        box: of all images. table: of each its own.
        without: images that the table has no box for.
        faults: of those that were not answered, where no file tells them.
        is_first: whether it saw all images: none was answered by an earlier call.
    """

    box: Box | None
    table: BoxTable | None
    without: int = 0
    faults: list[Fault] = field(default_factory=list)
    is_first: bool = True

    def ask(self, image: Path) -> Question | Fault:
        """The question of an image, or what is wrong with its box."""
        from fashion_core.inference.predictor import Question

        box = self.box
        if self.table is not None:
            try:
                box = self.table.find(image)
            except DataError as error:
                return Fault(str(image), None, str(error))
            self.without += box is None
        return Question(str(image), image, box)


def tell(given: argparse.Namespace, saved: Saved, temperatures: Sequence[float] | None, asker: Asker) -> None:
    """Print the answers as they come, and draw explanations."""
    from fashion_core.inference.predictor import answer_each, list_images

    if given.explain is not None:
        from fashion_core.inference.explain import (  # captum takes a second to import
            check_picture_names,
            draw_explanation,
        )

        check_picture_names(list(list_images(given.images)))
    questions = map(asker.ask, list_images(given.images))
    for answer in answer_each(saved, questions, temperatures, given.min_confidence):
        if isinstance(answer, Fault):
            asker.faults.append(answer)
            continue
        print(json.dumps(answer.to_dict()) if given.json else answer.render(), flush=True)
        if given.explain is not None:
            draw_explanation(saved, answer, given.explain)


def write(
    given: argparse.Namespace, saved: Saved, temperatures: Sequence[float] | None, asker: Asker, count: int
) -> AnswerFile:
    """Write the answers into a file, from where an earlier call was cut off; why an image has none stands there too."""
    from fashion_core.inference.answer_file import AnswerFile
    from fashion_core.inference.predictor import answer_each, list_images

    asked = describe_question(given, temperatures)
    with AnswerFile(given.out, saved.schema, asked) as file:
        images = file.skip(list_images(given.images))
        if file.done:
            asker.is_first = False
            note(f"going on after {file.done} answers of {count} in {file.partial}")
        questions = map(asker.ask, images)
        try:
            with ProgressBar(count, file.done) as bar:
                for answer in answer_each(saved, questions, temperatures, given.min_confidence):
                    file.add(answer)
                    bar.advance()
        except KeyboardInterrupt:
            note(f"{file.done} answers of {count} are kept in {file.partial}; the same command goes on")
            raise
        file.finish()
    print(show_text(str(given.out)))
    return file


def describe_question(given: argparse.Namespace, temperatures: Sequence[float] | None) -> dict[str, Any]:
    """What answers depend on beside their images: files by their digests."""
    found = [path for name in (MODEL_FILE, ENSEMBLE_FILE) for path in sorted(given.model.rglob(name))]
    return {
        "model": [hash_file(path) for path in found or [given.model]],
        "temperatures": temperatures,
        "min_confidence": given.min_confidence,
        "tta": given.tta,
        "box": given.box,
        "boxes": None if given.boxes_file is None else hash_file(given.boxes_file),
        "box_form": given.box_form,
    }


if __name__ == "__main__":
    main()
