"""The old place of `fashion_core.data.schema`, from which models registered before the rooms import it."""

from fashion_core.data.schema import AttributeSchema, Category

__all__ = ["AttributeSchema", "Category"]
