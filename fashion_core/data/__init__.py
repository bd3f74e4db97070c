"""A data set's files -> checked annotations -> prepared images in memory-mapped files; and what to know of them.
Nothing here trains.
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from fashion_core.data.annotations import load_annotations
    from fashion_core.data.audit import Audit, render_audit
    from fashion_core.data.duplicates import find_near_duplicates, group_near_duplicates
    from fashion_core.data.pixels import PrepareSettings, build_settings
    from fashion_core.data.prepared import PreparedData, prepare, prepare_all
    from fashion_core.data.reading import Reading
    from fashion_core.data.rows import Annotations
    from fashion_core.data.schema import AttributeSchema, Category, load_schema
    from fashion_core.data.splits import Selection, select_images

__all__ = [
    "Annotations",
    "AttributeSchema",
    "Audit",
    "Category",
    "PrepareSettings",
    "PreparedData",
    "Reading",
    "Selection",
    "build_settings",
    "find_near_duplicates",
    "group_near_duplicates",
    "load_annotations",
    "load_schema",
    "prepare",
    "prepare_all",
    "render_audit",
    "select_images",
]
__getattr__ = attach(
    __name__,
    {
        "annotations": ["load_annotations"],
        "audit": ["Audit", "render_audit"],
        "duplicates": ["find_near_duplicates", "group_near_duplicates"],
        "pixels": ["PrepareSettings", "build_settings"],
        "prepared": ["PreparedData", "prepare", "prepare_all"],
        "reading": ["Reading"],
        "rows": ["Annotations"],
        "schema": ["AttributeSchema", "Category", "load_schema"],
        "splits": ["Selection", "select_images"],
    },
)
