"""The old place of `fashion_core.inference.temperatures`, from which models registered before the rooms import it."""

from fashion_core.inference.temperatures import apply_temperatures, load_temperatures

__all__ = ["apply_temperatures", "load_temperatures"]
