"""Ray Tune over a plan: build it, run it, begin it again where it breaks. All that Ray keeps is scratch."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, ProgressReporter, RunConfig, TuneConfig, Tuner
from ray.tune.execution import class_cache

from fashion_core.errors import RayLostError, SearchError
from search.jobs.beats import TRIAL_TIMEOUT_S
from search.jobs.cluster import find_scratch, is_secret, lose_ray, restart_ray
from search.jobs.nodes import tell_libraries
from search.records.events import SearchBroke
from search.records.waiting import WaitEnded
from search.tune.callback import Recorder
from search.tune.checkpoints import BestModels
from search.tune.liveness import Liveness, RayDied
from search.tune.results import SCORE
from search.tune.scheduler import LedgerScheduler
from search.tune.searcher import LedgerSearcher
from search.tune.stopper import RequestStopper
from search.tune.storage import TrialStore
from search.tune.trainable import TrialTrainable, bind, build_request
from search.tune.watch import watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ray.tune.experiment import Trial

    from search.jobs.training import JobSite
    from search.planning.plan import Plan
    from search.records.events import Event
    from search.records.session import Session

MAX_RESTARTS = 3


def run_trials(
    plan: Plan,
    site: JobSite,
    session: Session,
    events: Sequence[Event],
    *,
    trainable: type[TrialTrainable] = TrialTrainable,
) -> bool:
    """Run Tune until every trial has ended, a limit is reached, or the user stops it; begin it again where it breaks.

    Args:
        events: of the ledger so far.
        trainable: what trains a trial.

    Returns:
        Whether Ctrl-C or a signal cut it short: where it was over as asked when that came, it did not.

    Raises:
        SearchError: Tune broke more often than `MAX_RESTARTS` times.
        WaitEnded: it is to end while it waits for room on a disk.
    """
    held = session.ledger.storage
    libraries = None if plan.options.address is None else tell_libraries()
    is_interrupted, store = False, TrialStore(plan.experiment if held is None else held.settled_uri)
    rungs, target = plan.space.scheduler.rungs(), session.record.limits.target
    models = BestModels(plan.layout, replace(store, held=held), plan.options.keep_best, session.record)
    with (
        watch(plan, session, models, events) as found,
        pass_on_no_secrets(plan.options.storage, has_nodes=plan.options.address is not None),
        keep_handlers() as before,
    ):
        for restarts in range(MAX_RESTARTS + 1):
            found.begin()
            if found.is_over:
                break
            liveness = found.liveness = Liveness(trainable.__name__, plan.options.trial_timeout_s or TRIAL_TIMEOUT_S)
            beats = {"collector": liveness.collector, "timeout_s": liveness.timeout_s}
            bound = bind(trainable, site, store, rungs, target, name=liveness.job, libraries=libraries, **beats)
            error = run_tune(plan, bound, session.record.search_id, liveness)
            is_done = error is None or isinstance(error, KeyboardInterrupt)
            if is_done:
                is_interrupted = error is not None or has_caught(before)
                if is_interrupted and before is not None:
                    signal.signal(signal.SIGINT, PassedOver(before))
            death = liveness.close(error)
            if isinstance(error, WaitEnded):
                raise error
            if is_done:
                break
            text = f"{type(error).__name__}: {error}" if death is None else str(death)
            session.append(SearchBroke(error=text, restarts=restarts))
            if restarts == MAX_RESTARTS:
                raise SearchError(
                    f"Ray Tune broke {restarts + 1} times, lastly with {text}; {tell_way(plan)}"
                ) from error
            if death is not None:
                begin_again(plan, liveness, death)
        found.keep_running(waits=not is_interrupted)
        return is_interrupted and not (found.is_over or found.ends_now)


def run_tune(plan: Plan, trainable: type[TrialTrainable], search_id: str, liveness: Liveness) -> BaseException | None:
    """Run Tune over what there is to do. Returns what broke it: a Ctrl-C where Tune had not caught it, or had caught
    one before; that it ended while it waited; None where nothing did.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="fashion-", dir=find_scratch(), ignore_cleanup_errors=True) as scratch:
            liveness.check_head()
            build_tuner(plan, build_trainable(plan, trainable), search_id, scratch).fit()
    except (Exception, RayDied, WaitEnded, KeyboardInterrupt) as error:
        return error
    return None


