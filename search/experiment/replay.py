"""Trials of a search again: one alone in this process; what others need that train some again beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fashion_core import metrics
from fashion_core.config import build_config
from fashion_core.errors import SearchError
from search.experiment.beginning import prepare
from search.experiment.identity import check_data, check_space
from search.experiment.starts import plan_with_starts
from search.planning.options import load_options
from search.planning.resources import detect_machine
from search.records.record import load_record
from search.reporting.terminal import plain
from search.space.seeds import draw_seeds

if TYPE_CHECKING:
    from rich.console import Console

    from fashion_core.config import TrainConfig
    from search.planning.options import SearchOptions
    from search.planning.plan import Plan
    from search.planning.resources import Machine
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


def plan_again(options: SearchOptions, layout: SearchLayout, record: SearchRecord, machine: Machine) -> Plan:
    """The plan of a search that has begun, for some of its trials to be trained again on the same data.

    Raises:
        SearchError: its space or its data has changed.
        FashionError: data or weights cannot be had.
    """
    plan = plan_with_starts(options, layout, machine, begun=True, costs=record.costs)
    plan.check_weights()
    check_space(plan, record.begun)
    check_data(plan.annotations, plan.settings[0], plan.cache_dir, record.begun)
    return plan


def build_trial_config(plan: Plan, record: SearchRecord, number: int) -> TrainConfig:
    """What a trial was trained by, with its own seeds."""
    values = plan.space.build_values(record.trials[number].params, plan.annotations.schema)
    return build_config(values | draw_seeds(plan.options.seed, number, with_start=record.has_start_seeds))


def replay_trial(layout: SearchLayout, number: int, console: Console) -> None:
    """Train one trial of a search again, in this process, and compare each epoch with the ledger.

    Raises:
        SearchError: there is no such search, or it has no such trial.
        FashionError: what the trial itself raises, with its traceback kept for the debugger.
    """
    record, options = load_record(layout), load_options(layout)
    trial = record.trials.get(number)
    if trial is None:
        raise SearchError(f"--trial must be one of the {len(record.trials)} trials of {layout.name}, but got {number}")
    plan = plan_again(options, layout, record, detect_machine())
    prepared = prepare(plan, console)
    site = replace(prepared.site, threads=record.begun.tell("settings", "cpus_per_trial"))
    then = {row.epoch: trial.read_score(row) for row in trial.epochs}
    console.print(plain(f"trial {number} of {layout.name}: {trial.status}, {trial.reason}"))
    for result in site.build_job(build_trial_config(plan, record, number)).run():
        was = f"{then[result.epoch]:.4f}" if result.epoch in then else "not reached"
        score, loss = result.metrics[record.objective.name], result.metrics[metrics.TRAIN_LOSS]
        text = (
            f"epoch {result.epoch}: {record.objective.name} {score:.4f} (in the search: {was}), "
            f"{metrics.TRAIN_LOSS} {loss:.4f}, {result.metrics[metrics.TRAIN_SECONDS]:.1f} s"
        )
        console.print(plain(text))
