"""Launch a search, go on with one, or replay one of its trials. `python search/run.py --help` explains every option."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal, TypeVar

if __name__ == "__main__" and __package__ is None:  # as a script: the repository holds the packages
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import typer
from rich.console import Console

from fashion_core.errors import SearchError
from search.cli import DEFAULT_RESULTS, Results, run_command
from search.planning.options import SearchOptions, parse_duration
from search.records.layout import SearchLayout

T = TypeVar("T")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Data = Annotated[Path | None, typer.Option(help="Folder in DeepFashion's layout: img/ and split/.")]
SpaceFile = Annotated[
    str | None, typer.Option("--space", help="Search space: a YAML file, or the name of a shipped one.")
]
Trials = Annotated[int | None, typer.Option(min=1, help="Number of trials; default: the space's own.")]
MaxEpochs = Annotated[
    int | None, typer.Option(min=1, help="Epochs of a trial that is not stopped; default: the space's.")
]
TimeBudget = Annotated[
    str | None, typer.Option(help="Start no more trials and end those running after this time: 90s, 45m, 8h, 2d.")
]
Cpus = Annotated[int | None, typer.Option(min=1, help="CPU cores of one trial; default: what there is, shared evenly.")]
Gpus = Annotated[
    float | None, typer.Option(min=0, help="GPUs of one trial; 0.5 puts two on one; default: 1 where there is one.")
]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Trials at once; default: as many as the resources allow.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of proposals, selection and training.")]
Name = Annotated[
    str | None, typer.Option(help="Name of the search and its folder; default: the space's name and the time.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="Where Ray keeps its state: a folder all nodes share, s3://..., gs://...; default: in the search's folder."
    ),
]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow's tracking server or database; default: SQLite under the results.")
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to join (`auto` on one of its nodes); default: start Ray on this machine."),
]
SelectOn = Annotated[
    Literal["val", "heldout"],
    typer.Option(help="Images that scores are compared on: val, or 15% held out of train, so that val stays unseen."),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave faulty annotation rows out instead of stopping.")]
CacheDir = Annotated[
    Path | None,
    typer.Option(help="Where prepared images are kept, for all searches; default: .prepared under the results."),
]
KeepBest = Annotated[int, typer.Option(min=1, help="How many of the best trials' models are kept.")]
Replace = Annotated[bool, typer.Option("--replace", help="Delete an earlier search of the same name first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
Resume = Annotated[
    str | None, typer.Option(metavar="NAME", help="Go on with the search of this name, after an interruption.")
]
Trial = Annotated[
    int | None,
    typer.Option(
        "--trial", metavar="N", help="Replay trial N of the search --name, alone, in this process, for debugging."
    ),
]

GOES_WITH = {"resume": {"resume", "results"}, "trial": {"trial", "name", "results"}}


@app.command()
def search(
    context: typer.Context,
    data: Data = None,
    space: SpaceFile = None,
    trials: Trials = None,
    max_epochs: MaxEpochs = None,
    time_budget: TimeBudget = None,
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    concurrent: Concurrent = None,
    seed: Seed = 0,
    name: Name = None,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    address: Address = None,
    select_on: SelectOn = "val",
    skip_bad: SkipBad = False,
    cache_dir: CacheDir = None,
    results: Results = DEFAULT_RESULTS,
    keep_best: KeepBest = 3,
    replace: Replace = False,
    dry_run: DryRun = False,
    resume: Resume = None,
    trial: Trial = None,
) -> None:
    """Search hyperparameters for fine-tuning an attribute network.

    Example: search/run.py --data FashionDataset --space spaces/weighted_focal.yaml --trials 64
    """
    from search.experiment import search as driver  # Ray, torch and MLflow take seconds to import: not for --help

    console = Console()
    if resume is not None or trial is not None:
        refuse_others(context, "trial" if trial is not None else "resume")
        layout = SearchLayout(results, require(resume or name, "--name", "the search whose trial is replayed"))
        options = driver.load_options(layout)
        if trial is not None:
            driver.replay_trial(options, layout, trial, console)
        else:
            driver.launch(options, layout, console, resume=True)
        return
    options = SearchOptions(
        data=require(data, "--data", "a folder in DeepFashion's layout"),
        space=require(space, "--space", "a YAML file or one of the shipped spaces"),
        name=name,
        trials=trials,
        max_epochs=max_epochs,
        time_budget_s=None if time_budget is None else parse_duration(time_budget),
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        concurrent=concurrent,
        seed=seed,
        select_on=select_on,
        keep_best=keep_best,
        skip_bad=skip_bad,
        results=results,
        cache_dir=cache_dir,
        storage=storage,
        tracking_uri=tracking_uri,
        address=address,
    )
    driver.launch(options, driver.name_search(options), console, replace=replace, dry_run=dry_run)


def refuse_others(context: typer.Context, mode: str) -> None:
    """A search goes on, and a trial is replayed, with the options the search began with.

    Raises:
        SearchError: lists the options given beside it.
    """
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    if others := sorted(given - GOES_WITH[mode]):
        names = ", ".join("--" + name.replace("_", "-") for name in others)
        raise SearchError(
            f"--{mode} takes the options that the search was started with, but got {names} as well; leave them out, or "
            "start a new search"
        )


def require(value: T | None, option: str, meaning: str) -> T:
    """The option's value.

    Raises:
        SearchError: it was not given.
    """
    if value is None:
        raise SearchError(f"{option} must be given: {meaning}; see --help")
    return value


def main() -> None:
    """The command `fashion-search`."""
    run_command(app)


if __name__ == "__main__":
    main()
