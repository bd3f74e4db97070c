"""The command `fashion-search` as a script, for processes that have these sources on their path and install nothing."""

from search.commands.app import main

if __name__ == "__main__":
    main()
