"""Odd values for every option of every command: it begins to work, or says in a line an option what is wrong."""

from __future__ import annotations

import io
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from mutation import check_told, fuzz, no_hang

from fashion_core import sample_data
from fashion_core.command import FAULT
from search.commands import app
from search.experiment import replay, search
from search.jobs import cluster
from search.planning.options import SearchOptions
from search.promotion import pipeline
from search.promotion.options import PromotionOptions, Workplace
from search.records.events import EndReason
from search.registry import comparing, comparison_view, versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.slow
ODD = (
    "0", "-1", "1", "2", "0.5", "1.5", "1e-320", "1e300", "1e309", "nan", "inf", "-inf", "9999999999", "9" * 40,
    "9" * 5000, "text", "", " ", "0x10", "1_000", "true", "٣", "--", "..", "a/b", "x" * 300, "90s", "0s",
    "9" * 400 + "d",
)  # fmt: skip
NEEDED = {
    "run": ["--data", "no_data", "--space", "demo"],
    "extend": ["no_search"],
    "promote": ["no_search"],
    "reproduce": ["flip", "--data", "no_data"],
    "compare": ["one", "other"],
    "show": ["no_search"],
    "report": ["no_search"],
    "effects": ["no_search"],
    "resend": ["no_search"],
    "delete": ["no_search", "--yes"],
    "list": [],
    "rollback": [],
    "champions": ["no_model"],
    "copy": ["no_model", "--to", "sqlite:////no/registry.db"],
    "ui": ["no_search"],
}
COMMANDS: dict[str, Any] = typer.main.get_command(app.app).commands  # type: ignore[attr-defined]
NUMERIC = [
    (model, name)
    for model in (SearchOptions, PromotionOptions, Workplace)
    for name, field in model.model_fields.items()
    if any(word in str(field.annotation) for word in ("int", "float"))
]


@pytest.fixture(scope="module", autouse=True)
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What the commands would work at for hours is not done; the list says what it was."""
    done: list[str] = []
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("here"))
    record = SimpleNamespace(ended=SimpleNamespace(reason=EndReason.ALL_ENDED), rank=lambda: [1])
    found = SimpleNamespace(record=record)
    for module, name in ((search, "run_search"), (search, "plan_search"), (replay, "replay_trial")):
        patch.setattr(module, name, lambda *_, **__: done.append("search") or found)
    patch.setattr(cluster, "open_ray", lambda *_, **__: nullcontext())
    result = SimpleNamespace(is_champion=True, to_dict=dict)
    patch.setattr(pipeline, "promote", lambda *_, **__: done.append("promote") or result)
    patch.setattr(comparing, "compare", lambda *_, **__: done.append("compare") or result)
    patch.setattr(comparison_view, "show_comparison", lambda *_, **__: None)
    version = SimpleNamespace(name="m", number=1)
    patch.setattr(versions, "rollback", lambda *_, **__: (version, version))
    yield done
    patch.undo()


def call(arguments: Sequence[str], main: Any = app.main) -> tuple[int, list[str]]:
    """Exit status, and lines on stderr."""
    told = io.StringIO()
    with no_hang(), redirect_stderr(told), redirect_stdout(io.StringIO()):
        try:
            main(list(arguments))
            status = 0
        except SystemExit as stopped:
            status = int(stopped.code or 0)
    return status, told.getvalue().splitlines()


def list_options(command: str) -> list[click.Option]:
    """The options of a command, but for those that only show help."""
    return [each for each in COMMANDS[command].params if each.param_type_name == "option" and each.name != "help"]


@st.composite
def command_lines(draw) -> tuple[list[str], int]:
    """A command with odd values, and how many of them."""
    command = draw(st.sampled_from(sorted(NEEDED)))
    options = list_options(command)
    chosen = draw(st.lists(st.sampled_from(range(len(options))), min_size=1, max_size=3, unique=True))
    words: list[str] = []
    for option in map(options.__getitem__, chosen):
        words += [option.opts[0]] if option.is_flag else [option.opts[0], draw(st.sampled_from(ODD))]
    return [command, *NEEDED[command], *words], len(chosen)


@fuzz(20)
@given(command_lines())
def test_command_lines(line: tuple[list[str], int]) -> None:
    arguments, count = line
    status, told = call(arguments)
    assert status in (0, FAULT), (status, told)
    assert len(told) <= count + 1 and "Traceback" not in "".join(told)
    assert status == 0 or told[0].startswith("error: "), told


@pytest.mark.parametrize(("model", "name"), NUMERIC, ids=[f"{model.__name__}.{name}" for model, name in NUMERIC])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "-inf", "1e309", "9" * 40, "9" * 5000, "text", ""])
def test_a_number_out_of_range_is_one_line_before_any_work(idle: list[str], model: Any, name: str, value: str) -> None:
    command = "run" if model is SearchOptions else "promote"
    option = "--" + name.removesuffix("_s").replace("_", "-")
    idle.clear()
    status, told = call([command, *NEEDED[command], f"{option}={value}"])
    assert (status, len(told), idle) == (FAULT, 1, []) and option in told[0]


def test_a_seed_that_is_too_large_is_one_line() -> None:
    assert call(["run", *NEEDED["run"], "--seed", "9999999999"]) == (
        FAULT,
        ["error: --seed must be less than 4294967296, but got 9999999999; see --help"],
    )


@pytest.mark.parametrize("option", ["--train", "--val", "--test", "--seed"])
@pytest.mark.parametrize("value", ["-1", "nan", "9" * 12, "9" * 5000, "1.5", ""])
def test_numbers_of_a_sample(option: str, value: str) -> None:
    status, told = call(["sample", f"{option}={value}"], sample_data.main)
    assert (status, len(told)) == (FAULT, 1), told


@pytest.mark.parametrize("command", ["predict", "export", "audit"])
@fuzz(2)
@given(data=st.data())
def test_commands_of_models(command: str, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from((*ODD, "--box", "--device", "--out", "--json", "--tta")), max_size=4))
    status, told = call([command, *words])
    assert status == FAULT and "Traceback" not in "".join(told), told


def test_the_suite_notices_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "run_search", lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        call(["run", *NEEDED["run"]])
    with pytest.raises(IndexError):
        check_told(lambda: [][0])
