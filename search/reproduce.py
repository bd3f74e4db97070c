"""Do the studies of the report again, with seeds. `python search/reproduce.py --help` explains every option."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and __package__ is None:  # as a script: the repository holds the packages
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands.app import alias

main = alias("reproduce")

if __name__ == "__main__":
    main()
