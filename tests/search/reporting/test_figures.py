"""Pictures, read back: what is dark, what has a colour, and that the same record gives the same file."""

import numpy as np
import pytest
from PIL import Image
from told_search import ToldSearch

from search.records.record import SearchRecord
from search.reporting.figures import COLOURS, draw_confusion, draw_curves


def read_pixels(path):
    """[height, width, 3] int64."""
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def count_colour(path, colour):
    """Pixels of this very colour, given as `#rrggbb`."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((read_pixels(path) == wanted).all(2).sum())


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_confusion_matrix_is_dark_where_the_share_is_large(tmp_path, count):
    matrix = np.eye(count, dtype=np.int64) * 50
    matrix[0, 0] = 0  # a class without images
    with np.errstate(all="raise"):
        draw_confusion(matrix, [f"class {index}" for index in range(count)], "a title", tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    pixels = read_pixels(tmp_path / "a.png")
    dark = (pixels == [8, 48, 107]).all(2)  # the end of the scale; the colour bar holds some of it too
    assert 300 <= pixels.shape[0] <= 2500 and (dark.sum() > 1000) == (count > 1)


@pytest.mark.slow
def test_colours_are_shares_of_the_true_class(tmp_path):
    """Ten times the images of a class change its numbers, not its colours; answers and truth are not exchanged."""
    matrix = np.array([[1, 9], [5, 5]])
    for name, each in {"one": matrix, "more": matrix * [[10], [1]], "turned": matrix.T, "even": matrix * 0 + 5}.items():
        draw_confusion(each, ["a", "b"], "fit", tmp_path / f"{name}.png")
    pixels = {name: read_pixels(tmp_path / f"{name}.png") for name in ("one", "more", "turned", "even")}

    def list_cells(picture):
        """The colours that fill large areas."""
        colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        return {tuple(colour) for colour, count in zip(colours.tolist(), counts, strict=True) if count > 10_000}

    assert list_cells(pixels["one"]) == list_cells(pixels["more"]) != list_cells(pixels["turned"])
    assert len(list_cells(pixels["one"])) == 4  # 0.1, 0.5, 0.9 and the paper
    assert list_cells(pixels["even"]) < list_cells(pixels["one"])  # half is as dark in every picture


def test_names_are_no_formulas(tmp_path):
    """Nor do they break a picture: they once ended a search after its last trial."""
    names = ["under_$5_or_$10", "$x^$", "\\frac{"]
    draw_confusion(np.eye(3, dtype=np.int64), names, "$^$ of $_$", tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def tell_search(folder, count):
    search = ToldSearch(folder)
    for number in range(count):
        search.start(number)
        for epoch in (1, 2, 3):
            search.epoch(number, epoch, 0.5 + 0.05 * number + 0.01 * epoch)
    search.ledger.close()
    return search.record


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_the_best_trials_have_a_colour_each(tmp_path, count):
    assert draw_curves(tell_search(tmp_path, count), tmp_path / "curves.png")
    seen = [count_colour(tmp_path / "curves.png", colour) > 50 for colour in COLOURS]
    assert seen == [place < count for place in range(5)]
    assert (count_colour(tmp_path / "curves.png", "#bfbfbf") > 50) == (count > 5)  # the others are grey
    assert not list(tmp_path.glob("*.tmp"))


def test_the_first_colour_is_the_best_trials(tmp_path):
    """It ends highest on the paper."""
    record = tell_search(tmp_path, 2)
    draw_curves(record, tmp_path / "curves.png")
    pixels = read_pixels(tmp_path / "curves.png")
    heights = []
    for colour in COLOURS[:2]:
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        heights.append(np.argwhere((pixels == wanted).all(2))[:, 0].min())
    assert record.rank()[0].number == 1 and heights[0] < heights[1]


def test_the_same_record_gives_the_same_file(tmp_path):
    record = tell_search(tmp_path, 6)
    for name in ("one", "other"):
        draw_curves(record, tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_where_there_is_no_score_there_is_no_picture(tmp_path, search):
    path = tmp_path / "curves.png"
    assert not draw_curves(SearchRecord(), path)
    search.start(0)
    search.epoch(0, 1, None)
    assert not draw_curves(search.record, path) and not path.exists()


def test_epochs_without_a_score_are_gaps(tmp_path, search):
    for number in (0, 1):
        search.start(number)
        search.epoch(number, 1, None)
    search.epoch(0, 2, 0.5)
    search.end(1, "failed")
    assert draw_curves(search.record, tmp_path / "curves.png") and (tmp_path / "curves.png").is_file()
