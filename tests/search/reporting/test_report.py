"""The report of searches written down by a real ledger; its numbers are computed again here."""

import csv
import statistics
import sys

import numpy as np
import pytest

from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.records.record import load_record
from search.report import main
from search.reporting.figures import draw_confusion
from search.reporting.report import write_report
from search.reporting.words import describe_search

CATEGORIES = {"pattern": ["floral", "solid"], "fit": ["tight", "loose", "conventional"]}
MAX_EPOCHS = 4
PATHS = "no file /srv/someone/secret dir/data.bin (10.1.2.3:6379), see http://box.internal:8080/x"


def build_search(layout, trials, *, ended=True, **extra):
    """Write a ledger. trials: [(enqueued, scores, status, params)]; the score of a category is the mean -/+ 0.1."""
    with Ledger(layout.ledger) as ledger:
        fields = {
            "name": layout.name,
            "settings": {
                "trials": len(trials), "sampler": "tpe", "scheduler": "asha", "max_epochs": MAX_EPOCHS,
                "grace_epochs": 1, "reduction_factor": 2, "seed": 3, "select_on": "val", "concurrent": 2,
                "cpus_per_trial": 1, "gpus_per_trial": 0,
            },
            "space_name": "tiny",
            "space_hash": "ab" * 32,
            "provenance": {
                "command": "python search/run.py --data FashionDataset --tracking-uri http://box.internal:5000",
                "torch": "2.9.0", "cpu": "Some CPU", "cpu_count": "2", "platform": "Linux-6.1",
            },
            "data": {
                "folder": "FashionDataset", "fingerprint": "f00d", "counts": {"train": 5000, "val": 500, "test": 1500},
                "skipped": 0, "majority": 0.6, "categories": CATEGORIES,
            },
            "selection": {"select_on": "val", "seed": 3, "train_count": 5000, "select_count": 500, "select_images": []},
        }  # fmt: skip
        ledger.append(SearchStarted(**{**fields, **extra}))
        for number, (enqueued, scores, status, params) in enumerate(trials):
            ledger.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=enqueued))
            for epoch, score in enumerate(scores, 1):
                metrics = {
                    "val/accuracy": score, "val/accuracy_se": 0.01 * score, "val/class_accuracy": score / 2,
                    "val/accuracy/pattern": score - 0.1, "val/accuracy/fit": score + 0.1,
                }  # fmt: skip
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
            best = max(scores, default=None)
            fields = {"best": best, "best_epoch": scores.index(best) + 1 if scores else None, "reason": f"it {status}"}
            if status == "stopped":
                fields |= {"rung": len(scores), "cutoff": 0.7512345}
            if status in ("failed", "diverged"):
                fields |= {"reason": PATHS, "error": PATHS + "\nmore", "best": 0.0 if status == "diverged" else None}
            if status != "running":
                ledger.append(TrialEnded(trial=number, status=status, **fields))
        if ended:
            ledger.append(SearchEnded(reason="all trials ended", seconds=1.0))


def report(layout):
    record = load_record(layout)
    return write_report(layout, record, describe_search(record))


TRIALS = [
    (True, [0.6, 0.7, 0.8, 0.79], "finished", {"lr": 1 / 3000, "net": "a|b", "weight_pattern": 1.0, "weight_fit": 1.0}),
    (False, [0.5, 0.7], "stopped", {"lr": 0.1, "net": "x", "weight_pattern": 1.23456, "weight_fit": 0.76544}),
    (
        False,
        [0.6, 0.7, 0.77, 0.8056],
        "finished",
        {"lr": 0.02, "net": "y", "deep": True, "weight_pattern": 0.5, "weight_fit": 1.5},
    ),
    (False, [0.6], "failed", {"lr": 0.3, "net": "z", "deep": None, "weight_pattern": 1.0, "weight_fit": 1.0}),
    (False, [], "diverged", {"lr": 9.0, "net": "z", "weight_pattern": 1.0, "weight_fit": 1.0}),
    (False, [0.4, 0.5, 0.6, 0.61], "finished", {"lr": 0.001, "net": "x", "weight_pattern": 1.0, "weight_fit": 1.0}),
]


