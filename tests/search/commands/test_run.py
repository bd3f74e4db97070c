"""`fashion-search run`: what it makes of its options."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from made_search import make_search

from search.experiment import replay, search
from search.experiment.result import load_search
from search.jobs import cluster
from search.planning.options import SearchOptions, load_options
from search.records.events import EndReason
from search.records.locks import RUN, hold_search
from search.reporting.words import MORE


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command starts Ray before it knows whether there is anything to run."""
    monkeypatch.setattr(cluster, "open_ray", lambda *_, **__: nullcontext())


@pytest.fixture
def ran(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, Any, dict[str, Any]]]:
    """What was started: the function, its first argument, the others by name."""
    calls: list[tuple[str, Any, dict[str, Any]]] = []
    folder = tmp_path_factory.mktemp("done")
    make_search(folder, "done")
    done = load_search("done", folder)
    monkeypatch.setattr(search, "run_search", lambda options, **others: calls.append(("run", options, others)) or done)
    monkeypatch.setattr(search, "plan_search", lambda options, *_: calls.append(("plan", options, {})))
    monkeypatch.setattr(
        replay, "replay_trial", lambda layout, number, _: calls.append(("replay", layout, {"n": number}))
    )
    return calls


def test_options_become_the_searchs(ran, call, tmp_path: Path) -> None:
    given = ["--time-budget", "45m", "--gpus-per-trial", "0.5", "--skip-bad", "--select-on", "heldout", "--replace"]
    assert call("--data", "d", "--space", "demo", *given, "--results", tmp_path) == (0, "", "")
    ((what, options, others),) = ran
    assert what == "run" and others["replace"] and not others.get("resume")
    assert options == SearchOptions(
        data="d",
        space="demo",
        time_budget_s=2700,
        gpus_per_trial=0.5,
        skip_bad=True,
        select_on="heldout",
        results=tmp_path,
    )


@pytest.mark.parametrize("reason", [*EndReason, None])
@pytest.mark.parametrize("scores", [(0.5,), ()])
def test_a_command_ends_as_its_search_did(reason, scores, call, tmp_path: Path, monkeypatch) -> None:
    make_search(tmp_path, "mine", scores, ended=reason)
    monkeypatch.setattr(search, "run_search", lambda *_, **__: load_search("mine", tmp_path))
    status, out, err = call("--data", "d", "--space", "demo")
    if reason == EndReason.INTERRUPTED:
        assert status == 130
    else:
        assert status == (4 if reason in (EndReason.INCOMPLETE, None) or not scores else 0)
    assert not out and not err.strip()


def test_every_exit_status_is_in_the_help(call) -> None:
    for command in ((), ("run",), ("promote",)):
        _, out, _ = call(*command, "--help")
        assert all(f"{status} " in out for status in (0, 1, 2, 3, 4, 129, 130, 143))


def test_a_dry_run_plans(ran, call) -> None:
    call("run", "--data", "d", "--space", "demo", "--dry-run")
    assert [what for what, _, _ in ran] == ["plan"] and ran[0][1] == SearchOptions(data="d", space="demo")


def test_a_search_goes_on_where_it_is_now(ran, call, tmp_path: Path) -> None:
    make_search(tmp_path / "before", "mine", keep_best=7)
    (tmp_path / "before").rename(tmp_path / "after")
    call("--resume", "mine", "--results", tmp_path / "after")
    ((_, options, others),) = ran
    assert others["resume"] and options.keep_best == 7
    assert options.build_layout().folder == tmp_path / "after" / "mine"


