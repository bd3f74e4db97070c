"""What to know of a data set before trusting a score: how unequal its classes are, and what is in it twice.

python -m fashion_core.audit DIR
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_core.command import Parser, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

AUDIT_SIZE = 32  # pixels: the audit looks at thumbnails and tables, so the prepared images may be small


def main(arguments: Sequence[str] | None = None, program: str = "fashion-audit") -> None:
    """The command `fashion-audit`. program: its name in the help."""
    parser = Parser(prog=program, description="Count classes, duplicates and odd boxes of a data set.")
    parser.add_argument("data", type=Path, help="folder in DeepFashion's layout")
    parser.add_argument("--skip-bad", action="store_true", help="leave faulty annotation rows out instead of stopping")
    given = parser.parse_args(arguments)
    run_command(lambda: print_audit(given.data, skip_bad=given.skip_bad))


def print_audit(folder: Path, *, skip_bad: bool) -> None:
    """Print what is in a data set.

    Raises:
        DataError: it is at fault.
    """
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.audit import audit, render_audit
    from fashion_core.data.pixels import PrepareSettings
    from fashion_core.data.prepared import prepare

    annotations = load_annotations(folder, skip_bad=skip_bad)
    with tempfile.TemporaryDirectory() as cache:
        data = prepare(annotations, PrepareSettings(AUDIT_SIZE), cache)
        print(render_audit(audit(data)), end="")
    if annotations.skipped:
        print(f"\n{len(annotations.skipped)} faults; their rows are left out")


if __name__ == "__main__":
    main()
