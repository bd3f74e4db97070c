"""What people read of a search follows its objective: on trials that each one ranks otherwise."""

import csv
import io

import numpy as np
import pytest
from planted_objectives import BEST, IMAGES, LABELS, NAMES, STYLES, plant_answers, tell_search
from rich.console import Console

from fashion_core.errors import SearchError
from fashion_core.metrics import ACCURACY, CLASS_ACCURACY, Measure, Objective
from search.commands.searches import render_list
from search.experiment.housekeeping import glance_at
from search.experiment.result import load_search
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.reporting import figures
from search.reporting.effects import render_effects
from search.reporting.live import take_standing
from search.reporting.report import write_report
from search.reporting.summary import render_summary
from search.reporting.ties import compare_with_best
from search.reporting.words import describe_search


@pytest.fixture(params=BEST)
def objective(request):
    return request.param


@pytest.fixture
def layout(objective, tmp_path):
    """A trial a style, in their order; each is `common` in its second epoch."""
    layout = SearchLayout(tmp_path, "planted")
    answers = [plant_answers(style, number) for number, style in enumerate(STYLES)]
    tell_search(layout, objective, [({"lr": 0.1}, [each, answers[0]]) for each in answers])
    return layout


def test_the_report_and_its_table(layout, objective):
    record, best = load_record(layout), list(STYLES).index(BEST[objective])
    write_report(layout, record, describe_search(record))
    text = layout.report.read_text()
    score = record.trials[best].best
    assert f"Best `{objective}` (" in text.split("\n")[2] and f"**{score:.4f} ± " in text.split("\n")[2]
    assert f"trial {best} after epoch 1 of 2" in text.split("\n")[2]
    beside = CLASS_ACCURACY if objective == ACCURACY else ACCURACY
    assert f"| epochs | {objective} | less the best, points | {beside} | origin |" in text
    assert f"| 1 | {best} | finished | 2 | {score:.4f} ± " in text
    assert ("The search's objective is" in text) == (f"objective `{objective}`; " in text) == (objective != ACCURACY)
    with layout.trials_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[best][objective]) == score and ACCURACY in rows[0] and CLASS_ACCURACY in rows[0]
    assert list(rows[0])[9:11] == [objective, Objective(objective).error_name]
    assert load_search("planted", layout.results).to_dict()["best"]["trial"] == best


def test_the_terminal(layout, objective):
    record, best = load_record(layout), list(STYLES).index(BEST[objective])
    console = Console(width=100, file=io.StringIO())
    console.print(render_summary(describe_search(record), ()))
    text = " ".join(console.file.getvalue().split())
    assert f"1 {best} finished 2 {record.trials[best].best:.4f}" in text
    assert (f"Scores are of {objective}, " in text) == (objective != ACCURACY)
    lines = dict(take_standing(record, 3, 2, (0, 0)).lines)
    assert lines["best"].startswith(f"{record.trials[best].best:.4f} ± ") and f"trial {best}, epoch 1" in lines["best"]


def test_a_list_of_searches_names_it(layout, objective):
    (glance,), best = glance_at(layout.results), list(STYLES).index(BEST[objective])
    record = load_record(layout)
    assert (glance.best, glance.objective) == (record.trials[best].best, objective)
    console = Console(width=100, file=io.StringIO())
    console.print(render_list([glance], [""], 100))
    name = "" if objective == ACCURACY else objective.removeprefix("val/") + " "
    assert f" 3  {name}{glance.best:.4f} " in console.file.getvalue()


def test_the_curves_are_of_it(layout, objective, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    record = load_record(layout)
    assert figures.draw_curves(record, layout.folder / "curves.png")
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == objective
    tops = sorted(max(line.get_ydata()) for line in axes.lines)
    assert tops == pytest.approx(sorted(trial.best for trial in record.trials.values()))


@pytest.mark.slow
def test_trials_are_compared_with_the_best_image_by_image(layout, objective):
    """The difference of the scores, and the error that images drawn again give."""
    record, best = load_record(layout), list(STYLES).index(BEST[objective])
    standings = compare_with_best(record, record.rank())
    measure, rng = Measure(Objective(objective), LABELS, NAMES), np.random.default_rng(0)
    answers = [plant_answers(style, number) for number, style in enumerate(STYLES)]
    own = [answers[0] if measure.score(answers[0]) > measure.score(each) else each for each in answers]
    for number, standing in standings.items():
        assert standing.is_paired
        assert standing.difference.value == pytest.approx(measure.score(own[number]) - measure.score(own[best]))
        drawn = []
        for _ in range(1500):
            rows = rng.integers(0, IMAGES, IMAGES)
            again = measure.take(rows)
            drawn.append(float(again.score(own[number][rows]) - again.score(own[best][rows])))
        assert standing.difference.error == pytest.approx(np.std(drawn), rel=0.1, abs=1e-4)


@pytest.mark.parametrize("chosen", [ACCURACY, CLASS_ACCURACY])
def test_effects_are_on_it(tmp_path, chosen):
    """Four layers make a trial `common`, none `even`: worse by class accuracy, no worse by accuracy."""
    layout, rng = SearchLayout(tmp_path, "planted"), np.random.default_rng(0)
    trials = []
    for number in range(40):
        layers = int(rng.choice([0, 4]))
        answers = plant_answers("common" if layers else "even", number)
        flipped = rng.random(answers.shape) < 0.05
        trials.append(({"fc_layers": layers, "lr": float(rng.random())}, [np.where(flipped, 1 - answers, answers)]))
    tell_search(layout, chosen, trials)
    text = render_effects(load_record(layout))
    (row,) = [line for line in text.splitlines() if line.startswith("| `fc_layers` | 0 → 4 ")]
    effect = float(row.split("|")[3].replace("*", "").split("±")[0])
    assert f"Changes of `{chosen}` and of" in text
    assert (effect < -10) == (chosen == CLASS_ACCURACY)


def test_effects_on_a_class_of_one_image_are_refused(tmp_path):
    layout = SearchLayout(tmp_path, "planted")
    tell_search(layout, CLASS_ACCURACY, [({"lr": 0.1 * n}, [plant_answers("even", n)]) for n in range(20)])
    record = load_record(layout)
    labels = record.begun.selection["select_labels"]
    labels[-20:] = [[0, 0]] * 19 + [[2, 0]]
    with pytest.raises(SearchError, match=r"need two images or more of each class .* planted some class has one"):
        render_effects(record)
