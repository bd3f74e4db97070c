"""The recipes for clusters, by the validators of what they are for; test_slurm and test_job_submit run two of them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from ray._private.ray_constants import RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.testing import CliRunner

from search.commands.app import app
from search.jobs.cluster import SETTINGS

RECIPES = Path(__file__).resolve().parents[3] / "search" / "cluster"
PIN = re.search(r"^ray==(\S+)$", (RECIPES.parents[1] / ".ci" / "constraints.txt").read_text(), re.MULTILINE)
KUBERNETES = "1.37"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
SEARCH = re.compile(r"fashion-search run (?:[^;&|\n#]|\\\n)*")
OF_NODES = {name: SETTINGS[name] for name in ("RAY_memory_monitor_refresh_ms", "RAY_worker_niceness")}
NAMES = ("Dockerfile", "README.md", "cluster.yaml", "compose.yaml", "kuberay.yaml", "skypilot.yaml", "slurm.sbatch")


def read(name: str) -> str:
    return (RECIPES / name).read_text()


# ------------------------------------------------------------------------------------------------------------ the image


def test_the_image_asks_for_gpus_itself() -> None:
    """NVIDIA's container runtime shows none to a container that does not."""
    text = read("Dockerfile")
    assert re.search(
        r"^ENV (?:.|\\\n)*NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility\b", text, re.M
    )


# ------------------------------------------------------------------------------------------------------ Ray's launcher


def test_the_launcher_takes_the_cluster() -> None:
    config = prepare_config(yaml.safe_load(read("cluster.yaml")))
    validate_config(config)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["worker"]["min_workers"] > 0  # else a search that wants GPUs is refused
    assert types["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2 and all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert all(f" {name}={value} " in command for command in starts for name, value in OF_NODES.items())
    assert "~/.ray/auth_token" in config["file_mounts"].values()


def test_the_launcher_refuses_what_it_does_not_know() -> None:
    config = prepare_config(yaml.safe_load(read("cluster.yaml")))
    with pytest.raises(Exception, match="spot_workers"):
        validate_config(config | {"spot_workers": 4})


# ---------------------------------------------------------------------------------------------------------- Kubernetes


def load_manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(read("kuberay.yaml")))


def find_job() -> dict[str, Any]:
    (job,) = (manifest for manifest in load_manifests() if manifest["kind"] == "RayJob")
    return job["spec"]


def list_pods() -> list[dict[str, Any]]:
    """Templates of all pods of the search."""
    job = find_job()
    groups = [job["rayClusterSpec"]["headGroupSpec"], *job["rayClusterSpec"]["workerGroupSpecs"]]
    return [job["submitterPodTemplate"], *(group["template"] for group in groups)]


def test_kubernetes_knows_all_but_the_job() -> None:
    kinds = []
    for manifest in load_manifests():
        assert manifest["metadata"]["namespace"] == "fashion"
        kinds.append(manifest["kind"])
        if manifest["kind"] != "RayJob":
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    assert kinds.count("RayJob") == 1 and {"StatefulSet", "Deployment", "NetworkPolicy"} <= set(kinds)


def test_kubernetes_knows_the_pods_of_the_job() -> None:
    for template in list_pods():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"} | template.get("metadata", {})}
        kubernetes_validate.validate(pod | {"spec": template["spec"]}, KUBERNETES, strict=True)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(pod | {"spec": template["spec"] | {"container": []}}, KUBERNETES, strict=True)


def test_the_job_asks_for_a_token_and_the_pinned_ray() -> None:
    cluster = find_job()["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "fashion-ray"}
    assert PIN is not None and cluster["rayVersion"] == PIN[1]


def test_workers_of_the_job_have_time_to_drain() -> None:
    *_, worker = list_pods()
    assert worker["spec"]["terminationGracePeriodSeconds"] > RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S


def test_nodes_of_the_job_have_what_ray_reads_at_their_start() -> None:
    for template in list_pods()[1:]:
        (container,) = template["spec"]["containers"]
        assert {each["name"]: each.get("value") for each in container["env"]}.items() >= OF_NODES.items()


def test_secrets_that_are_read_are_those_that_are_made() -> None:
    text = read("kuberay.yaml")
    read_from = re.findall(r"(?:secretKeyRef: {name|secretRef: {name|secretName): ([\w-]+)", text)
    assert set(read_from) == set(re.findall(r"create secret generic (\S+)", text))
    assert "kind: Secret" not in text


# ------------------------------------------------------------------------------------------------------------- compose


def read_services(text: str) -> str:
    """What compose reads: with the values of variables, and without YAML's short forms."""
    given = VARIABLE.sub(lambda found: found[3] if found[2] == "-" else "given", text)
    return yaml.safe_dump(yaml.safe_load(given))


def test_compose_takes_the_services() -> None:
    PyCompose.from_yaml(read_services(read("compose.yaml")))
    services = yaml.safe_load(read("compose.yaml"))["services"]
    assert services["search"]["profiles"] and services["search-gpu"]["build"]["args"] == {"DEVICE": "gpu"}
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} must be open to this machine alone, but has {port}"


