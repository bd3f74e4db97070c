"""What to know of a data set before trusting a score: how unequal its classes are, and what is in it twice.

python -m fashion_core.audit DIR
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.command import SKIP_BAD, Parser, give_share, run_command, share
from fashion_core.data.reading import BOX_FORMS, build_reading
from fashion_core.escaping import show_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

AUDIT_SIZE = 32  # pixels: the audit looks at thumbnails and tables, so the prepared images may be small


def main(arguments: Sequence[str] | None = None, program: str = "fashion-audit") -> None:
    """The command `fashion-audit`. program: its name in the help."""
    parser = Parser(prog=program, description="Count classes, duplicates and odd boxes of a data set.")
    parser.add_argument("data", type=Path, help="a folder in one of DeepFashion's layouts, or a table")
    parser.add_argument(
        SKIP_BAD,
        type=share,
        default=False,
        metavar="SHARE",
        help="leave faulty rows out instead of stopping, up to 5%% of all or the share given",
    )
    parser.add_argument("--follow-links", action="store_true", help="read images that are links out of the folder")
    parser.add_argument("--attributes", type=Path, metavar="FILE", help="YAML: categories of the download's attributes")
    parser.add_argument("--garments", action="store_true", help="take the download's kinds of garment as a category")
    parser.add_argument("--boxes", choices=BOX_FORMS, help="what a box's four numbers are")
    parser.add_argument("--categories", metavar="A,B", help="the columns of a table that are categories")
    given = parser.parse_args(give_share(arguments))
    run_command(lambda: print_audit(given))


def print_audit(given: argparse.Namespace) -> None:
    """Print what is in the data set that a command line names.

    Raises:
        DataError: it is at fault.
    """
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.audit import audit, render_audit
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import prepare

    annotations = load_annotations(given.data, build_reading(given, given.boxes))
    with tempfile.TemporaryDirectory() as cache:
        data = prepare(annotations, PrepareSettings(AUDIT_SIZE), cache)
        print("\n".join(map(show_text, [f"Layout: {annotations.layout}", *annotations.remarks])), end="\n\n")
        print(render_audit(audit(data)), end="")
    if annotations.skipped:
        print(f"\n{len(annotations.skipped)} faults; their rows are left out")


if __name__ == "__main__":
    main()
