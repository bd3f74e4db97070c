"""One Ray for the whole commands that are called in this process, by one file after another."""

import pytest
from whole_commands import KeptRay

SHARED = "shared_ray"


@pytest.fixture(scope="module")
def shared_ray() -> None:
    KeptRay.open()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ray ends before a test that uses none, or another."""
    if nextitem is None or SHARED not in getattr(nextitem, "fixturenames", ()):
        KeptRay.close()
