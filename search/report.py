"""The report of a search: `trials.csv`, `README.md`, `curves.png`. Made from the ledger alone, again at any time.

python -m search.report NAME
"""

from __future__ import annotations

from search.commands.app import alias

main = alias("report")

if __name__ == "__main__":
    main()
