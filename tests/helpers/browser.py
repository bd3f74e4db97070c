"""Debian's Chromium without a window, driven through WebDriver, the W3C's protocol: JSON over HTTP to chromedriver."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from free_port import find_port

from fashion_core.errors import SearchError
from search.tracking.pages import end

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
)
STEP_S = 0.2


class Browser:
    """A window with a fresh profile.

    Args:
        session: the address of WebDriver's session.
    """

    def __init__(self, session: str) -> None:
        self.session = session

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What WebDriver answers; without a body it is only read."""
        return ask(self.session + path, body)

    def open(self, address: str) -> None:
        """Go to a page."""
        self.ask("/url", {"url": address})

    def run(self, script: str) -> Any:
        """What a script returns, run in the page."""
        return self.ask("/execute/sync", {"script": script, "args": []})

    def wait(self, script: str, is_right: Callable[[Any], bool] = bool, timeout_s: float = 60) -> Any:
        """What a script returns, as soon as it is right. Fails, with what it returned last, where that never comes."""
        until = time.monotonic() + timeout_s
        while not is_right(found := self.run(script)):
            assert time.monotonic() < until, f"the page shows {found!r}"
            time.sleep(STEP_S)
        return found

    def save(self, path: Path) -> None:
        """A picture of the window."""
        path.write_bytes(base64.b64decode(self.ask("/screenshot")))


def ask(address: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    """What WebDriver answers under an address."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["value"]


@contextmanager
def open_browser(profile: Path, width: int = 1600, height: int = 1200) -> Iterator[Browser]:
    """A browser for a while. Skips the test where Debian's Chromium is not installed."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    port = find_port()
    driver = subprocess.Popen(
        [str(programs[1]), f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        options = {
            "binary": programs[0],
            "args": [*ARGUMENTS, f"--window-size={width},{height}", f"--user-data-dir={profile}"],
        }
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        made = begin(f"http://127.0.0.1:{port}/session", wanted)
        session = f"http://127.0.0.1:{port}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            with suppress(OSError):
                ask(session, method="DELETE")
    finally:
        end(driver)


def begin(address: str, wanted: dict[str, Any], timeout_s: float = 30) -> Any:
    """A session, as soon as chromedriver listens."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            return ask(address, wanted)
        except OSError as error:
            if time.monotonic() > until or hasattr(error, "code"):
                raise SearchError(f"chromedriver must give a session, but {error}") from error
            time.sleep(STEP_S)