def test_compose_refuses_what_it_does_not_know() -> None:
    with pytest.raises(Exception, match="restarts"):
        PyCompose.from_yaml(read_services(read("compose.yaml").replace("restart: unless", "restarts: unless")))


def test_searches_of_compose_have_what_ray_reads_at_its_start() -> None:
    services = yaml.safe_load(read("compose.yaml"))["services"]
    for name in ("search", "search-gpu"):
        assert services[name]["environment"].items() >= OF_NODES.items()


def test_passwords_of_compose_must_be_given() -> None:
    for name, mark, _ in VARIABLE.findall(read("compose.yaml")):
        assert mark == ("?" if "PASSWORD" in name else "-"), f"{name} must have no default, if it is a password"


# ------------------------------------------------------------------------------------------------------------ SkyPilot

TASK = """
import sys, yaml
from sky.task import Task
config = yaml.safe_load(open("skypilot.yaml"))
given = [(name, "given") for name, value in config["envs"].items() if value is None]
task = Task.from_yaml_config(config, given, [(name, "given") for name in config["secrets"]])
print(sorted((r.use_spot, r.max_hourly_cost, *r.accelerators.items()) for r in task.resources))
"""


@pytest.mark.slow
@pytest.mark.long
def test_skypilot_takes_the_task(tmp_path: Path) -> None:
    command = shutil.which("sky")
    if command is None:
        pytest.skip("needs SkyPilot in an environment of its own, with `sky` on the PATH")
    shutil.copy(RECIPES / "skypilot.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    python = Path(command).resolve().parent / "python"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run([python, "-c", TASK], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[(True, 4.0, ('A10G', 4)), (True, 4.0, ('L4', 4))]"


def test_the_task_has_the_python_and_the_extras_of_the_project() -> None:
    project = tomllib.loads((RECIPES.parents[1] / "pyproject.toml").read_text())["project"]
    setup = yaml.safe_load(read("skypilot.yaml"))["setup"]
    assert project["requires-python"].startswith(">=" + re.search(r"--python (\S+)", setup)[1])
    for text in (setup, read("Dockerfile")):
        extras = re.search(r"'\.\[([\w,]+)\]'", text)[1].split(",")
        assert "gpu" in extras and set(extras) <= set(project["optional-dependencies"])


# ---------------------------------------------------------------------------------------------------------- all of them


@pytest.fixture(scope="module")
def options_of_run() -> str:
    return CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("name", NAMES)
def test_options_of_searches_are_those_of_the_command(name: str, options_of_run: str) -> None:
    for found in SEARCH.finditer(read(name)):
        words = shlex.split(re.sub(r"[\"'\\\n`]|\s#.*", " ", found[0]))
        options = [word for word in words if word.startswith("--")]
        assert options, found[0]
        for option in options:
            assert re.search(rf"{option}\b", options_of_run), f"{name} has {option}, but the command does not"


def test_shell_scripts_can_be_read() -> None:
    scripts = [("slurm.sbatch", read("slurm.sbatch"))]
    task = yaml.safe_load(read("skypilot.yaml"))
    notice = yaml.safe_load(read("cluster.yaml"))["worker_start_ray_commands"][-1]
    words = shlex.split(notice)
    scripts += [("cluster.yaml", notice), ("cluster.yaml", words[words.index("-c") + 1])]
    scripts += [("skypilot.yaml", task["setup"] + task["run"]), ("kuberay.yaml", find_job()["entrypoint"])]
    for name, script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr}"


@pytest.mark.parametrize("name", ["slurm.sbatch", "README.md"])
def test_a_node_is_started_with_what_ray_reads_then(name: str) -> None:
    """Each `ray start` of a script or a block of commands stands behind an export of both."""
    blocks = [read(name)] if name == "slurm.sbatch" else re.findall(r"```\n(.*?)```", read(name), re.DOTALL)
    for block in (block for block in blocks if "ray start" in block):
        before = block[: re.search("exec ray start|^ray start", block, re.MULTILINE).start()]
        for variable, value in OF_NODES.items():
            assert re.search(rf"^export .*\b{variable}={value}\b", before, re.MULTILINE), block


def test_files_hold_no_password() -> None:
    for path in RECIPES.iterdir():
        for line in path.read_text().splitlines():
            found = re.search(r"(?i)(password|secret_access_key|token)[\"']?\s*[:=]\s*[\"']?([\w/+]{8,})", line)
            assert found is None, f"{path.name} must hold no password, but has {line.strip()}"
