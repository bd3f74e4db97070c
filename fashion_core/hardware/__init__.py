"""What a network runs on: device, number format, and how memory is held.
Knows nothing of data or of what is trained.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.hardware.allocator import give_back_memory, keep_freed_memory
    from fashion_core.hardware.device import choose_device
    from fashion_core.hardware.gpu_memory import limit_gpu_memory, measure_free_memory
    from fashion_core.hardware.precision import build_autocast, choose_precision
    from fashion_core.hardware.usage import UsageMeter

__all__ = [
    "UsageMeter",
    "build_autocast",
    "choose_device",
    "choose_precision",
    "give_back_memory",
    "keep_freed_memory",
    "limit_gpu_memory",
    "measure_free_memory",
]
__getattr__ = attach(
    __name__,
    {
        "allocator": ["give_back_memory", "keep_freed_memory"],
        "device": ["choose_device"],
        "gpu_memory": ["limit_gpu_memory", "measure_free_memory"],
        "precision": ["build_autocast", "choose_precision"],
        "usage": ["UsageMeter"],
    },
)
