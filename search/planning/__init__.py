"""From options to a checked plan: space, data, resources, and what it is going to cost."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.planning.backbones import TriedBackbones, try_backbones
    from search.planning.options import SearchOptions, load_options
    from search.planning.plan import Plan, build_plan, render_plan
    from search.planning.resources import Machine, Resources, choose_resources, detect_machine

__all__ = [
    "Machine",
    "Plan",
    "Resources",
    "SearchOptions",
    "TriedBackbones",
    "build_plan",
    "choose_resources",
    "detect_machine",
    "load_options",
    "render_plan",
    "try_backbones",
]
__getattr__ = attach(
    __name__,
    {
        "backbones": ["TriedBackbones", "try_backbones"],
        "options": ["SearchOptions", "load_options"],
        "plan": ["Plan", "build_plan", "render_plan"],
        "resources": ["Machine", "Resources", "choose_resources", "detect_machine"],
    },
)
