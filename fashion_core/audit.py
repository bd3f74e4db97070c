"""What to know of a data set before trusting a score: how unequal its classes are, and what is in it twice.

python -m fashion_core.audit DIR
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from fashion_core.data.annotations import load_annotations
from fashion_core.data.audit import audit, render_audit
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.errors import FashionError

AUDIT_SIZE = 32  # pixels: the audit looks at thumbnails and tables, so the prepared images may be small


def main() -> None:
    """The command `fashion-audit`."""
    parser = argparse.ArgumentParser(description="Count classes, duplicates and odd boxes of a data set.")
    parser.add_argument("data", type=Path, help="folder in DeepFashion's layout")
    parser.add_argument("--skip-bad", action="store_true", help="leave faulty annotation rows out instead of stopping")
    arguments = parser.parse_args()
    try:
        annotations = load_annotations(arguments.data, skip_bad=arguments.skip_bad)
        with tempfile.TemporaryDirectory() as folder:
            data = prepare(annotations, PrepareSettings(AUDIT_SIZE), folder)
            print(render_audit(audit(data)), end="")
        if annotations.skipped:
            print(f"\n{len(annotations.skipped)} faults; their rows are left out")
    except FashionError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