@pytest.fixture
def layout(tmp_path):
    layout = SearchLayout(tmp_path / "results", "tiny")
    build_search(layout, TRIALS)
    report(layout)
    return layout


def read_csv(layout):
    with layout.trials_csv.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_every_number_in_full(layout):
    rows = read_csv(layout)
    assert list(rows[0]) == [
        "trial", "status", "reason", "rung", "cutoff", "enqueued", "epochs", "best_epoch", "seconds",
        "val/accuracy", "val/accuracy_se", "val/class_accuracy", "val/accuracy/pattern", "val/accuracy/fit",
        "lr", "net", "weight_pattern", "weight_fit", "deep",
    ]  # fmt: skip
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    for row, (enqueued, scores, status, params) in zip(rows, TRIALS, strict=True):
        assert (
            row["status"] == status and row["enqueued"] == str(enqueued).lower() and int(row["epochs"]) == len(scores)
        )
        for name, value in params.items():
            expected = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            assert row[name] == expected
            assert not isinstance(value, float) or float(row[name]) == value
        if status in ("finished", "stopped"):
            best = max(scores)
            assert float(row["val/accuracy"]) == best and float(row["val/accuracy_se"]) == 0.01 * best
            assert float(row["val/class_accuracy"]) == best / 2 and float(row["val/accuracy/fit"]) == best + 0.1
            assert int(row["best_epoch"]) == scores.index(best) + 1 and float(row["seconds"]) >= 0
    assert float(rows[1]["cutoff"]) == 0.7512345 and rows[1]["rung"] == "2" and rows[0]["rung"] == ""
    assert float(rows[4]["val/accuracy"]) == 0 and rows[4]["val/class_accuracy"] == ""


def test_the_report_says_what_came_out(layout):
    text = layout.report.read_text()
    median = statistics.median(max(scores) for _, scores, status, _ in TRIALS if status == "finished")
    epochs, full = sum(len(scores) for _, scores, _, _ in TRIALS), len(TRIALS) * MAX_EPOCHS
    assert "**0.8056 ± 0.0081**, trial 2 after epoch 4 of 4, found by the search's own sampling" in text
    assert "`val/class_accuracy` is 0.4028" in text and "commonest class scores 0.6000" in text
    assert "6 trials: 3 finished, 1 stopped, 1 failed, 1 diverged." in text
    assert f"They trained {epochs} epochs, {epochs / full:.0%} of full training ({full}); ASHA saved 2." in text
    assert f"Of the 3 that finished (1 tried first, 2 sampled), the median best `val/accuracy` is {median:.4f}" in text
    assert "| pattern | 0.7056 |" in text and "| fit | 0.9056 |" in text and "| **mean** | **0.8056** |" in text
    assert "Trial 0 is not distinguishable from the best" in text  # 0.8056 - 0.8 < 0.0081
    assert "5,000 train, 500 val, 1,500 test" in text and "`f00d`" in text and "torch 2.9.0" in text
    assert "2 cores of Some CPU" in text and "val: 500 images; trained on 5,000" in text
    assert "`python search/run.py --data FashionDataset" in text
    assert "has not ended" not in text


def test_trials_are_sorted_by_their_best(layout):
    lines = layout.report.read_text().splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("| rank"))
    rows = [
        [cell.strip() for cell in line.replace("\\|", "!").strip("|").split("|")] for line in lines[head : head + 8]
    ]
    assert len({len(row) for row in rows}) == 1
    assert [(row[0], row[1]) for row in rows[2:]] == [
        ("1", "2"),
        ("2", "0"),
        ("3", "1"),
        ("4", "5"),
        ("-", "3"),
        ("-", "4"),
    ]
    assert rows[0][-2:] == ["category_weights: pattern fit", "deep"]
    assert rows[2][-2:] == ["0.5 1.5", "true"] and rows[3][-2] == "all 1" and rows[3][-3] == "a!b"
    assert rows[4][2] == "stopped, cutoff 0.7512" and rows[4][-2] == "1.2 0.77"


def test_nothing_says_where_it_ran(layout):
    for path in (layout.report, layout.trials_csv):
        text = path.read_text()
        for place in ("/srv", "someone", "10.1.2.3", "box.internal", str(layout.results), "http://"):
            assert place not in text


