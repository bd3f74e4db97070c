"""Promote a search: from its best trials to a final, registered model, and how sure one can be of it.

`python search/promote.py --help` explains every option. `--compare A B` and `--rollback` stand for the sub-commands
`compare` and `rollback` of `fashion-search`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and __package__ is None:  # as a script: the repository holds the packages
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands.app import promote_main as main

__all__ = ["main"]

if __name__ == "__main__":
    main()
