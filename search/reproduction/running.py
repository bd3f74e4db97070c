"""A reproduction from options to report: what is missing of its studies is trained as searches, the rest is there.

Each command goes on with the searches of its own study that were cut off, then starts one search of what is missing
still. So the same command, given again, goes on where it was.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import yaml

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.reading import Reading
from fashion_core.errors import DataError, SearchError
from fashion_core.files import write_whole
from search.experiment.result import load_search
from search.experiment.search import run_search
from search.planning.options import SearchOptions
from search.records.events import EndReason
from search.records.layout import SearchLayout
from search.reporting.terminal import choose_console, draw_pairs, plain
from search.reporting.words import format_duration, write_count
from search.reproduction.costs import estimate_seconds
from search.reproduction.findings import Reproduction, judge_studies
from search.reproduction.levers import LEVERS, build_levers
from search.reproduction.looks import enter_recorded, share_looks
from search.reproduction.options import ALL, STUDIES
from search.reproduction.protocol import Arm, Protocol, load_protocol
from search.reproduction.report import show_findings, write_report
from search.reproduction.studies import Study, build_studies
from search.reproduction.trainings import read_trainings
from search.space.weights import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from fashion_core.data.rows import Annotations
    from fashion_core.errors import RayLostError
    from search.planning.resources import Machine
    from search.reproduction.options import ReproductionOptions
    from search.reproduction.trained import Trained

RUNNING, KILLED = "running", "killed"
# What is gone on with; of one that runs, `run_search` says so.
GOES_ON = (EndReason.INTERRUPTED, EndReason.STOPPED, EndReason.BROKEN, EndReason.INCOMPLETE, RUNNING, KILLED)
CALLED = ("search.reproduction.reproduce",)
WEIGHT_RANGE = [0.5, 2.0]  # that holds the report's and equal ones


@dataclass(frozen=True)
class Work:
    """What is to be done for some studies.

    Attributes:
        name: of the study, or `all`.
        arms: of these studies, each once.
        missing: what is to be trained, an arm as often as it is; the first seed of all first.
    """

    name: str
    protocol: Protocol
    studies: list[Study]
    arms: list[Arm]
    missing: list[Arm]


def reproduce(
    name: str,
    options: ReproductionOptions,
    *,
    dry_run: bool = False,
    console: Console | None = None,
    machine: Machine | None = None,
    command: Sequence[str] = CALLED,
    goes_on: Callable[[RayLostError], Any] | None = None,
) -> Reproduction | None:
    """Train what is missing of a study, judge its claims, and write the report.

    Args:
        name: of the study, or `all` of the report's.
        dry_run: say what would be trained, and how long that takes; do nothing.
        console: what it prints on; None: nowhere.
        machine, command, goes_on: see `search.experiment.search.run_search`.

    Returns:
        What was found; None of a dry run.

    Raises:
        FashionError: it cannot start, or a search of it ended before its time.
        KeyboardInterrupt: a search was interrupted; all is written down.
    """
    console, options = choose_console(console), options.settle(name)
    work = plan_work(name, options)
    if dry_run:
        show_plan(work, options, console)
        return None
    if options.data is not None:
        train(work, options, console, machine, command, goes_on)
    told = work.studies if name == LEVERS else list(build_studies(work.protocol.on).values())
    trained = read_trainings(options.results)
    if name != LEVERS:
        count_looks(options, trained, console)
    found = judge_studies(work.protocol, told, trained)
    for path in write_report(found, options.results):
        console.print(plain(f"wrote {path}"))
    show_findings(found, work.studies, console)
    return found


def plan_work(name: str, options: ReproductionOptions) -> Work:
    """What is to be done.

    Args:
        options: with the study's own space and folder, see `ReproductionOptions.settle`.

    Raises:
        FashionError: the space is no protocol; searches in the folder are on different images.
    """
    options = options.settle(name) if options.space is None else options
    assert options.space is not None
    protocol = load_protocol(options.space, options.on, is_reports=name != LEVERS)
    known = {LEVERS: build_levers(protocol.on)} if name == LEVERS else dict(build_studies(protocol.on))
    studies = [known[each] for each in (STUDIES if name == ALL else (name,))]
    arms = list({protocol.build_key(arm): arm for study in studies for arm in study.arms.values()}.values())
    return Work(
        name, protocol, studies, arms, list_missing(protocol, arms, read_trainings(options.results), options.seeds)
    )


def list_missing(protocol: Protocol, arms: Sequence[Arm], trained: Trained, seeds: int) -> list[Arm]:
    """Each arm as often as it lacks trainings. The first training of all comes first: what is cut off is balanced."""
    there = {id(arm): len(trained.find(protocol.build_key(arm))) for arm in arms}
    return [arm for seed in range(seeds) for arm in arms if there[id(arm)] <= seed]


def show_plan(work: Work, options: ReproductionOptions, console: Console) -> None:
    """Say what would be trained, and how long that takes."""
    protocol = work.protocol
    told = "; the report's" if protocol.has_own_backbones else "; stand-ins for the report's"
    rows = [
        ("studies", ", ".join(study.name for study in work.studies)),
        ("protocol", f"{protocol.name}: {protocol.fixed.get('image_size')} px, {protocol.epochs} epochs"),
        ("backbones", f"{', '.join(protocol.backbones)}{'' if work.name == LEVERS else told}"),
        ("one factor", f"on {protocol.backbones[protocol.on]}"),
        ("scored on", "images held out of train; val stays unseen" if work.name == LEVERS else "val"),
        ("trained", f"{len(work.arms) * options.seeds - len(work.missing)} of {len(work.arms) * options.seeds}"),
        ("to train", describe_missing(work)),
    ]
    if options.data is None:
        rows.append(("takes", "give --data for hours"))
    elif work.missing:
        annotations = read_data(options)
        seconds = estimate_seconds(protocol, work.missing, read_trainings(options.results), annotations)
        hours = f" ({seconds / 3600:.1f} hours)" if seconds >= 3600 else ""
        rows.append(("takes", f"about {format_duration(seconds)}{hours} on this machine, as busy as it is now"))
    console.print(draw_pairs(rows))


def describe_missing(work: Work) -> str:
    """`39 trainings, of 7 to 12 epochs each`."""
    count = write_count(len(work.missing), "training")
    if not work.missing:
        return count
    lengths = [work.protocol.count_epochs(arm) for arm in work.missing]
    shortest, longest = min(lengths), max(lengths)
    told = write_count(longest, "epoch") if shortest == longest else f"{shortest} to {longest} epochs"
    return f"{count}, of {told} each"


def count_looks(options: ReproductionOptions, trained: Trained, console: Console) -> None:
    """Have promotions know that val was looked at, or say why not. Recordings count where data is given."""
    try:
        if options.data is not None:
            trainings = [each for found in trained.by_key.values() for each in found]
            enter_recorded(options.results, trainings, read_data(options).folder, trained.images)
        share_looks(options.results)
    except SearchError as error:
        console.print(plain(f"looks at val are not counted: {error}", "yellow"))


def read_data(options: ReproductionOptions) -> Annotations:
    """The data set.

    Raises:
        DataError: it cannot be read, or names no boxes, which the report's protocol crops by.
    """
    assert options.data is not None
    annotations = load_annotations(options.data, Reading(splits=SearchLayout(options.results, ALL).splits_folder))
    if not annotations.has_boxes:
        raise DataError(f"the protocol crops by boxes, so data must name some, but {options.data} names none")
    return annotations


# ------------------------------------------------------------------------------------------------------------- training


def train(
    work: Work,
    options: ReproductionOptions,
    console: Console,
    machine: Machine | None,
    command: Sequence[str],
    goes_on: Callable[[RayLostError], Any] | None,
) -> None:
    """Go on with what was cut off, then train what is missing.

    Raises:
        FashionError: see `run_search`.
        KeyboardInterrupt: see `reproduce`.
    """
    read_data(options)

    def run(name: str, space: Path, seed: int, *, resume: bool) -> None:
        result = run_search(
            build_options(options, name, space, seed, select_on="heldout" if work.name == LEVERS else "val"),
            resume=resume,
            allow_changed=() if options.allow_changed is None else (options.allow_changed,),
            console=console,
            machine=machine,
            command=command,
            goes_on=goes_on,
        )
        if result.state == EndReason.INTERRUPTED:
            raise KeyboardInterrupt
        if result.state == EndReason.STOPPED:
            raise SearchError(f"{name} was asked to stop; the same command goes on")

    def find_missing() -> list[Arm]:
        return list_missing(work.protocol, work.arms, read_trainings(options.results), options.seeds)

    for number, name in list_begun(options.results, f"{work.name}-{work.protocol.name}"):
        if find_state(options.results, name) in GOES_ON and find_missing():
            console.print(plain(f"going on with {name}"))
            run(name, locate_space(options.results, name), number, resume=True)
    missing = find_missing()
    for epochs in dict.fromkeys(map(work.protocol.count_epochs, missing)):  # all of one search train for as long
        number = 1 + max((number for number, _ in list_begun(options.results, "")), default=-1)
        name = f"{work.name}-{work.protocol.name}-{number}"
        path = locate_space(options.results, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        arms = [arm for arm in missing if work.protocol.count_epochs(arm) == epochs]
        write_whole(path, write_space(work.protocol, arms))
        run(name, path, number, resume=False)


def build_options(
    options: ReproductionOptions, name: str, space: Path, seed: int, select_on: Literal["val", "heldout"]
) -> SearchOptions:
    """Of one of its searches. seed: its number, which no other in the folder has, so that no two trainings are one."""
    assert options.data is not None
    shared = options.model_dump(
        include={"data", "results", "cache_dir", "concurrent", "cpus_per_trial", "gpus_per_trial"}
    )
    return SearchOptions(**shared, name=name, space=str(space), seed=seed, keep_best=1, select_on=select_on)


def locate_space(results: Path, name: str) -> Path:
    """The file of the space of one of its searches."""
    return results / "spaces" / f"{name}.yaml"


def list_begun(results: Path, begins: str) -> list[tuple[int, str]]:
    """Number and name of the searches in a folder that are called `BEGINS-NUMBER`; empty: of all that have a number."""
    found = []
    for path in results.glob("*/options.json"):
        head, _, number = path.parent.name.rpartition("-")
        if number.isdigit() and head == (begins or head):
            found.append((int(number), path.parent.name))
    return sorted(found)


def find_state(results: Path, name: str) -> str:
    """Why a search ended, `running` or `killed`."""
    with suppress(SearchError):  # killed before its first event
        return load_search(name, results).state
    return KILLED


def write_space(protocol: Protocol, missing: Sequence[Arm]) -> str:
    """The space of a search that trains these arms, each as often as it is there: its points, in this order.

    All of one number of epochs.
    """
    changed = dict.fromkeys(name for arm in missing for name in arm.changes if name not in ("backbone", "epochs"))
    points = []
    for arm in missing:
        values = protocol.build_values(arm)
        point = {name: values.get(name, find_default(name)) for name in ("backbone", *changed)}
        if WEIGHTS in point:
            point[WEIGHTS] = point[WEIGHTS] or 1
        points.append(point)
    search: dict[str, Any] = {}
    for name in ("backbone", *changed):
        if name == WEIGHTS:
            search[name] = {"proportions": WEIGHT_RANGE}
        else:
            search[name] = {"choice": list(dict.fromkeys(point[name] for point in points))}
    document = {
        "description": f"trainings of studies in the protocol {protocol.name}",
        "sampler": "random",  # every point is given
        "trials": len(points),
        "fixed": {name: value for name, value in protocol.fixed.items() if name not in search},
        "search": search,
        "try_first": points,
        "scheduler": {"type": "none", "max_epochs": protocol.count_epochs(missing[0])},
    }
    return yaml.safe_dump(document, sort_keys=False)


def find_default(name: str) -> Any:
    """What a field is where nothing says otherwise."""
    return TrainConfig.model_fields[name].get_default(call_default_factory=True)
