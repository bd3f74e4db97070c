"""Errors: what they say, in how many lines, and that they travel between processes."""

import pickle

import pytest

from fashion_core.errors import (
    MAX_ALIKE_SHOWN,
    MAX_FAULTS_SHOWN,
    ConfigError,
    DataError,
    DivergedError,
    FashionError,
    Fault,
    SearchError,
    SpaceError,
    first_line,
)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n \n two\nthree"), "two"),
        (RuntimeError(), "RuntimeError"),
        (AssertionError(" \n"), "AssertionError"),
        ("one\ntwo", "one"),
        ("", ""),
        (" \n ", ""),
        (None, ""),
    ],
)
def test_first_line(error: BaseException | str | None, wanted: str) -> None:
    assert first_line(error) == wanted


def test_faults_are_listed_with_their_places_up_to_a_number() -> None:
    faults = [Fault("split/train.txt", 3, "wrong"), Fault("split/val.txt", None, "missing")]
    error = DataError("two faults:", faults)
    assert str(error) == "two faults:\n  split/train.txt:3: wrong\n  split/val.txt: missing"
    many = DataError("many:", [Fault("file", number, "wrong" + "!" * number) for number in range(MAX_FAULTS_SHOWN + 7)])
    assert len(many.faults) == MAX_FAULTS_SHOWN + 7 and len(str(many).splitlines()) == MAX_FAULTS_SHOWN + 2
    assert str(many).endswith("... and 7 more")


@pytest.mark.parametrize(
    "message",
    [
        "a row must have a split, but has none",
        "a label must be 0 to 2, but is {0}",
        "a row must be one, but is 'no. {0}'",
        "a box must be sound, but is [{0}, 1, 2, {0}]",
        "the image must be there, but img/{0}.jpg is not",
    ],
)
def test_a_fault_of_hundreds_of_rows_is_not_told_hundreds_of_times(message: str) -> None:
    same = [Fault("labels.csv", line, message.format(line)) for line in range(2, 302)]
    other = [Fault("labels.csv", 7, "another fault"), Fault("boxes.csv", 7, message.format(7))]
    error = DataError("many:", [*same, *other])
    lines = str(error).splitlines()
    assert len(error.faults) == 302 and len(lines) == 1 + MAX_ALIKE_SHOWN + 1 + 2
    assert lines[1 : MAX_ALIKE_SHOWN + 1] == [f"  {fault}" for fault in same[:MAX_ALIKE_SHOWN]]
    assert lines[MAX_ALIKE_SHOWN + 1] == "  labels.csv: ... and 295 more like this, the last in line 301"
    assert lines[-2:] == [f"  {fault}" for fault in other]
    few = DataError("few:", same[: MAX_ALIKE_SHOWN + 1])
    assert str(few).splitlines()[1:] == [f"  {fault}" for fault in few.faults]


def test_every_error_is_of_one_tree_and_a_space_is_a_searchs() -> None:
    for kind in (ConfigError, DataError, DivergedError, SearchError, SpaceError):
        assert issubclass(kind, FashionError)
    assert issubclass(SpaceError, SearchError)


def test_a_divergence_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DivergedError(2, 17, float("inf"))))
    assert (error.epoch, error.step, error.loss) == (2, 17, float("inf"))
    assert "was inf in epoch 2 at step 17" in str(error)
