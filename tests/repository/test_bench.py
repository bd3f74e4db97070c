"""What holds the benchmarks together: a row that fails stops no other, and quick forms wait for a slow machine."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """`bench.py` with two rows that are measured at once, in this process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench
    import harness

    def draw_row(number: int, name: str) -> harness.Row:
        measures = {"seconds": harness.Measure("seconds")}
        return harness.Row(number, name, f"Of {name}", "", {"ours": "us"}, measures, (), run=dict, repeats=2)

    rows = {name: draw_row(number, name) for number, name in enumerate(("first", "second", "third"), 1)}
    monkeypatch.setattr(bench, "ROWS", tuple(rows))
    monkeypatch.setattr(bench, "load_row", rows.__getitem__)
    monkeypatch.setenv(harness.SLOWNESS, "1")
    yield bench
    for name in ("bench", "harness"):
        sys.modules.pop(name)


def test_a_row_that_fails_is_told_and_the_others_go_on(bench, tmp_path, monkeypatch, capsys) -> None:
    import harness

    broken = True

    def measure(row, *_: object) -> dict[str, float]:
        if row.name == "second" and broken:
            raise harness.VariantFailed("second ours ended with 1: no epoch", "a line\nno epoch")
        return {"seconds": 1.0}

    monkeypatch.setattr(harness, "measure", measure)
    command = ["bench.py", "--out", str(tmp_path), "--rows", "1,2,3"]
    monkeypatch.setattr(sys, "argv", command)
    assert bench.main() == 1
    told = capsys.readouterr().out.splitlines()
    (failed,) = {line for line in told if "failed" in line}
    assert failed.startswith("row 2 failed: second ours ended with 1: no epoch; all of its output: ")
    assert (tmp_path / "second.log").read_text().startswith("a line\n")
    report = (tmp_path / "README.md").read_text()
    assert "## 1. Of first" in report and "## 3. Of third" in report and "## 2." not in report

    broken = False
    assert bench.main() == 0  # goes on with what is missing
    told = capsys.readouterr().out
    assert "first: measured already" in told and "failed" not in told
    assert "## 2. Of second" in (tmp_path / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "first.csv", "second.csv", "third.csv"]


def test_another_commit_is_one_more_peer_that_nothing_may_be_worse_than(bench, tmp_path) -> None:
    import harness

    goals = (harness.Goal("s a trial", "seconds", 9, at_most=True), harness.Goal("peer", "seconds", 2, variant="peer"))
    variants = {"ours": "us", "peer": "them"}
    row = harness.Row(1, "first", "First", "", variants, {"seconds": harness.Measure("s")}, goals, run=dict)
    machine = harness.describe_machine()
    for repeat, (now, then) in enumerate([(2.0, 1.0), (6.0, 4.0), (3.0, 2.0)]):
        for position, (variant, value) in enumerate({"ours": now, "commit 1234567": then}.items()):
            common = {
                **machine,
                "repeat": repeat,
                "position": position,
                "case": "",
                "load_before": 0,
                "wall_seconds": 1,
            }
            harness.append_rows(
                tmp_path / "first.csv", [{**common, "variant": variant, "measure": "seconds", "value": value}]
            )
    report = harness.render_report([row], tmp_path)
    assert "| s a trial: times that of commit 1234567 | <= 1.1 | 1.5 [1.5, 2] | **missed** |" in report
    assert "| | ours | peer | commit 1234567 |" in report and "peer: times" not in report


def test_a_process_that_fails_says_why_in_a_line(bench) -> None:
    import harness

    with pytest.raises(harness.VariantFailed, match=r"first ours ended with 2: .*invalid choice: 'first'") as caught:
        harness.measure(bench.load_row("first"), "ours", "", 0, False)
    assert "usage: bench.py" in caught.value.output and "\n" not in str(caught.value)


def test_a_process_that_takes_too_long_is_ended(bench, monkeypatch) -> None:
    import dataclasses

    import harness

    row = dataclasses.replace(bench.load_row("first"), timeout_s=0.005)
    monkeypatch.setenv(harness.SLOWNESS, "2")
    with pytest.raises(harness.VariantFailed, match=r"first ours did not end within 0 s: it printed nothing"):
        harness.measure(row, "ours", "", 0, False)


@pytest.mark.slow
def test_quick_forms_wait_for_a_slow_machine(bench, tmp_path, monkeypatch) -> None:
    import harness

    monkeypatch.setattr(harness, "UNIT_OF_WORK", "import time; time.sleep(0.5)")
    monkeypatch.setattr(harness, "UNIT_SECONDS", 0.1)
    assert harness.measure_slowness() > 5
    monkeypatch.setattr(harness, "UNIT_SECONDS", 1000.0)
    assert harness.measure_slowness() == 1.0 == harness.read_slowness()
    seen = []
    monkeypatch.setattr(harness, "measure", lambda *_: seen.append(harness.read_slowness()) or {"seconds": 1.0})
    monkeypatch.setattr(bench, "measure_slowness", lambda: 3.5)
    monkeypatch.setattr(sys, "argv", ["bench.py", "--quick", "--out", str(tmp_path), "--rows", "1"])
    assert bench.main() == 0 and seen == [3.5]
