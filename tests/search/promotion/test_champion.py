"""The registered champion: which version it is, what it can be judged against, what it answers."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_models import SCHEMA, draw_model
from rich.console import Console

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.reading import Reading
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.models.ensemble import join_models, save_ensemble, save_member
from fashion_core.models.forward import predict_prepared
from search.jobs.material import prepare_material
from search.promotion.champion import ask_champion, check_categories, check_champion, find_champion
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


# ------------------------------------------------------------------------------------------------------ what it answers


@pytest.fixture(scope="module")
def material(sample_folder, tmp_path_factory):
    schema, console = load_annotations(sample_folder).schema, Console(file=io.StringIO())
    cache = tmp_path_factory.mktemp("prepared")
    return prepare_material(sample_folder, [TrainConfig(image_size=32)], schema, cache, console, Reading())


@pytest.fixture(scope="module")
def networks(material):
    return [draw_model(seed, material.schema, image_size=32) for seed in range(4)]


@pytest.fixture(scope="module")
def probabilities(material, networks):
    """Of each network, K arrays [N, C_i]."""
    return [predict_prepared(network, material.data, material.val) for network in networks]


def find_right(probabilities, material):
    """[N, K], by comparing classes."""
    return (np.stack([values.argmax(1) for values in probabilities], 1) == material.labels).astype(float)


class Shelf:
    """A registry with one version, whose folder is written here."""

    def __init__(self, folder, material):
        self.final, self.material, self.version = FinalLayout(folder), material, Version("m", 1, "run")

    def write(self, models, correct, *, trained="train", labels=None, reruns=None, **answers):
        """correct: [S, N, K]. trained: splits; reruns: probabilities by label, one list of K arrays a seed."""
        if len(models) > 1:
            save_ensemble(self.final.folder, join_models(models, [1] * len(models)))
        else:
            save_member(self.final.folder, models[0])
        digests = self.material.list_digests(self.material.val)
        labels = self.material.labels if labels is None else labels
        np.savez(self.final.answers, digests=np.array(digests), correct=correct, labels=labels, **answers)
        rows = np.concatenate([getattr(self.material, split) for split in trained.split("+")])
        seen = self.material.list_digests(rows)
        self.final.trained_on.write_text(json.dumps({"digests": seen}))
        if reruns is not None:
            named = {
                f"{label}-seed{seed}/{name}": values
                for label, seeds in reruns.items()
                for seed, each in enumerate(seeds)
                for name, values in zip(self.material.schema.names, each, strict=True)
            }
            np.savez(self.final.predictions, **named)

    def ask(self):
        return ask_champion(SimpleNamespace(download=lambda version: self.final.folder), self.version, self.material)


@pytest.fixture
def shelf(tmp_path, material):
    return Shelf(tmp_path, material)


def draw_correct(material, count, seed=0):
    return (np.random.default_rng(seed).random((count, *material.labels.shape)) < 0.8).astype(float)


def test_a_single_one_is_compared_by_the_recipe_that_was_kept(shelf, material, networks):
    correct, recipe = draw_correct(material, 1), draw_correct(material, 3, 1)
    shelf.write(networks[:1], correct, recipe=recipe)
    found = shelf.ask()
    np.testing.assert_array_equal(found.answers, recipe)
    np.testing.assert_array_equal(found.shipped, correct)
    assert found.is_recipe and found.share == pytest.approx(1 / 3) and found.form == "the mean of its 3 re-runs"
    assert found.remark.endswith("compared by its recipe, in the mean of its re-runs on these images")


def test_a_single_one_of_before_is_compared_by_its_reruns(shelf, material, networks, probabilities):
    """They are those of the candidate that has the network itself among them, wherever that stands."""
    shelf.write(
        networks[:1],
        draw_correct(material, 1),
        reruns={"trial-0001": [probabilities[3]] * 2, "trial-0002": [probabilities[2], probabilities[0]]},
    )
    found = shelf.ask()
    np.testing.assert_array_equal(found.answers, [find_right(probabilities[at], material) for at in (2, 0)])
    assert found.is_recipe and found.share == 0.5 and "which flatters it a little" in found.remark


@pytest.mark.parametrize("left", ["none", "one", "others", "damaged"])
def test_a_single_one_is_compared_as_it_is_where_no_reruns_are_there(left, shelf, material, networks, probabilities):
    """Others: it is an average of weights, say, and answers as no re-run does."""
    reruns = {"one": {"trial-0001": probabilities[:1]}, "others": {"trial-0001": probabilities[1:]}}.get(left)
    correct = draw_correct(material, 1)
    shelf.write(networks[:1], correct, reruns=reruns)
    if left == "damaged":
        shelf.final.predictions.write_bytes(b"PK nothing")
    found = shelf.ask()
    np.testing.assert_array_equal(found.answers, correct)
    assert not found.is_recipe and found.shipped is None and found.share == 1 and found.form == ""
    assert found.remark == (
        "the champion is a single network, and compared as it is: there are no answers of two re-runs of it"
    )
    np.testing.assert_array_equal(found.members, [find_right(probabilities[0], material)])


def test_a_single_one_is_asked_where_labels_have_changed(shelf, material, networks, probabilities):
    """What was kept, its recipe too, is of other labels."""
    labels = material.labels.copy()
    labels[0, 0] = -1
    shelf.write(networks[:1], draw_correct(material, 1), labels=labels, recipe=draw_correct(material, 3))
    found = shelf.ask()
    np.testing.assert_array_equal(found.answers, [find_right(probabilities[0], material)])
    assert not found.is_recipe and found.remark.endswith("as it is: its re-runs have not answered these images")


def test_one_that_was_trained_on_the_images_is_known_by_its_recipe(shelf, material, networks):
    correct = draw_correct(material, 3)
    shelf.write(networks[:1], correct, trained="train+val")
    found = shelf.ask()
    np.testing.assert_array_equal(found.answers, correct)
    assert found.is_recipe and found.shipped is None and found.members is None and found.share == pytest.approx(1 / 3)


def test_an_ensemble_is_compared_as_it_is(shelf, material, networks, probabilities):
    correct = draw_correct(material, 1)
    shelf.write(networks[:2], correct, reruns={"trial-0001": probabilities[:2]})
    found = shelf.ask()
    np.testing.assert_array_equal(found.answers, correct)
    np.testing.assert_array_equal(found.members, [find_right(each, material) for each in probabilities[:2]])
    assert not found.is_recipe and found.share == 0.5 and found.form == "an ensemble of 2 networks" and not found.remark