def test_a_search_goes_on_with_its_data_elsewhere_and_on_another_machine(ran, call, tmp_path: Path) -> None:
    """With `extend` as well; what decides its results stays."""
    layout = make_search(tmp_path, "mine", seed=7, concurrent=8)
    moved = ["--data", "there", "--cache-dir", "made", "--address", "auto", "--concurrent", "1", "--cpus-per-trial=2"]
    call("--resume", "mine", "--results", tmp_path, *moved)
    ((_, options, _),) = ran
    begun = load_options(layout)
    now = {"data": Path("there"), "cache_dir": Path("made"), "address": "auto", "concurrent": 1, "cpus_per_trial": 2}
    assert options == begun.model_copy(update=now | {"results": tmp_path, "name": "mine"})
    options.save(layout.options)
    call("--resume", "mine", "--results", tmp_path, "--address", "local")
    assert ran[-1][1] == options.model_copy(update={"address": None})
    status, _, err = call("extend", "mine", "--results", tmp_path, *moved)
    assert status == 2 and "is extended by --trials N" in err


def test_a_trial_is_replayed(ran, call, tmp_path: Path) -> None:
    call("--trial", "3", "--name", "mine", "--results", tmp_path)
    ((what, layout, others),) = ran
    assert what == "replay" and layout.folder == tmp_path / "mine" and others == {"n": 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "error: --data must be given: folder of a data set, or its table (.csv, .parquet, .jsonl); see --help\n--",
        ),
        (
            ["--data", "d", "--space", "s", "--time-budget", "5"],
            "--time-budget must be a number with a unit, like 90s",
        ),
        (["--data", "d", "--space", "s", "--seed", "4294967296"], "--seed must be less than 4294967296, but got"),
        (
            ["--data", "d", "--space", "s", "--trials", "0"],
            "error: --trials must be greater than or equal to 1, but got 0; see --help",
        ),
        (["--data", "d", "--space", "s", "--select-on", "test"], "'test' is not one of"),
        (
            ["--data", "d", "--space", "s", "--budget-cost", "20"],
            "--budget-cost must come with --price-per-gpu-hour",
        ),
        (
            ["--data", "d", "--space", "s", "--target", "1.5"],
            "--target must be less than or equal to 1, but got 1.5",
        ),
        (["--data", "d", "--space", "s", "--stop-after", "0"], "--stop-after must be greater than or equal to 1"),
        (["--no-such"], "No such option: --no-such"),
        (["--resume", "x", "--time-budget", "5m", "--replace"], "--resume takes the options that the search was"),
        (["--resume", "x", "--time-budget", "5m", "--replace"], "--replace, --time-budget as well"),
        (["--trial", "1", "--name", "x", "--seed", "1"], "--trial takes the options that the search was"),
        (["--trial", "1"], "--name must be given"),
        (["--resume", "x"], "no search of the name 'x'"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], message: str, ran, call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = call("run", *arguments)
    assert status == 2 and not out and message in err and "Traceback" not in err and not ran


def test_a_search_goes_on_with_its_address_given_again(ran, call, tmp_path: Path) -> None:
    """Its password was not stored; another address is refused."""
    layout = make_search(tmp_path, "mine", tracking_uri="http://me:old@host:5000")
    assert "old" not in layout.options.read_text() and "http://me:***@host:5000" in layout.options.read_text()
    call("--resume", "mine", "--results", tmp_path, "--tracking-uri", "http://me:new@host:5000")
    ((_, options, others),) = ran
    assert others["resume"] and options.tracking_uri.reveal() == "http://me:new@host:5000"
    status, _, err = call("--resume", "mine", "--results", tmp_path, "--tracking-uri", "http://me:new@other:5000")
    assert status == 2 and "goes on in MLflow where it began" in err and "new" not in err and len(ran) == 1


@pytest.mark.parametrize(
    ("address", "told"),
    [("localhost:5000", "write http:// before"), ("http://me:pw1234@127.0.0.1:9", "must name an MLflow server")],
)
def test_an_address_is_tried_before_the_work(address: str, told: str, call, tmp_path: Path) -> None:
    given = ["--data", tmp_path / "none", "--space", "demo", "--results", tmp_path, "--tracking-uri", address]
    status, out, err = call(*given)
    assert status == 2 and told in err and err.count("\n") == 1 and "pw1234" not in out + err


