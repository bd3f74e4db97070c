"""Promote a search: from its best trials to a final, registered model, and how sure one can be of it.

`python search/promote.py --help` explains every option.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

if __name__ == "__main__" and __package__ is None:  # as a script: the repository holds the packages
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import typer
from rich.console import Console

from fashion_core.errors import SearchError
from search.cli import DEFAULT_RESULTS, Results, run_command
from search.promotion.options import PromotionOptions, Workplace
from search.registry.versions import DEFAULT_MODEL

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Name = Annotated[str | None, typer.Argument(help="The search's name: its folder under the results.")]
Top = Annotated[int, typer.Option(min=1, help="How many of the best trials are trained again.")]
Seeds = Annotated[int, typer.Option(min=1, help="How often each is trained, with fresh seeds; 1 says nothing of luck.")]
Baseline = Annotated[
    str,
    typer.Option(
        help="What they must beat where there is no champion: `report` (its loss and optimizer on the best trial's "
        "backbone), a YAML file of training fields, or `none`."
    ),
]
FitOnOption = Annotated[
    Literal["train", "train+val"],
    typer.Option(help="Ship the best network of the re-runs, or train once more on train and val together."),
]
BudgetHours = Annotated[
    float | None, typer.Option(min=0.01, help="Hours for the re-runs: clear losers are dropped to keep to them.")
]
MaxMs = Annotated[float | None, typer.Option(min=0.01, help="Milliseconds an image that the model may take here.")]
MaxParams = Annotated[float | None, typer.Option(min=1, help="Parameters that the model may have, like 5e6.")]
Force = Annotated[bool, typer.Option("--force", help="Make it the champion whatever the gate says; a tag records it.")]
Model = Annotated[str, typer.Option(help="Name of the registered model.")]
Data = Annotated[Path | None, typer.Option(help="The data set; default: that of the search.")]
CacheDir = Annotated[Path | None, typer.Option(help="Where prepared images are kept; default: as the search did.")]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow's tracking server or database, with its registry; default: the search's.")
]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join; default: start Ray on this machine.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Networks trained at once; default: what there is.")]
Cpus = Annotated[int | None, typer.Option(min=1, help="CPU cores of one network.")]
Gpus = Annotated[float | None, typer.Option(min=0, help="GPUs of one network; 0.5 puts two on one.")]
Replace = Annotated[bool, typer.Option("--replace", help="Forget an earlier promotion of this search, and begin anew.")]
Rollback = Annotated[bool, typer.Option("--rollback", help="Make the previous champion the champion again.")]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="A B",
        help="Is A better than B? Each a search, SEARCH:TRIAL, models:/NAME@ALIAS or /VERSION, or a path.",
    ),
]
GOES_WITH = {
    "compare": {"compare", "results", "data", "tracking_uri", "cache_dir"},
    "rollback": {"rollback", "model", "results", "tracking_uri"},
}
REFUSED = 3  # exit status where the gate said no; 1 is that of a crash


@app.command()
def promote(
    context: typer.Context,
    name: Name = None,
    top: Top = 4,
    seeds: Seeds = 3,
    baseline: Baseline = "report",
    fit_on: FitOnOption = "train",
    budget_hours: BudgetHours = None,
    max_ms: MaxMs = None,
    max_params: MaxParams = None,
    force: Force = False,
    model: Model = DEFAULT_MODEL,
    data: Data = None,
    cache_dir: CacheDir = None,
    results: Results = DEFAULT_RESULTS,
    tracking_uri: TrackingUri = None,
    address: Address = None,
    concurrent: Concurrent = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    replace: Replace = False,
    rollback: Rollback = False,
    compare: Compare = None,
) -> None:
    """Train a search's best trials again, judge them, combine them, and register what is best.

    The same command goes on where it was cut off. Exit status: 0 promoted, 3 refused by the gate, 2 an error.

    Example: search/promote.py my-search
    """
    console = Console()
    if sum((name is not None, rollback, compare is not None)) != 1:
        raise SearchError("name a search to promote, or --rollback, or --compare A B: exactly one of them; see --help")
    if compare is not None:
        from search.registry.comparing import compare as compare_models
        from search.registry.comparison_view import show_comparison

        refuse_others(context, "compare")
        found = compare_models(
            *compare, results=results, data=data, tracking_uri=tracking_uri, cache_dir=cache_dir, console=console
        )
        show_comparison(found, console)
        return
    if rollback:
        from search.registry.versions import rollback as roll_back

        refuse_others(context, "rollback")
        now, before = roll_back(model, results=results, tracking_uri=tracking_uri)
        left = "there is no earlier one" if before is None else f"before it: version {before.number}"
        console.print(f"{model}: version {now.number} is the champion again; {left}", highlight=False)
        return
    assert name is not None
    from search.promotion import pipeline  # Ray, torch and MLflow take seconds to import: not for --help

    options = PromotionOptions(
        top=top,
        seeds=seeds,
        baseline=baseline,
        fit_on=fit_on,
        budget_hours=budget_hours,
        max_ms=max_ms,
        max_params=max_params,
        force=force,
    )
    place = Workplace(
        results=results,
        data=data,
        cache_dir=cache_dir,
        tracking_uri=tracking_uri,
        model=model,
        address=address,
        concurrent=concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
    )
    result = pipeline.promote(name, options, place=place, replace=replace, console=console, command=sys.argv)
    if not result.is_champion:
        raise typer.Exit(REFUSED)


def refuse_others(context: typer.Context, mode: str) -> None:
    """A comparison and a rollback train nothing.

    Raises:
        SearchError: lists the options given beside it that do not go with it.
    """
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if others := sorted(given - GOES_WITH[mode]):
        names = ", ".join("--" + name.replace("_", "-") for name in others)
        goes = ", ".join("--" + name.replace("_", "-") for name in sorted(GOES_WITH[mode] - {mode}))
        raise SearchError(f"--{mode} goes with {goes}, but got {names} as well; leave them out, or promote a search")


def main() -> None:
    """The command `fashion-promote`."""
    run_command(app)


if __name__ == "__main__":
    main()
