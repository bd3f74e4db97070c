"""The images of a promotion: whose they are, what is too few of them, and folds that keep duplicates together."""

import hashlib
import io
import shutil

import numpy as np
import pytest
from missing_labels import blank_folder
from rich.console import Console

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.reading import Reading
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.samples.dataset import draw_sample_data
from search.jobs.material import prepare_material
from search.jobs.training import load_selection
from search.planning.resources import Resources

BOX, WHOLE = TrainConfig(image_size=32), TrainConfig(image_size=32, crop="whole")


def prepare(folder, cache, configs=(BOX,), schema=None, judge_on=None, **rest):
    schema = schema or load_annotations(folder).schema
    console = Console(file=io.StringIO())
    return prepare_material(folder, configs, schema, cache, console, Reading(), judge_on=judge_on, **rest)


@pytest.fixture(scope="module")
def material(sample_folder, tmp_path_factory):
    return prepare(sample_folder, tmp_path_factory.mktemp("prepared"), [BOX, WHOLE, BOX])


@pytest.fixture
def own_folder(sample_folder, tmp_path):
    """A copy of the data set, to be changed."""
    return shutil.copytree(sample_folder, tmp_path / "data")


def list_lines(folder, split):
    return (folder / "split" / f"{split}.txt").read_text().split()


def test_images_are_those_of_the_splits(material, sample_folder):
    for split, positions in (("train", material.train), ("val", material.val)):
        assert [str(material.first.names[position]) for position in positions] == list_lines(sample_folder, split)
    assert material.counts == {"train": 120, "val": 48, "test": 24}
    assert material.data.keys() == {PrepareSettings(32), PrepareSettings(32, "whole")}
    assert material.labels.shape == (48, len(material.schema.names)) and (material.labels >= 0).all()


def test_digests_and_example_are_of_the_files(material, sample_folder):
    some = material.val[[5, 0, 7]]
    files = [sample_folder / material.first.names[position] for position in some]
    assert material.list_digests(some) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert material.read_example() == (sample_folder / list_lines(sample_folder, "val")[0]).read_bytes()


@pytest.fixture(scope="module")
def fresh_folder(tmp_path_factory):
    """Another data set of the same categories, with images of its own in all splits."""
    return draw_sample_data(tmp_path_factory.mktemp("fresh") / "other", train=12, val=12, test=6, seed=7)


def test_fresh_images_judge_in_place_of_val(sample_folder, fresh_folder, material, tmp_path):
    """All that are labelled there, whatever their split; train and test stay what they were."""
    found = prepare(sample_folder, tmp_path, judge_on=fresh_folder)
    fresh = load_annotations(fresh_folder)
    labelled = (fresh.labels() >= 0).any(1)
    wanted = [
        fresh_folder / name for name, kept in zip(fresh.table["image"].to_pylist(), labelled, strict=True) if kept
    ]
    assert [(found.folder / found.first.names[at]).resolve() for at in found.val] == [path.resolve() for path in wanted]
    assert np.array_equal(found.labels, fresh.labels()[labelled])
    assert found.list_digests(found.train) == material.list_digests(material.train)
    assert found.counts == {"train": 120, "val": len(wanted), "test": 24}
    assert found.read_example() == wanted[0].read_bytes()
    again = found.load_annotations()  # what a champion is asked about is what judges
    assert again.table["image"].to_pylist() == found.first.names
    assert again.table["split"].to_pylist() == found.first.splits.tolist()


def test_images_that_are_trained_on_do_not_judge(sample_folder, material, tmp_path):
    with pytest.raises(SearchError, match=r"must hold images that nothing is trained on, but 120 of .* leave them out"):
        prepare(sample_folder, tmp_path, judge_on=sample_folder)


