"""A command that Ray died under begins again in its own place: the same process, on the same terminal.

Once Ray's head is dead, whatever is left of Ray in this process ends it within a minute. So the process is replaced by
the same program, which goes on with what stands on the disk.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.errors import RayLostError

MAX_TIMES = 3
TIMES = "FASHION_SEARCH_BEGUN_AGAIN"  # the variable that counts them
# Options that go with --resume; the others that do have been kept with the search.
KEPT = ("--results", "--tracking-uri", "--allow-changed")
PROGRAM = "import sys; sys.path[0] = {folder!r}; from search.commands.app import main; main()"


def can_begin_again() -> bool:
    """Whether this command may: one whose Ray dies again and again is ended."""
    return int(os.environ.get(TIMES, "0")) < MAX_TIMES


class Command:
    """The one that this process runs. arguments: from the sub-command on."""

    arguments: Sequence[str] = ()


def begin_again(lost: RayLostError) -> NoReturn:
    """Replace this process by one that goes on. Whatever it has open is closed by that, as by a kill."""
    print(f"note: {lost.fault}; the command begins again, and goes on", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ[TIMES] = str(int(os.environ.get(TIMES, "0")) + 1)
    program = PROGRAM.format(folder=str(Path(search.__file__).resolve().parent.parent))
    os.execv(sys.executable, [sys.executable, "-c", program, *find_way_on(Command.arguments, lost.name)])


def find_way_on(arguments: Sequence[str], name: str) -> list[str]:
    """The arguments of the command that goes on with a search; one that promotes, reproduces or finishes has the same.

    Args:
        arguments: of the command that began it, from the sub-command on.
        name: of the search; "" where it has not begun.
    """
    if not name:
        return list(arguments)
    if arguments[0] in ("promote", "reproduce", "finish-stopped"):
        return [word for word in arguments if word != "--replace"]
    kept = []
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word in KEPT:
            kept += [word, following]
        elif word.partition("=")[0] in KEPT:
            kept.append(word)
    return ["run", "--resume", name, *kept]
