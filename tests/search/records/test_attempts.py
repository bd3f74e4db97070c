"""Tries on judging images: which are one, which sets of images are one, and a file that is whole after a kill."""

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_disk import mount_disk

from fashion_core.errors import SearchError
from fashion_core.files import is_full
from search.records.attempts import (
    Attempt,
    JudgedImages,
    add_to_book,
    describe_images,
    describe_search,
    enter_search,
    find_number,
    list_attempts,
    merge,
    read_book,
)
from search.records.events import SearchStarted
from search.records.record import replay


def draw_images(*numbers):
    return describe_images(sha256(str(number).encode()).hexdigest() for number in numbers)


IMAGES = draw_images(*range(10))


def write(time, key, answers="", **rest):
    return Attempt(time=time, search=rest.pop("search", "mine"), key=key, answers=answers, **rest)


def judged(images, *attempts):
    return JudgedImages(images.digests, attempts)


def test_images_are_known_by_their_files():
    """Whatever their names and order, and however often one is listed."""
    assert draw_images(3, 1, 2, 1).fingerprint == draw_images(1, 2, 3).fingerprint != draw_images(1, 2).fingerprint


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (range(10), True),
        (range(3), True),  # a part of them
        (range(100), True),  # they are a part of it
        (range(5, 15), True),  # half of them
        (range(6, 16), False),
        (range(7, 10), True),
        ((8, 9, 20, 21, 22), False),  # 2 of 5
        (range(10, 20), False),
    ],
)
def test_a_set_that_shares_half_of_the_smaller_counts_as_the_same(other, same):
    found = draw_images(*other)
    assert IMAGES.is_like(found) == found.is_like(IMAGES) == same
    book = [judged(found, write(1, "there"))]
    assert len(list_attempts(book, IMAGES)) == same


def test_tries_are_counted_whatever_they_are_called():
    """Another search, another model's name, another procedure, and one that was cut off before it was judged."""
    book = [
        judged(IMAGES, write(1, "a", "x"), write(2, "b", "y", search="other"), write(4, "a fit_on=train+val", "x")),
        judged(draw_images(*range(5)), write(3, "c", model="other")),
    ]
    assert [each.key for each in list_attempts(book, IMAGES)] == ["a", "b", "c", "a fit_on=train+val"]


def test_a_try_that_is_given_again_with_nothing_changed_is_one():
    begun, told, again = write(1, "a"), write(3, "a", "x"), write(5, "a", "x")
    between = write(2, "b")
    attempts = list_attempts([judged(IMAGES, begun, between, told, again, write(6, "a"))], IMAGES)
    assert [each.key for each in attempts] == ["a", "b"] and attempts[0] == told  # in the place where it began
    assert find_number(attempts, again) == find_number(attempts, write(7, "a")) == 1
    assert find_number(attempts, write(7, "b")) == 2


