"""Errors: what they say, in how many lines, and that they travel between processes."""

import pickle

import pytest

from fashion_core.errors import (
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
    many = DataError("many:", [Fault("file", number, "wrong") for number in range(MAX_FAULTS_SHOWN + 7)])
    assert len(many.faults) == MAX_FAULTS_SHOWN + 7 and len(str(many).splitlines()) == MAX_FAULTS_SHOWN + 2
    assert str(many).endswith("... and 7 more")


def test_every_error_is_of_one_tree_and_a_space_is_a_searchs() -> None:
    for kind in (ConfigError, DataError, DivergedError, SearchError, SpaceError):
        assert issubclass(kind, FashionError)
    assert issubclass(SpaceError, SearchError)


def test_a_divergence_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DivergedError(2, 17, float("inf"))))
    assert (error.epoch, error.step, error.loss) == (2, 17, float("inf"))
    assert "was inf in epoch 2 at step 17" in str(error)
