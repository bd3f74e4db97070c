"""The nodes of a cluster that was joined: what they have, who may use them, and whether their libraries are ours.

Nodes load this file to tell what they lack: of libraries, it imports Ray alone.
"""

from __future__ import annotations

import ipaddress
import os
import pickle
import platform
import re
import subprocess
import sys
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import ray
from ray._private import state, worker
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fashion_core.errors import SearchError
from search.planning.resources import Machine, Node
from search.records.versions import find_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

ALIKE = ("ray", "torch", "timm", "optuna")  # libraries that decide results, or what can be read of each other
ANSWER_S = 120.0  # a node begins a process before it answers, on a busy machine for half a minute
# What a stranger would do: ask Ray's head for its nodes, without a token. Of Ray, `GcsClient`: the least that asks.
ASK = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)
except AuthenticationError:
    sys.exit({refused})
"""
REFUSED = 77  # the status of a stranger whom the head sends away
TOKEN = "token"
NODE_LABEL = "ray.io/node-id"  # that Ray gives to every node
MISFIT, NODE = "misfit", "node"  # what `run_if_fit` tells of a node: why it cannot, in words, and Ray's name of it
UNLOADED = "failed to import on the worker"  # in Ray's words, where a process cannot load what it is to run
ACTOR = re.compile(r"actor_id=([0-9a-f]+)")  # there
LACKING = re.compile(r"No module named '(\w+)'")
ERROR = re.compile(r"^\w*(?:Error|Exception)\b.*", re.MULTILINE)


def list_nodes() -> list[Node]:
    """The nodes that train, by address: a head, or the machine of a search, may have no cores for that."""
    found = [
        Node(node["NodeManagerAddress"], int(has.get("CPU", 0)), int(has.get("GPU", 0)), node["NodeID"])
        for node in ray.nodes()
        if node["Alive"] and ((has := node["Resources"]).get("CPU") or has.get("GPU"))
    ]
    return sorted(found, key=lambda node: node.address)


def build_machine() -> Machine:
    """What the joined cluster has."""
    nodes = list_nodes()
    return Machine(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes), tuple(nodes))


def check_cluster(*, allow_open: bool) -> None:
    """Whether a search may run on the cluster that was joined.

    Raises:
        SearchError: strangers may use it too; a node has other libraries, or does not answer.
    """
    head = worker.global_worker.gcs_client.address
    if not allow_open:
        check_closed(head, [node["NodeManagerAddress"] for node in ray.nodes()])
    nodes = list_nodes()
    found = ask_nodes(nodes, tell_libraries)
    check_libraries(found)
    check_answers(nodes, found, {node.id for node in list_nodes()})


def check_closed(head: str, addresses: Sequence[str]) -> None:
    """Raises SearchError where Ray asks for no token, or cannot be seen to, and other machines reach it.

    head: host and port.
    """
    if all(map(is_loopback, (head.rpartition(":")[0], *addresses))) or not lets_strangers_in(head):
        return
    raise SearchError(
        f"a Ray cluster must ask for a token, since whoever reaches its ports runs code as you, but {head} asks for "
        "none; start all its nodes, and this command, with RAY_AUTH_MODE=token and one token "
        "(RAY_AUTH_TOKEN_PATH), or give --allow-open-cluster where nobody else reaches it"
    )


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine, for this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name
        return False


def lets_strangers_in(head: str) -> bool:
    """Whether Ray's head answers who has no token.

    Raises:
        SearchError: it cannot be told: the head neither answers nor refuses.
    """
    if os.environ.get("RAY_AUTH_MODE", "disabled").lower() == "disabled":
        return True  # this process had none, and has joined
    stranger = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [sys.executable, "-c", ASK.format(refused=REFUSED), head],
            env=stranger | {"RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            timeout=ANSWER_S,
            check=False,
        )
        if done.returncode in (0, REFUSED):
            return done.returncode == 0
    raise SearchError(
        f"a Ray cluster must refuse who has no token, but {head} did not say in {ANSWER_S:g} s whether it does; try "
        "again when it rests, or give --allow-open-cluster where nobody else reaches it"
    )


def check_libraries(found: Mapping[str, Mapping[str, str]], own: Mapping[str, str] | None = None) -> None:
    """Raises SearchError where a node has other libraries than the machine that searches.

    Args:
        found: versions by name, by address.
        own: versions there; None: those of this process.
    """
    own = tell_libraries() if own is None else own
    for address, versions in found.items():
        if others := list_others(versions, own):
            raise SearchError(
                f"all nodes must have the libraries of the machine that searches, but {address} has {others}; "
                "install the same versions there"
            )


def list_others(versions: Mapping[str, str], own: Mapping[str, str]) -> str:
    """What has another version than here, with both, on one line; empty where all are alike. Both by name."""
    others = [name for name, version in versions.items() if version != own[name]]
    return ", ".join(f"{name} {versions[name]} (here: {own[name]})" for name in others)


def check_answers(asked: Sequence[Node], answered: Collection[str], alive: Collection[str]) -> None:
    """Raises SearchError where a node that lives did not say what it has: nobody knows what it would train with.

    Args:
        answered: addresses. alive: ids of the nodes that live now.
    """
    silent = sorted(node.address for node in asked if node.address not in answered and node.id in alive)
    if silent:
        raise SearchError(
            f"all nodes must answer before they train, but {', '.join(silent)} did not in {ANSWER_S:g} s; try "
            "again when they rest, or end Ray there (`ray stop`)"
        )


def tell_libraries() -> dict[str, str]:
    """Versions of what must be alike, by name. A build for another device, as in `2.14.1+cpu`, is alike."""
    found = {name: find_version(name).partition("+")[0] for name in ALIKE}
    return {"python": platform.python_version()} | found


def find_misfit(libraries: Mapping[str, str]) -> str | None:
    """What this node has of other versions than the machine that searches, in words; None where all are alike."""
    others = list_others(tell_libraries(), libraries)
    return tell_misfit(ray.util.get_node_ip_address(), f"has {others}") if others else None


def run_if_fit(libraries: Mapping[str, str] | None, needed: Sequence[Path], packed: bytes) -> Iterator[Any]:
    """Run a generator on this node. Where that lacks what it takes, or has it of other versions, yield that alone.

    Args:
        libraries: versions on the machine that asks; None: there is no other machine.
        needed: what a node must see.
        packed: the generator function, and a tuple of what it is called with.
    """
    misfit = None if libraries is None else find_misfit(libraries) or tell_unseen(needed)
    if misfit is None:
        try:
            do, arguments = pickle.loads(packed)
        except Exception as error:  # whatever a library raises that is not whole
            if libraries is None:
                raise
            misfit = tell_misfit(ray.util.get_node_ip_address(), describe_lack(f"{type(error).__name__}: {error}"))
    if misfit is None:
        yield from do(*arguments)
    else:
        yield {MISFIT: misfit, NODE: ray.get_runtime_context().get_node_id()}


def tell_unseen(needed: Sequence[Path]) -> str | None:
    """What of it this node does not see, in words; None where it sees all."""
    if not (unseen := list_unseen(needed)):
        return None
    return f"{ray.util.get_node_ip_address()} is not used: it does not see {unseen[0]}; share it with that machine"


def find_unloaded(death: str) -> tuple[str, str] | None:
    """Which node could not load what an actor is to run, as Ray names it, and why, in words; None where that is not it.

    Of Ray, `ray._private.state.actors`: the public way to it asks a dashboard.

    Args:
        death: why the actor died, in Ray's words.
    """
    actor = ACTOR.search(death)
    if UNLOADED not in death or actor is None:
        return None
    found = state.actors(actor[1])
    if not found:
        return None
    return found["Address"]["NodeID"], tell_misfit(found["Address"]["IPAddress"], describe_lack(death))


def describe_lack(error: str) -> str:
    """What a node lacks where it cannot load what trainings need, in words. error: what it met, the last line last."""
    if lacking := LACKING.findall(error):
        return f"lacks {lacking[-1]}"
    return f"cannot load what trainings need ({(ERROR.findall(error) or ['no reason known'])[-1]})"


def tell_misfit(address: str, fault: str) -> str:
    """That a node is left alone, and why, in a line. fault: what it has or lacks."""
    return f"{address} is not used: it {fault}; install the same versions there, and start Ray there again"


def leave_out(avoided: Collection[str]) -> dict[str, str]:
    """The label selector of Ray for any node but these. avoided: as Ray names them."""
    return {NODE_LABEL: f"!in({','.join(sorted(avoided))})"} if avoided else {}


def tell_none_left(avoided: Collection[str]) -> str | None:
    """That trainings wait for a node, in words; None where one that trains is left. avoided: as Ray names them."""
    if any(node.id not in avoided for node in list_nodes()):
        return None
    return "no node is left that can train: what is to be trained waits for one that has the same libraries"


def check_shared(folder: Path, files: Iterable[Path]) -> None:
    """Raises SearchError where a node of the cluster does not see a folder of this machine, and files on it.

    Args:
        folder: that nodes will write into; a file is made there for a moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder.resolve() / f".seen-{uuid.uuid4().hex}"
    marker.touch()
    try:
        nodes = list_nodes()
        found = ask_nodes(nodes, list_unseen, [marker, *(path.resolve() for path in files)])
    finally:
        marker.unlink()
    check_answers(nodes, found, {node.id for node in list_nodes()})
    for address, unseen in sorted(found.items()):
        if unseen:
            path = marker.parent if unseen[0] == marker else unseen[0]
            raise SearchError(
                f"trainings beside a search work in folders that all nodes share, but {address} does not see {path}; "
                "start in a shared folder, with the search and its prepared images there, or here: --address local"
            )


def list_unseen(paths: Sequence[Path]) -> list[Path]:
    """Those that this machine does not see."""
    return [path for path in paths if not path.exists()]


def start_on(node: Node, do: Callable[..., Any], *arguments: Any) -> Any:
    """Have a node do something beside its trainings. Gives what Ray names its answer by."""
    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(do).options(scheduling_strategy=there).remote(*arguments)


def ask_nodes(nodes: Sequence[Node], do: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """The answers of nodes, by address. One that does not answer in time, or dies meanwhile, is left out."""
    asked = {start_on(node, do, *arguments): node.address for node in nodes}
    found = {}
    if asked:
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
        for answer in ready:
            with suppress(ray.exceptions.RayError):
                found[asked[answer]] = ray.get(answer)
    return found