def test_other_answers_under_the_same_name_are_another_try():
    """What is judged has changed, in code that no option tells of, or against another champion."""
    attempts = list_attempts([judged(IMAGES, write(1, "a"), write(2, "a", "x"), write(3, "a", "y"))], IMAGES)
    assert [each.answers for each in attempts] == ["x", "y"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"])), max_size=12), st.integers(0, 12))
def test_the_count_never_falls_and_does_not_mind_where_a_try_was_written(pairs, cut):
    """Two books that each know a part count as much as one that knows all; of equal ones, the larger counts."""
    attempts = [write(time, key, answers) for time, (key, answers) in enumerate(pairs)]
    whole = list_attempts([judged(IMAGES, *attempts)], IMAGES)
    parts = judged(IMAGES, *attempts[:cut]), judged(IMAGES, *attempts[cut:])
    assert list_attempts(parts, IMAGES) == whole
    assert len(list_attempts(parts[:1], IMAGES)) <= len(whole)
    assert list_attempts([*merge(parts), *merge(parts)], IMAGES) == whole


def test_what_was_written_is_read(tmp_path):
    folder = tmp_path / ".attempts"
    assert read_book(folder) == []
    one, other = judged(IMAGES, write(1, "a"), write(2, "a", "x")), judged(draw_images(20, 21), write(3, "b"))
    add_to_book(folder, [one, other])
    add_to_book(folder, [one, judged(IMAGES, write(4, "c"))])
    found = {each.fingerprint: each for each in read_book(folder)}
    assert found.keys() == {one.fingerprint, other.fingerprint}
    assert found[one.fingerprint].digests == IMAGES.digests
    assert [each.identity for each in found[one.fingerprint].attempts] == [("a", ""), ("a", "x"), ("c", "")]
    lines = (folder / f"{one.fingerprint}.jsonl").read_text().splitlines()
    assert len(lines) == 4 and set(json.loads(lines[0])["images"]) == IMAGES.digests


def test_a_line_that_a_kill_cut_off_is_written_again(tmp_path):
    add_to_book(tmp_path, [judged(IMAGES, write(1, "a"), write(2, "b"))])
    path = tmp_path / f"{IMAGES.fingerprint}.jsonl"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = read_book(tmp_path)
        assert len(found) == (b"\n" in whole[:size])  # without a whole first line it is as if it were not there
        assert {attempt for each in found for attempt in each.attempts} <= {write(1, "a"), write(2, "b")}
        add_to_book(tmp_path, [judged(IMAGES, write(1, "a"), write(2, "b"))])
        assert path.read_bytes() == whole


@pytest.mark.parametrize("room_bytes", [0, 4096])
def test_a_full_disk_is_told_and_nothing_has_to_be_restored(tmp_path, room_bytes):
    images = draw_images(*range(500))  # of more than a page
    with mount_disk(tmp_path / "small", 0.25) as disk:
        folder = disk.folder / ".attempts"
        folder.mkdir()
        disk.fill(but=room_bytes)
        with pytest.raises(SearchError, match="No space left on device") as told:
            add_to_book(folder, [judged(images, write(1, "a"))])
        assert is_full(told.value) and list(folder.iterdir()) and read_book(folder) == []
        disk.free()
        add_to_book(folder, [judged(images, write(1, "a"))])
        assert read_book(folder) == [judged(images, write(1, "a"))]


def test_two_that_write_at_once_lose_nothing(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add_to_book(tmp_path, [judged(IMAGES, write(n, f"key {n}"))]), range(40)))
    (found,) = read_book(tmp_path)
    assert {each.key for each in found.attempts} == {f"key {n}" for n in range(40)}


@pytest.mark.parametrize("damage", ["{}", "[1]", '{"time": "now", "search": "a", "key": "k"}', "\\x00"])
def test_a_damaged_file_is_named(tmp_path, damage):
    add_to_book(tmp_path, [judged(IMAGES, write(1, "a"))])
    path = tmp_path / f"{IMAGES.fingerprint}.jsonl"
    path.write_text(path.read_text() + damage + "\n")
    with pytest.raises(SearchError, match=f"{path.name} must hold tries .*; restore it from a backup"):
        read_book(tmp_path)


def test_a_file_of_other_images_is_refused(tmp_path):
    add_to_book(tmp_path, [judged(IMAGES, write(1, "a"))])
    path = tmp_path / f"{IMAGES.fingerprint}.jsonl"
    path.rename(tmp_path / "0123456789abcdef.jsonl")
    with pytest.raises(SearchError, match=f"its images have the fingerprint {IMAGES.fingerprint}"):
        read_book(tmp_path)


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SearchError, match=r"must be written down before it is judged, but .*; give another --results"):
        add_to_book(tmp_path / "file", [judged(IMAGES, write(1, "a"))])


@pytest.mark.parametrize(("select_on", "looks"), [("val", ["search mine, begun 5"]), ("heldout", [])])
def test_a_search_on_val_is_one_look_at_it(tmp_path, select_on, looks):
    begun = SearchStarted(time=5.0, name="mine", settings={"select_on": select_on})
    record = replay([begun])
    for _ in range(2):  # it goes on
        enter_search(tmp_path, record, [sha256(b"1").hexdigest()])
    assert [attempt.key for attempt in list_attempts(read_book(tmp_path), draw_images(1))] == looks
    assert describe_search(record).answers == "searched"
