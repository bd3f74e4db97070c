"""A search's data looked at again: its audit, and labels that look wrong to the models that it kept."""

import io

import numpy as np
import pytest
from drawn_models import draw_model
from rich.console import Console
from written_search import write_search

from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.errors import SearchError
from fashion_core.models.forward import predict_prepared
from fashion_core.models.saved import Best, save_model
from search.experiment.data_check import find_reason, look_at_data
from search.records.record import load_record
from search.reporting.audited import read_audited
from search.reporting.mislabelled import find_mislabelled, read_mislabelled

CONSOLE = Console(file=io.StringIO())


@pytest.fixture
def layout(tmp_path, sample_folder):
    """Two trials; the second kept its model."""
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3, 1e-4], select_on="val")
    drawn = draw_model(1, load_annotations(sample_folder).schema, image_size=32)
    best = Best(6, {"val/accuracy": 0.5}, [np.array(matrix) for matrix in drawn.confusion], drawn.network.state_dict())
    save_model(layout.checkpoint_folder(1), best, drawn.config, drawn.schema, "data")
    return layout, drawn


def test_the_kept_models_are_asked(layout, sample_folder):
    layout, drawn = layout
    record = load_record(layout)
    written = look_at_data(layout, record, None, CONSOLE)
    assert all(path.is_file() for path in written)
    data = prepare(load_annotations(sample_folder), PrepareSettings(32, "box"), layout.prepared_folder)
    images = data.labelled("val")
    answers = predict_prepared(drawn, {data.settings: data}, images)
    names = [data.names[image] for image in images]
    found = read_mislabelled(layout)
    expected = find_mislabelled(answers, data.labels[images], np.arange(len(images)), names, data.schema, [1])
    assert found.trials == [1] and found.images == 48 == len(names)
    assert {each.image for each in found.found} <= set(names)
    assert len(found.found) == pytest.approx(len(expected.found), abs=10)  # folds keep near duplicates together
    assert read_audited(layout) is not None


def test_where_models_cannot_tell_it_is_said_why(layout):
    layout, _ = layout
    record = load_record(layout)
    record.selection["seen_by_starts"] = {"models:/garments@champion": 3}
    assert "trained on some of the images" in find_reason(layout, record)
    assert layout.label_errors not in look_at_data(layout, record, None, CONSOLE)
    assert layout.audit_facts.is_file() and not layout.label_errors.exists()
    del record.selection["seen_by_starts"]
    (layout.checkpoint_folder(1) / layout.best_model.name).unlink()
    with pytest.raises(SearchError, match="by models that a search has kept, but of mine it has kept no"):
        look_at_data(layout, record, None, CONSOLE)


def test_images_of_another_size_are_the_same_data(layout):
    """The fingerprint is that of the first size that trials can want, not of the kept model's."""
    layout, drawn = layout
    other = draw_model(1, drawn.schema, image_size=48)
    best = Best(6, {"val/accuracy": 0.5}, [np.array(matrix) for matrix in other.confusion], other.network.state_dict())
    save_model(layout.checkpoint_folder(1), best, other.config, other.schema, "data")
    look_at_data(layout, load_record(layout), None, CONSOLE)
    assert read_mislabelled(layout).images == 48
