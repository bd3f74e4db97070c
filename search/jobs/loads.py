"""What trainings take of GPUs, measured where these are: on nodes of the Ray that is used, or in a process beside."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fashion_core.errors import FashionError, SearchError
from search.planning.packing import GpuLoads, measure_loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.config import TrainConfig
    from fashion_core.data.schema import AttributeSchema

PROBE_S = 600.0  # for a GPU to be free, and all backbones to be tried on it
KIND = "accelerator_type:"  # how Ray's resource begins that names a node's kind of GPU


def measure(configs: Sequence[TrainConfig], schema: AttributeSchema) -> list[GpuLoads]:
    """What trainings take of a GPU of every kind that there is.

    Raises:
        SearchError: no GPU is free for it, or a node's process sees none.
    """
    if not ray.is_initialized():
        # a process of its own: CUDA's context, once there, would stay with this one
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return [pool.submit(measure_loads, configs, schema).result()]
    remote = ray.remote(num_gpus=1, max_calls=1, max_retries=0)(measure_loads)
    asked = []
    for node in list_kinds(ray.nodes()):
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asked.append(remote.options(scheduling_strategy=there).remote(list(configs), schema))
    try:
        return list(ray.get(asked, timeout=PROBE_S))
    except GetTimeoutError:
        for each in asked:
            ray.cancel(each, force=True)
        raise SearchError(
            f"--gpus-per-trial auto needs a free GPU of every kind for a moment, but got none in {PROBE_S:g} s; give a "
            "number, such as 1"
        ) from None
    except RayTaskError as error:
        if not isinstance(error.cause, FashionError):
            raise
        raise SearchError(str(error.cause)) from None


def list_kinds(nodes: Sequence[dict[str, Any]]) -> list[str]:
    """Ids of nodes with GPUs that live, one for each kind of GPU. nodes: as `ray.nodes` gives them."""
    found: dict[frozenset[str], str] = {}
    for node in nodes:
        resources = node["Resources"] if node["Alive"] else {}
        if resources.get("GPU", 0) >= 1:
            found.setdefault(frozenset(name for name in resources if name.startswith(KIND)), node["NodeID"])
    return list(found.values())
