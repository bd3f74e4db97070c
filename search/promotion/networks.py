"""Trained networks made into the one that ships, and what it costs to ask it. B images, C classes of one category."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fashion_core.data.pixels import build_settings
from fashion_core.hardware.device import choose_device
from fashion_core.models import timing
from fashion_core.models.cost import COST_IMAGES, Cost
from fashion_core.models.ensemble import Saved, as_ensemble, join_models
from fashion_core.models.forward import predict_prepared
from fashion_core.models.saved import SavedModel, load_model
from fashion_core.models.soup import average_networks, explain_no_soup, find_soup_groups
from search.promotion.forms import Choice, Decision, Network, Pool, decide
from search.promotion.options import SOUP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fashion_core.config import TrainConfig
    from fashion_core.data.prepared import PreparedData
    from search.jobs.material import Material
    from search.promotion.judgement import Trained
    from search.promotion.options import PromotionOptions

STATISTICS_IMAGES = 1024  # training images that batch normalisation's statistics are computed from


def combine(trained: Trained, material: Material, limit: Cost, options: PromotionOptions) -> Decision:
    """Choose between a single network and the other forms that may ship."""
    averager = Averager(trained.ingredients, material)
    reason = averager.explain_none() if trained.ingredients else None
    pool = Pool(
        trained.candidates,
        material.labels,
        material.folds,
        averager.groups,
        averager.predict,
        options.has_ensemble,
        limit,
        options.takes_best,
    )
    decision = decide(pool)
    notes = () if reason is None else (f"No soup was tried: {reason}.",)
    if decision.choice.form == SOUP:
        notes = (
            *notes,
            "Of each network in the soup, the epoch was chosen on all validation images, the only one that is kept: "
            "the soup's score is a little too high for that, also where it is compared.",
        )
    return replace(decision, notes=notes)


class Averager:
    """Probabilities of averages of weights on the validation images.

    Args:
        folders: of the networks' saved models.
    """

    def __init__(self, folders: Mapping[Network, Path], material: Material) -> None:
        """Load the networks."""
        self.material = material
        device = choose_device(None)
        self.models = {network: load_model(folder, device) for network, folder in folders.items()}

    def explain_none(self) -> str | None:
        """Why there is no soup, in words; None where there can be one."""
        if self.groups:
            return None
        return explain_no_soup(list(self.models.values()))

    @property
    def groups(self) -> list[list[Network]]:
        """Networks that can be averaged with each other, in order."""
        names = list(self.models)
        return [[names[index] for index in group] for group in find_soup_groups(list(self.models.values()))]

    def average(self, networks: tuple[Network, ...]) -> SavedModel:
        """One network with the average of the weights of some; its scores are not known."""
        members = [self.models[network] for network in networks]
        if len(members) == 1:
            return members[0]
        return average_models(members, self.material)

    def predict(self, networks: tuple[Network, ...]) -> list[np.ndarray]:
        """K arrays [N, C_i] of the validation images."""
        return predict_prepared(self.average(networks), self.material.data, self.material.val)


def average_models(members: list[SavedModel], material: Material) -> SavedModel:
    """The average of the members' weights as a model of the first one's configuration, without scores."""
    config, data = members[0].config, material.data[build_settings(members[0].config)]
    device = next(members[0].network.parameters()).device
    network = average_networks(
        [member.network for member in members],
        lambda: (images.to(device) for images in list_batches(config, data, material.train)),
    )
    return replace(members[0], network=network, metrics={}, confusion=[])


def list_batches(config: TrainConfig, data: PreparedData, train: np.ndarray) -> Iterator[torch.Tensor]:
    """Training images [B, 3, S, S] uint8, a fixed random part of them."""
    chosen = np.random.default_rng(0).permutation(train)[:STATISTICS_IMAGES]
    size = min(config.batch_size, len(chosen))
    for start in range(0, len(chosen) - size + 1, size):
        yield torch.from_numpy(data.gather(chosen[start : start + size])).permute(0, 3, 1, 2)


def build_final(choice: Choice, models: Mapping[Network, SavedModel], material: Material) -> Saved:
    """The model of a choice, from its networks."""
    shares: dict[Network, int] = {}
    for network in choice.networks:
        shares[network] = shares.get(network, 0) + 1
    members = [models[network] for network in shares]
    if len(members) == 1:
        return members[0]
    if choice.form == SOUP:
        return average_models(members, material)
    return join_models(members, [float(count) for count in shares.values()])


def measure_cost(saved: Saved, material: Material) -> Cost:
    """What a model costs on this machine, measured on validation images: see `fashion_core.models.timing`."""
    chosen = np.resize(material.val, COST_IMAGES)
    return timing.measure_cost(saved, {view: material.data[view].gather(chosen) for view in as_ensemble(saved).views})
