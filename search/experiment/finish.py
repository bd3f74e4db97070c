"""The end of a search: the best model on disk, the report, and what to do next."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.files import MODEL_FILE
from search.cli import DEFAULT_RESULTS
from search.records.provenance import python_command
from search.reporting.figures import draw_confusion
from search.reporting.report import write_report
from search.tracking.store import ui_command

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


def write_results(layout: SearchLayout, record: SearchRecord) -> list[Path]:
    """Put the best model in its place, and write the report. Returns the files that are kept with the run in MLflow."""
    from fashion_core.models.saved import load_model  # torch takes seconds, and the next steps are shown without it

    best = next((trial for trial in record.rank() if layout.find_checkpoint(trial.number)), None)
    if best is not None:
        layout.best_folder.mkdir(exist_ok=True)
        shutil.copy(layout.checkpoint_folder(best.number) / MODEL_FILE, layout.best_model)
        model = load_model(layout.best_model)
        config = {"trial": best.number, "params": best.params, "config": model.config.model_dump(mode="json")}
        layout.best_config.write_text(json.dumps(config, indent=2) + "\n")
        for category, matrix in zip(model.schema.categories, model.confusion, strict=True):
            title = f"{category.name}: trial {best.number}, epoch {model.epoch}"
            draw_confusion(np.array(matrix), category.classes, title, layout.confusion(category.name))
    write_report(layout, record)
    return layout.list_artifacts()


def list_next_steps(layout: SearchLayout, tracking_uri: str | None) -> list[tuple[str, str]]:
    """What to do next: (purpose, command)."""
    python = python_command()
    where = "" if layout.results == DEFAULT_RESULTS else f" --results {layout.results}"
    steps = [("compare trials", ui_command(layout, tracking_uri))]
    if layout.best_model.is_file():
        steps.append(
            ("use the best model", f"{python} -m fashion_core.predict {layout.best_model} IMAGE --box x1,y1,x2,y2")
        )
        steps.append(("promote it, if it holds", f"{python} search/promote.py {layout.name}{where}"))
    steps.append(("read the report", str(layout.report)))
    steps.append(
        ("search your data", f"{python} search/run.py --data DIR --space spaces/weighted_focal.yaml --trials 64")
    )
    return steps
