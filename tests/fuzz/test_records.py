"""Ledger, options and plan of a promotion, damaged: an error in one line, or a record that every view can show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import check_told, damaged, damaged_bytes, damaged_json, fuzz, put
from told_search import ToldSearch

from fashion_core.errors import SearchError
from search.experiment.housekeeping import glance_at
from search.experiment.result import load_search
from search.planning.options import SearchOptions, load_options
from search.promotion.options import PromotionOptions
from search.promotion.plan import PLAN_FILE, build_promotion, load_promotion, save_promotion
from search.records.events import SearchStarted, TrialStarted
from search.records.ledger import pack_correct
from search.records.record import load_record
from search.reporting.effects import render_effects
from search.reporting.report import build_report
from search.reporting.summary import render_summary
from search.reporting.words import describe_search

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord

pytestmark = pytest.mark.slow
SPACE = """
trials: 4
fixed: {image_size: 32, weights: none, batch_size: 8, precision: fp32}
search:
  lr: {loguniform: [1e-9, 1e-1]}
  dropout: {uniform: [0, 0.5]}
  backbone: {choice: [test_resnet, resnet18]}
  grad_clip_norm: {choice: [null, 1.0]}
  category_weights: {proportions: [0.1, 10]}
scheduler: {type: none, max_epochs: 6}
"""
IMAGES = 20


class FullSearch(ToldSearch):
    """A told search whose ledger holds all that one can."""

    def append(self, event):
        if isinstance(event, SearchStarted):
            event = SearchStarted(
                name=event.name,
                settings={**event.settings, "seed": 3, "select_on": "val", "cpus_per_trial": 1, "gpus_per_trial": 0.5},
                space=SPACE,
                space_name="tiny",
                space_hash="ab" * 32,
                provenance={"command": "python search/run.py", "version": "0.3.0", "cpu_count": "2"},
                data={
                    **event.data, "folder": "photos", "fingerprint": "f00d", "counts": {"train": 50, "val": 20},
                    "skipped": 0, "majority": 0.5, "majority_by_category": {"pattern": 0.4, "fit": 0.6},
                },
                selection={
                    "select_on": "val", "seed": 3, "train_count": 50, "select_count": IMAGES, "select_images": ["a"],
                },
            )  # fmt: skip
        super().append(event)

    def start(self, number, *, enqueued=False):
        params = {"lr": 0.01 / (number + 1), "dropout": number / 50, "backbone": "test_resnet", "grad_clip_norm": None}
        params |= (
            {"weight_pattern": 1.2, "weight_fit": 0.8} if number % 2 else {"weight_pattern": 0.9, "weight_fit": 1.1}
        )
        params |= {"grad_clip_norm": 1.0, "backbone": "resnet18"} if number % 3 else {}
        self.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=enqueued))

    def run(self):
        super().run()
        rng = np.random.default_rng(0)
        for number in range(5, 30):  # as many as effects need
            self.start(number)
            self.epoch(number, 6, 0.5 + number / 100)
            correct = pack_correct(rng.random((IMAGES, 2)) < 0.6)
            self.end(number, "finished", 0.5 + number / 100, 6, correct=correct)


class Lines(list):
    """Lines of a ledger, which an example's report need not show."""

    def __repr__(self) -> str:
        return f"{len(self)} lines"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> SearchLayout:
    """A search that ended, written down by a real session."""
    search = FullSearch(tmp_path_factory.mktemp("results"))
    search.run()
    search.ledger.close()
    SearchOptions(
        data="photos", space="demo", name="some_search", results=search.layout.results, time_budget_s="8h", trials=5,
        gpus_per_trial=0.5, seed=7, storage="shared", tracking_uri="http://localhost:5000",
    ).save(search.layout.options)  # fmt: skip
    return search.layout


@pytest.fixture(scope="module")
def ledger(layout: SearchLayout) -> Lines:
    """The lines of its ledger."""
    return Lines(layout.ledger.read_bytes().splitlines(keepends=True))


@pytest.fixture(scope="module")
def options(layout: SearchLayout) -> bytes:
    """Its options."""
    return layout.options.read_bytes()


@st.composite
def damaged_ledger(draw, lines: list[bytes]) -> bytes:
    """A ledger with lines of other values, of other bytes, left out, repeated, or in another order."""
    whole, lines = lines, list(lines)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, min(len(lines) - 1, 40)))
        match draw(st.sampled_from(("values", "values", "values", "bytes", "leave out", "repeat", "move"))):
            case "values":
                text = draw(damaged_json(whole[place].decode()))
                lines[place] = text.encode("utf-8", "surrogatepass") + b"\n"
            case "bytes":
                lines[place] = draw(damaged_bytes(lines[place]))
            case "leave out":
                lines.pop(place)
            case "repeat":
                lines.insert(place, lines[place])
            case "move":
                lines.insert(place, lines.pop())
    return b"".join(lines)


def view(layout: SearchLayout) -> None:
    """All that is shown of a ledger."""
    record = load_record(layout)
    words = describe_search(record)
    build_report(words, record, [], [])
    render_summary(words, [])
    json.dumps(load_search(layout.name, layout.results).to_dict())
    json.dumps([each.to_dict() for each in glance_at(layout.results)])
    for more in (lambda: render_effects(record), lambda: build_promotion(record, PromotionOptions())):
        check_told(more, lines=True)


def test_the_whole_ledger_can_be_seen(layout: SearchLayout, ledger: Lines) -> None:
    put(layout.ledger, b"".join(ledger))
    record = load_record(layout)
    assert "trials, each scored" in render_effects(record)
    assert len(build_promotion(record, PromotionOptions()).candidates) == 4


@fuzz(20)
@given(data=st.data())
def test_ledgers(layout: SearchLayout, ledger: Lines, data: st.DataObject) -> None:
    put(layout.ledger, data.draw(damaged_ledger(ledger)))
    check_told(lambda: view(layout))


@fuzz(20)
@given(data=st.data())
def test_options(layout: SearchLayout, options: bytes, data: st.DataObject) -> None:
    put(layout.options, data.draw(damaged(options)))
    check_told(lambda: load_options(layout).build_layout())


@pytest.fixture(scope="module")
def begun(layout: SearchLayout, ledger: Lines) -> tuple[SearchRecord, Path, bytes]:
    """The search's record, and the file of the plan of its promotion with what it holds."""
    put(layout.ledger, b"".join(ledger))
    record = load_record(layout)
    save_promotion(layout, build_promotion(record, PromotionOptions()))
    path = layout.promotion_folder / PLAN_FILE
    return record, path, path.read_bytes()


@fuzz(5)
@given(data=st.data())
def test_plans_of_promotions(
    layout: SearchLayout, begun: tuple[SearchRecord, Path, bytes], data: st.DataObject
) -> None:
    record, path, whole = begun
    put(path, data.draw(damaged(whole)))
    check_told(lambda: load_promotion(layout, record, PromotionOptions()))


@pytest.mark.parametrize("name", ["ledger", "options"])
def test_a_folder_in_its_place(layout: SearchLayout, name: str, tmp_path: Path) -> None:
    other = type(layout)(tmp_path, "other")
    getattr(other, name).mkdir(parents=True)
    for read in (lambda: load_record(other), lambda: load_options(other)):
        with pytest.raises(SearchError):
            read()
