"""The champion that a search's report stands its best trial beside."""

from pathlib import Path

import numpy as np
import pytest
from made_search import make_search
from written_search import write_search

from fashion_core.data.prepared import PreparedData
from search.promotion.attempt_state import AttemptState, write_state
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.registry.standing import find_champion
from search.registry.versions import Registry, name_model
from search.reporting.champion import Champion


@pytest.fixture
def layout(tmp_path: Path, sample_folder: Path) -> SearchLayout:
    return write_search(tmp_path / "results", "mine", sample_folder, [1e-3], select_on="val")


def test_its_answers_are_found_by_the_images_themselves(layout: SearchLayout, store: str, tmp_path: Path) -> None:
    record = load_record(layout)
    registry = Registry(store, name_model(Path(record.data["folder"])))
    assert find_champion(layout, record, store) is None
    folder = tmp_path / "version" / "artifacts" / "final"
    folder.mkdir(parents=True)
    names = record.selection["select_images"]
    path = next(layout.prepared_folder.glob("prepared-*.arrow"))
    data = PreparedData.open(path)
    digests = dict(zip(data.names, data.sha256, strict=True))
    order = np.random.default_rng(0).permutation(len(names))
    correct = np.random.default_rng(1).integers(0, 2, (1, len(names), 6)).astype(float)
    arrays = {"correct": correct[:, order], "labels": np.zeros((len(names), 6), np.int64)}
    np.savez(folder / "answers.npz", digests=np.array([digests[names[place]] for place in order]), **arrays)
    registry.connect().create_registered_model(registry.model)
    tags = {"score": "0.8527", "score_interval": "0.8388 0.8665", "search": "lite"}
    registry.connect().create_model_version(registry.model, (tmp_path / "version").as_uri(), tags=tags)
    registry.promote(registry.list_versions()[0], None, {})
    found = find_champion(layout, record, store)
    assert isinstance(found, Champion) and (found.number, found.search) == (1, "lite")
    assert found.score == "0.8527 [0.8388, 0.8665]" and found.since is not None
    assert found.images.tolist() == list(range(len(names))) and (found.correct == correct).all()
    path.unlink()  # what tells images apart is gone
    found = find_champion(layout, record, store)
    assert isinstance(found, Champion) and found.images is None


def test_it_is_that_of_the_model_the_search_was_promoted_to(tmp_path: Path, store: str) -> None:
    layout = make_search(tmp_path, "mine")
    record = load_record(layout)
    registry = Registry(store, "another-name")
    registry.connect().create_registered_model(registry.model)
    registry.connect().create_model_version(registry.model, tmp_path.as_uri(), tags={"search": "mine"})
    registry.promote(registry.list_versions()[0], None, {})
    assert find_champion(layout, record, store) is None  # the data's name is the only one that is known
    for number, model in ((2, "older"), (10, registry.model)):
        write_state(layout, AttemptState(number=number, key="k", model=model, began=1.7e9))
    layout.attempt(11).folder.mkdir()
    layout.attempt(11).state.write_text("{")  # damaged
    found = find_champion(layout, record, store)
    assert isinstance(found, Champion) and (found.model, found.search) == (registry.model, "mine")


def test_without_a_registry_there_is_none_and_none_is_made(layout: SearchLayout) -> None:
    assert find_champion(layout, load_record(layout)) is None and not layout.tracking_db.exists()


def test_a_registry_that_does_not_answer_costs_no_report(layout: SearchLayout) -> None:
    found = find_champion(layout, load_record(layout), "http://127.0.0.1:9")
    assert isinstance(found, str) and "127.0.0.1:9" in found and "\n" not in found
