"""The report of a search: `report.html`, `README.md`, tables and pictures. Made from the ledger alone, at any time.

python -m search.report NAME
"""

from __future__ import annotations

from search.commands.app import alias

main = alias("report")

if __name__ == "__main__":
    main()
