"""A comparison in words and in a table, for whoever has not read the statistics."""

import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from search.registry.comparing import compute_comparison
from search.registry.comparison_view import describe_categories, describe_verdict, render_comparison


def test_every_verdict_in_words():
    """Answers drawn so that A is better at the first category, B at the second, and nobody at the third."""
    rng = np.random.default_rng(0)
    labels = np.zeros((400, 3), int)
    chances = {"first": (0.9, 0.6), "second": (0.5, 0.75), "third": (0.7, 0.7)}

    def draw(side):
        right = [rng.random(400) < pair[side] for pair in chances.values()]
        return [np.where(column[:, None], [0.8, 0.2], [0.3, 0.7]) for column in right]

    found = compute_comparison(draw(0), draw(1), labels, tuple(chances))
    assert found.list_won(0) == ["first"] and found.list_won(1) == ["second"]
    wanted = "A is surely better in first (marked *). B is surely better in second (marked *)."
    assert describe_categories(found) == wanted
    shown = describe_verdict(found)
    low, high = found.difference.mean.compute_interval()
    assert found.winner is None and low < 0 < high
    assert "not sure which is better" in shown and f"from {100 * low:+.2f} to {100 * high:+.2f}" in shown
    assert f"p = {found.p_value:.3g}, two-sided" in shown
    console = Console(file=io.StringIO(), width=80)
    console.print(render_comparison(replace(found, words=("x", "y"), remarks=("Mind this.",))))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("second")]
    low, high = found.difference.categories[1].compute_interval(1 - 0.05 / 3)
    assert " * " in row and f"{100 * low:+.2f} to {100 * high:+.2f}" in row
    assert f"a true lead of {100 * found.detectable:.2f} points" in " ".join(" ".join(lines).split())
    assert not any("…" in line for line in lines)


def test_categories_that_few_images_are_labelled_in_are_named():
    """And two that answer alike, as far as anybody knows: with so few images that is no certainty."""
    labels = np.zeros((40, 2), int)
    labels[12:, 1] = -1
    answers = [np.tile([0.8, 0.2], (40, 1))] * 2
    found = compute_comparison(answers, answers, labels, ("first", "second"))
    assert found.scarce == [("second", 12)] and found.to_dict()["scarce"] == {"second": 12}
    assert describe_categories(found).endswith("too few to tell much: second on 12.")
    assert found.is_alike and "the same answers right on every one of these 40 images" in describe_verdict(found)
    assert found.difference.mean.error > 0
