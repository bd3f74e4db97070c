"""From prepared images to batches on the device that trains: augmented pixels, or cached features."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.loading.augment import Augmentation, mixup
    from fashion_core.loading.batches import BatchSource
    from fashion_core.loading.features import FeatureSource, cache_features, open_features

__all__ = ["Augmentation", "BatchSource", "FeatureSource", "cache_features", "mixup", "open_features"]
__getattr__ = attach(
    __name__,
    {
        "augment": ["Augmentation", "mixup"],
        "batches": ["BatchSource"],
        "features": ["FeatureSource", "cache_features", "open_features"],
    },
)
