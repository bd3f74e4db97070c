"""Ray Tune over a plan: build it, run it, restart it where it breaks."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, ProgressReporter, RunConfig, TuneConfig, Tuner
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler

from fashion_core.errors import SearchError
from search.jobs.cluster import is_secret
from search.records.events import SearchBroke
from search.tune.callback import Recorder, watch
from search.tune.checkpoints import BestModels
from search.tune.results import SCORE
from search.tune.scheduler import ASHA
from search.tune.searcher import TruthfulSearcher
from search.tune.trainable import TrialTrainable, bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.tune.experiment import Trial

    from search.jobs.training import JobSite
    from search.planning.plan import Plan
    from search.records.session import Session

MAX_RESTARTS = 3


def run_trials(
    plan: Plan, site: JobSite, session: Session, *, resume: bool, trainable: type[TrialTrainable] = TrialTrainable
) -> None:
    """Run Tune until every trial has ended, time is up, or the user stops it; restart it where it breaks.

    Args:
        trainable: what trains a trial.

    Raises:
        SearchError: Tune broke more often than `MAX_RESTARTS` times.
    """
    trained = build_trainable(plan, bind(trainable, site))
    models = BestModels(plan.layout, plan.options.keep_best, session.record)
    with (
        watch(session, models, plan.space.scheduler.max_epochs),
        pass_on_no_secrets(plan.options.storage),
        keep_handlers(),
    ):
        for restarts in range(MAX_RESTARTS + 1):
            tuner = open_tuner(plan, trained, session.record.search_id, is_new=not resume and not restarts)
            try:
                tuner.fit()
                return
            except Exception as error:
                session.append(SearchBroke(error=f"{type(error).__name__}: {error}", restarts=restarts))
                if restarts == MAX_RESTARTS or not Tuner.can_restore(plan.experiment):
                    times = f"{restarts + 1} times" if restarts else "once"
                    raise SearchError(
                        f"Ray Tune broke {times}, lastly with {type(error).__name__}: {error}; "
                        f"what was found stands in {plan.layout.folder}; go on with --resume {plan.layout.name}"
                    ) from error


@contextmanager
def keep_handlers() -> Iterator[None]:
    """Inside, signals do what Tune sets; behind, what they did before: in a notebook, Ctrl-C is the user's again."""
    if threading.current_thread() is not threading.main_thread():  # where Tune sets none
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def pass_on_no_secrets(storage: str | None) -> Iterator[None]:
    """Inside, Tune does not give the environment's AWS keys to its workers, whose variables Ray logs.

    Of Ray, `ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE`: their names, and no public way to them.

    Args:
        storage: of the workers; one in a cloud asks for them.
    """
    names = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in names if not is_secret(name, "", storage)}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = names


def build_tuner(plan: Plan, trained: Any, search_id: str) -> Tuner:
    """Tune over the plan's space, from the start."""
    space, scheduler = plan.space, plan.space.scheduler
    asha = None
    if scheduler.rungs():
        assert scheduler.grace_epochs is not None and scheduler.reduction_factor is not None
        asha = ASHA(scheduler.max_epochs, scheduler.grace_epochs, scheduler.reduction_factor)
    storage, name = plan.experiment.rsplit("/", 1)
    ledger = plan.layout.ledger.resolve()
    return Tuner(
        trained,
        tune_config=TuneConfig(
            search_alg=TruthfulSearcher(
                space, plan.annotations.schema, plan.known, trials=plan.trials, seed=plan.options.seed, ledger=ledger
            ),
            scheduler=asha or FIFOScheduler(),
            metric=SCORE,
            mode="max",
            num_samples=plan.trials,
            max_concurrent_trials=plan.resources.concurrent,
            time_budget_s=plan.options.time_budget_s,
            reuse_actors=True,
            trial_name_creator=name_trial,
            trial_dirname_creator=name_trial,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage,
            callbacks=[Recorder(search_id, asha)],
            # With 1, Ray would write a snapshot of the whole search with every checkpoint; the older one is there for
            # the last snapshot, which may not know the newer one yet.
            checkpoint_config=CheckpointConfig(num_to_keep=2, checkpoint_at_end=True),
            failure_config=FailureConfig(max_failures=1),
            progress_reporter=NoReporter(),
            verbose=0,
        ),
    )


class NoReporter(ProgressReporter):
    """Says nothing. In a notebook, `verbose=0` alone would still clear the cell's output, again and again."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Nothing."""


def build_trainable(plan: Plan, trainable: type[TrialTrainable]) -> Any:
    """The trainable with its resources, under a name that does not change between restarts."""
    resources = {"cpu": plan.resources.cpus_per_trial, "gpu": plan.resources.gpus_per_trial}
    return tune.with_resources(trainable, resources)


def open_tuner(plan: Plan, trained: Any, search_id: str, *, is_new: bool) -> Tuner:
    """Tune from the start, or where it stopped: unfinished trials go on after the last epoch that was saved.

    Raises:
        SearchError: it is to go on, but had not begun.
    """
    if is_new:
        return build_tuner(plan, trained, search_id)
    if not Tuner.can_restore(plan.experiment):
        raise SearchError(f"the search {plan.layout.name} ended before its first trial; start it again with --replace")
    return Tuner.restore(plan.experiment, trainable=trained)


def name_trial(trial: Trial) -> str:
    """A trial's name in Ray's own files."""
    return f"trial-{trial.config['number']:04d}"
