"""Trained networks made into the one that ships: against averages written out."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from drawn_models import draw_model

from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData
from fashion_core.models import timing
from fashion_core.models.cost import Cost
from fashion_core.models.ensemble import SavedEnsemble, save_member
from search.promotion.forms import ENSEMBLE, SINGLE, SOUP, Choice
from search.promotion.networks import Averager, build_final, measure_cost


@dataclass
class Images:
    """What networks are asked on, in place of a promotion's."""

    data: dict[PrepareSettings, PreparedData]
    train: np.ndarray
    val: np.ndarray


@pytest.fixture(scope="module")
def images(stage):
    return Images(stage.data, stage.prepared.indices("train"), stage.prepared.indices("val"))


@pytest.fixture(scope="module")
def networks(stage):
    first = draw_model(1, stage.prepared.schema, image_size=32)
    second = draw_model(1, stage.prepared.schema, image_size=32)
    with torch.no_grad():
        for values in second.network.parameters():
            values.mul_(1.1)
    return {(0, 0): first, (0, 1): second}


def test_one_network_ships_as_it_is(images, networks):
    assert build_final(Choice(SINGLE, ((0, 1),), []), networks, images) is networks[(0, 1)]
    assert build_final(Choice(ENSEMBLE, ((0, 1), (0, 1)), []), networks, images) is networks[(0, 1)]


def test_an_ensemble_counts_repeats_as_shares(images, networks):
    final = build_final(Choice(ENSEMBLE, ((0, 0), (0, 1), (0, 0)), []), networks, images)
    assert isinstance(final, SavedEnsemble) and final.shares == pytest.approx((2 / 3, 1 / 3))


def test_a_soup_has_the_mean_weights_and_no_scores(images, networks):
    final = build_final(Choice(SOUP, ((0, 0), (0, 1)), []), networks, images)
    assert final.metrics == {} and final.confusion == []
    parts = [network.network.state_dict() for network in networks.values()]
    for name, values in final.network.named_parameters():
        torch.testing.assert_close(values, (parts[0][name] + parts[1][name]) / 2)


def test_what_cannot_be_averaged_is_said(images, networks, tmp_path):
    folders = {
        (0, number): save_member(tmp_path / str(number), replace(each, metrics={}, confusion=[]))
        for number, each in enumerate(networks.values())
    }
    assert Averager(folders, images).explain_none() is None
    assert [len(group) for group in Averager(folders, images).groups] == [2]
    assert Averager({(0, 0): folders[(0, 0)]}, images).explain_none()
    alone = Averager(folders, images).predict(((0, 1),))
    assert [values.shape[0] for values in alone] == [len(images.val)] * len(alone)


def test_the_cost_counts_every_parameter(images, networks):
    final = build_final(Choice(ENSEMBLE, ((0, 0), (0, 1)), []), networks, images)
    cost = measure_cost(final, images)
    single = sum(values.numel() for values in networks[(0, 0)].network.parameters())
    assert cost.parameters == 2 * single and cost.ms > 0 and cost.spread >= 0


def test_a_cost_is_the_same_beside_other_work(images, networks, monkeypatch):
    """Some batches take twenty times as long, as they do where others have the cores for a while."""
    seconds = iter([0.032, 0.64, 0.0352, 0.64, 0.032, 0.64, 0.64, 0.64, 0.0352, 0.033, 0.64, 0.64, 0.04, 0.64, 0.64])
    monkeypatch.setattr(timing, "time_once", lambda *_: next(seconds))
    cost = measure_cost(networks[(0, 0)], images)
    assert (cost.ms, cost.spread) == pytest.approx((1.0, 0.03125))
    assert not cost.fits(Cost(2**62, 1.02)) and cost.fits(Cost(2**62, 1.04))
