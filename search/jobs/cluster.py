"""Starting, joining and leaving Ray, quietly."""

from __future__ import annotations

import atexit
import logging
import os
import re
import signal
import stat
import sysconfig
import tempfile
import threading
import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import optuna
import ray
from ray._private import worker

import fashion_core
import search
import spaces
from fashion_core.errors import SearchError, first_line
from fashion_core.escaping import show_value
from fashion_core.secrets import hide_secrets
from search.jobs.farewell import leave_a_witness
from search.jobs.health import end_stopped_servers, end_what_is_left, find_servers, is_headless
from search.jobs.nodes import build_machine, check_cluster
from search.jobs.sessions import Session, open_session, remove_left
from search.jobs.warm import HOOK
from search.planning.resources import MAX_CPU_TRIALS, Machine, detect_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 starves the training beside any other work; `nice` the search instead
    "RAY_memory_monitor_refresh_ms": "0",  # its kill of a worker would end the whole search (ray #41575)
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # seconds: nothing reads what Ray would write of the search
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of what nodes do beside trainings: its answer may not be waited for
}
# Of Ray, `ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR`: its public `worker_process_setup_hook` makes an environment
# of its own, and workers that start with Ray have none.
SETUP_HOOK = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"
# Of workers, for libgomp: how often a thread looks for the others of its training before it sleeps. 300,000 times where
# nothing is said, in which it takes the core of a neighbour's thread: row 9 of the benchmarks.
OF_WORKERS = {"GOMP_SPINCOUNT": "1000"}
SAID = ("OMP_WAIT_POLICY", *OF_WORKERS)  # a person who says one of these knows better
SOFT_LIMIT = "RAY_num_workers_soft_limit"  # of its processes: more, and it ends those that wait for work
# Of its temp folder: below it, the paths of sockets take 66 more, of 107 that the system allows.
MAX_TEMP = 40
TEMP = "r"  # in a folder of ours: Ray opens its own to everybody
# Variables that workers, their logs and whoever reads these need not have; but for Ray's own and the model hub's.
SECRET = re.compile(r"(?!RAY_|HF_|HUGGING).*(PASS|_PWD|TOKEN|SECRET|KEY|CRED|AUTH)", re.IGNORECASE)
CLOUD = re.compile(r"AWS_|GOOGLE_|AZURE_|R2_|S3_|FSSPEC_", re.IGNORECASE)  # what a storage there asks for
LOCK = threading.Lock()
TIMED_OUT = "timed out"  # in Ray's words, where it does not start in 30 s, which nobody can change
STARTS = 4  # that are tried then: the machine may be busy for a while
NO_NODE = "no node info found"  # in Ray's words, where this machine is no node of the cluster
OTHER_VERSION = re.compile(r"Version mismatch: .*?Ray: (\S+)\s+Python: (\S+).*?Ray: (\S+)\s+Python: (\S+)", re.DOTALL)


class Users:
    """How many searches of this process use the Ray that one of them started; the last one ends it."""

    count = 0
    is_ours = False
    is_lost = False  # its head died: this process can use none any more
    starts = 0
    servers: Mapping[int, str] = MappingProxyType({})  # names of those started with it, by process id
    session: Session | None = None  # of a Ray that was started here, in a folder of ours
    begun_with: tuple[dict[str, Any], str, str | None, Mapping[str, str]] = ({}, "", None, {})  # see `begin`


@contextmanager
def use_ray(machine: Machine, storage: str | None = None) -> Iterator[None]:
    """Run on a Ray of this machine: started here, or the one that this process uses already.

    Args:
        storage: where workers keep what they save; None: on this machine.

    Raises:
        SearchError: Ray cannot start.
    """
    options = {"address": "local", "num_cpus": machine.cpus, "num_gpus": machine.gpus, "include_dashboard": False}
    variables = {"PYTHONPATH": os.pathsep.join(list_code_paths()), **find_waiting()}  # of workers: they run this code
    if not machine.gpus and machine.cpus <= MAX_CPU_TRIALS:  # else most of what starts with Ray is never needed
        variables |= {SETUP_HOOK: HOOK, SOFT_LIMIT: str(machine.cpus + 1)}  # one more: see `spare_warm_workers`
    if "RAY_TMPDIR" not in os.environ:
        options["_temp_dir"] = str(find_temp_folder())
    with connect(options, "Ray must start on this machine, but does not", storage, variables):
        yield


@contextmanager
def join_ray(address: str, *, allow_open: bool = False) -> Iterator[Machine]:
    """Run on the cluster at the address. Gives what it has.

    Args:
        allow_open: though it asks for no token.

    Raises:
        SearchError: no cluster answers there; strangers may use it too; a node has other libraries.
    """
    # the nodes get this code; the libraries they have
    packages = [package.__path__[0] for package in (fashion_core, search, spaces)]
    options = {"address": address, "runtime_env": {"py_modules": packages, "env_vars": find_waiting()}}
    trouble = f"--address must name a running Ray cluster, but nothing answers at {show_value(address)}"
    with connect(options, trouble, None, check=partial(check_cluster, allow_open=allow_open)):
        yield build_machine()


