"""A request to stop reaches the holder of a search, also on a full disk; the last one counts."""

import pytest
from small_disk import mount_disk

from fashion_core.errors import SearchError
from search.records.events import StopMode
from search.records.layout import SearchLayout
from search.records.locks import DELETE, RUN, find_holder, hold_search, is_busy, is_running
from search.records.requests import ask_to_stop, clear_request, read_request


@pytest.mark.parametrize("mode", StopMode)
def test_the_last_request_counts_until_it_is_taken(mode, tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    assert read_request(layout) is None
    for earlier in StopMode:
        ask_to_stop(layout, earlier)
        ask_to_stop(layout, mode)
        assert read_request(layout) == mode
    assert layout.stop_request.read_text() == mode  # as older versions read it
    clear_request(layout)
    assert read_request(layout) is None and not list(layout.stop_request.parent.iterdir())


@pytest.mark.parametrize("mode", StopMode)
def test_on_a_full_disk_a_search_is_held_and_hears(mode, tmp_path):
    with mount_disk(tmp_path / "small", 0.25) as disk:
        layout = SearchLayout(disk.folder, "mine")
        for does in (RUN, DELETE):
            disk.fill()
            with hold_search(layout, does):
                assert is_busy(layout) and find_holder(layout) is None and is_running(layout)
                for earlier in StopMode:
                    ask_to_stop(layout, earlier)
                ask_to_stop(layout, mode)
                assert read_request(layout) == mode
                disk.free()
                ask_to_stop(layout, StopMode.AT_EPOCH)
                assert read_request(layout) == StopMode.AT_EPOCH
                clear_request(layout)
                assert [path.name for path in layout.stop_request.parent.iterdir()] == ["mine.lock"]
            assert not layout.lock.exists()


def test_a_folder_that_takes_no_request_is_told(tmp_path):
    (tmp_path / ".locks").touch()
    with pytest.raises(SearchError, match=r"takes none \(File exists\); press Ctrl\+C where the search runs"):
        ask_to_stop(SearchLayout(tmp_path, "mine"), StopMode.NOW)
