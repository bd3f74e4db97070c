"""A saved model or ensemble as one ONNX file, checked against PyTorch, and that file asked for attributes.

python -m fashion_core.onnx_export MODEL IMAGE... --out model.onnx

The file takes pixels and gives probabilities: normalisation, mirrored images and averaging are inside, and temperatures
where they stand beside MODEL. Its metadata say how to crop and resize, and what the classes are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.command import Parser, run_command
from fashion_core.errors import ExportError
from fashion_core.escaping import show_text
from fashion_core.lazy import attach

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fashion_core.inference.onnx import OnnxModel

# What cards of exported models import from here. Torch is loaded when the command begins to work.
__all__ = ["OnnxModel"]
__getattr__ = attach("fashion_core", {"inference.onnx": ["OnnxModel"]})


def build_parser(program: str = "fashion-export") -> argparse.ArgumentParser:
    """All options of the command. program: its name in the help."""
    parser = Parser(prog=program, description="Write a saved model as an ONNX file.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a saved model or ensemble: its file or folder")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="images, or folders, to check it on")
    parser.add_argument("--box", metavar="x1,y1,x2,y2", help="the box to look at, in pixels; default: the whole image")
    parser.add_argument("--out", type=Path, default=Path("model.onnx"), metavar="FILE", help="default: %(default)s")
    return parser


def main(arguments: Sequence[str] | None = None, program: str = "fashion-export") -> None:
    """The command `fashion-export`. program: its name in the help."""
    given = build_parser(program).parse_intermixed_args(arguments)
    run_command(lambda: export(given))


def export(given: argparse.Namespace) -> None:
    """Do what the command line asks.

    Raises:
        FashionError: model or images are at fault, or the model cannot be written so.
    """
    import numpy as np

    from fashion_core.inference.onnx import export_onnx
    from fashion_core.inference.predictor import list_images, parse_box, read_views, survey_images
    from fashion_core.inference.temperatures import load_temperatures
    from fashion_core.models.ensemble import as_ensemble, load_saved

    box = None if given.box is None else parse_box(given.box)
    saved = load_saved(given.model)
    views = as_ensemble(saved).views
    survey_images(given.images)
    prepared = [read_views(path, box, views) for path in list_images(given.images)]
    images = {view: np.stack([each[view] for each in prepared]) for view in views}
    try:
        difference = export_onnx(saved, given.out, images, load_temperatures(given.model, saved.schema))
    except ValueError as error:  # of the exporter, which has no type of its own
        raise ExportError(str(error)) from error
    print(f"{show_text(str(given.out))}: differs from PyTorch by at most {difference:.1e} on {len(prepared)} images")


if __name__ == "__main__":
    main()