def look_at_cluster(
    address: str | None, machine: Machine | None = None, *, allow_open: bool = False
) -> AbstractContextManager[Machine]:
    """What there is to run on: the cluster at the address, joined; else this machine, or the part of it that is given.

    Args:
        allow_open: see `join_ray`.

    Raises:
        SearchError: no cluster answers, or a search may not run there.
    """
    if address is not None:
        return join_ray(address, allow_open=allow_open)
    return nullcontext(machine or detect_machine())


@contextmanager
def open_ray(
    address: str | None, machine: Machine | None = None, storage: str | None = None, *, allow_open: bool = False
) -> Iterator[Machine]:
    """Run on the cluster at the address, or on a Ray of this machine. Gives what there is.

    Args:
        storage: see `use_ray`.
        allow_open: see `join_ray`.

    Raises:
        SearchError: there is none, or Ray cannot start.
    """
    with (
        look_at_cluster(address, machine, allow_open=allow_open) as found,
        nullcontext() if address is not None else use_ray(found, storage),
    ):
        yield found


@contextmanager
def connect(
    options: dict[str, Any],
    trouble: str,
    storage: str | None,
    variables: Mapping[str, str] | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Be one of Ray's users in this process.

    Args:
        variables: of the environment, that what Ray starts has and this process has not.
        check: called when this process has begun to use it; raises where it must not.
    """
    with LOCK:
        if Users.is_lost:
            raise SearchError("a process whose Ray died can use no other, but this one's did; go on in a new process")
        if not ray.is_initialized():
            begin(options, trouble, storage, variables or {})
            try:
                if check is not None:
                    check()
            except BaseException:
                end()
                raise
            Users.is_ours = True
        Users.count += 1
    try:
        yield
    finally:
        with LOCK:
            Users.count -= 1
            if not Users.count and Users.is_ours and not Users.is_lost:
                if is_headless(Users.servers):
                    lose()
                else:
                    end()
                Users.is_ours = False


def restart_ray(starts: int) -> None:
    """Start the Ray that died under this process anew, or join its cluster again, for all who use it.

    Args:
        starts: `Users.starts` of when the one that died ran: another of its users may have begun the next already.

    Raises:
        SearchError: it does not start, or was not started here.
    """
    with LOCK:
        if Users.starts != starts:
            return
        if not Users.is_ours:
            raise SearchError("Ray must be started again by whoever started it, but it died; start it, and go on")
        keep_logs()
        end()
        begin(*Users.begun_with)


def spare_warm_workers() -> dict[str, Any]:
    """The environment of an actor that trains nothing: a process of its own, so that those that import what trainings
    need are left to them.
    """
    return {"env_vars": {SETUP_HOOK: ""}} if SETUP_HOOK in Users.begun_with[3] else {}


def lose_ray() -> None:
    """Let go of a Ray whose head died, and ask it for nothing more: whoever does waits for a minute, after which Ray
    ends this process. What it has left is ended, by process id.
    """
    with LOCK:
        lose()


def lose() -> None:
    """See `lose_ray`."""
    Users.is_lost = True
    end_what_is_left(Users.servers)
    keep_logs()
    atexit.unregister(ray.shutdown)


def begin(options: dict[str, Any], trouble: str, storage: str | None, variables: Mapping[str, str]) -> None:
    """Start or join Ray, without secrets. variables: see `connect`."""
    temp = Path(options["_temp_dir"]) if "_temp_dir" in options else None
    if temp is not None:
        remove_left(temp)
    with keep_secrets(storage), adding(variables):
        start(options, trouble)
    Users.session = None if temp is None else open_session(temp)
    Users.starts += 1
    Users.servers = find_servers()
    Users.begun_with = options, trouble, storage, variables


def end() -> None:
    """End Ray, dead or alive."""
    end_stopped_servers()
    Users.servers = {}  # nobody is to miss them
    ray.shutdown()
    if Users.session is not None:
        Users.session.remove()
        Users.session = None


def keep_logs() -> None:
    """Leave the folder of a Ray that died for a day."""
    if Users.session is not None:
        Users.session.keep_logs()
        Users.session = None


def find_scratch() -> Path | None:
    """A folder for what is needed only while Ray runs: it goes with it, after a kill too. None: there is none."""
    return None if Users.session is None else Users.session.folder


def find_waiting() -> dict[str, str]:
    """Variables that say how a training's threads wait for each other; none where the environment says it."""
    return {} if any(name in os.environ for name in SAID) else dict(OF_WORKERS)


def list_code_paths() -> list[str]:
    """Folders of PYTHONPATH, and before them that of this code, where it is not installed among other packages."""
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    home = Path(search.__file__).resolve().parent.parent
    installed = [Path(path).resolve() for path in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))]
    return given if home in installed else [str(home), *given]


