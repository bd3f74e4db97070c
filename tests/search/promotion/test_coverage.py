"""The section on abstaining says what is measured, in the card and in the report."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_results import BOX, build_result
from PIL import Image

from fashion_core.models.ensemble import load_saved
from fashion_core.models.forward import predict_views
from search.promotion.coverage import render_coverage
from search.promotion.report import render_promotion
from search.statistics.coverage import LEVELS, cross_fit_coverage
from search.statistics.intervals import compute_wilson


def read_rows(text: str) -> list[list[str]]:
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| category | smallest confidence"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def test_the_card_and_the_report_have_it(stage, single):
    images = stage.prepared.indices("val")
    probabilities = predict_views(load_saved(single.layout.folder), {BOX: stage.prepared.gather(images)})
    expected = cross_fit_coverage(probabilities, stage.prepared.labels[images], np.arange(len(images)) % 10)
    card = single.layout.card.read_text()
    report = render_promotion(replace(build_result(stage), shipped=single))
    assert "![accuracy against coverage](coverage.png)" in card
    assert f"![accuracy against coverage]({single.layout.folder.name}/coverage.png)" in report
    assert Image.open(single.layout.coverage).size[0] > 300
    assert read_rows(card) == read_rows(report)
    rows = iter(read_rows(card))
    for name, coverage in zip(stage.prepared.schema.names, expected, strict=True):
        for level in LEVELS:
            count, accuracy = coverage.measure(level)
            found = next(rows)
            assert found[:3] == [name, f"{level:g}" if level else "always", f"{count / len(images):.1%}"]
            if accuracy is None:
                assert found[3:] == ["-", "-"]
            else:
                assert found[3:] == [f"{accuracy:.4f}", "{:.4f} to {:.4f}".format(*compute_wilson(accuracy, count))]
    assert next(rows, None) is None


def test_several_networks_on_the_same_images_are_no_more_images(single):
    """The interval of three re-runs is that of a third of their answers."""
    once = read_rows("\n".join(render_coverage(single, "x.png")))
    thrice = read_rows("\n".join(render_coverage(replace(single, reruns=3), "x.png")))
    for one, three in zip(once, thrice, strict=True):
        assert one[:4] == three[:4]
        if one[3] != "-":
            widths = [np.subtract(*map(float, row[4].split(" to ")[::-1])) for row in (one, three)]
            assert widths[1] > widths[0]


def test_nothing_shipped_is_nothing_said(stage):
    assert "## Abstaining" not in render_promotion(build_result(stage))


@pytest.mark.parametrize("name", ["plain", "under_$5_or_$10"])
def test_a_picture_of_any_names(name, tmp_path):
    from search.reporting.figures import draw_coverage

    draw_coverage({name: (np.array([0.5, 1.0]), np.array([0.9, 0.8]))}, tmp_path / "coverage.png")
    assert Image.open(tmp_path / "coverage.png").size[0] > 300