def test_images_that_the_search_selected_on_are_not_fresh(sample_folder, fresh_folder, material, tmp_path):
    """A copy of one of them under another name, among fresh ones; where it selected on others, it may judge."""
    mixed = tmp_path / "mixed"
    shutil.copytree(fresh_folder, mixed)
    shutil.copy(sample_folder / list_lines(sample_folder, "val")[0], mixed / list_lines(mixed, "val")[0])
    with pytest.raises(SearchError, match=r"that the search did not select on, but 1 of .*mixed are in its val; leave"):
        prepare(sample_folder, tmp_path, judge_on=mixed, selected_on_val=True)
    prepare(sample_folder, tmp_path, judge_on=mixed)


def test_each_choice_of_images_has_a_file_of_its_own(material):
    both = np.concatenate([material.train, material.val])
    sites = {
        name: material.build_site(name, train, Resources(1, 2, 0.5))
        for name, train in (("train", material.train), ("all", both))
    }
    for name, train in (("train", material.train), ("all", both)):
        found, judged = load_selection(sites[name].selection)
        assert np.array_equal(found, train) and np.array_equal(judged, material.val)
        assert (sites[name].threads, sites[name].gpus) == (2, 0.5)
    assert sites["all"].build_job(WHOLE).prepared == material.data[PrepareSettings(32, "whole")].path.resolve()


@pytest.mark.slow
def test_folds_keep_near_duplicates_together(own_folder, tmp_path):
    names = list_lines(own_folder, "val")
    twins = names[:12]
    for name in twins[1:]:
        shutil.copy(own_folder / twins[0], own_folder / name)
    for box in (own_folder / "split").glob("val_bbox*"):  # the same part of each
        lines = box.read_text().splitlines()
        box.write_text("\n".join([lines[0]] * 12 + lines[12:]) + "\n")
    material = prepare(own_folder, tmp_path / "cache")
    assert len(set(material.groups[:12])) == 1 and len(set(material.groups)) > 1
    assert len(set(material.folds[:12])) == 1 and len(set(material.folds)) > 1
    again = prepare(own_folder, tmp_path / "cache")
    assert np.array_equal(again.folds, material.folds)  # fixed before any result


def test_data_of_other_categories_is_refused(sample_folder, tmp_path, material):
    categories = material.schema.to_dict()
    renamed = AttributeSchema.from_dict(
        {("other" if name == "fit" else name): each for name, each in categories.items()}
    )
    with pytest.raises(SearchError, match=r"needs the data of its search, with the categories .*other"):
        prepare(sample_folder, tmp_path, schema=renamed)
    turned = AttributeSchema.from_dict(categories | {"fit": categories["fit"][::-1]})
    with pytest.raises(SearchError, match="or other classes"):
        prepare(sample_folder, tmp_path, schema=turned)
    assert not list(tmp_path.iterdir())  # nothing was decoded


def test_copies_of_one_image_do_not_make_a_validation_set(own_folder, tmp_path):
    names = list_lines(own_folder, "val")
    for name in names[1:]:
        shutil.copy(own_folder / names[0], own_folder / name)
    for box in (own_folder / "split").glob("val_bbox*"):
        box.write_text("\n".join([box.read_text().splitlines()[0]] * len(names)) + "\n")
    with pytest.raises(SearchError, match="has 120 and 1; label more"):
        prepare(own_folder, tmp_path / "cache")


@pytest.mark.slow
def test_every_category_needs_labels_to_train_on_and_to_judge_on(sample_folder, tmp_path):
    material = prepare(blank_folder(sample_folder, tmp_path / "some"), tmp_path / "cache")
    assert len(material.train) == 120 and len(material.val) == 48 and (material.labels < 0).any()
    folder = blank_folder(sample_folder, tmp_path / "few", (0.3, 0.0, 0.0, 0.2, 0.3, 0.0))
    for split, column, kept in (("val", 4, 2), ("train", 0, 0)):
        path = folder / "split" / f"{split}_attr.txt"
        rows = [line.split() for line in path.read_text().splitlines()]
        known = [row for row in rows if row[column] != "-1"]
        for row in known[kept:]:
            row[column] = "-1"
        path.write_text("".join(" ".join(row) + "\n" for row in rows))
    with pytest.raises(SearchError, match=r"but pattern has 0 and \d+, material has \d+ and 2; label more"):
        prepare(folder, tmp_path / "cache")
