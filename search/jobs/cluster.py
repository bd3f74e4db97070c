"""Starting, joining and leaving Ray, quietly."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import optuna
import ray

import fashion_core
import search
import spaces
from fashion_core.errors import SearchError, first_line
from search.planning.resources import Machine, detect_machine

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 starves the training beside any other work; `nice` the search instead
    "RAY_memory_monitor_refresh_ms": "0",  # its kill of a worker would end the whole search (ray #41575)
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "auto",  # of a snapshot: 10 s, and more where one takes more than a twentieth of them
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_DEDUP_LOGS": "0",
}
LOCK = threading.Lock()


class Users:
    """How many searches of this process use the Ray that one of them started; the last one ends it."""

    count = 0
    is_ours = False


@contextmanager
def use_ray(machine: Machine) -> Iterator[None]:
    """Run on a Ray of this machine: started here, or the one that this process uses already.

    Raises:
        SearchError: Ray cannot start.
    """
    options = {"address": "local", "num_cpus": machine.cpus, "num_gpus": machine.gpus, "include_dashboard": False}
    with connect(options, "Ray must start on this machine, but does not"):
        yield


@contextmanager
def join_ray(address: str) -> Iterator[Machine]:
    """Run on the cluster at the address. Gives what it has.

    Raises:
        SearchError: no cluster answers there.
    """
    # the nodes get this code; the libraries they have
    packages = [package.__path__[0] for package in (fashion_core, search, spaces)]
    options = {"address": address, "runtime_env": {"py_modules": packages}}
    with connect(options, f"--address must name a running Ray cluster, but nothing answers at {address!r}"):
        resources = ray.cluster_resources()
        yield Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def look_at_cluster(address: str | None, machine: Machine | None = None) -> AbstractContextManager[Machine]:
    """What there is to run on: the cluster at the address, joined; else this machine, or the part of it that is given.

    Raises:
        SearchError: no cluster answers.
    """
    return join_ray(address) if address is not None else nullcontext(machine or detect_machine())


@contextmanager
def open_ray(address: str | None, machine: Machine | None = None) -> Iterator[Machine]:
    """Run on the cluster at the address, or on a Ray of this machine. Gives what there is.

    Raises:
        SearchError: there is none, or Ray cannot start.
    """
    with look_at_cluster(address, machine) as found, nullcontext() if address is not None else use_ray(found):
        yield found


@contextmanager
def connect(options: dict[str, Any], trouble: str) -> Iterator[None]:
    """Be one of Ray's users in this process."""
    with LOCK:
        if not ray.is_initialized():
            start(options, trouble)
            Users.is_ours = True
        Users.count += 1
    try:
        yield
    finally:
        with LOCK:
            Users.count -= 1
            if not Users.count and Users.is_ours:
                ray.shutdown()
                Users.is_ours = False


def start(options: dict[str, Any], trouble: str) -> None:
    """Start or join Ray. The process's handlers of signals stay as they are."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module="ray")
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # a port, a socket's path, a home that cannot be written, a time-out: all have own types
        ray.shutdown()
        remedy = "see that it runs (`ray start --head`)" if "runtime_env" in options else describe_remedy(error)
        raise SearchError(f"{trouble} ({type(error).__name__}: {first_line(error)}); {remedy}") from error
    finally:
        if is_main:  # Ray turns SIGTERM into an abort that leaves nothing behind
            signal.signal(signal.SIGTERM, handler)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in ("ray", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its errors are trials that failed: told already


def describe_remedy(error: Exception) -> str:
    """What helps where Ray does not start here."""
    text = str(error)
    if "AF_UNIX" in text:
        return "Ray keeps sockets in its temp folder: set TMPDIR to a short path, such as /tmp"
    if "timed out" in text:
        return "the machine is too busy to start it in time: try again when it rests"
    if isinstance(error, (PermissionError, FileNotFoundError)):
        return "Ray writes below the home folder and the temp folder: see that HOME and TMPDIR can be written"
    return "see that the temp folder has room and can be written (TMPDIR), and try again"
