"""`promote`, `compare` and `rollback`, and what they are called as in `search/promote.py`."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search.commands import app
from search.promotion import pipeline
from search.promotion.options import PromotionOptions, Workplace
from search.registry import comparing, comparison_view, versions


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What was asked of a promotion, and what comes of it: a champion, unless the test says otherwise."""
    seen = SimpleNamespace(calls=[], is_champion=True)

    def promote(name: str, options: PromotionOptions, **others: Any) -> SimpleNamespace:
        seen.calls.append((name, options, others))
        others["console"].print("on the way")
        return SimpleNamespace(is_champion=seen.is_champion, to_dict=lambda: {"passed": seen.is_champion})

    monkeypatch.setattr(pipeline, "promote", promote)
    return seen


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was compared or rolled back."""
    calls: list[tuple[Any, ...]] = []

    def compare(*names: str, console: object, **others: Any) -> SimpleNamespace:
        calls.append((*names, others))
        return SimpleNamespace(to_dict=lambda: {"winner": "A"})

    def roll_back(model: str | None, **others: Any) -> tuple[SimpleNamespace, None]:
        calls.append((model, others))
        return SimpleNamespace(name=model or "only", number=3), None

    monkeypatch.setattr(comparing, "compare", compare)
    monkeypatch.setattr(comparison_view, "show_comparison", lambda found, console: console.print("A is better"))
    monkeypatch.setattr(versions, "rollback", roll_back)
    return calls


def test_options_become_the_promotions(promoted, call) -> None:
    given = "--top 2 --fit-on train+val --max-params 5e6 --force --model mine --cpus-per-trial 2 --results r --replace"
    status, out, _ = call("promote", "demo", *given.split())
    ((name, options, rest),) = promoted.calls
    assert (status, name, out) == (0, "demo", "on the way\n") and rest["replace"]
    assert options == PromotionOptions(top=2, fit_on="train+val", max_params=5e6, force=True)
    assert rest["place"] == Workplace(model="mine", cpus_per_trial=2, results=Path("r"))


def test_without_options_the_models_defaults_hold(promoted, call) -> None:
    call("promote", "demo")
    ((_, options, rest),) = promoted.calls
    assert options == PromotionOptions() and rest["place"] == Workplace() and not rest["replace"]


def test_one_that_the_gate_refuses_ends_with_3(promoted, call) -> None:
    promoted.is_champion = False
    status, out, err = call("promote", "demo", "--json")
    assert status == 3 and json.loads(out) == {"passed": False} and err == "on the way\n"


def test_compare(others, call) -> None:
    status, out, _ = call("compare", "a:1", "b", "--data", "d", "--results", "r")
    assert (status, out) == (0, "A is better\n")
    expected = {"data": Path("d"), "results": Path("r"), "tracking_uri": None, "cache_dir": None}
    assert others == [("a:1", "b", expected)]
    assert json.loads(call("compare", "a", "b", "--json")[1]) == {"winner": "A"}


def test_rollback(others, call) -> None:
    status, out, _ = call("rollback", "--model", "m", "--tracking-uri", "u")
    assert status == 0 and out == "m: version 3 is the champion again; there is no earlier one\n"
    assert others == [("m", {"results": Path("results"), "tracking_uri": "u"})]
    assert call("rollback")[1].startswith("only: version 3") and others[1][0] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote"], "Missing argument 'NAME'"),
        (
            ["promote", "demo", "--top", "0", "--budget-hours", "0"],
            "--top must be greater than or equal to 1, but got 0",
        ),
        (
            ["promote", "demo", "--top", "0", "--budget-hours", "0"],
            "\n--budget-hours must be greater than 0, but got 0",
        ),
        (["compare", "a", "b", "--top", "2"], "No such option: --top"),
        (["compare", "a"], "Missing argument 'B'"),
        (["rollback", "--force"], "No such option: --force"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], message: str, promoted, others, call) -> None:
    status, out, err = call(*arguments)
    assert status == 2 and not out and message in err and not promoted.calls and not others


def test_the_script_takes_the_others_as_options(promoted, others, call, monkeypatch, capsys) -> None:
    for arguments in (
        ["demo", "--top", "2"],
        ["--results", "r", "--compare", "a", "b"],
        ["--rollback", "--model", "m"],
    ):
        with pytest.raises(SystemExit) as stopped:
            app.promote_main(arguments)
        assert stopped.value.code == 0
    assert promoted.calls[0][0] == "demo" and others[0][:2] == ("a", "b") and others[0][2]["results"] == Path("r")
    assert others[1][0] == "m" and len(others) == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    "arguments",
    [["demo", "--rollback"], ["demo", "--compare", "a", "b"], ["--compare", "a", "b", "--rollback"], [],
     ["--rollback", "--top", "2"], ["--compare", "a", "b", "--model", "m"], ["--compare", "a"]],
)  # fmt: skip
def test_the_script_refuses_what_does_not_go_together(arguments: list[str], promoted, others, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        app.promote_main(arguments)
    assert stopped.value.code == 2 and capsys.readouterr().err.startswith("error: ")
    assert not promoted.calls and not others
