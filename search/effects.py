"""Which parameters mattered, and how surely: `EFFECTS.md`, made from the ledger of a search.

python -m search.effects NAME
"""

from __future__ import annotations

from search.commands.app import alias

main = alias("effects")

if __name__ == "__main__":
    main()
