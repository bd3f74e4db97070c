"""How far a training is, told while it trains to whoever asks."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a phase in words, what is done of it, and of how many; 0 of 0 where a phase has no steps."""

SETTING_UP = "setting up"
FEATURES = "features"


def tell_nobody(phase: str, done: int, total: int) -> None:
    """A `Progress` that nobody asked for."""
