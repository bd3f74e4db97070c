"""The end of a search: the best model on disk, and the report."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.files import MODEL_FILE, whole, write_whole
from search.experiment.data_check import check_labels
from search.records.kept import set_damaged_aside
from search.reporting.figures import draw_confusion
from search.reporting.page import write_page
from search.reporting.report import write_report
from search.reporting.won import build_confusion, write_confusion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.experiment.beginning import Prepared
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord
    from search.reporting.champion import Champion
    from search.reporting.words import SearchWords


def write_results(
    layout: SearchLayout,
    record: SearchRecord,
    search: SearchWords,
    tell: Callable[[str], None],
    prepared: Prepared | None = None,
    champion: Champion | str | None = None,
) -> list[Path]:
    """Put the best model in its place, and write the report. Returns the files that are kept with the run in MLflow.

    Args:
        tell: called with a line on each kept model that is damaged, and is passed over.
        prepared: its images; None: their labels are not checked.
        champion: see `search.reporting.answers.Source`.
    """
    set_damaged_aside(layout, record, tell)
    try:
        write_best(layout, record)
        if prepared is not None:
            check_labels(layout, record, prepared.images, prepared.selection, tell)
    finally:  # also where somebody presses Ctrl-C meanwhile
        write_report(layout, record, search)
        write_page(layout, record, search, champion=champion)
    return layout.list_artifacts()


def write_best(layout: SearchLayout, record: SearchRecord) -> None:
    """Put the best model in its place, with its configuration and confusion matrices."""
    from fashion_core.models.saved import load_model  # torch takes seconds, and the next steps are shown without it

    best = next((trial for trial in record.rank() if layout.find_checkpoint(trial.number)), None)
    if best is not None:
        layout.best_folder.mkdir(exist_ok=True)
        with whole(layout.best_model) as temporary:
            shutil.copyfile(layout.checkpoint_folder(best.number) / MODEL_FILE, temporary)
        model = load_model(layout.best_model)
        config = {"trial": best.number, "params": best.params, "config": model.config.model_dump(mode="json")}
        write_whole(layout.best_config, json.dumps(config, indent=2) + "\n")
        write_confusion(layout, build_confusion(best.number, model.epoch, model.schema, model.confusion))
        for category, matrix in zip(model.schema.categories, model.confusion, strict=True):
            title = f"{category.name}: trial {best.number}, epoch {model.epoch}"
            draw_confusion(np.array(matrix), category.classes, title, layout.confusion(category.name))
