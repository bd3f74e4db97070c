"""`python -m search.tracking NAME`: send a search to MLflow again."""

from search.commands import resend_main

resend_main()
