"""The command `fashion-search`, where it is not on the path.

python -m search NAME-OF-A-SUB-COMMAND ...
"""

from __future__ import annotations

from search.commands.app import main

if __name__ == "__main__":
    main()
