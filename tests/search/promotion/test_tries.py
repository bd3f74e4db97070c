"""Which try a promotion is: counted through the results or the registry, whichever knows more."""

from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest

from search.promotion.attempts import render_attempts
from search.promotion.tries import TryCounter, digest_answers
from search.records.attempts import describe_search
from search.records.events import SearchStarted
from search.records.layout import SearchLayout
from search.registry.versions import Registry

DIGESTS = [sha256(str(number).encode()).hexdigest() for number in range(600)]


@pytest.mark.slow
def test_neither_another_name_nor_folder_nor_registry_begins_anew(tmp_path):
    def enter(results, registry, key, *, model="m", digests=DIGESTS, answers=""):
        layout = SearchLayout(tmp_path / results, "mine")
        counter = TryCounter(layout, Registry(f"sqlite:///{tmp_path}/{registry}.db", model), key, digests)
        found = counter.enter("the baseline", answers)
        assert counter.trouble == "" and found[-1].key == key
        return len(found)

    assert enter("one", "x", "a") == 1
    assert enter("one", "x", "a", answers="1") == 1  # the same, judged now
    assert enter("one", "x", "b", model="other") == 2
    assert enter("two", "x", "c") == 3  # the registry tells
    assert enter("two", "y", "d", digests=DIGESTS[100:]) == 4  # the results tell, and the new registry is told
    assert enter("three", "y", "e") == 5
    assert enter("three", "y", "a", answers="1") == 1
    assert enter("three", "y", "a", answers="2") == 6  # what is judged has changed
    assert enter("three", "y", "f", digests=DIGESTS[::-1][:2] + ["f" * 64] * 3) == 7
    assert enter("three", "y", "g", digests=[sha256(b"new").hexdigest(), "e" * 64]) == 1  # fresh images


def test_a_search_that_selected_on_the_images_is_one_look_and_scores_are_kept(tmp_path):
    """However often it is promoted."""
    begun = SearchStarted(time=1.7e9, name="mine")
    looked = describe_search(SimpleNamespace(name="mine", begun=begun))

    def enter(key, searched, *judged):
        layout = SearchLayout(tmp_path, "mine")
        return TryCounter(layout, Registry("http://localhost:1", "m"), key, DIGESTS, searched).enter(*judged)

    assert [each.key for each in enter("a", looked)] == ["search mine, begun 1700000000", "a"]
    assert len(enter("a", looked, "the baseline", "1", 0.5)) == 2
    *_, last = enter("b", looked, "the baseline", "1", 0.75)
    assert len(enter("b", looked)) == 3 and last.score == 0.75
    text = "\n".join(render_attempts(enter("b", looked)))
    assert "the search selected on these images" in text and "| 0.5000 |" in text and "| 0.7500 |" in text


def test_a_registry_that_is_away_holds_nothing_up(tmp_path):
    counter = TryCounter(SearchLayout(tmp_path, "mine"), Registry("http://localhost:1", "m"), "a", DIGESTS)
    assert len(counter.enter()) == 1 and "localhost:1" in counter.trouble
    assert len(counter.enter("the baseline", "1")) == 1


def test_answers_are_told_apart():
    one, other = np.zeros((1, 4, 2)), np.zeros((1, 4, 2))
    assert digest_answers(one, other) == digest_answers(one.astype(np.float32), other)
    other[0, 1, 1] = np.nan
    assert digest_answers(one, other) != digest_answers(one, one) != digest_answers(one)
