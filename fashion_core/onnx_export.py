"""A saved model or ensemble as one ONNX file, checked against PyTorch, and that file asked for attributes.

python -m fashion_core.onnx_export MODEL IMAGE... --out model.onnx

The file takes pixels and gives probabilities: normalisation, mirrored images and averaging are inside. Its metadata say
how to crop and resize, and what the classes are. N images, S pixels a side, K categories, C classes of one category.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.errors import FashionError
from fashion_core.lazy import attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.inference.onnx import OnnxModel

# What cards of exported models import from here. Torch is loaded when the command begins to work.
__all__ = ["OnnxModel"]
__getattr__ = attach("fashion_core", {"inference.onnx": ["OnnxModel"]})


def build_parser() -> argparse.ArgumentParser:
    """All options of the command."""
    parser = argparse.ArgumentParser(prog="fashion-export", description="Write a saved model as an ONNX file.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a saved model or ensemble: its file or folder")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="images, or folders, to check it on")
    parser.add_argument("--box", metavar="x1,y1,x2,y2", help="the garment's box in pixels; default: the whole image")
    parser.add_argument("--out", type=Path, default=Path("model.onnx"), metavar="FILE", help="default: %(default)s")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-export`."""
    given = build_parser().parse_intermixed_args(arguments)

    import numpy as np

    from fashion_core.inference.onnx import export_onnx
    from fashion_core.inference.predictor import find_images, parse_box, read_views
    from fashion_core.models.ensemble import as_ensemble, load_saved

    try:
        box = None if given.box is None else parse_box(given.box)
        saved = load_saved(given.model)
        views = as_ensemble(saved).views
        prepared = [read_views(path, box, views) for path in find_images(given.images)]
        images = {view: np.stack([each[view] for each in prepared]) for view in views}
        difference = export_onnx(saved, given.out, images)
    except (FashionError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    print(f"{given.out}: differs from PyTorch by at most {difference:.1e} on {len(prepared)} images")


if __name__ == "__main__":
    main()
