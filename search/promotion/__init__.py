"""From the best trials of a search to a final, registered model, and how sure one can be of it."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.promotion.options import PromotionOptions
    from search.promotion.pipeline import run_promotion

__all__ = ["PromotionOptions", "run_promotion"]
__getattr__ = attach(__name__, {"options": ["PromotionOptions"], "pipeline": ["run_promotion"]})
