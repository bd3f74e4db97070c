"""Photographs that the best trial gets right and wrong: which, and from where alone."""

import base64
import io
import re

import numpy as np
import pytest
from answered_search import IMAGES, draw_answers, write_search
from PIL import Image

from fashion_core.errors import SearchError
from search.records.record import load_record
from search.reporting.photographs import EACH, SIDE, show_photographs


@pytest.fixture
def data(tmp_path):
    """A folder of photographs, each of a grey that is its number."""
    folder = tmp_path / "data"
    (folder / "img").mkdir(parents=True)
    for number in range(IMAGES):
        Image.new("RGB", (400, 600), (number,) * 3).save(folder / "img" / f"{number:03d}.png")
    return folder


NAMES = [f"img/{number:03d}.png" for number in range(IMAGES)]


def test_the_worst_and_some_of_the_right_are_shown(tmp_path, data):
    record = load_record(write_search(tmp_path, images=NAMES))
    page = show_photographs(record, data)
    correct = draw_answers(12, 2)[record.rank()[0].number]
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)" alt="img/(\d+)\.png, ([^"]+)"', page)
    wrong = [(int(number), words) for _, number, words in found if words.startswith("wrong")]
    right = [int(number) for _, number, words in found if words == "all 2 right"]
    assert len(wrong) == min(EACH, int((correct == 0).any(1).sum())) and len(right) == EACH
    assert all(correct[number].all() for number in right)
    for number, words in wrong:
        assert words == "wrong: " + ", ".join(np.array(["sleeve", "fit"])[correct[number] == 0])
    misses = [int((correct[number] == 0).sum()) for number, _ in wrong]
    assert misses == sorted((correct == 0).sum(1), reverse=True)[: len(misses)]
    picture = Image.open(io.BytesIO(base64.b64decode(found[0][0])))
    assert max(picture.size) == SIDE and picture.getpixel((5, 5)) == pytest.approx((int(found[0][1]),) * 3, abs=2)


def test_nothing_outside_the_folder_is_read(tmp_path, data):
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    record = load_record(write_search(tmp_path, images=["../secret.png", str(tmp_path / "secret.png")] * (IMAGES // 2)))
    with pytest.raises(SearchError, match="none of 80 does under data; name the folder with --data"):
        show_photographs(record, data)


def test_what_the_ledger_does_not_tell_is_said(tmp_path, data):
    record = load_record(write_search(tmp_path))
    for trial in record.trials.values():
        object.__setattr__(trial.end, "correct", None)
    with pytest.raises(SearchError, match="leave --photographs out"):
        show_photographs(record, data)
