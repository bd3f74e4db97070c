"""The registered champion: which version it is, what it can be judged against, what it answers."""

from types import SimpleNamespace

import numpy as np
import pytest
from drawn_models import SCHEMA, draw_model

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import CheckpointError, SearchError
from fashion_core.models.ensemble import join_models, save_ensemble
from search.promotion.champion import answer_by_champion, check_categories, check_champion, find_champion
from search.records.layout import FinalLayout
from search.registry.versions import KEY_TAG, PREDECESSOR_TAG, Version

PARTS = AttributeSchema.from_dict({"paint": ["red", "blue"], "form": ["cube", "cone"]})


def test_the_champion_is_the_one_before_where_the_promotion_is_its_own():
    versions = [
        Version("m", 1, "run", {KEY_TAG: "one"}),
        Version("m", 2, "run", {KEY_TAG: "two", PREDECESSOR_TAG: "1"}, ("champion",)),
    ]
    assert find_champion(versions, "three") == versions[1]
    assert find_champion(versions, "two") == versions[0]
    assert find_champion(versions[:1], "three") is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"paint": ["red", "blue"]}, "answers paint; register under another --model"),
        ({"paint": ["red", "blue"], "form": ["cube", "ball"]}, "answers other classes in form; register"),
        ({"form": ["cube", "cone"], "paint": ["red", "blue"]}, "answers form, paint; register"),
    ],
)
def test_a_champion_answers_the_same_categories(other, words):
    champion = Version("m", 2, "run")
    check_categories(PARTS, PARTS, champion)
    with pytest.raises(SearchError, match=words):
        check_categories(AttributeSchema.from_dict(other), PARTS, champion)


@pytest.mark.slow
def test_its_categories_are_compared_before_anything_is_trained(tmp_path):
    save_ensemble(tmp_path, join_models([draw_model(0)], [1]))
    champion = Version("m", 1, "run", {KEY_TAG: "one"}, ("champion",))
    registry = SimpleNamespace(list_versions=lambda: [champion], download=lambda version: tmp_path)
    check_champion(registry, "two", SCHEMA)
    with pytest.raises(SearchError, match="version 1 of m answers pattern, fit; register"):
        check_champion(registry, "two", PARTS)
    check_champion(registry, "one", PARTS)  # its own model is no opponent

    def fail():
        raise SearchError("the registry is away")

    check_champion(SimpleNamespace(list_versions=fail), "two", PARTS)  # told when its answer is needed


def test_answers_that_were_kept_are_taken_on_the_same_labels_alone(tmp_path):
    """With missing labels too; where a label came or went since, the champion must be asked again."""
    labels = np.array([[0, 1], [-1, 1], [2, 0]])
    correct = np.array([[[1, 0], [np.nan, 1], [0, 1.0]]])
    final = FinalLayout(tmp_path)
    np.savez(final.answers, digests=np.array(["a", "b", "c"]), correct=correct, labels=labels)
    registry = SimpleNamespace(download=lambda version: tmp_path)
    material = SimpleNamespace(list_digests=lambda images: ["a", "b", "c"], val=np.arange(3), labels=labels)
    np.testing.assert_array_equal(answer_by_champion(registry, None, material), correct)
    material.labels = np.where(labels < 0, 1, labels)
    with pytest.raises(CheckpointError):  # no model stands here
        answer_by_champion(registry, None, material)
