"""Starting and leaving Ray, quietly."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from typing import Any

import optuna
import ray

import fashion_core
import search
import spaces
from fashion_core.errors import SearchError
from search.planning.resources import Machine

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


def start_ray(address: str | None, machine: Machine | None) -> None:
    """Join the cluster at the address, or start a local Ray with what the machine has.

    Raises:
        SearchError: no cluster answers at the address.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module="ray")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    if address is None:
        assert machine is not None
        options |= {"address": "local", "num_cpus": machine.cpus, "num_gpus": machine.gpus}
    else:  # the nodes get this code; the libraries they have
        packages = [package.__path__[0] for package in (fashion_core, search, spaces)]
        options = {"address": address, "runtime_env": {"py_modules": packages}, **options}
        del options["include_dashboard"]
    try:
        ray.init(**options)
    except ConnectionError as error:
        raise SearchError(
            f"--address must name a running Ray cluster, but nothing answers at {address!r} ({error}); "
            "start one with `ray start --head`"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in ("ray", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its errors are trials that failed: told already
    # Ray turns SIGTERM into an abort that leaves nothing behind; like Ctrl-C, it should end the search in order.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))


def detect_cluster() -> Machine:
    """What the Ray cluster has that this process joined."""
    resources = ray.cluster_resources()
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def stop_ray() -> None:
    """Leave the cluster; a local one ends."""
    ray.shutdown()
