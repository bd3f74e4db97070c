"""One trial of a search again, alone in this process."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from fashion_core import metrics
from fashion_core.errors import SearchError
from search.experiment.search import check_unchanged
from search.jobs.job import fit_trial
from search.jobs.preparation import prepare_job
from search.planning.options import SearchOptions
from search.planning.plan import build_plan
from search.planning.resources import detect_machine
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay


def replay_trial(options: SearchOptions, layout: SearchLayout, number: int, console: Console) -> None:
    """Train one trial of a search again, in this process, and compare each epoch with the ledger.

    Raises:
        SearchError: the search has no such trial.
        FashionError: what the trial itself raises, with its traceback kept for the debugger.
    """
    record = replay(read_events(layout.ledger))
    trial = record.trials.get(number)
    if trial is None:
        raise SearchError(f"--trial must be one of the {len(record.trials)} trials of {layout.name}, but got {number}")
    plan = build_plan(options, layout, detect_machine())
    check_unchanged(plan, record.search)
    job, data, _ = prepare_job(plan, console)
    values = plan.space.build_values(trial.params, data.schema)
    threads = record.search["settings"]["cpus_per_trial"]
    job = replace(job, threads=threads)
    then = {row["epoch"]: row["metrics"][metrics.ACCURACY] for row in trial.epochs}
    console.print(f"trial {number} of {layout.name}: {trial.status}, {trial.reason}", highlight=False)
    for result in fit_trial(job, number, values):
        was = f"{then[result.epoch]:.4f}" if result.epoch in then else "not reached"
        score, loss = result.metrics[metrics.ACCURACY], result.metrics[metrics.TRAIN_LOSS]
        console.print(
            f"epoch {result.epoch}: {metrics.ACCURACY} {score:.4f} (in the search: {was}), "
            f"{metrics.TRAIN_LOSS} {loss:.4f}, {result.metrics[metrics.TRAIN_SECONDS]:.1f} s",
            highlight=False,
        )
