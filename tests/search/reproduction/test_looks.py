"""Looks at val of a reproduction: counted once, and where promotions of the same results see them."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from fashion_core.errors import SearchError
from search.records.attempts import Attempt, describe_images, enter_look, list_attempts, read_book
from search.records.events import TrialStatus
from search.reproduction.looks import enter_recorded, locate_book, share_looks
from search.reproduction.trained import Training

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"{number}.jpg" for number in range(4)]


def draw_training(search: str, device: str | None) -> Training:
    return Training(search, 0, "key", TrialStatus.FINISHED, 0.5, None, [], 1.0, 1, device)


def count(results: Path, data: Path) -> list[str]:
    judged = describe_images(sha256((data / name).read_bytes()).hexdigest() for name in NAMES)
    return [attempt.key for attempt in list_attempts(read_book(locate_book(results)), judged)]


def test_a_recording_is_one_look_and_the_results_around_know_it(tmp_path: Path) -> None:
    data, results = tmp_path / "data", tmp_path / "results" / "reproduction"
    data.mkdir()
    results.mkdir(parents=True)
    for name in NAMES:
        (data / name).write_bytes(name.encode())
    for name in ("first.jsonl", "second.jsonl"):
        (results / name).touch()
    trainings = [draw_training("first.jsonl", "cpu"), draw_training("second.jsonl", "cpu")]
    for _ in range(2):
        enter_recorded(results, [*trainings, draw_training("focal-0", None)], data, NAMES)
        share_looks(results)
    assert count(results, data) == count(results.parent, data) == ["recorded first.jsonl", "recorded second.jsonl"]
    own = describe_images(sha256(name.encode()).hexdigest() for name in NAMES)
    enter_look(locate_book(results), own, Attempt(time=2e9, search="focal-0", key="search focal-0", answers="searched"))
    share_looks(results)
    assert count(results.parent, data)[-1] == "search focal-0"


def test_searches_alone_need_no_image(tmp_path: Path) -> None:
    enter_recorded(tmp_path, [draw_training("focal-0", None)], tmp_path, NAMES)
    share_looks(tmp_path)
    assert not locate_book(tmp_path).exists() and not locate_book(tmp_path.parent).exists()


def test_an_image_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="must be there to be counted"):
        enter_recorded(tmp_path, [draw_training("first.jsonl", "cpu")], tmp_path, NAMES)
