"""The ledger's view in MLflow: where it is kept, who writes it, who sends it in the background or again."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.tracking.models import send_models
    from search.tracking.removal import delete_models, delete_runs
    from search.tracking.resending import Sent, resend, send_again
    from search.tracking.sender import Tracker
    from search.tracking.store import default_uri, open_store, ui_command
    from search.tracking.writer import Writer

__all__ = [
    "Sent",
    "Tracker",
    "Writer",
    "default_uri",
    "delete_models",
    "delete_runs",
    "open_store",
    "resend",
    "send_again",
    "send_models",
    "ui_command",
]
__getattr__ = attach(
    __name__,
    {
        "models": ["send_models"],
        "removal": ["delete_models", "delete_runs"],
        "resending": ["Sent", "resend", "send_again"],
        "sender": ["Tracker"],
        "store": ["default_uri", "open_store", "ui_command"],
        "writer": ["Writer"],
    },
)
