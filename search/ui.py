"""MLflow's pages, opened at the leaderboard of a search, or of all.

python -m search.ui [NAME]
"""

from __future__ import annotations

from search.commands.app import alias

main = alias("ui")

if __name__ == "__main__":
    main()
