"""What a model has seen of images, as its folder tells."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fashion_core.errors import CheckpointError, SearchError
from search.records.layout import FinalLayout
from search.registry.history import History, check_unseen, compute_digests, read_answers, read_history


def test_a_promoted_models_folder_tells(tmp_path):
    final = FinalLayout(tmp_path)
    assert read_history(final).trained_on is None and "has no trained_on.json" in read_history(final).remark
    final.trained_on.write_text(json.dumps({"digests": ["a", "b"]}))
    assert read_history(final) == History(frozenset("ab"))
    np.savez(final.answers, digests=np.array(["c"]), correct=np.ones((1, 1, 2)), labels=np.zeros((1, 2), int))
    assert read_history(final) == History(frozenset("ab"), frozenset("c"))


def test_a_recipes_answers_are_read_where_they_were_kept(tmp_path):
    """Of the same images, or the file is damaged."""
    final, labels = FinalLayout(tmp_path), np.zeros((2, 3), int)
    kept = {"digests": np.array(["a", "b"]), "correct": np.ones((1, 2, 3)), "labels": labels}
    np.savez(final.answers, **kept)
    assert read_answers(final).recipe is None
    recipe = np.arange(18).reshape(3, 2, 3) % 2
    np.savez(final.answers, **kept, recipe=recipe)
    np.testing.assert_array_equal(read_answers(final).recipe, recipe)
    np.savez(final.answers, **kept, recipe=recipe[:, :1])
    with pytest.raises(CheckpointError, match="of the same images and categories"):
        read_answers(final)


def test_digests_are_of_the_files_not_their_names(tmp_path):
    for name, content in (("one", b"x"), ("same", b"x"), ("other", b"y")):
        (tmp_path / name).write_bytes(content)
    assert len(compute_digests(tmp_path, ["one", "same"])) == 1
    assert len(compute_digests(tmp_path, ["one", "other"])) == 2


def test_who_was_trained_on_what_it_is_judged_on():
    models = [SimpleNamespace(name="mine"), SimpleNamespace(name="other")]
    check_unseen("AB", models, [History(frozenset("ab")), History(None)], ["c", "d"], "images")
    with pytest.raises(SearchError, match=r"here the 2 images, but B \(other\) was trained on 1 of them"):
        check_unseen("AB", models, [History(frozenset("ab")), History(frozenset("d"))], ["c", "d"], "images")
