"""Workers that have imported what trainings need before the first trial comes."""

import os
import sys
import time
from pathlib import Path

import pytest
import ray
from ray._private import ray_constants
from ray.tune.execution import class_cache

from search.jobs import cluster, warm
from search.jobs.beats import Beats, name_collector
from search.jobs.cluster import spare_warm_workers, use_ray
from search.jobs.health import find_servers, list_processes
from search.planning.resources import MAX_CPU_TRIALS, Machine

WAIT_S = 120  # far more than it needs on a busy machine


def test_what_is_used_of_ray_is_there():
    assert cluster.SETUP_HOOK == ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR
    assert isinstance(class_cache.DEFAULT_ENV_VARS, dict)
    module, _, name = warm.HOOK.rpartition(".")
    assert getattr(sys.modules[module], name) is warm.begin


@pytest.mark.parametrize(
    ("machine", "is_wanted"),
    [(Machine(2, 0), True), (Machine(MAX_CPU_TRIALS + 1, 0), False), (Machine(2, 1), False)],
)
def test_only_workers_that_will_be_needed_are_made_ready(monkeypatch, machine, is_wanted):
    seen = []
    monkeypatch.setattr(cluster, "start", lambda *_: seen.append(os.environ.get(cluster.SETUP_HOOK)))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with use_ray(machine):
        assert cluster.SETUP_HOOK not in os.environ
    assert seen == [warm.HOOK if is_wanted else None]


def test_workers_run_the_code_that_this_process_runs(monkeypatch, tmp_path):
    home = str(Path(warm.__file__).parents[2])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert cluster.list_code_paths() == [home]
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert cluster.list_code_paths() == [home, str(tmp_path)]
    monkeypatch.setattr(cluster.sysconfig, "get_path", lambda name: home)  # installed: before the standard library, no
    assert cluster.list_code_paths() == [str(tmp_path)]
    with cluster.adding({"PYTHONPATH": "a", "NEW": "b"}):
        assert (os.environ["PYTHONPATH"], os.environ["NEW"]) == ("a", "b")
    assert os.environ["PYTHONPATH"] == str(tmp_path) and "NEW" not in os.environ


def test_an_import_that_fails_is_for_others_to_meet():
    warm.import_all(("no_such_module", "colorsys"))
    assert "colorsys" in sys.modules


@pytest.mark.slow
def test_trainings_get_the_workers_that_have_imported_and_who_takes_their_beats_gets_none():
    class Asked:
        def look(self):
            return os.getpid(), [name in sys.modules for name in ("timm", "ray.tune")]

    def ask(**options):
        return ray.remote(Asked).options(**options).remote()

    with use_ray(Machine(2, 0)):
        time.sleep(2)  # as the plan takes; the workers are there by then
        ready = {
            pid
            for pid, (name, _, parent) in list_processes().items()
            if name.startswith("ray::IDLE") and parent in find_servers()
        }
        beats = Beats(name_collector(), "none", 60.0)
        ray.get(beats.actor.tell.remote([]))
        time.sleep(3)  # Ray looks for processes too many every second
        first, second = (ask(num_cpus=1, runtime_env={"env_vars": {}}) for _ in range(2))
        assert {ray.get(actor.look.remote())[0] for actor in (first, second)} == ready and len(ready) == 2
        end = time.monotonic() + WAIT_S
        while not all(ray.get(first.look.remote())[1]) and time.monotonic() < end:
            time.sleep(0.2)
        assert ray.get(first.look.remote())[1] == [True, True]
        assert ray.get(ask(num_cpus=0, runtime_env=spare_warm_workers()).look.remote())[1] == [False, False]
