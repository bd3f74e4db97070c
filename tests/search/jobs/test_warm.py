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
from search.jobs.cluster import use_ray
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
def test_the_first_actor_gets_a_worker_that_has_imported(monkeypatch):
    class Asked:
        def look(self):
            return "timm" in sys.modules, "ray.tune" in sys.modules

    with use_ray(Machine(1, 0)):
        time.sleep(2)  # as the plan takes; the worker is there by then
        actor = ray.remote(num_cpus=1)(Asked).options(runtime_env={"env_vars": {}}).remote()
        end = time.monotonic() + WAIT_S
        while ray.get(actor.look.remote()) != (True, True) and time.monotonic() < end:
            time.sleep(0.2)
        assert ray.get(actor.look.remote()) == (True, True)
