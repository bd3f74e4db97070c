"""What is said for a command that Ray ends while it joins it: from C++, with status 1, and no Python is asked.

It does so where its head, or this node's raylet, dies in just that moment. A process that this one leaves behind sees
it and says how to go on. It starts in a thousandth of the time that Ray takes.
"""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = (
    "error: this command was ended while it joined Ray: killed, or Ray's head or node died just then; what was found "
    "stands: go on with --resume NAME where the search had begun, or else give the command again"
)
# Reads the end of its input where the command ends; a line where it lives on.
WITNESS = 'read -r joined || printf "%s\\n" "$1" >&2'


@contextmanager
def leave_a_witness() -> Iterator[None]:
    """If this process ends inside, `WORDS` are told on its stderr. On systems without a shell nothing is."""
    shell = shutil.which("sh")
    if shell is None:
        yield
        return
    witness = subprocess.Popen(
        [shell, "-c", WITNESS, shell, WORDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C ends the command, which tells of it
    )
    try:
        yield
    finally:
        with suppress(BrokenPipeError):  # ended by somebody
            witness.communicate(b"joined\n")
