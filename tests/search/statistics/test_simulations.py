"""The short form of `make statistics`: its simulations pass its own checks, and planted errors do not."""

from dataclasses import replace
from pathlib import Path

import effects_simulation
import judging_simulation
import numpy as np
import pytest
import rounds_simulation
from statistics_check import (
    check_chain,
    check_choice,
    check_coverage,
    check_effects,
    check_rounds,
    find_faults,
)

TABLES = Path(__file__).resolve().parents[3] / "results" / "promotion_statistics"


def cover(repetitions=150):
    return {"repetitions": repetitions, **judging_simulation.measure_coverage(250, 3, 0.4, repetitions)}


def test_intervals_pass_and_those_too_narrow_do_not(monkeypatch):
    assert check_coverage(cover()) == []
    compare = judging_simulation.compare

    def compare_too_surely(*arguments):
        found = compare(*arguments)
        return replace(found, error=0.6 * found.error, parts=None)

    monkeypatch.setattr(judging_simulation, "compare", compare_too_surely)
    faults = check_coverage(cover())
    assert any(fault.startswith("of_all holds the truth in") for fault in faults)
    assert any(fault.startswith("the gate opens for an equal in") for fault in faults)


def chain(repetitions, form="recipe", images=100, **options):
    row = judging_simulation.measure_chain(2, 0.8, repetitions, images, form=form, **options)
    number = judging_simulation.FORMS.index(form)
    return {"form": number, "pool": 2, "seed_sd": 0.8, "repetitions": repetitions, **row}


def test_tries_that_are_counted_pass_and_uncounted_ones_do_not():
    """The planted error: each try may spend all of the error, as if it stood alone."""
    assert check_chain(chain(20)) == []
    assert check_chain(chain(20, "reruns")) == []
    fault, *_ = check_chain(chain(40, asks=lambda attempt: 0.05))
    assert fault.startswith("equal challengers open the gate in")


def test_a_gate_of_recipes_that_knows_of_images_alone_does_not_pass():
    """The planted error: recipes are compared by their networks as these are, so that a lucky seed opens the gate."""
    fault, *_ = check_chain(chain(30, "recipe", 500, has_noise=False))
    assert fault.startswith("equal challengers open the gate in")


@pytest.mark.parametrize("form", ["single", "ensemble"])
def test_networks_as_they_are_open_the_gate_where_they_are_better(form):
    assert check_chain(chain(20, form, 250)) == []


def test_cross_fitting_passes_and_choosing_on_what_is_scored_does_not(monkeypatch):
    def choose(repetitions):
        return judging_simulation.measure_choice(8, 0.0, repetitions, images=200)

    assert check_choice(choose(30)) == []
    monkeypatch.setattr(judging_simulation, "cross_fit", lambda choose, folds: choose(np.arange(len(folds))))
    assert check_choice(choose(60))[0].startswith("images_network is off by +0.")


@pytest.mark.parametrize("planted", ["shrunk", "too sure", "too unsure"])
def test_effects_pass_and_an_estimator_with_a_bug_does_not(monkeypatch, planted):
    def measure():
        return {"repetitions": 20, **effects_simulation.measure(60, 20)}

    if planted == "shrunk":  # the sound one once, and once where a parameter hangs on two others
        assert check_effects(measure()) == []
        assert check_effects({"repetitions": 20, **effects_simulation.measure(60, 20, has_two_parents=True)}) == []
    estimate = effects_simulation.estimate_effects

    def estimate_wrongly(*arguments):
        found = estimate(*arguments)
        if planted == "shrunk":
            return replace(found, values=0.75 * found.values)
        factor = 0.5 if planted == "too sure" else 1.5
        return replace(found, trial_errors=factor * found.trial_errors, image_errors=factor * found.image_errors)

    monkeypatch.setattr(effects_simulation, "estimate_effects", estimate_wrongly)
    assert check_effects(measure())


def test_sure_losers_pass_and_a_test_that_drops_too_easily_does_not(monkeypatch):
    way = rounds_simulation.Way("sure losers leave, 6 seeds", 6, rounds_simulation.drop_by_test)

    def measure():
        return {"repetitions": 40, **rounds_simulation.measure_way(way, 0.0, 0.8, 40)}

    assert check_rounds(measure()) == []
    monkeypatch.setattr(rounds_simulation, "share_error", lambda *of: 0.4)
    assert any(fault.startswith("the best is dropped in") for fault in check_rounds(measure()))


def test_the_committed_tables_pass():
    assert find_faults(TABLES) == []


def test_a_table_that_is_not_there_is_told(tmp_path):
    assert find_faults(tmp_path)[0] == "coverage.csv is not there" and len(find_faults(tmp_path)) == 5
