"""Promote a search: from its best trials to a final, registered model, and how sure one can be of it.

`python search/promote.py --help` explains every option. `--compare A B` and `--rollback` stand for the sub-commands
`compare` and `rollback` of `fashion-search`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and __package__ is None:  # as a script: the repository holds the packages
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands import app

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-promote`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for option in ("compare", "rollback"):
        if f"--{option}" in given:
            given.remove(f"--{option}")
            app.main([option, *given])
            return
    app.main(["promote", *given])


if __name__ == "__main__":
    main()