def begin_again(plan: Plan, liveness: Liveness, death: RayDied) -> None:
    """Start Ray again after its death.

    Raises:
        RayLostError: only a new process can.
        SearchError: it does not start.
    """
    if not death.can_restart:
        lose_ray()
        raise RayLostError(str(death), plan.layout.name, tell_way(plan))
    try:
        restart_ray(liveness.starts)
    except SearchError as error:
        raise SearchError(f"{error}; {tell_way(plan)}") from error


def tell_way(plan: Plan) -> str:
    """Where a search that broke stands, and what to do."""
    return f"what was found stands in {plan.layout.folder}; go on with --resume {plan.layout.name}"


class PassedOver:
    """What Ctrl-C does while an interrupted search closes, which takes seconds: nothing once, then what it did before.

    Args:
        before: what it did.
    """

    def __init__(self, before: Any) -> None:
        self.before = before

    def __call__(self, number: int, frame: object) -> None:
        """As `signal.signal` calls it."""
        signal.signal(number, self.before)


@contextmanager
def keep_handlers() -> Iterator[Any]:
    """Inside, signals do what Tune sets; behind, what they did before, but for `PassedOver`.

    Gives what Ctrl-C did before; None where Tune sets nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield before[signal.SIGINT]
    finally:
        for number, handler in before.items():
            if not isinstance(signal.getsignal(number), PassedOver):
                signal.signal(number, handler)


@contextmanager
def keep_interrupt() -> Iterator[None]:
    """Behind, Ctrl-C does what it did before: in a notebook it is the user's again."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def has_caught(before: Any) -> bool:
    """Whether Tune has caught a Ctrl-C: it ends in order then, and has put back what Ctrl-C did before."""
    return before is not None and signal.getsignal(signal.SIGINT) is before


@contextmanager
def pass_on_no_secrets(storage: str | None, *, has_nodes: bool = False) -> Iterator[None]:
    """Inside, Tune does not give the environment's AWS keys to its workers, whose variables Ray logs.

    Of Ray, `ray.tune.execution.class_cache.ENV_VARS_TO_PROPAGATE`: their names, and no public way to them.

    Args:
        storage: of the workers; one in a cloud asks for them.
        has_nodes: workers run on nodes of a cluster, which have keys of their own.
    """
    asks = None if has_nodes else storage
    names, defaults = class_cache.ENV_VARS_TO_PROPAGATE, class_cache.DEFAULT_ENV_VARS
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in names if not is_secret(name, "", asks)}
    class_cache.DEFAULT_ENV_VARS = {}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE, class_cache.DEFAULT_ENV_VARS = names, defaults


def build_tuner(plan: Plan, trained: Any, search_id: str, scratch: str) -> Tuner:
    """Tune over what there is to do.

    Args:
        search_id: names the search, see `search.tune.watch.find_watch`.
        scratch: folder for what Ray keeps, and nothing here reads.
    """
    return Tuner(
        trained,
        tune_config=TuneConfig(
            search_alg=LedgerSearcher(search_id),
            scheduler=LedgerScheduler(search_id),
            metric=SCORE,
            mode="max",
            num_samples=-1,  # the searcher says when there are no more: one whose process dies comes again
            max_concurrent_trials=plan.resources.concurrent,
            reuse_actors=True,
            trial_name_creator=name_trial,
            trial_dirname_creator=name_trial,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=scratch,
            callbacks=[Recorder(search_id)],
            stop=RequestStopper(search_id),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            failure_config=FailureConfig(max_failures=0),
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
    """The trainable with its resources, under its own name: Ray makes it the title of the processes."""
    request = partial(build_request, plan.resources.cpus_per_trial, plan.resources.gpus_per_trial)
    trained = tune.with_resources(trainable, request)
    trained.__qualname__ = trainable.__qualname__
    return trained


def name_trial(trial: Trial) -> str:
    """A trial's name in Ray's own files."""
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"
