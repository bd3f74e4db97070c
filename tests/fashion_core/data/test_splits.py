"""Which images are trained on and which select: shares of every class, duplicates together, and none in both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missing_labels import blank, blank_data

from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.data.splits import hold_out, select_images
from fashion_core.errors import DataError


def test_val_selects_unless_a_part_of_train_is_held_out(sample_prepared):
    plain = select_images(sample_prepared, "val", 0)
    assert np.array_equal(plain.train, np.arange(120)) and np.array_equal(plain.select, np.arange(120, 168))
    held = select_images(sample_prepared, "heldout", 3)
    assert sorted([*held.train, *held.select]) == list(range(120)) and 0 < len(held.select) < 40
    again = select_images(sample_prepared, "heldout", 3)
    assert np.array_equal(again.select, held.select)
    assert not np.array_equal(select_images(sample_prepared, "heldout", 4).select, held.select)


def test_unlabelled_images_are_neither_trained_on_nor_selected_on(sample_folder, tmp_path):
    data = prepare(load_annotations(sample_folder), PrepareSettings(32), tmp_path)
    assert np.array_equal(data.indices("test"), np.arange(168, 192)) and len(data.labelled("test")) == 0
    data.labels[[5, 131], 2] = -1  # labelled in the other categories
    data.labels[[3, 130]] = -1
    assert data.labelled("train").dtype == np.int64 and data.labelled("train").tolist() == [0, 1, 2, *range(4, 120)]
    selection = select_images(data, "val", 0)
    assert 3 not in selection.train and 130 not in selection.select and len(selection.select) == 47
    data.labels[120:168] = -1
    with pytest.raises(DataError, match="but val has none; select on heldout"):
        select_images(data, "val", 0)
    assert len(select_images(data, "heldout", 0).select)
    data.labels[:] = -1
    with pytest.raises(DataError, match="but train has none; give more labelled images"):
        select_images(data, "val", 0)


@given(st.integers(0, 1000), st.integers(40, 200), st.floats(0.1, 0.5))
def test_every_class_is_held_out_in_about_its_share(seed, count, share):
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.choice(3, count, p=[0.7, 0.2, 0.1]), rng.integers(0, 2, count)], 1)
    held = hold_out(labels, np.arange(count), share, rng)
    for column in labels.T:
        for label in np.unique(column):
            wanted = share * (column == label).sum()
            assert abs((held & (column == label)).sum() - wanted) <= max(2, 0.35 * wanted)


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 3, (90, 2)), np.repeat(np.arange(30), 3)
    held = hold_out(labels, groups, 0.3, rng)
    for group in range(30):
        assert len(set(held[groups == group].tolist())) == 1
    assert 0.15 < held.mean() < 0.45


@given(st.integers(0, 1000), st.integers(60, 200), st.floats(0.1, 0.5))
def test_every_class_is_held_out_in_about_its_share_of_the_labelled(seed, count, share):
    rng = np.random.default_rng(seed)
    whole = np.stack([rng.choice(3, count, p=[0.6, 0.3, 0.1]), rng.integers(0, 2, count), rng.integers(0, 2, count)], 1)
    labels = blank(whole, (0.5, 0.2, 0.3), seed)

    def measure(held):
        """How far all classes are from their shares, in images."""
        return sum(
            abs((held & (column == label)).sum() - share * (column == label).sum())
            for column in labels.T
            for label in np.unique(column[column >= 0])
        )

    by_chance = np.mean([measure(rng.random(count) < share) for _ in range(20)])
    assert measure(hold_out(labels, np.arange(count), share, rng)) <= 0.8 * by_chance  # 0.13 of it as a rule


def test_an_image_without_any_label_is_not_held_out():
    labels = np.array([[0, 1], [-1, -1], [1, 0], [0, -1]] * 5)
    held = hold_out(labels, np.arange(20), 0.4, np.random.default_rng(0))
    assert held.any() and not held[1::4].any()


@pytest.mark.parametrize(
    ("select_on", "rows", "where"),
    [
        ("val", slice(120, 168), "val"),
        ("val", slice(0, 120), "train"),
        ("heldout", slice(1, 120), "the part of train that"),
    ],
)
def test_a_category_without_any_label_is_told_with_its_images(sample_prepared, select_on, rows, where):
    data = blank_data(sample_prepared)
    data.labels[rows, 1] = -1
    with pytest.raises(DataError, match=f"in {where}.*, but sleeve has none; label some, or leave the category out"):
        select_images(data, select_on, 0)
