"""What holds the torture together: moments, shares, counting, going on; no Ray, no search."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

TORTURE = Path(__file__).resolve().parents[1] / "torture"


@pytest.fixture
def torture(monkeypatch: pytest.MonkeyPatch):
    """`torture.py`, and what stands beside it."""
    monkeypatch.syspath_prepend(str(TORTURE))
    monkeypatch.setattr(sys, "path", [*sys.path])
    import torture

    yield torture
    for name in [path.stem for path in TORTURE.glob("*.py")]:  # benchmarks have a `bench` too
        sys.modules.pop(name, None)


def test_a_phase_is_told_from_outside(torture):
    from moments import GCS, SEARCHING, WORKER, Phase, Seen, is_reached, tell_phase

    plan = "tracking       MLflow in results/mlflow.db\n"
    looks = [
        Seen(),
        Seen({GCS}),
        Seen({GCS, WORKER}),
        Seen({WORKER}, plan + "preparing 192 images"),
        Seen({WORKER}, plan + "preparing 192 images\nprepared 192 images in 1 s"),
        Seen({WORKER}, plan, ["search_started"]),
        Seen({WORKER}, plan, ["search_started", "epoch"]),
        Seen({WORKER}, plan, ["epoch", "search_ended"]),
        Seen({WORKER}, plan, ["epoch", "search_ended"], ["best_config.json"]),
        Seen({WORKER}, plan, ["epoch", "search_ended"], ["best_config.json", "README.md"]),
    ]
    assert [tell_phase(seen) for seen in looks] == list(SEARCHING)
    assert tell_phase(Seen({WORKER}, plan)) == Phase.BEFORE  # one that goes on prepares nothing
    assert is_reached(Phase.PREPARATION, Phase.TRIALS) and not is_reached(Phase.PREPARATION, Phase.PLAN)
    assert not is_reached(Phase.TRIALS, Phase.BETWEEN) and is_reached(Phase.IMPORT, Phase.IMPORT)


def test_a_phase_of_a_promotion_is_told_from_outside(torture):
    from moments import GCS, PROMOTING, WORKER, Seen, tell_promotion

    plan = "re-runs: 4 to train"
    looks = [
        Seen(),
        Seen({GCS}),
        Seen({GCS, WORKER}),
        Seen({WORKER}, plan),
        Seen({WORKER}, plan, ["all trained"]),
        Seen({WORKER}, plan, ["all trained"], [".final.new"]),
        Seen({WORKER}, plan, ["all trained"], ["final/answers.npz"]),
    ]
    assert [tell_promotion(seen) for seen in looks] == list(PROMOTING)


def test_kills_fall_into_every_phase_in_an_order_that_can_come(torture):
    from moments import LAST, ONCE, PROMOTING, SEARCHING, TARGETS
    from plans import KILLS_A_SEARCH, draw_kills

    for phases in (SEARCHING, PROMOTING):
        drawn = [draw_kills(number, random.Random(number), phases) for number in range(40)]
        counts = Counter(phase for kills in drawn[:2] for _, phase in kills)
        assert counts.keys() == set(phases)  # in any share of two
        for kills in drawn:
            order = [phase for _, phase in kills]
            assert len(order) == KILLS_A_SEARCH and all(target in TARGETS[phase] for target, phase in kills)
            begun = [phase in ONCE for phase in order]
            over = [phase in LAST for phase in order]
            later = [phase not in (*ONCE, *LAST) for phase in order]
            assert over == sorted(over)  # nothing of a search that runs comes after its end
            assert not any(begun[order.index(phase) :].count(True) for phase in order if phase.value == "trials")
            assert sum(begun) + sum(over) + sum(later) == KILLS_A_SEARCH
    assert draw_kills(3, random.Random(3)) == draw_kills(3, random.Random(3))


def draw_rows(play):
    from plans import Row

    return [Row("few", "Few", ("a", "b"), 1, play), Row("many", "Many", tuple("cdefgh"), 5, play)]


def test_any_beginning_of_a_run_is_a_share_of_every_row(torture):
    from plans import plan_tries

    rows = draw_rows(None)
    planned = plan_tries(rows, 7)
    assert len(planned) == 32 and len({(each.row.name, each.number) for each in planned}) == 32
    assert {each.row.name for each in planned[:2]} == {"few", "many"}
    counts = Counter(each.row.name for each in planned[:16])
    assert counts["few"] == 1 and counts["many"] == 15
    assert Counter(each.case for each in planned if each.row.name == "many") == dict.fromkeys("cdefgh", 5)
    assert {each.case for each in planned if each.row.name == "many" and each.number < 6} == set("cdefgh")
    assert plan_tries(rows, 7) == planned != plan_tries(rows, 8)
    one = planned[5]
    assert one.draw_random(7).random() == one.draw_random(7).random() != one.draw_random(8).random()


def test_it_goes_on_where_it_was_cut_off_and_counts_these_sources_alone(torture, tmp_path):
    from plans import plan_tries
    from tries import Outcome, read_tries

    played, ends = [], iter([KeyboardInterrupt(), *[None] * 99])

    def play(bench, case, number, draws):
        played.append((case, number, draws.random()))
        if len(played) == 4 and (end := next(ends)):
            raise end
        return Outcome(lost=int(number == 1), kills=[("driver", "plan")], going_on_s=[float(number)])

    rows = draw_rows(play)
    planned = plan_tries(rows, 0)
    given = {"digest": "now", "seed": 0, "budget_s": 1e9}
    with pytest.raises(KeyboardInterrupt):
        torture.run_tries(planned, tmp_path, None, **given)
    with (tmp_path / torture.RECORD).open("a") as file:
        file.write('{"digest": "now", "row": "ma')  # cut off in the middle of a line
    assert torture.run_tries(planned, tmp_path, None, **given) == 32 - 3
    assert torture.run_tries(planned, tmp_path, None, **given) == 0
    assert len(read_tries(tmp_path / torture.RECORD, "now")) == 32 and len(set(played)) == 32
    assert read_tries(tmp_path / torture.RECORD, "other") == []
    assert torture.run_tries(planned, tmp_path, None, **given | {"digest": "other", "budget_s": 0}) == 0
    torture.write_report(rows, tmp_path, "now")
    report = (tmp_path / torture.REPORT).read_text()
    assert "| Few | 2 of 2 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in report
    assert "| Many | 30 of 30 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 14 |" in report
    assert "| plan | 32 | 32 |" in report and "32 SIGKILLs; none yet in: import" in report
    assert "- few 1 (" in report and "1 lost" in report


def test_a_fault_of_the_harness_is_told_and_stops_nothing(torture, tmp_path):
    from plans import plan_tries
    from tries import read_tries

    def play(*_):
        raise OSError("no space")

    planned = plan_tries(draw_rows(play), 0)
    assert torture.run_tries(planned, tmp_path, None, digest="now", seed=0, budget_s=1e9) == 32
    (words,) = read_tries(tmp_path / torture.RECORD, "now")[0].outcome.endings
    assert words == "the harness failed: OSError: no space"


def test_what_could_not_be_tried_is_not_counted(torture):
    from tries import Outcome, Try, render_report

    (row, _) = draw_rows(None)
    told = [Try("now", "few", 0, "a", 1.0, Outcome(skipped="mounting needs root"))]
    report = render_report([row], told, "now", ["plan"])
    assert "| Few | 0 of 2 |" in report and "- few: mounting needs root" in report


def test_the_digest_is_of_paths_and_contents(torture, tmp_path):
    from tries import compute_digest

    for name in ("search", "fashion_core"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.py").write_text("a = 1\n")
    first = compute_digest(tmp_path)
    (tmp_path / "search" / "notes.md").write_text("no source")
    assert compute_digest(tmp_path) == first
    (tmp_path / "search" / "one.py").write_text("a = 2\n")
    second = compute_digest(tmp_path)
    (tmp_path / "search" / "one.py").rename(tmp_path / "search" / "two.py")
    assert len({first, second, compute_digest(tmp_path)}) == 3


@pytest.mark.slow
def test_every_row_has_a_name_of_its_own(torture, monkeypatch):
    rows = torture.load_rows()
    assert len({row.name for row in rows}) == len(rows) >= 11
    assert [row.name for row in torture.choose_rows(rows, "signals,kill")] == ["kill", "signals"]
    with pytest.raises(SystemExit, match=r"rows must be of kill.*, but got kil; "):
        torture.choose_rows(rows, "kil,disk")


@pytest.mark.parametrize(
    ("status", "printed", "told", "faults"),
    [
        (0, "done", "", 0),
        (2, "", "error: a rule, but got 3; give 4\n", 0),
        (2, "", "error: a rule\n", 1),
        (2, "", "error: a rule; do this\nerror: another; do that\n", 1),
        (1, "", "Traceback (most recent call last):\n  File\nValueError: x\n", 2),
        (130, "", "", 2),  # not expected, and no word of how to go on
        (-9, "", "", 1),
    ],
)
def test_endings_are_judged(torture, status, printed, told, faults):
    from judge import judge_ending

    assert len(judge_ending("run.py", status, printed, told, (0, 2))) == faults


def test_what_a_ledger_no_longer_tells_is_counted(torture):
    from judge import collect_decisions, collect_proposals, collect_results, count_gone

    from search.records.events import EpochEnded, TrialEnded, TrialProposed

    proposed = [TrialProposed(trial=n, params={"lr": n}, drawn={}, enqueued=False, after=0) for n in range(2)]
    epochs = [EpochEnded(trial=0, epoch=n, metrics={"val/accuracy": n / 10}) for n in (1, 2)]
    ends = [TrialEnded(trial=0, status=status, reason="", best=0.2, best_epoch=2) for status in ("stopped", "failed")]
    cut = TrialEnded(trial=1, status="interrupted", reason="", best=0.1, best_epoch=1)
    before = [*proposed, *epochs, ends[0], cut]
    assert all(
        count_gone(collect(before), collect([*before, EpochEnded(trial=0, epoch=1, metrics={})])) == 0
        for collect in (collect_results, collect_proposals, collect_decisions)
    )
    assert count_gone(collect_results(before), collect_results(epochs[1:])) == 1
    again = TrialProposed(trial=1, params={"lr": 9}, drawn={}, enqueued=False, after=0)
    assert count_gone(collect_proposals(before), collect_proposals([*before, again])) == 1
    assert count_gone(collect_decisions(before), collect_decisions([*proposed, ends[1]])) == 1


@pytest.mark.parametrize("way", ["cut", "emptied", "flipped"])
def test_a_damaged_file_is_another(torture, tmp_path, way):
    from damages import damage

    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    damage(path, way, random.Random(1))
    content = path.read_bytes()
    assert content != bytes(range(200)) and {"cut": 0 < len(content) < 200, "emptied": not content}.get(way, True)
    assert way != "flipped" or sum(one != two for one, two in zip(content, range(200), strict=True)) == 1


@pytest.mark.slow
def test_all_of_a_try_is_ended_by_its_mark_alone(torture, tmp_path):
    from processes import Stuck, end_all, list_marked, start

    sleeper = (
        "import os, subprocess, sys, time\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\ntime.sleep(60)"
    )
    (tmp_path / "sleeper.py").write_text(sleeper)
    other = subprocess.Popen(["sleep", "60"])
    try:
        command = start(str(tmp_path / "sleeper.py"), [], tmp_path, "mine")
        deadline = time.monotonic() + 30
        while len(list_marked("mine")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(Stuck, match="nothing moved"):
            command.wait(tmp_path / "no", stuck_s=0.1)
        command.signal(signal.SIGKILL)  # what it started is in a session of its own
        command.process.wait()
        assert len(list_marked("mine")) == 1
        end_all("mine")
        assert not list_marked("mine") and other.poll() is None
    finally:
        end_all("mine")
        other.kill()
        other.wait()


def test_a_line_that_was_cut_off_spoils_no_other(torture, tmp_path):
    from tries import Outcome, Try, append_try, read_tries

    path = tmp_path / "deep" / "tries.jsonl"
    append_try(path, Try("now", "few", 0, "a", 1.0, Outcome(kills=[("driver", "plan")])))
    path.write_bytes(path.read_bytes()[:-1] + b"\n" + b'{"dig')
    append_try(path, Try("now", "few", 1, "b", 1.0, Outcome()))
    first, second = read_tries(path, "now")
    assert first.outcome.kills == [("driver", "plan")] and second.number == 1
    assert json.loads(path.read_text().splitlines()[0])["case"] == "a"
