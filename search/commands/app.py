"""The console command `fashion-search` with its sub-commands, and what else they are called as.

Nothing heavy is imported before a command begins to work: each imports what it needs when it is called.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import typer

from fashion_core import audit as data_audit
from fashion_core import onnx_export
from fashion_core.command import OF_SIGNALS, give_share, run_command
from fashion_core.errors import RayLostError, SearchError
from search.cli import EXIT_STATUSES
from search.commands import predict as asking
from search.commands.again import Command, begin_again, can_begin_again
from search.commands.pages import ui
from search.commands.promote import compare, promote, rollback
from search.commands.registry import champions, copy
from search.commands.reports import effects, finish_stopped, report, resend
from search.commands.reproduce import reproduce
from search.commands.run import extend, run
from search.commands.searches import delete, list_, show, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME = "fashion-search"
OF_ALL = ("--help", "--install-completion", "--show-completion")  # options of the command itself
PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

app = typer.Typer(
    name=NAME,
    help="Search hyperparameters, promote what was found, and ask it. Without a sub-command: `run`.",
    epilog=EXIT_STATUSES,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)


def predict(context: typer.Context) -> None:
    """Print the attributes of garments, or write the challenge's submission."""
    asking.main(context.args, context.command_path)


def audit(context: typer.Context) -> None:
    """Count classes, duplicates and odd boxes of a data set."""
    data_audit.main(context.args, context.command_path)


def export(context: typer.Context) -> None:
    """Write a saved model as an ONNX file."""
    onnx_export.main(context.args, context.command_path)


COMMANDS: dict[str, Callable[..., object]] = {
    "run": run,
    "extend": extend,
    "list": list_,
    "show": show,
    "ui": ui,
    "stop": stop,
    "report": report,
    "effects": effects,
    "promote": promote,
    "compare": compare,
    "rollback": rollback,
    "reproduce": reproduce,
    "champions": champions,
    "copy": copy,
    "predict": predict,
    "export": export,
    "audit": audit,
    "resend": resend,
    "finish-stopped": finish_stopped,
    "delete": delete,
}
for name, command in COMMANDS.items():
    settings = PASSED_ON if command in (predict, audit, export) else None
    app.command(name, context_settings=settings, epilog=EXIT_STATUSES if command in (run, promote) else None)(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-search`. arguments: None: those of this process."""
    given = give_share(arguments)
    if not given or (given[0].startswith("-") and given[0].split("=")[0] not in OF_ALL):
        given.insert(0, "run")
    run_command(lambda: call(given))


def call(arguments: list[str]) -> None:
    """Call a sub-command, and end this process with its status.

    Raises:
        SearchError: the arguments cannot be read.
    """
    Command.arguments = arguments
    try:
        status = app(arguments, prog_name=NAME, standalone_mode=False)
    except RayLostError as lost:
        if not can_begin_again():
            raise
        begin_again(lost)
    except typer.TyperException as error:
        raise SearchError(f"{error.format_message().rstrip('.')}; see --help") from None
    except typer.Abort:  # at a question
        raise KeyboardInterrupt from None
    if status == OF_SIGNALS + signal.SIGINT:  # what typer makes of an interruption, whatever signal it was
        raise KeyboardInterrupt
    sys.exit(status or 0)


def alias(*words: str) -> Callable[[], None]:
    """The entry point of another command that is called like this one with these words before what was typed."""
    return lambda: main([*words, *sys.argv[1:]])


def promote_main(arguments: Sequence[str] | None = None) -> None:
    """The command `fashion-promote`: `promote`, or the sub-command that `--compare` or `--rollback` stands for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = next((each for each in ("compare", "rollback") if f"--{each}" in given), "promote")
    main([name, *(each for each in given if each != f"--{name}")])
