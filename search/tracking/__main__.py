"""`python -m search.tracking NAME`: send a search to MLflow again."""

from search.tracking.resend import main

main()
