"""Commands called as a person calls them, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search.commands import app

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `fashion-search` with these arguments: its exit status, and what it wrote to stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: Any) -> tuple[int, str, str]:
        status = 0
        try:
            app.main([str(each) for each in arguments])
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run
