"""Networks: backbones, heads, several as one, and how they stand on the disk.
What trains them is a floor above.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.models.backbones import Backbone, build_backbone
    from fashion_core.models.ensemble import (
        Saved,
        SavedEnsemble,
        as_ensemble,
        join_models,
        load_saved,
        save_ensemble,
        set_flip,
    )
    from fashion_core.models.forward import predict_batch, predict_pixels, predict_prepared, predict_views
    from fashion_core.models.network import AttributeNet, build_network
    from fashion_core.models.saved import Best, SavedModel, load_model, save_model
    from fashion_core.models.soup import average_networks, find_soup_groups

__all__ = [
    "AttributeNet",
    "Backbone",
    "Best",
    "Saved",
    "SavedEnsemble",
    "SavedModel",
    "as_ensemble",
    "average_networks",
    "build_backbone",
    "build_network",
    "find_soup_groups",
    "join_models",
    "load_model",
    "load_saved",
    "predict_batch",
    "predict_pixels",
    "predict_prepared",
    "predict_views",
    "save_ensemble",
    "save_model",
    "set_flip",
]
__getattr__ = attach(
    __name__,
    {
        "backbones": ["Backbone", "build_backbone"],
        "ensemble": ["Saved", "SavedEnsemble", "as_ensemble", "join_models", "load_saved", "save_ensemble", "set_flip"],
        "forward": ["predict_batch", "predict_pixels", "predict_prepared", "predict_views"],
        "network": ["AttributeNet", "build_network"],
        "saved": ["Best", "SavedModel", "load_model", "save_model"],
        "soup": ["average_networks", "find_soup_groups"],
    },
)
