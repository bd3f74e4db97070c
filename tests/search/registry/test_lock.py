"""The lock of a registered model has one holder, as a file and as a tag."""

import time
from pathlib import Path

import pytest
from registered_models import draw_versions

from fashion_core.errors import SearchError
from search.registry.lock import LOCK_TAG, lock_by_tag, lock_file


def test_a_file_lock_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_file(path), pytest.raises(SearchError, match="another one has held"), lock_file(path, wait_s=0):
        pass
    with lock_file(path, wait_s=0) as check:
        check()


@pytest.mark.slow
def test_a_tag_lock_has_one_holder(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, _ = draw_versions(store, "tag_lock", 0)
    client = registry.client

    def read() -> str | None:
        return client.get_registered_model("tag_lock").tags.get(LOCK_TAG)

    def write(value: str) -> None:
        client.set_registered_model_tag("tag_lock", LOCK_TAG, value)

    lock = {"client": client, "model": "tag_lock", "wait_s": 0.3, "settle_s": 0.01}
    with lock_by_tag(**lock) as check:
        check()
        held = read()
        with pytest.raises(SearchError, match="another one has held"), lock_by_tag(**lock):
            pass
        assert read() == held
    assert read() is None

    write(f"dead {time.time() - 1:.0f}")  # of a process that was killed long ago
    with lock_by_tag(**lock) as check:
        write(f"thief {time.time() + 60:.0f}")
        with pytest.raises(SearchError, match="took it over"):
            check()
    assert read().startswith("thief")  # not ours to remove

    write("dead 0")
    set_tag = client.set_registered_model_tag

    def set_and_lose(*arguments: str) -> None:  # another one looked when we did, and wrote after us
        set_tag(*arguments)
        set_tag("tag_lock", LOCK_TAG, f"other {time.time() + 60:.0f}")

    monkeypatch.setattr(client, "set_registered_model_tag", set_and_lose)
    with pytest.raises(SearchError, match="another one has held"), lock_by_tag(**lock):
        pass
    assert read().startswith("other")