@contextmanager
def adding(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment has these too."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def find_temp_folder() -> Path:
    """A folder for Ray's logs and sockets that nobody else can read, with a path short enough for sockets.

    Raises:
        SearchError: there is no place for one.
    """
    places = dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"])
    folders = [Path(place).resolve() / f"fashion-ray-{os.getuid()}" for place in places]
    for folder in (each for each in folders if len(str(each / TEMP)) <= MAX_TEMP):
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()  # somebody else may have put something there before
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and os.access(folder, os.W_OK):
                folder.chmod(0o700)
                return folder / TEMP
    raise SearchError(
        f"Ray needs a temp folder of its own with a path of at most {MAX_TEMP} characters, but none of "
        f"{', '.join(map(str, folders))} will do; set TMPDIR to another short path that can be written"
    )


@contextmanager
def keep_secrets(storage: str | None) -> Iterator[None]:
    """Inside, the environment is without secrets: Ray copies it to every process it starts, and into their logs.

    Args:
        storage: of the workers; those in a cloud ask for their own.
    """
    secrets = {name: value for name, value in os.environ.items() if is_secret(name, value, storage)}
    for name in secrets:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(secrets)


def is_secret(name: str, value: str, storage: str | None) -> bool:
    """Whether a variable of the environment is one that no worker needs. storage: see `keep_secrets`."""
    if storage is not None and "://" in storage and CLOUD.match(name):
        return False
    return SECRET.match(name) is not None or hide_secrets(value) != value


def start(options: dict[str, Any], trouble: str) -> None:
    """Start or join Ray. The process's handlers of signals stay as they are.

    Where the raylet, or the head, dies in the very moment in which this process registers with it, Ray's C++ ends the
    process with status 1 and lines of its own on stderr, and no Python sees it. A look at both just before would leave
    that moment open, and a parent process for every command costs more than it mends: a witness says how to go on.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module="ray")
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN) if is_main else None
    worker.print_to_stdstream = say_nothing
    # What starts here has SIGHUP ignored and SIGTERM blocked, as Ray itself blocks SIGINT: a terminal that closes, and
    # a signal to the whole group, end the command alone, which ends in order. Without its servers it could not.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with leave_a_witness():
            try_init(options)
    except Exception as error:  # a port, a socket's path, a home that cannot be written, a time-out: all have own types
        end()
        if "runtime_env" in options:
            raise SearchError(describe_unjoined(options["address"], trouble, error)) from error
        raise SearchError(
            f"{trouble} ({type(error).__name__}: {first_line(error)}); {describe_remedy(error)}"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if is_main:  # Ray turns SIGTERM into an abort that leaves nothing behind
            signal.signal(signal.SIGTERM, handler)
            signal.signal(signal.SIGHUP, hangup)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in ("ray", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its errors are trials that failed: told already


def try_init(options: dict[str, Any]) -> None:
    """Start or join Ray; again, and again, where the machine was too busy to do it in time."""
    for tries_left in reversed(range(STARTS)):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:
            if TIMED_OUT not in str(error) or not tries_left:
                raise
            end()
        else:
            return


def say_nothing(*_: Any, **__: Any) -> None:
    """In the place of `ray._private.worker.print_to_stdstream`: 20 lines of a raylet's log when it dies. Ray has no
    public way to leave them out.
    """


def describe_unjoined(address: str, trouble: str, error: Exception) -> str:
    """Why a cluster cannot be joined, and what helps."""
    causes = [str(each) for each in (error, error.__cause__, error.__context__) if each is not None]
    if any(NO_NODE in cause for cause in causes):
        return (
            f"a search must start on a node of its cluster, but this machine is none of {show_value(address)}; make it "
            f"one that trains nothing: `ray start --address {address} --num-cpus 0 --num-gpus 0`"
        )
    if (found := OTHER_VERSION.search(str(error))) is not None:
        return (
            f"all nodes must have the Ray and Python of the machine that searches, but {show_value(address)} has Ray "
            f"{found[1]} and Python {found[2]} (here: {found[3]} and {found[4]}); install the same versions"
        )
    remedy = "see that it runs (`ray start --head`), and that RAY_AUTH_TOKEN_PATH names its token, if it asks for one"
    return f"{trouble} ({type(error).__name__}: {first_line(error)}); {remedy}"


def describe_remedy(error: Exception) -> str:
    """What helps where Ray does not start here."""
    text = str(error)
    if "AF_UNIX" in text:
        return "Ray keeps sockets in its temp folder: set TMPDIR to a short path, such as /tmp"
    if TIMED_OUT in text:
        return "the machine is too busy to start it in time: try again when it rests"
    if isinstance(error, (PermissionError, FileNotFoundError)):
        return "Ray writes below the home folder and the temp folder: see that HOME and TMPDIR can be written"
    return "see that the temp folder has room and can be written (TMPDIR), and try again"
