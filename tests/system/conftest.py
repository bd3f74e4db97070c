"""One Ray for the whole commands of a file that are called in this process."""

from collections.abc import Iterator

import pytest
from whole_commands import share_ray


@pytest.fixture(scope="module")
def shared_ray() -> Iterator[None]:
    with share_ray():
        yield
