"""What a terminal shows of a promotion: tables of its width, and what to do next."""

import io
from dataclasses import replace
from pathlib import Path

from drawn_results import build_result
from rich.console import Console

from fashion_core.config import TrainConfig
from fashion_core.data.schema import KNOWN_CATEGORIES
from search.jobs.reruns import FINISHED, Training
from search.jobs.training import TrainingJob
from search.promotion.attempt_state import PROMOTED, REFUSED, open_attempt
from search.promotion.options import PromotionOptions
from search.promotion.view import (
    RerunView,
    describe_baseline_price,
    describe_dropping,
    describe_own,
    draw_decision,
    draw_judgement,
    show_end,
    show_gate,
)
from search.records.layout import SearchLayout
from search.registry.versions import Registry, Version
from search.tracking.store import default_uri


def show(*things):
    """What a terminal of 80 columns shows of them, on one line."""
    console = Console(file=io.StringIO(), width=80)
    for thing in things:
        thing(console) if callable(thing) else console.print(thing)
    text = console.file.getvalue()
    assert "…" not in text
    return " ".join(text.split())


def test_tables_fit_a_terminal(stage):
    result = build_result(stage)
    text = show(draw_judgement(result.judgement), draw_decision(result.decision))
    assert "trial 12" in text and "baseline" in text and "25%" in text and "ships" in text


def test_the_gate_gives_its_reasons(stage):
    result = build_result(stage)
    text = show(lambda console: show_gate(result.gate, console))
    assert text.startswith("the gate, against the baseline: better: ")
    assert all(" ".join(reason.split()) in text for reason in result.verdict.reasons)


def test_the_end_says_what_came_of_it(stage, single):
    layout = SearchLayout(Path("results"), "drawn")
    registry = Registry(default_uri(layout), "m")
    result = replace(build_result(stage), shipped=single)
    version = Version("fashion-attributes", 2, "run", aliases=("champion",))
    text = show(lambda console: show_end(replace(result, version=version), registry, console))
    assert "fashion-attributes, version 2, is the champion: " in text
    assert "-m search.predict models:/fashion-attributes@champion IMAGE --box x1,y1,x2,y2" in text
    assert "--results" not in text and "--tracking-uri" not in text
    elsewhere = Registry("http://me:secret@host:5000", "m")
    text = show(lambda console: show_end(replace(result, version=version), elsewhere, console))
    assert "--tracking-uri 'http://me:***@host:5000'" in text
    refused = replace(version, aliases=())
    text = show(lambda console: show_end(replace(result, version=refused), registry, console))
    assert "is registered, but not the champion" in text and "search.predict" not in text
    later = replace(result, version=refused, attempt=2, stands=False)
    text = show(lambda console: show_end(later, registry, console))
    assert "unchanged results/drawn/PROMOTION.md and results/drawn/final, of the attempt that was promoted" in text
    assert "report results/drawn/promotion/attempts/2/PROMOTION.md" in text
    assert "nothing is trained once more" in show(lambda console: show_end(build_result(stage), registry, console))


def test_a_baseline_in_its_own_protocol_has_a_price_of_its_own(stage):
    """Where its epochs are those of the candidates, it is counted with them."""
    plan = build_result(stage).plan
    assert plan.is_baseline_alike and describe_baseline_price(plan, KNOWN_CATEGORIES, {"train": 120}) == ""
    config = TrainConfig(backbone="test_resnet", weights="none", image_size=32, epochs=4, batch_size=8)
    own = replace(plan, baseline=replace(plan.baseline, config=config), lasting={"baseline": "own"})
    told = describe_baseline_price(own, KNOWN_CATEGORIES, {"train": 120})
    assert told.startswith("3 networks, 12 epochs, about ") and told.endswith(", of steps that were timed here")
    assert "the report's recipe in its own protocol; its protocol differs from that of trial 12: " in own.baseline_words
    assert describe_dropping(PromotionOptions()) == ""
    assert "the best in at most 0.05 of cases" in describe_dropping(PromotionOptions(drop_error=0.05))


def test_a_later_attempt_says_what_stands(tmp_path):
    layout = SearchLayout(tmp_path, "mine")

    def begin():
        return open_attempt(layout, "key", "m", 1.0)

    assert describe_own(begin()) == ""
    begin().end(2.0, REFUSED)
    assert describe_own(begin()) == "2 of this search, none promoted so far"
    begin().end(2.0, PROMOTED)
    assert describe_own(begin()) == "3 of this search; attempt 2 was promoted, and stands unless this one passes"


def test_a_line_a_network_where_there_is_no_terminal(tmp_path):
    training = Training("trial-0003", 1, TrainingJob(TrainConfig(epochs=2), tmp_path, tmp_path, None, 1), tmp_path)
    console = Console(file=io.StringIO(), width=80)
    with RerunView(console, "re-runs", [training], {"trial-0003": "trial 3"}) as view:
        view.update(training, {"epoch": 1, "metrics": {"val/accuracy": 0.25}})
        view.update(training, {"epoch": 2, "metrics": {"val/accuracy": 0.2}})
        view.update(training, {"status": FINISHED, "error": None})
    text = console.file.getvalue()
    assert text.startswith("re-runs: 1 to train\n  trial 3, seed 1: finished, best 0.2500 [")
