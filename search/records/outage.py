"""Waiting for a storage that is away, or full: told once, and once more when it is back."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeVar

from fashion_core.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 1.0
Result = TypeVar("Result")


def tell_nobody(text: str) -> None:
    """Say nothing."""


class Outage:
    """Whether a storage is away, as those see it who work with it at the same time.

    Args:
        uri: of the storage. tell: called with a line where it goes away, and one where it is back.
        check: called before each pause, with what is wrong and what to do, and the seconds that this has waited: raises
            what is to end the wait.
    """

    def __init__(
        self, uri: str, tell: Callable[[str], None] = tell_nobody, check: Callable[[str, float], None] | None = None
    ) -> None:
        self.uri, self.tell, self.check, self.is_told = uri, tell, check, False

    def begin(self, error: OSError) -> None:
        """It was asked, and did not do it."""
        if not self.is_told:
            self.is_told = True
            self.tell(
                f"waiting: {self.describe(error)}; all goes on when it does, or press Ctrl-C twice and go on later "
                "with --resume"
            )

    def describe(self, error: OSError) -> str:
        """What is wrong, in words."""
        return f"the storage {self.uri} does not do what it is asked ({first_line(error)})"

    def end(self) -> None:
        """It answers."""
        if self.is_told:
            self.is_told = False
            self.tell(f"the storage {self.uri} answers again")

    def retry(self, ask: Callable[[], Result], seconds: float = math.inf) -> Result:
        """What `ask` gives; while the storage is away it is called again and again.

        Args:
            ask: may be called again after an OSError.
            seconds: how long it is tried.

        Raises:
            FileNotFoundError: what is asked for is not there: waiting would not bring it.
            OSError: the time is over.
        """
        began = time.monotonic()
        while True:
            try:
                found = ask()
            except FileNotFoundError:
                raise
            except OSError as error:
                self.begin(error)
                if time.monotonic() >= began + seconds:
                    raise
                if self.check is not None:
                    self.check(f"{self.describe(error)}; see that it does", time.monotonic() - began)
                time.sleep(RETRY_SECONDS)
            else:
                self.end()
                return found
