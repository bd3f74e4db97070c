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
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.command import SKIP_BAD, Parser, give_share, run_command, share
from fashion_core.escaping import show_text
from fashion_core.lazy import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.hardware.device import choose_device
    from fashion_core.inference.predictor import Question, answer_questions, parse_box, read_views

# What cards of exported models and registered models import from here. Torch is loaded when a command begins to work.
__all__ = ["Question", "answer_questions", "choose_device", "parse_box", "read_views"]
__getattr__ = attach(
    "fashion_core",
    {
        "hardware.device": ["choose_device"],
        "inference.predictor": ["Question", "answer_questions", "parse_box", "read_views"],
    },
)
MAX_NAMED = 5  # files that are left out
DEFAULT_CACHE = Path("results/.prepared")  # where a search keeps its prepared images too


def build_parser(program: str = "fashion-predict") -> argparse.ArgumentParser:
    """All options of the command. program: its name in the help."""
    parser = Parser(prog=program, description="Print the attributes of garments, or write the challenge's submission.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a saved model or ensemble: its file or folder")
    parser.add_argument(
        "images", type=Path, nargs="*", metavar="IMAGE", help="image files, or folders, with all below them"
    )
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
    parser.add_argument(
        SKIP_BAD,
        type=share,
        default=False,
        metavar="SHARE",
        help="submission: let faulty rows of train and val pass, up to 5%% of all or the share given",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-predict`."""
    given = parse(build_parser(), arguments)
    run_command(lambda: run(given))


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the parser, `build_parser`'s or one with more options, reads; faults end the process with status 2."""
    given = parser.parse_intermixed_args(give_share(arguments))  # options may stand between model and images
    if bool(given.images) == bool(given.submission):
        parser.error("name images, or --submission DATA, and not both")
    if given.explain and given.submission:
        parser.error("--explain DIR goes with images, not with --submission; leave one of them out")
    return given


def run(given: argparse.Namespace) -> None:
    """Do what the command line asks."""
    from fashion_core.hardware.device import choose_device
    from fashion_core.inference.predictor import find_images, parse_box, predict_images
    from fashion_core.inference.temperatures import load_temperatures
    from fashion_core.models.ensemble import as_ensemble, load_saved, set_flip

    box = None if given.box is None else parse_box(given.box)
    images, left_out = find_images(given.images)
    if left_out:
        more = ", ..." if len(left_out) > MAX_NAMED else ""
        named = ", ".join(str(path) for path in left_out[:MAX_NAMED])
        print(f"note: left out, being no images: {len(left_out)} ({show_text(named)}{more})", file=sys.stderr)
    saved = load_saved(given.model, choose_device(given.device))
    if given.tta is not None:
        saved = set_flip(saved, given.tta)
    if given.submission:
        from fashion_core.data.reading import Reading
        from fashion_core.inference.submission import write_submission

        reading = Reading(skip_bad=given.skip_bad)
        path = write_submission(saved, given.submission, given.out, cache_dir=given.cache_dir, reading=reading)
        print(show_text(str(path)))
        return
    is_whole = all(view.crop == "whole" for view in as_ensemble(saved).views)
    if is_whole and box is not None:
        print("note: this model sees whole images; the box is not used", file=sys.stderr)
        box = None
    elif not is_whole and box is None:
        print("note: this model was trained on garments cropped by their boxes; name one by --box", file=sys.stderr)
    if given.explain is not None:
        from fashion_core.inference.explain import (  # captum takes a second to import
            check_picture_names,
            draw_explanation,
        )

        check_picture_names(images)
    temperatures = load_temperatures(given.model, saved.schema)
    for answer in predict_images(saved, images, box, temperatures):
        print(json.dumps(answer.to_dict()) if given.json else answer.render(), flush=True)
        if given.explain is not None:
            draw_explanation(saved, answer, given.explain)


if __name__ == "__main__":
    main()
