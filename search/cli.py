"""What the commands of this package share: arguments, and options that come from a model's fields."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from rich.console import Console

from fashion_core.errors import SearchError
from fashion_core.escaping import MAX_SHOWN
from fashion_core.secrets import hide_secrets
from search.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
DEFAULT_RESULTS = Path("results")
REFUSED, UNUSABLE = 3, 4  # exit statuses, see below; the others are those of `fashion_core.command`
EXIT_STATUSES = (
    "Exit status: 0 it ended as asked, also by a limit that was given, or by `stop`; 1 a crash, or nobody reads what "
    "it prints; 2 an error, told in a line; 3 the gate refused a promotion; 4 a search has no usable result, or lacks "
    "trials that nobody asked to leave out; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."
)
SearchName = Annotated[str, typer.Argument(metavar="NAME", help="The search's name: its folder under the results.")]
Results = Annotated[Path, typer.Option(help="Folder that holds the folders of all searches.")]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow's tracking server or database; default: SQLite under the results.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs; what is on the way goes to stderr.")]


def take_fields(*models: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that takes an option for every field of the models, beside those that it takes itself.

    Typer makes options of a function's parameters. So the command gets a signature in which its first parameter, a
    dictionary, is replaced by a parameter for each field. When it is called, these are put together in the dictionary,
    by the fields' names: give it to `build`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        def call(**given: Any) -> None:
            command({name: given.pop(name) for name in fields}, **given)

        needed = [each for each in own if each.default is inspect.Parameter.empty]
        others = [each for each in own if each.default is not inspect.Parameter.empty]
        made = [build_parameter(name, field) for name, field in fields.items()]
        call.__signature__ = inspect.Signature([*needed, *made, *others])  # type: ignore[attr-defined]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        return call

    return decorate


def build_parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """What typer makes the option of a field from: its type, default, limits and description.

    Limits are shown here, and judged by `build`; so is what is missing: one that tells all faults at once.
    """
    typed = find_type(field.annotation)
    limits = describe_limits(field)
    metavar = f"<{typed.__name__} {limits}>" if limits and typed is not str else None
    option = typer.Option(name_option(name, field), help=field.description, metavar=metavar)
    default = None if field.is_required() else field.default
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[typed if default is not None else typed | None, option],
    )


def find_type(annotation: Any) -> Any:
    """As what an option is typed: a field that has its own way of reading text, as text; the others as they are."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
    return str if get_origin(annotation) is Annotated or annotation is Address else annotation


def describe_limits(field: FieldInfo) -> str:
    """`>= 0, < 9`; empty where a field has none."""
    texts = []
    for limit in field.metadata:
        for kind, sign in ((Ge, ">="), (Gt, ">"), (Le, "<="), (Lt, "<")):
            if isinstance(limit, kind):
                texts.append(f"{sign} {getattr(limit, kind.__name__.lower())}")
    return ", ".join(texts)


def name_option(name: str, field: FieldInfo) -> str:
    """`--max-epochs` of the field `max_epochs`, unless the field names its option itself."""
    extra = field.json_schema_extra
    named = extra.get("option") if isinstance(extra, dict) else None
    return str(named or "--" + name.replace("_", "-"))


def build(model: type[Model], values: Mapping[str, Any]) -> Model:
    """A model from options; values of other models' fields, and options that were not given, are left out.

    Raises:
        SearchError: every option that is missing or wrong, a line each.
    """
    given = {name: value for name, value in values.items() if name in model.model_fields and value is not None}
    try:
        return model(**given)
    except ValidationError as error:
        raise SearchError("\n".join(describe_fault(model, each) for each in error.errors())) from None


def describe_fault(model: type[BaseModel], fault: ErrorDetails) -> str:
    """One line: the option, its rule, what was given."""
    name = str(fault["loc"][0])
    field = model.model_fields[name]
    option = name_option(name, field)
    if fault["type"] == "missing":
        meaning = (field.description or name).rstrip(".")
        return f"{option} must be given: {meaning[0].lower()}{meaning[1:]}; see --help"
    rule = fault["msg"].removeprefix("Value error, ").replace("Input should", "must", 1)
    got = "" if "but got" in rule else f", but got {hide_secrets(str(fault['input']))[:MAX_SHOWN]}"
    return f"{option} {rule}{got}; see --help"


def refuse_others(context: typer.Context, mode: str, goes_with: set[str]) -> None:
    """Raise SearchError where options were given beside that of a mode which do not go with it.

    Args:
        mode: the option, as typed.
        goes_with: names of the parameters that may be given.
    """
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if others := sorted(given - goes_with):
        raise SearchError(
            f"{mode} takes the options that the search was started with, but got "
            f"{', '.join(options[name] for name in others)} as well; leave them out, or start a new search"
        )


def print_json(values: Any) -> None:
    """Print an object for programs."""
    print(json.dumps(values, indent=2))


def choose_output(*, as_json: bool) -> Console:
    """Where a command shows how far it is: on stderr where JSON goes to stdout."""
    return Console(stderr=as_json)
