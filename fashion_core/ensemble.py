"""The old place of `fashion_core.models.ensemble`, from which models registered before the rooms import it."""

from fashion_core.models.ensemble import AttributeEnsemble, SavedEnsemble, as_ensemble, load_saved, set_flip

__all__ = ["AttributeEnsemble", "SavedEnsemble", "as_ensemble", "load_saved", "set_flip"]
