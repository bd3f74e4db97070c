"""Whether the data can be trusted: what the audit found, and the score without what was trained on."""

import re

import numpy as np
import pytest
from answered_search import IMAGES, draw_answers, keep_model, write_search

from fashion_core.data.audit import Audit, Pair
from fashion_core.data.lines import SPLITS
from search.records.events import SearchEnded
from search.records.record import load_record
from search.reporting.answers import Source
from search.reporting.audited import build_audited, read_audited, write_audited
from search.reporting.trust import answer_repeat, answer_trust, write_again
from search.reporting.words import describe_search

NAMES = [f"img/{number:03d}.jpg" for number in range(IMAGES)]
PAIRS = (
    Pair("a.jpg", NAMES[3], ("train", "val"), True, True),
    Pair(NAMES[5], "b.jpg", ("val", "train"), False, False),
    Pair(NAMES[6], NAMES[7], ("val", "val"), False, False),
    Pair("c.jpg", NAMES[8], ("test", "val"), False, False),
)


def answer(layout):
    record = load_record(layout)
    return answer_trust(Source(layout, record, describe_search(record)))


def build_audit(pairs=PAIRS):
    return Audit(
        {"train": 400, "val": IMAGES, "test": 9},
        dict.fromkeys(SPLITS, 0),
        {},
        {},
        pairs,
        {"train": 0, "val": 0, "test": 0},
    )


@pytest.fixture
def layout(tmp_path):
    return write_search(tmp_path)


def test_the_audits_numbers_are_read_and_not_its_text(layout):
    layout.audit.write_text("- train and val: 90 byte-identical pairs, 90 nearly alike\n")
    write_audited(layout, build_audited(build_audit(), NAMES))
    found = answer(layout)
    text = " ".join(map(str, found.parts[:3]))
    assert "train and val share pictures: 1 are the same files, 1 nearly alike" in text
    assert "val and test share pictures: 0 are the same files, 1 nearly alike" in text
    assert "1 of 4 pairs of images that show one picture have different labels" in text and "90" not in text
    assert read_audited(layout).in_train == [NAMES[3], NAMES[5]]


def test_an_image_held_out_of_train_has_its_double_in_what_is_trained_on():
    pairs = (
        Pair("held.jpg", "kept.jpg", ("train", "train"), False, False),
        Pair("kept.jpg", "also.jpg", ("train", "train"), False, False),
    )
    assert build_audited(build_audit(pairs), ["held.jpg"]).in_train == ["held.jpg"]


def test_an_older_search_has_its_audit_as_text(layout):
    layout.audit.write_text("## Images\n\n- train and val: 2 byte-identical pairs, 3 nearly alike\n")
    assert "--check-data" not in answer(layout).parts[-1]  # by which model?
    keep_model(layout)
    found = answer(layout)
    assert "numbers are not summed up" in found.short and "2 byte-identical pairs" in found.parts[-2]
    assert "--check-data" in found.parts[-1]
    layout.audit_facts.write_text("{")
    assert "numbers are not summed up" in answer(layout).short


def test_the_score_without_what_was_trained_on(layout):
    write_audited(layout, build_audited(build_audit(), NAMES))
    text = " ".join(map(str, answer(layout).parts))
    assert f"2 of {IMAGES} images scored show a picture that was trained on too" in text
    answers = draw_answers(12, 2)
    first, second = (trial.number for trial in load_record(layout).rank()[:2])
    kept = np.setdiff1d(np.arange(IMAGES), [3, 5])
    own, other = answers[first][kept].mean(1), answers[second][kept].mean(1)
    row = re.search(r"without them</th><td>78</td><td>([\d.]+) \[([\d.]+), [\d.]+\]</td><td>([+-][\d.]+) \[", text)
    assert float(row[1]) == pytest.approx(own.mean(), abs=5e-5)
    half = 1.9913 * own.std(ddof=1) / np.sqrt(len(kept))  # Student's, of 77 degrees of freedom
    assert float(row[2]) == pytest.approx(own.mean() - half, abs=2e-4)
    assert float(row[3]) == pytest.approx(100 * (own - other).mean(), abs=6e-3)


def test_without_doubles_that_is_said(layout):
    write_audited(layout, build_audited(build_audit(()), NAMES))
    found = answer(layout)
    assert any("No near-duplicates found" in part for part in found.parts)
    assert "The audit found nothing" not in found.short or "share" in found.short


def test_where_all_are_doubles_there_is_no_score(layout):
    pairs = tuple(Pair("a.jpg", name, ("train", "val"), False, False) for name in NAMES)
    write_audited(layout, build_audited(build_audit(pairs), NAMES))
    assert any("too few are left" in part for part in answer(layout).parts)


def test_what_matters_to_the_score_comes_first(layout):
    write_audited(layout, build_audited(build_audit(), NAMES))
    found = answer(layout)
    text = " ".join(map(str, found.parts))
    assert found.short.startswith(f"2 of the {IMAGES} images scored show a picture that was trained on")
    touching, alone = text.index("val and test share"), text.index("val has pairs")
    assert max(touching, alone) < text.index("also: 1 of 4 pairs")
    other = (Pair("a.jpg", "z.jpg", ("train", "test"), False, True),)
    write_audited(layout, build_audited(build_audit(other), NAMES))
    found = answer(layout)
    assert found.short.startswith(f"None of the {IMAGES} images scored shows a picture that was trained on")
    assert "share" not in found.short and "also: train and test share pictures" in " ".join(map(str, found.parts))


@pytest.mark.parametrize(
    ("line", "again"),
    [
        ("python search/run.py --data d --name one --replace", "python search/run.py --data d --name one-again"),
        ("run --replace --name=one --data d", "run --data d --name one-again"),
        ("run --name 'my one' --data d", "run --data d --name one-again"),
        ("run --data d --replace-nothing", "run --data d --replace-nothing --name one-again"),
    ],
)
def test_a_repeated_search_leaves_the_one_that_stands_there(line, again):
    assert write_again(line, "one") == again


def test_how_alike_a_repeated_search_is(layout):
    def repeat(reason="all trials ended", **settings):
        record = load_record(layout)
        record.settings.update(settings)
        record.ended = SearchEnded(reason=reason, seconds=1.0)
        return answer_repeat(Source(layout, record, describe_search(record)))

    assert "same numbers" in repeat().short and "stop" not in repeat().short
    assert "are drawn from results, whose order differs" in repeat(concurrent=2).short
    assert "same configurations" in repeat(concurrent=2, sampler="random").short
    assert "are drawn from results, which differ by noise" in repeat(gpus_per_trial=1.0).short
    assert "was asked to stop" in repeat("stopped").short and "was interrupted" in repeat("interrupted").short
    assert "absolute paths are shortened" in repeat().parts[1]
