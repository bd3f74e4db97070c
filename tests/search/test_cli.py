"""Options that come from a model's fields."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, BeforeValidator, Field
from typer.testing import CliRunner

from fashion_core.errors import SearchError
from search.cli import build, refuse_others, take_fields


def double(text: Any) -> Any:
    if text == "odd":
        raise ValueError("must be even, but got 'odd'")
    return 2 * int(text)


class Some(BaseModel):
    folder: Path = Field(description="Where it lies.")
    count: int | None = Field(None, ge=1, le=9, description="How many.")
    share: float = Field(0.5, gt=0, description="How much.")
    kind: Literal["a", "b"] = Field("a", description="Which.")
    twice: Annotated[float, BeforeValidator(double)] | None = Field(
        None, description="Doubled.", json_schema_extra={"option": "--double"}
    )
    quick: bool = Field(False, description="Soon.")


class More(BaseModel):
    colour: str = Field("red", description="Of it.")


def call(*arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of fields, and of the command's own parameters, that these arguments give."""
    found = []
    app = typer.Typer()

    @app.command()
    @take_fields(Some, More)
    def command(values: dict[str, Any], name: str, own: bool = False) -> None:
        found.append((values, {"name": name, "own": own}))

    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return found[0]


def test_every_field_is_an_option() -> None:
    values, own = call(
        "me", "--folder", "x", "--count", "3", "--share", "0.25", "--kind", "b", "--double", "4", "--quick"
    )
    assert values == {
        "folder": Path("x"), "count": 3, "share": 0.25, "kind": "b", "twice": "4", "quick": True, "colour": "red"
    }  # fmt: skip
    assert own == {"name": "me", "own": False}
    assert build(Some, values) == Some(folder="x", count=3, share=0.25, kind="b", twice="4", quick=True)
    assert build(More, values) == More()


def test_defaults_are_the_models() -> None:
    values, own = call("me", "--own", "--folder", "x")
    assert build(Some, values) == Some(folder="x") and own["own"]


def test_the_help_says_what_the_model_says() -> None:
    app = typer.Typer()

    @app.command()
    @take_fields(Some)
    def command(values: dict[str, Any]) -> None:
        """Does something."""

    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    for piece in (
        "Does something.",
        "Where it lies.",
        "<int >= 1, <= 9>",
        "<float > 0>",
        "[default: 0.5]",
        "a|b",
        "--double",
        "--quick",
    ):
        assert piece in text
    assert "--twice" not in text and "--no-quick" not in text


def test_all_faults_at_once_a_line_each() -> None:
    with pytest.raises(SearchError) as caught:
        build(Some, {"folder": None, "share": 0, "twice": "odd", "count": None})
    assert str(caught.value).splitlines() == [
        "--folder must be given: where it lies; see --help",
        "--share must be greater than 0, but got 0; see --help",
        "--double must be even, but got 'odd'; see --help",
    ]


def test_options_that_a_mode_does_not_take_are_refused() -> None:
    app = typer.Typer()

    @app.command()
    @take_fields(Some)
    def command(values: dict[str, Any], context: typer.Context, mode: bool = False) -> None:
        refuse_others(context, "--mode", {"mode", "folder"})

    runner = CliRunner()
    assert runner.invoke(app, ["--mode", "--folder", "x"]).exit_code == 0
    error = runner.invoke(app, ["--mode", "--double", "2", "--count", "1"]).exception
    assert isinstance(error, SearchError) and "got --count, --double as well" in str(error)