def run_command(monkeypatch, layout, name):
    """Exit status of `python -m search.report NAME`, in this process."""
    monkeypatch.setattr(sys, "argv", ["report", name, "--results", str(layout.results)])
    with pytest.raises(SystemExit) as exit_status:
        main()
    return exit_status.value.code


def test_a_report_can_be_made_again(layout, monkeypatch, capsys):
    paths = [layout.report, layout.trials_csv, layout.trials_parquet, layout.curves, layout.folder / "curves.png"]
    before = [path.read_bytes() for path in paths]
    assert run_command(monkeypatch, layout, "tiny") == 0
    assert [path.read_bytes() for path in paths] == before
    assert capsys.readouterr().out.splitlines() == [f"wrote {path}" for path in (*paths, layout.page)]


def test_a_search_that_is_not_there_is_told_without_a_traceback(layout, monkeypatch, capsys):
    assert run_command(monkeypatch, layout, "other") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "no search of the name 'other'" in told and "known are tiny" in told


@pytest.mark.parametrize(
    "trials", [[], [TRIALS[4]], [TRIALS[3]], [(False, [], "failed", {}), (False, [], "interrupted", {})]]
)
def test_a_search_without_a_result_has_a_report(tmp_path, trials):
    layout = SearchLayout(tmp_path, "none")
    build_search(layout, trials)
    report(layout)
    assert "No trial has a score." in layout.report.read_text()
    assert len(read_csv(layout)) == len(trials)


def test_a_running_search_and_a_sparse_ledger(tmp_path):
    layout = SearchLayout(tmp_path, "sparse")
    with Ledger(layout.ledger) as ledger:
        ledger.append(SearchStarted(name="s"))
        ledger.append(TrialStarted(trial=0, trial_id="a", params={"lr": 0.1}, enqueued=False))
        ledger.append(EpochEnded(trial=0, epoch=1, metrics={"val/accuracy": 0.5, "val/accuracy/fit": 0.4}))
        ledger.append(EpochEnded(trial=0, epoch=2, metrics={"val/accuracy": None}))
    report(layout)
    text = layout.report.read_text()
    assert "has not ended" in text and "| fit | 0.4000 |" in text and "no standard error" in text
    assert read_csv(layout)[0]["val/accuracy"] == "0.5" and read_csv(layout)[0]["best_epoch"] == "1"


def test_the_baseline_of_each_category_stands_beside_it(tmp_path):
    layout = SearchLayout(tmp_path, "baseline")
    data = {"majority": 0.6, "majority_by_category": {"pattern": 0.55, "fit": 0.65}, "categories": CATEGORIES}
    build_search(layout, TRIALS, data=data)
    report(layout)
    text = layout.report.read_text()
    assert "| fit | 0.9056 | 0.6500 |" in text and "| **mean** | **0.8056** | 0.6000 |" in text


def test_pictures_that_exist_are_shown(layout):
    draw_confusion(np.array([[30, 2], [1, 5]]), CATEGORIES["pattern"], "pattern", layout.confusion("pattern"))
    report(layout)
    assert "](confusion_pattern.png)" in layout.report.read_text() and "confusion_fit" not in layout.report.read_text()


def test_a_torn_ledger_still_reports(layout):
    with layout.ledger.open("ab") as file:
        file.write(b'{"event": "epo')
    report(layout)
    assert len(load_record(layout).trials) == len(TRIALS)


def test_missing_labels_are_counted_by_category(tmp_path):
    selection = {"select_on": "val", "seed": 3, "train_count": 5000, "select_count": 500, "select_images": []}
    texts = []
    for name, labelled in (("all", {}), ("some", {"labelled": {"pattern": 402, "fit": 77}})):
        layout = SearchLayout(tmp_path, name)
        build_search(layout, TRIALS, selection=selection | labelled)
        report(layout)
        texts.append(layout.report.read_text())
    assert "labelled" not in texts[0]
    assert "val: 500 images, labelled in pattern: 402, fit: 77 of them; trained on 5,000" in texts[1]
    table = texts[1][texts[1].index("| category | accuracy |") :].split("\n\n")[0].splitlines()
    assert table[0].endswith("| labelled images |")
    assert [line.split(" | ")[-1] for line in table[2:]] == ["402 |", "77 |", "500 |"]
