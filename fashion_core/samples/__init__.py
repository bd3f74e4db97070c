"""The drawn data set of the demo and the tests: figures in garments with the 26 attributes.
No photograph, no person.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.samples.dataset import draw_sample_data
    from fashion_core.samples.figure import draw_picture

__all__ = ["draw_picture", "draw_sample_data"]
__getattr__ = attach(__name__, {"dataset": ["draw_sample_data"], "figure": ["draw_picture"]})
