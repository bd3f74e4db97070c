"""The command `fashion-search`, where it is not on the path.

python -m search SUB-COMMAND ...
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # by its path, as a command is told that is to be given again
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from search.commands.app import main

if __name__ == "__main__":
    main()
