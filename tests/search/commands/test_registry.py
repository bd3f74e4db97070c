"""`champions` and `copy`: what is asked for, and how it is shown."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from search.commands.registry import render_champions
from search.registry import copying
from search.registry.champions import Term
from search.registry.versions import Version

EVIDENCE = {
    "search": "a-search-with-a-long-name", "score": "0.8527", "score_interval": "0.8388 0.8665", "gate": "passed",
    "judged_against": "the champion, version 1", "try": "2",
}  # fmt: skip


@pytest.mark.parametrize("is_new", [True, False])
def test_a_copy_is_told(is_new: bool, call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    one, two = Version("m", 3, "run"), Version("m", 1, "other", aliases=("champion",))

    def copy_version(*given: Any, **others: Any) -> copying.Copy:
        seen.append((*given, others))
        return copying.Copy(one, two, SimpleNamespace(uri="http://there"), 9, 3 * 2**20, is_new)

    monkeypatch.setattr(copying, "copy_version", copy_version)
    status, out, _ = call("copy", "m/3", "--to", "http://there", "--model", "n", "--champion", "--results", "r")
    others = {"model": "n", "champion": True, "results": Path("r"), "tracking_uri": None}
    assert status == 0 and seen == [("m/3", "http://there", others)]
    first = "copied models:/m/3 to" if is_new else "models:/m/3 is there already:"
    assert out == f"{first} models:/m/1 in http://there; 9 files, 3.0 MiB, each compared; it is the champion there\n"
    assert "Missing option '--to'" in call("copy", "m/3")[2]


def test_the_table_folds_at_60_columns() -> None:
    version = Version("a-model", 12, "0123456789abcdef" * 2, EVIDENCE)
    terms = [Term(12, version, 1.79e9, 1.8e9, "promoted", is_exact=False), Term(3, None, None, None, "set by hand")]
    for width in (60, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(render_champions(terms, console.width))
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width and "…" not in text
        assert text.index("deleted") < text.index("12")
        assert "0.8527 [0.8388, 0.8665]" in text  # cells are whole: where they do not fit beside each other, below
        assert "01234567" in text and "~2026-" in text and "0.8527" in text and "passed" in text
