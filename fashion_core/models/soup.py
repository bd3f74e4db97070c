"""A weight soup: one network whose weights are the average of several (Wortsman et al. 2022).

Averaging makes sense only for networks that were fine-tuned from one start. It costs nothing when the network is used:
a soup is as large and as fast as one of its ingredients. Which ingredients, `search.promotion.forms` chooses.
B images, S pixels a side.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fashion_core.data.pixels import build_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fashion_core.models.network import AttributeNet
    from fashion_core.models.saved import SavedModel

# The same start: heads and FC layers are drawn by architecture (`build_network`), the backbone's weights are named.
START_FIELDS = ("backbone", "weights", "feature", "fc_layers", "start_seed")


def find_soup_groups(models: Sequence[SavedModel]) -> list[list[int]]:
    """Indices of the models that can be averaged with each other: groups of two or more, in order."""
    groups: dict[Any, list[int]] = {}
    for index, model in enumerate(models):
        groups.setdefault(tuple(describe_start(model).values()), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def explain_no_soup(models: Sequence[SavedModel]) -> str | None:
    """Why the weights of these models cannot be averaged, in words; None where they can."""
    if len(models) < 2:
        return f"a soup averages the weights of at least two models, but got {len(models)}; give more"
    starts = [describe_start(model) for model in models]
    parts = []
    for name in starts[0]:
        found = list(dict.fromkeys(start[name] for start in starts))
        if len(found) > 1:
            parts.append(f"`{name}` is {' and '.join(map(str, found))}")
    if not parts:
        return None
    return (
        "a soup averages models that were fine-tuned from one start and see images prepared in one way, but "
        f"{'; '.join(parts)}; average those that agree, or take an ensemble, which averages probabilities"
    )


def describe_start(model: SavedModel) -> dict[str, Any]:
    """All that models in one soup must share, by name; hashable values."""
    settings = build_settings(model.config)
    return {
        **{name: getattr(model.config, name) for name in START_FIELDS},
        "image_size": settings.image_size,
        "crop": settings.crop,
        "crop_margin": settings.crop_margin,
        "categories": model.schema,
    }


def average_networks(networks: Sequence[AttributeNet], batches: Callable[[], Iterable[Tensor]]) -> AttributeNet:
    """A new network with the average of the weights of some that have a common start, in evaluation mode.

    The statistics of batch normalisation are computed anew, because those of the ingredients belong to other
    activations; not where their backbones are equal, as those of probes are.

    Args:
        networks: on one device; they stay as they are.
        batches: called where it is needed; yields training images [B, 3, S, S], pixels 0..255, on the same device.

    Raises:
        ValueError: `batches` yields nothing.
    """
    states = [network.state_dict() for network in networks]
    average = copy.deepcopy(networks[0]).eval()
    average.load_state_dict(average_states(states))
    own = states[0]
    backbone = [name for name in own if name.startswith("backbone.") and own[name].is_floating_point()]
    if not all(torch.equal(own[name], other[name]) for name in backbone for other in states[1:]):
        recompute_batch_norm(average, batches())
    return average


def average_states(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor, summed in double precision; counters, which are whole numbers, are the first's."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in states[0].items()
    }


@torch.no_grad()
def recompute_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch normalisation by the plain average of those of all batches, in place.

    Everything else runs as in evaluation, without dropout or dropped paths, and the network is in evaluation mode in
    the end. Without batch normalisation nothing is read.

    Args:
        batches: images [B, 3, S, S] of equal B, since every batch counts the same.

    Raises:
        ValueError: there is no batch.
    """
    layers = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    if not layers:
        return
    network.eval()
    momenta = [layer.momentum for layer in layers]
    seen = False
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative average
            layer.train()
        for images in batches:
            network(images)
            seen = True
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        network.eval()
    if not seen:
        raise ValueError("the statistics of batch normalisation need at least one batch of training images, but got 0")
