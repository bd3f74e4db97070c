"""`python -m search.tracking NAME`: send a search to MLflow again."""

from __future__ import annotations

from search.commands.app import alias

main = alias("resend")

if __name__ == "__main__":
    main()
