"""What trainings took of their machine, in words, in the report's tables and in `trials.csv`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from answered_search import write_search

from search.records.events import SearchEnded
from search.records.record import load_record
from search.records.usage import Usage, measure_usage
from search.reporting.answers import Source
from search.reporting.spent import USAGE, answer_spent, describe_usage, estimate_full, explain_missing, write_usage
from search.reporting.trials import FIXED_COLUMNS, tabulate_trials
from search.reporting.words import describe_search

if TYPE_CHECKING:
    from pathlib import Path

    from search.records.record import SearchRecord

NOTHING = Usage(None, None, None, None, None, None)


def take(record: SearchRecord) -> None:
    """Let the trials of a record tell what they took: the later, the less."""
    for number, trial in record.trials.items():
        for row in trial.epochs:
            row.metrics["train/images_per_second"] = 100.0 - number
            row.metrics["train/peak_memory_mib"] = 2048.0 - number


def test_what_is_known_is_told_in_a_line() -> None:
    usages = {
        0: Usage(8.0, 40.0, 512.4, None, 3600.0, None),
        1: Usage(8.0, 80.0, 1536.0, 300.0, 1800.0, 900.0),
        2: Usage(8.0, 20.0, 640.0, 200.0, None, None),
        3: NOTHING,
    }
    assert describe_usage(usages) == (
        "Images a second in training: median 40 (20 to 80). Peak memory: median 640 MiB, most 1.5 GiB (trial 1). "
        "Peak GPU memory: median 250 MiB, most 300 MiB (trial 1). Energy of processors: 1.5 Wh in 2 trials. "
        "Energy of GPUs: 0.2 Wh in 1 trial."
    )


@pytest.mark.parametrize("usages", [{}, {0: NOTHING}])
def test_of_what_is_not_known_nothing_is_said(usages: dict[int, Usage]) -> None:
    assert describe_usage(usages) == ""
    assert all(write_usage(usage) == dict.fromkeys(USAGE, "") for usage in usages.values())


def test_tables_have_columns_of_what_is_known_alone(tmp_path: Path) -> None:
    record = load_record(write_search(tmp_path))
    before, _ = tabulate_trials(record)
    assert before[: len(FIXED_COLUMNS) + 1] == [*FIXED_COLUMNS, "val/accuracy"]
    take(record)
    columns, rows = tabulate_trials(record)
    assert columns == [*FIXED_COLUMNS, "images_per_second", "peak_memory_mib", *before[len(FIXED_COLUMNS) :]]
    place = len(FIXED_COLUMNS)
    assert [row[place : place + 2] for row in rows] == [[100.0 - number, 2048.0 - number] for number in range(12)]
    assert measure_usage(record.trials[3]).images_per_second == pytest.approx(97)


def test_the_reports_page_shows_it_beside_each_trial(tmp_path: Path) -> None:
    layout = write_search(tmp_path)
    record, texts = load_record(layout), []
    for _ in range(2):
        answer = answer_spent(Source(layout, record, describe_search(record)))
        texts.append("".join(str(part) for part in answer.parts))
        take(record)
    assert not any(name in texts[0] for name in USAGE) and "mages a second" not in texts[0]
    assert "images/s" in texts[1] and "peak memory" in texts[1] and "peak GPU memory" not in texts[1]
    assert "most 2.0 GiB (trial 0)" in texts[1]


def test_what_was_not_trained_is_told_apart_and_adds_up(tmp_path: Path) -> None:
    record = load_record(write_search(tmp_path))
    assert explain_missing(record) == "; 3 epochs of 1 trial were not trained, because these failed"
    for number in (3, 4):
        trial = record.trials[number]
        assert trial.end is not None
        trial.epochs, trial.end = trial.epochs[: number - 2], replace(trial.end, status="interrupted")
    record.settings["trials"] = 15
    record.ended = SearchEnded(reason="stopped", seconds=1.0)
    told = explain_missing(record)
    assert "; 5 epochs of 2 trials were not trained, because the search was asked to stop" in told
    assert "; 3 trials never began, because the search was asked to stop" in told
    words = describe_search(record)
    assert words.epochs + words.saved_epochs + 3 + 5 == words.full_epochs
    record.ended = SearchEnded(reason="time budget", seconds=1.0)
    assert "because a limit of the search was reached" in explain_missing(record)


def test_full_training_is_told_by_the_seconds_of_whole_epochs(tmp_path: Path) -> None:
    """An interrupted trial spent its time on an epoch that did not end: that tells no pace."""
    record = load_record(write_search(tmp_path))
    for number, trial in record.trials.items():
        trial.began, trial.left = 0.0, 1000.0
        for row in trial.epochs:
            row.metrics.update({"train/seconds": 8.0 + number, "val/seconds": 2.0})
    assert estimate_full(record) == pytest.approx(sum(4 * (10.0 + number) for number in range(12)))
    record.trials[11].epochs = []
    assert estimate_full(record) == pytest.approx(sum(4 * (10.0 + number) for number in range(11)) * 12 / 11)
    for trial in record.trials.values():
        for row in trial.epochs:
            del row.metrics["train/seconds"], row.metrics["val/seconds"]
        assert trial.end is not None
        trial.end = replace(trial.end, status="interrupted")
    assert estimate_full(record) is None


def test_what_is_called_all_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    layout = write_search(tmp_path)
    record = load_record(layout)
    record.preparing_seconds, record.seconds, record.training_seconds = 55.0, 1264.0, 1258.0
    answer = answer_spent(Source(layout, record, describe_search(record)))
    assert "21 min 59 s in all." in answer.short
    assert "55 s preparing, 20 min 58 s training, 6 s waiting" in "".join(answer.parts)
