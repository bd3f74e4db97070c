"""A search to be tracked, and a database for it: making one takes MLflow seconds, a copy none."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tracked_runs import STATUSES

from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.tracking.store import open_store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow without runs. Read-only: copy it."""
    folder = tmp_path_factory.mktemp("database")
    open_store(f"sqlite:///{folder}/made.db")
    with closing(sqlite3.connect(folder / "made.db")) as database:
        database.execute("VACUUM INTO ?", [str(folder / "empty.db")])
    return folder / "empty.db"


@pytest.fixture
def layout(tmp_path, empty_database):
    """A search with one trial of each end."""
    layout = SearchLayout(tmp_path, "search")
    shutil.copy(empty_database, layout.tracking_db)
    with Ledger(layout.ledger) as ledger:
        ledger.append(
            SearchStarted(
                name="search",
                settings={"trials": 5, "max_epochs": 3, "seed": 0},
                space="trials: 5\n",
                space_name="tiny",
                space_hash="abc",
                provenance={"torch": "2", "git_commit": "f00"},
                data={"folder": "sample", "fingerprint": "fff"},
                selection={"train_count": 10, "select_count": 5, "select_images": ["img/0.jpg"]},
            )
        )
        for number, status in enumerate(STATUSES):
            params = {"lr": 1e-3, "backbone": "resnet50", "weight_fit": 0.9}
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=number == 0))
            for epoch in (1, 2):
                metrics = {"val/accuracy": 0.1 * number + 0.01 * epoch, "val/accuracy/fit": 0.5, "nothing": None}
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
            ended = {"reason": f"why {status}", "best": 0.1 * number + 0.02, "best_epoch": 2}
            extra = {"rung": 2, "cutoff": 0.9} if status == "stopped" else {}
            error = {"error": "x" * 10_000} if status == "failed" else {}
            ledger.append(TrialEnded(trial=number, status=status, **ended, **extra, **error))
        ledger.append(SearchEnded(reason="all trials ended", seconds=2.0))
    return layout
