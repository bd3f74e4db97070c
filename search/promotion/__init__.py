"""From the best trials of a search to a final, registered model, and how sure one can be of it."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.promotion.options import PromotionOptions, Workplace
    from search.promotion.pipeline import promote
    from search.promotion.result import PromotionResult

__all__ = ["PromotionOptions", "PromotionResult", "Workplace", "promote"]
__getattr__ = attach(
    __name__,
    {"options": ["PromotionOptions", "Workplace"], "pipeline": ["promote"], "result": ["PromotionResult"]},
)
