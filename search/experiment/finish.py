"""The end of a search: the best model on disk, the report, and what to do next."""

from __future__ import annotations

import json
import shutil

import numpy as np
from rich.console import Console

from fashion_core.data.schema import AttributeSchema
from fashion_core.files import MODEL_FILE
from fashion_core.models.saved import load_model
from search.cli import DEFAULT_RESULTS
from search.planning.plan import Plan
from search.records.provenance import python_command
from search.records.ranking import rank_trials
from search.records.session import Session
from search.reporting.figures import draw_confusion
from search.reporting.report import write_report
from search.reporting.summary import render_summary
from search.tracking.sender import Tracker
from search.tracking.store import ui_command


def finish_search(plan: Plan, session: Session, tracker: Tracker, schema: AttributeSchema, console: Console) -> None:
    """Put the best model in its place, write the report, send it all to MLflow, and print the summary."""
    layout, record = plan.layout, session.record
    best = next((trial.number for trial in rank_trials(record) if layout.find_checkpoint(trial.number)), None)
    if best is not None:
        layout.best_folder.mkdir(exist_ok=True)
        shutil.copy(layout.checkpoint_folder(best) / MODEL_FILE, layout.best_model)
        model = load_model(layout.best_model)
        config = {"trial": best, "params": record.trials[best].params, "config": model.config.model_dump(mode="json")}
        layout.best_config.write_text(json.dumps(config, indent=2) + "\n")
        for category, matrix in zip(schema.categories, model.confusion, strict=True):
            title = f"{category.name}: trial {best}, epoch {model.epoch}"
            draw_confusion(np.array(matrix), category.classes, title, layout.confusion(category.name))
    write_report(layout)
    for path in layout.list_artifacts():
        tracker.send_file(path)
    missing = tracker.close()
    console.print(render_summary(record, list_next_steps(plan, best is not None)))
    if missing is not None:
        console.print(missing, style="yellow", highlight=False)


def list_next_steps(plan: Plan, has_model: bool) -> list[tuple[str, str]]:
    """What to do next: (purpose, command)."""
    layout, python = plan.layout, python_command()
    where = "" if layout.results == DEFAULT_RESULTS else f" --results {layout.results}"
    steps = [("compare trials", ui_command(layout, plan.options.tracking_uri))]
    if has_model:
        steps.append(
            ("use the best model", f"{python} -m fashion_core.predict {layout.best_model} IMAGE --box x1,y1,x2,y2")
        )
        steps.append(("promote it, if it holds", f"{python} search/promote.py {layout.name}{where}"))
    steps.append(("read the report", str(layout.report)))
    steps.append(
        ("search your data", f"{python} search/run.py --data DIR --space spaces/weighted_focal.yaml --trials 64")
    )
    return steps
