"""Silence that counts faster while a process misbehaves: it is ended soon, and on a slow machine no other is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search.jobs.beats import Beats, Silence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    import pytest

TIMEOUT_S = 60.0  # that no process passes which works, on a busy machine too
FASTER = 12  # times


def hurry(patch: pytest.MonkeyPatch, *marks: Path) -> None:
    """Count silence faster from when one of these files stands until a process has been ended for it."""
    look, take = Beats.look, Silence.take
    ended: list[Any] = []

    def look_and_note(self: Beats, names: Iterable[Any]) -> dict[Any, str]:
        found = look(self, names)
        ended.extend(found)
        return found

    def take_often(self: Silence, beats: dict[Any, Any], names: Collection[Any], passed_s: float) -> None:
        is_awaited = sum(mark.exists() for mark in marks) > len(ended)
        for _ in range(FASTER if is_awaited else 1):
            take(self, beats, names, passed_s)

    patch.setattr(Beats, "look", look_and_note)
    patch.setattr(Silence, "take", take_often)
