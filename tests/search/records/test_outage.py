"""A storage that is away is waited for, with a line where it goes and one where it is back."""

import pytest

from fashion_core.errors import SearchError
from search.records import outage
from search.records.outage import Outage


@pytest.fixture
def naps(monkeypatch):
    """Seconds that would have been slept."""
    found = []
    monkeypatch.setattr(outage.time, "sleep", found.append)
    monkeypatch.setattr(outage.time, "monotonic", lambda: sum(found))
    return found


def build(failures, told=None, error=OSError):
    """An outage, and what is asked of its storage: it fails so often, then gives 7."""
    left = [error(f"no answer\n{number}") for number in range(failures)]

    def ask():
        if left:
            raise left.pop()
        return 7

    return Outage("s3://b/mine", (told if told is not None else []).append), ask


def test_what_answers_is_not_told_of(naps):
    told = []
    away, ask = build(0, told)
    assert away.retry(ask) == 7 and not told and not naps


def test_each_outage_is_told_once_and_waited_for(naps):
    told = []
    for count in (1, 2):
        away, ask = build(50, told)
        assert away.retry(ask) == 7 and len(told) == 2 * count and len(naps) == 50 * count
    assert "s3://b/mine does not do what it is asked (no answer)" in told[0] and "Ctrl-C" in told[0]
    assert told[1] == "the storage s3://b/mine answers again" and not any("\n" in line for line in told)


def test_two_who_see_one_outage_tell_it_once(naps):
    told = []
    away, ask = build(3, told)
    away.begin(OSError("of another thread"))
    assert away.retry(ask) == 7 and len(told) == 2


@pytest.mark.parametrize(("seconds", "tries"), [(0.0, 1), (10.0, 11)])
def test_patience_ends(seconds, tries, naps):
    away, ask = build(100)
    with pytest.raises(OSError, match="no answer"):
        away.retry(ask, seconds)
    assert len(naps) == tries - 1


def test_who_asks_may_end_the_wait(naps):
    away, ask = build(100)
    waits = []

    def check(fault, seconds):
        waits.append(seconds)
        if seconds >= 5:
            raise SearchError(fault)

    away.check = check
    with pytest.raises(SearchError, match=r"b/mine does not do what it is asked \(no answer\); see that it does"):
        away.retry(ask)
    assert waits == [0, 1, 2, 3, 4, 5]


def test_what_is_not_there_is_not_waited_for(naps):
    away, ask = build(1, error=FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        away.retry(ask)
    assert not naps
