"""Ray Tune over a plan: build it, run it, restart it where it breaks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from fashion_core.errors import SearchError
from search.jobs.job import Job
from search.jobs.results import SCORE
from search.planning.plan import Plan
from search.records.session import SESSIONS, Session
from search.tune.callback import Recorder
from search.tune.scheduler import RecordedASHA
from search.tune.searcher import TruthfulOptunaSearch
from search.tune.trainable import TrialTrainable

MAX_RESTARTS = 3
TUNE_NAME = "tune"


def run_trials(plan: Plan, job: Job, session: Session, *, resume: bool) -> None:
    """Run Tune until every trial has ended, time is up, or the user stops it; restart it where it breaks.

    Raises:
        SearchError: Tune broke more often than `MAX_RESTARTS` times.
    """
    SESSIONS[plan.layout.name] = session
    experiment = locate_experiment(plan)
    tuner = restore_tuner(plan, experiment) if resume else build_tuner(plan, job, experiment)
    for restarts in range(MAX_RESTARTS + 1):
        try:
            tuner.fit()
            return
        except Exception as error:
            session.append("search_broke", error=f"{type(error).__name__}: {error}", restarts=restarts)
            if restarts == MAX_RESTARTS or not Tuner.can_restore(experiment):
                raise SearchError(
                    f"Ray Tune broke {restarts + 1} times, the last time with {type(error).__name__}: {error}; "
                    f"what was found stands in {plan.layout.folder}; go on with --resume {plan.layout.name}"
                ) from error
            tuner = restore_tuner(plan, experiment)


def locate_experiment(plan: Plan) -> str:
    """Where Ray keeps the state of this search: a URI, or an absolute path."""
    storage = plan.options.storage
    if storage is None:
        return str(plan.layout.ray.resolve() / TUNE_NAME)
    if "://" not in storage:
        storage = str(Path(storage).expanduser().resolve())
    return f"{storage.rstrip('/')}/{plan.layout.name}"


def clear_storage(plan: Plan, *, replace: bool) -> None:
    """Delete what an earlier search of this name left in a storage of its own.

    Raises:
        SearchError: it left something, but may not be replaced.
    """
    if plan.options.storage is None:
        return  # it stands in the search's folder
    experiment = locate_experiment(plan)
    filesystem, path = pafs.FileSystem.from_uri(experiment)
    if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
        return
    if not replace:
        raise SearchError(
            f"--storage must hold no search of the name {plan.layout.name}, but {experiment} exists; give another "
            "--name, or delete the old one with --replace"
        )
    filesystem.delete_dir(path)


def build_tuner(plan: Plan, job: Job, experiment: str) -> Tuner:
    """Tune over the plan's space, from the start."""
    space, resources = plan.space, plan.resources
    scheduler = space.scheduler
    asha = None
    if scheduler.rungs():
        assert scheduler.grace_epochs is not None and scheduler.reduction_factor is not None
        asha = RecordedASHA(scheduler.max_epochs, scheduler.grace_epochs, scheduler.reduction_factor)
    storage, name = experiment.rsplit("/", 1)
    return Tuner(
        build_trainable(plan),
        param_space={"job": asdict(job)},
        tune_config=TuneConfig(
            search_alg=TruthfulOptunaSearch(
                space,
                plan.annotations.schema,
                study_name=plan.layout.name,
                trials=plan.trials,
                seed=plan.options.seed,
                ledger=plan.layout.ledger.resolve(),
            ),
            scheduler=asha or FIFOScheduler(),
            metric=SCORE if asha is None else None,
            mode="max" if asha is None else None,
            num_samples=plan.trials,
            max_concurrent_trials=resources.concurrent,
            time_budget_s=plan.options.time_budget_s,
            reuse_actors=True,
            trial_name_creator=name_trial,
            trial_dirname_creator=name_trial,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage,
            callbacks=[Recorder(plan.layout.name, asha)],
            # With 1, Ray would write a snapshot of the whole search with every checkpoint; the older one is there for
            # the last snapshot, which may not know the newer one yet.
            checkpoint_config=CheckpointConfig(num_to_keep=2, checkpoint_at_end=True),
            failure_config=FailureConfig(max_failures=1),
            verbose=0,
        ),
    )


def build_trainable(plan: Plan) -> Any:
    """The trainable with its resources, under a name that does not change between restarts."""
    resources = {"cpu": plan.resources.cpus_per_trial, "gpu": plan.resources.gpus_per_trial}
    return tune.with_resources(TrialTrainable, resources)


def restore_tuner(plan: Plan, experiment: str) -> Tuner:
    """Tune where it stopped: unfinished trials go on after the last epoch that was saved.

    Raises:
        SearchError: Tune had not begun.
    """
    if not Tuner.can_restore(experiment):
        raise SearchError(f"the search {plan.layout.name} ended before its first trial; start it again with --replace")
    return Tuner.restore(experiment, trainable=build_trainable(plan))


def name_trial(trial: Trial) -> str:
    """A trial's name in Ray's own files."""
    return f"trial-{trial.config['number']:04d}"
