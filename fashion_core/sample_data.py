"""Draws a small data set in DeepFashion's published layout: garments with its 26 attributes, for demo and tests.

python -m fashion_core.sample_data DIR        # 900 pictures
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.command import Parser, run_command
from fashion_core.escaping import show_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-sample-data`."""
    parser = Parser(
        prog="fashion-sample-data",
        description="Draw a small data set of garments in DeepFashion's layout, to try a search without a download.",
    )
    parser.add_argument("folder", type=Path, help="where the data set goes; replaced if it holds an earlier sample")
    parser.add_argument("--train", type=int, default=600, help="number of training images (default: %(default)s)")
    parser.add_argument("--val", type=int, default=200, help="number of validation images (default: %(default)s)")
    parser.add_argument("--test", type=int, default=100, help="number of unlabelled test images (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other pictures (default: %(default)s)")
    given = parser.parse_args(arguments)
    run_command(lambda: draw(given))


def draw(given: argparse.Namespace) -> None:
    """Do what the command line asks.

    Raises:
        DataError: the counts are impossible, or the folder holds something else.
    """
    from fashion_core.samples.dataset import draw_sample_data

    draw_sample_data(given.folder, train=given.train, val=given.val, test=given.test, seed=given.seed)
    print(
        f"sample data: {show_text(str(given.folder))} ({given.train} train, {given.val} val, {given.test} test images)"
    )


if __name__ == "__main__":
    main()
