"""What a search's data is worth: its audit, and labels that the best models take for wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.audit import audit, render_audit
from fashion_core.data.duplicates import group_near_duplicates
from fashion_core.data.pixels import build_settings
from fashion_core.data.splits import select_images
from fashion_core.errors import FashionError, SearchError, first_line
from fashion_core.files import write_whole
from search.experiment.identity import check_data
from search.experiment.resuming import begun_by_older
from search.jobs.images import prepare_images
from search.planning.options import load_options
from search.records.events import LIMITS, EndReason
from search.records.own_space import load_own_space
from search.reporting.audited import build_audited, write_audited
from search.reporting.mislabelled import SEEN, find_mislabelled, has_models, has_seen, write_mislabelled
from search.reporting.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from fashion_core.data.prepared import PreparedData
    from fashion_core.data.splits import Selection
    from fashion_core.models.saved import SavedModel
    from search.jobs.images import Images
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

MAX_MODELS = 3  # whose answers are averaged


def write_audit(layout: SearchLayout, data: PreparedData, selection: Selection) -> None:
    """Audit the data of a search: its text, and its numbers."""
    found = audit(data)
    write_whole(layout.audit, render_audit(found))
    write_audited(layout, build_audited(found, [data.names[index] for index in selection.select]))


def check_labels(
    layout: SearchLayout, record: SearchRecord, images: Images, selection: Selection, tell: Callable[[str], None]
) -> None:
    """Look for wrong labels once a search has ended in order; where that fails, its report lacks them.

    Args:
        tell: called with a line on what failed.
    """
    is_over = record.ended is not None and record.ended.reason in (EndReason.ALL_ENDED, *LIMITS)
    if not is_over or find_reason(layout, record) is not None:
        return
    try:
        write_label_errors(layout, record, images, selection)
    except (FashionError, RuntimeError) as error:  # torch's, such as a GPU whose memory is full
        tell(f"labels could not be checked: {first_line(error)}")


def find_reason(layout: SearchLayout, record: SearchRecord) -> str | None:
    """Why wrong labels cannot be told; None where they can."""
    if has_seen(record):
        return SEEN
    if not has_models(record, layout):
        return "it has kept no model"
    return None


def write_label_errors(layout: SearchLayout, record: SearchRecord, images: Images, selection: Selection) -> None:
    """Ask the best models that are kept, and write down the labels that look wrong to them.

    Raises:
        CheckpointError: a model is damaged.
    """
    from fashion_core.models.forward import predict_prepared  # torch takes seconds, and not all need it

    models = load_best(layout, record)
    answers = [predict_prepared(model, images.prepared, selection.select) for _, model in models]
    data = images.first
    found = find_mislabelled(
        [np.mean(columns, 0) for columns in zip(*answers, strict=True)],
        data.labels[selection.select],
        group_near_duplicates(data.thumbnails[selection.select]),
        [data.names[index] for index in selection.select],
        data.schema,
        [number for number, _ in models],
    )
    write_mislabelled(layout, found)


def load_best(layout: SearchLayout, record: SearchRecord) -> Sequence[tuple[int, SavedModel]]:
    """The best trials whose models are kept, with these."""
    from fashion_core.hardware.device import choose_device
    from fashion_core.models.saved import load_model

    kept = [trial.number for trial in record.rank() if layout.find_checkpoint(trial.number)][:MAX_MODELS]
    return [(number, load_model(layout.checkpoint_folder(number), choose_device(None))) for number in kept]


def look_at_data(layout: SearchLayout, record: SearchRecord, data: Path | None, console: Console) -> list[Path]:
    """Audit the data of a search that has ended, and look for wrong labels. Returns what was written.

    Args:
        data: where the data set is now; None: where it was.

    Raises:
        SearchError: its data has changed, or it has kept no model.
        FashionError: the data, or a model, cannot be read.
    """
    reason, models = find_reason(layout, record), load_best(layout, record)
    if not models:
        raise SearchError(f"data is checked by models that a search has kept, but of {layout.name} {reason}")
    options = load_options(layout)
    annotations = load_annotations(data or options.data, options.build_reading(layout))
    cache_dir = options.cache_dir or layout.prepared_folder
    if not begun_by_older(record.begun.provenance.get("version", "")):
        check_data(annotations, load_own_space(record).prepare_settings()[0], cache_dir, record.begun)
    settings = dict.fromkeys(build_settings(model.config) for _, model in models)
    images = prepare_images(annotations, settings, [], cache_dir, console)
    selection = select_images(images.first, options.select_on, options.seed)
    write_audit(layout, images.first, selection)
    if reason is not None:
        console.print(plain(f"note: labels were not checked: {reason}", "yellow"))
        return [layout.audit, layout.audit_facts]
    write_label_errors(layout, record, images, selection)
    return [layout.audit, layout.audit_facts, layout.label_errors, layout.label_errors_csv]