def test_a_missing_password_is_told_before_the_work(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    make_search(tmp_path, "mine", tracking_uri="postgresql://me:old@host/db")
    status, _, err = call("--resume", "mine", "--results", tmp_path)
    assert status == 2 and "set PGPASSWORD" in err and err.count("\n") == 1


def test_a_storage_with_a_key_is_refused(call, tmp_path: Path) -> None:
    status, _, err = call(
        "--data", "d", "--space", "demo", "--storage", "s3://me:pl4nted@bucket/x", "--results", tmp_path
    )
    assert status == 2 and "must hold no password or key" in err and "pl4nted" not in err


def test_a_search_is_given_more(ran, call, tmp_path: Path) -> None:
    make_search(tmp_path, "mine", (0.5, 0.6), seed=3, target=0.9, stop_after=7)
    given = ["extend", "mine", "--trials", "50", "--time-budget", "8h", "--results", tmp_path]
    assert call(*given) == (0, "", "")
    ((what, options, others),) = ran
    assert (what, others["resume"], others["extend"], others["replace"]) == ("run", True, True, False)
    assert (options.trials, options.time_budget_s, options.seed) == (52, 8 * 3600, 3)
    assert (options.target, options.stop_after) == (None, None)  # no earlier limit holds
    assert (options.name, options.results) == ("mine", tmp_path)


def test_a_price_is_no_limit_and_is_kept(ran, call, tmp_path: Path) -> None:
    """The command that a spent budget of money names can be given as it stands."""
    make_search(tmp_path, "mine", ended=EndReason.COST_BUDGET, budget_cost=5, price_per_gpu_hour=2.5)
    given = f"extend mine {MORE[EndReason.COST_BUDGET]}".split()
    assert call(*given, "--results", tmp_path) == (0, "", "")
    assert (ran[0][1].budget_cost, ran[0][1].price_per_gpu_hour) == (20, 2.5)
    assert call("extend", "mine", "--trials", "5", "--results", tmp_path) == (0, "", "")
    assert (ran[1][1].budget_cost, ran[1][1].price_per_gpu_hour) == (None, 2.5)


def test_one_that_runs_is_said_to_run(ran, call, tmp_path: Path) -> None:
    layout = make_search(tmp_path, "mine", ended=None)
    with hold_search(layout, RUN):
        status, _, err = call("extend", "mine", "--trials", "5", "--results", tmp_path)
    assert status == 2 and f"process {os.getpid()} on " in err and "--resume" not in err and not ran


def test_one_that_a_limit_ended_keeps_its_trials(ran, call, tmp_path: Path) -> None:
    make_search(tmp_path, "mine", (0.5, 0.6), ended=EndReason.TARGET)
    assert call("extend", "mine", "--target", "0.9", "--results", tmp_path) == (0, "", "")
    assert (ran[0][1].trials, ran[0][1].target) == (2, 0.9)


@pytest.mark.parametrize(
    ("ended", "given", "told"),
    [
        (EndReason.ALL_ENDED, [], "extended by --trials N, --max-epochs N or a limit, but got none"),
        (EndReason.INTERRUPTED, ["--trials", "5"], "mine did not end so; go on with --resume mine"),
        (None, ["--trials", "5"], "mine did not end so; go on with --resume mine"),
        (EndReason.ALL_ENDED, ["--trials", "0"], "--trials must be greater than or equal to 1, but got 0"),
        (EndReason.ALL_ENDED, ["--budget-cost", "5"], "--budget-cost"),
        (EndReason.ALL_ENDED, ["--max-epochs", "5"], "all of mine are; give it new ones too, with --trials N"),
    ],
)
def test_what_cannot_be_extended(ended, given, told, ran, call, tmp_path: Path) -> None:
    make_search(tmp_path, "mine", ended=ended)
    status, _, err = call("extend", "mine", *given, "--results", tmp_path)
    assert status == 2 and told in err and len(err.splitlines()) == 1 and not ran
