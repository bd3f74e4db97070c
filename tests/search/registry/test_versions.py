"""Promoted models in MLflow's registry: kept whole, asked from everywhere with the same answers, and one champion."""

import ast
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from drawn_models import draw_model, draw_pixels
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from PIL import Image

from fashion_core import predict as core
from fashion_core.errors import CheckpointError, SearchError
from fashion_core.models.ensemble import join_models, save_ensemble, save_member
from search import predict
from search.records.layout import SearchLayout
from search.registry.lock import LOCK_TAG, lock_by_tag, lock_file
from search.registry.served_model import ServedModel, build_example
from search.registry.serving import SERVED_PACKAGES
from search.registry.versions import CHAMPION, PREVIOUS, PROMOTION_TAG, Registry, Version
from search.tracking.store import open_store

REPOSITORY = Path(__file__).resolve().parents[3]
BOX = "10,5,70,90"
START_S = 120  # for a server or another process on a busy machine
TOLERANCE = 1e-5  # of probabilities: another process has another number of threads


class Killed(BaseException):
    """Stands for the end of the process: nothing here catches it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow database for all tests; each takes a registered model of its own, since making one takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    client = open_store(f"sqlite:///{folder / 'mlflow.db'}")
    client.create_experiment("promote", (folder / "artifacts").as_uri())
    return client.tracking_uri


@pytest.fixture
def run_id(store: str) -> str:
    client = MlflowClient(store)
    return client.create_run(client.get_experiment_by_name("promote").experiment_id).info.run_id


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / "a.png", folder / "b.jpg", folder / "c.png"]
    for path, pixels in zip(paths, draw_pixels(3, 3, 96).numpy(), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture(scope="module")
def final(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two small networks that see images differently, with temperatures."""
    folder = tmp_path_factory.mktemp("search") / "final"
    members = [draw_model(1, image_size=32), draw_model(2, image_size=48, crop="whole", eval_flip=False)]
    save_ensemble(folder, join_models(members, [2, 1]))
    (folder / "temperatures.json").write_text('{"pattern": 2.5, "fit": 0.5}')
    (folder / "MODEL_CARD.md").write_text("# A model\n\nOf garments.\n\n## Limits\n\n- Some.\n\n## Data\n\nMuch.\n")
    return folder


@pytest.fixture(scope="module")
def champion(store: str, final: Path, photos: list[Path]) -> Version:
    """A registered and promoted model."""
    client = MlflowClient(store)
    run = client.create_run(client.get_experiment_by_name("promote").experiment_id)
    registry = Registry(store, "served")
    registered = registry.register(
        final, run_id=run.info.run_id, promotion_id="p", tags={}, example_image=photos[0].read_bytes()
    )
    registry.promote(registered, None, {"gate": "passed"})
    return registered


def draw_versions(store: str, model: str, count: int) -> tuple[Registry, list[Version]]:
    """Versions with nothing in them: enough for aliases."""
    registry = Registry(store, model)
    client = registry.connect()
    client.create_registered_model(model)
    for number in range(count):
        client.create_model_version(model, f"file:///nowhere/{number}", tags={PROMOTION_TAG: str(number)})
    return registry, registry.list_versions()


def read_aliases(registry: Registry) -> tuple[int | None, int | None]:
    """Numbers of champion and previous."""
    found = [registry.find(alias) for alias in (CHAMPION, PREVIOUS)]
    return found[0] and found[0].number, found[1] and found[1].number


@contextmanager
def run_server(command: list[str], path: str, folder: Path, **environment: str) -> Iterator[str]:
    """An MLflow command that serves on a free port of this machine, until it answers at the path; gives its address."""
    port = find_port()
    address = f"http://127.0.0.1:{port}"
    scripts = str(Path(sys.executable).parent)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", **environment},
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"{address}/{path}", timeout=START_S).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # with its workers
        server.wait()


def find_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --------------------------------------------------------------------------------------------------------- registering


def test_a_version_holds_the_folder_and_its_origin(
    store: str, final: Path, photos: list[Path], run_id: str, champion: Version
) -> None:
    registry = Registry(store, "whole")
    tags = {"score": 0.85, "nothing": None}
    given = {"run_id": run_id, "example_image": photos[0].read_bytes()}
    first = registry.register(final, promotion_id="a", tags=tags, **given)
    assert (first.name, first.number, first.run_id, first.tags["score"]) == ("whole", 1, run_id, "0.85")
    assert "nothing" not in first.tags and first.aliases == ()
    assert registry.register(final, promotion_id="a", tags={}, **given) == first  # the one that is there
    assert registry.list_versions() == [first] and registry.find(1) == registry.find("1") == first
    folder = registry.download(first)
    names = sorted(path.relative_to(final).as_posix() for path in final.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert all((folder / name).read_bytes() == (final / name).read_bytes() for name in names)
    client = MlflowClient(store)
    assert "champion" in client.get_registered_model("whole").description
    assert client.get_model_version("whole", "1").description == "Of garments.\n\n## Limits\n\n- Some."
    (output,) = client.get_run(run_id).outputs.model_outputs
    assert Path(client.get_logged_model(output.model_id).artifact_location.removeprefix("file://")) in folder.parents

    second = registry.register(final, promotion_id="b", tags={}, **given)
    assert second.number == 2 and registry.list_versions() == [first, second]


@pytest.mark.parametrize("step", ["log_model_artifacts", "finalize_logged_model", "create_model_version"])
def test_a_registration_cut_off_leaves_nothing_and_goes_on(
    step: str, store: str, final: Path, photos: list[Path], run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(store, f"cut_{step}")
    given = {"run_id": run_id, "promotion_id": "a", "tags": {"x": "1"}, "example_image": photos[0].read_bytes()}

    def stop(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(registry.connect(), step, stop)
        with pytest.raises(Killed):
            registry.register(final, **given)
    assert registry.list_versions() == []
    registry = Registry(store, registry.model)
    registered = registry.register(final, **given)
    assert registry.list_versions() == [registered] and registered.tags["x"] == "1"
    (output,) = MlflowClient(store).get_run(run_id).outputs.model_outputs  # not a second one
    assert MlflowClient(store).get_logged_model(output.model_id).status == "READY"
    assert (registry.download(registered) / "ensemble.json").is_file()


def test_what_cannot_be_asked_is_not_registered(store: str, final: Path, run_id: str, tmp_path: Path) -> None:
    registry = Registry(store, "refused")
    (tmp_path / "final").mkdir()
    with pytest.raises(CheckpointError, match="saved model"):
        registry.register(tmp_path / "final", run_id=run_id, promotion_id="a", tags={}, example_image=b"")
    with pytest.raises(Exception, match=r"example.*must be an image"):
        registry.register(final, run_id=run_id, promotion_id="a", tags={}, example_image=b"no image")
    assert registry.list_versions() == []


# ------------------------------------------------------------------------------------------------------------- aliases


def test_promote_and_roll_back(store: str) -> None:
    registry, (one, two, three) = draw_versions(store, "aliases", 3)
    assert registry.find(CHAMPION) is None and registry.find(9) is None
    with pytest.raises(SearchError, match="needs a champion"):
        registry.rollback()
    registry.promote(one, None, {"gain": 0.5})
    assert read_aliases(registry) == (1, None) and registry.find(1).tags["gain"] == "0.5"
    with pytest.raises(SearchError, match="none before version 1"):
        registry.rollback()
    registry.promote(two, one, {})
    registry.promote(three, two, {})
    assert read_aliases(registry) == (3, 2) and registry.find(CHAMPION).aliases == (CHAMPION,)
    registry.promote(three, two, {})  # again: nothing changes
    assert read_aliases(registry) == (3, 2)
    restored, previous = registry.rollback()
    assert (restored.number, previous.number) == (2, 1) == read_aliases(registry)
    restored, previous = registry.rollback()
    assert (restored.number, previous) == (1, None) and read_aliases(registry) == (1, None)
    registry.promote(three, one, {})
    assert read_aliases(registry) == (3, 1)


def test_a_champion_that_comes_back_ends_no_rollback_in_a_circle(store: str) -> None:
    registry, (one, two) = draw_versions(store, "circle", 2)
    registry.promote(one, None, {})
    registry.promote(two, one, {})
    registry.promote(one, two, {})
    assert read_aliases(registry) == (1, 2)
    assert [registry.rollback()[0].number for _ in range(2)] == [2, 1]
    with pytest.raises(SearchError, match="none before"):
        registry.rollback()


def test_another_champion_by_now(store: str) -> None:
    registry, (one, two, three) = draw_versions(store, "overtaken", 3)
    registry.promote(one, None, {})
    registry.promote(two, one, {})
    for expected in (one, None):
        with pytest.raises(SearchError, match=r"version 3 .* now it is version 2; run promote again"):
            registry.promote(three, expected, {"gain": 1})
    assert read_aliases(registry) == (2, 1) and "gain" not in registry.find(3).tags


def test_a_promote_cut_off_anywhere_is_finished_by_the_next(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends right after each of the writes in turn: there is always a champion, and going on works."""
    writes = ("set_model_version_tag", "delete_registered_model_alias", "set_registered_model_alias")
    states = []
    for count in range(1, 9):
        registry, (one, two, three) = draw_versions(store, f"cut_after_{count}", 3)
        registry.promote(one, None, {})
        registry.promote(two, one, {})
        calls = 0

        def plant(write, count=count):
            def call(*arguments):
                nonlocal calls
                write(*arguments)
                calls += 1
                if calls == count:
                    raise Killed

            return call

        with monkeypatch.context() as patch:
            for name in writes:
                patch.setattr(registry.client, name, plant(getattr(registry.client, name)))
            try:
                registry.promote(three, two, {"gain": 1})
            except Killed:
                states.append(read_aliases(registry))
            else:
                break
        registry = Registry(store, registry.model)
        registry.promote(three, two, {"gain": 1})
        assert read_aliases(registry) == (3, 2) and registry.find(3).tags["gain"] == "1"
        assert registry.rollback()[0].number == 2 and registry.rollback()[0].number == 1
    # two tags, then the old `previous` away, the champion, the new `previous`
    assert states == [(2, 1), (2, 1), (2, None), (3, None), (3, 2)]


def test_a_rollback_after_a_promote_cut_off(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the champion before, although alias `previous` is absent."""
    registry, (one, two) = draw_versions(store, "cut_then_back", 2)
    registry.promote(one, None, {})
    point = registry.connect().set_registered_model_alias

    def stop(model: str, alias: str, number: str) -> None:
        if alias == PREVIOUS:
            raise Killed
        point(model, alias, number)

    with monkeypatch.context() as patch:
        patch.setattr(registry.client, "set_registered_model_alias", stop)
        with pytest.raises(Killed):
            registry.promote(two, one, {})
    assert read_aliases(registry) == (2, None)
    assert registry.rollback()[0].number == 1 and read_aliases(registry) == (1, None)


# Imports once, then does in processes of their own what each line asks for: `whole 2 3`, or `killed 4`.
PROMOTE = """
import json, os, sys
from search.registry import Registry
import mlflow.tracking
from fashion_core.errors import SearchError
uri, model = sys.argv[1:]

def promote(end, number, ready, go, said):
    registry = Registry(uri, model)
    one, challenger = registry.find(1), registry.find(number)
    if end == "killed":
        point = registry.client.set_registered_model_alias
        registry.client.set_registered_model_alias = lambda *given: (point(*given), os._exit(9))
    os.write(ready, b"x")
    os.read(go, 1)
    try:
        registry.promote(challenger, one, {})
    except SearchError as error:
        os.write(said, str(error).encode())
        os._exit(1)
    os._exit(0)

for line in sys.stdin:
    end, *numbers = line.split()
    ready, go = os.pipe(), os.pipe()
    children = []
    for number in numbers:
        said = os.pipe()
        child = os.fork()
        if not child:
            promote(end, number, ready[1], go[0], said[1])
        os.close(said[1])
        children.append((child, said[0]))
    for _ in numbers:
        os.read(ready[0], 1)
    os.write(go[1], b"x" * len(numbers))
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child, _ in children]
    print(json.dumps([ends, [os.read(said, 9999).decode() for _, said in children]]), flush=True)
"""


@pytest.mark.slow
def test_promotes_of_other_processes(store: str) -> None:
    """Two at once: one wins, the other is told. One that is killed between the aliases leaves no lock behind."""
    registry, versions = draw_versions(store, "at_once", 4)
    registry.promote(versions[0], None, {})
    command = [sys.executable, "-c", PROMOTE, store, "at_once"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as others:

        def run(line: str) -> tuple[list[int], list[str]]:
            others.stdin.write(f"{line}\n")
            others.stdin.flush()
            ends, said = json.loads(others.stdout.readline())
            return ends, said

        ends, said = run("whole 2 3")
        assert sorted(ends) == [0, 1], said
        winner = 2 + ends.index(0)
        assert "judged against version 1, and now it is" in said[ends.index(1)]
        assert read_aliases(registry) == (winner, 1)

        registry.rollback()
        assert run("killed 4")[0] == [9] and read_aliases(registry) == (4, None)
        registry.promote(versions[3], versions[0], {})
        assert read_aliases(registry) == (4, 1)
        others.stdin.close()


# --------------------------------------------------------------------------------------------------------------- locks


def test_a_file_lock_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock_file(path), pytest.raises(SearchError, match="another one has held"), lock_file(path, wait_s=0):
        pass
    with lock_file(path, wait_s=0) as check:
        check()


def test_a_tag_lock_has_one_holder(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, _ = draw_versions(store, "tag_lock", 0)
    client = registry.client

    def read() -> str | None:
        return client.get_registered_model("tag_lock").tags.get(LOCK_TAG)

    def write(value: str) -> None:
        client.set_registered_model_tag("tag_lock", LOCK_TAG, value)

    lock = {"client": client, "model": "tag_lock", "wait_s": 0.3, "settle_s": 0.01}
    with lock_by_tag(**lock) as check:
        check()
        held = read()
        with pytest.raises(SearchError, match="another one has held"), lock_by_tag(**lock):
            pass
        assert read() == held
    assert read() is None

    write(f"dead {time.time() - 1:.0f}")  # of a process that was killed long ago
    with lock_by_tag(**lock) as check:
        write(f"thief {time.time() + 60:.0f}")
        with pytest.raises(SearchError, match="took it over"):
            check()
    assert read().startswith("thief")  # not ours to remove

    write("dead 0")
    set_tag = client.set_registered_model_tag

    def set_and_lose(*arguments: str) -> None:  # another one looked when we did, and wrote after us
        set_tag(*arguments)
        set_tag("tag_lock", LOCK_TAG, f"other {time.time() + 60:.0f}")

    monkeypatch.setattr(client, "set_registered_model_tag", set_and_lose)
    with pytest.raises(SearchError, match="another one has held"), lock_by_tag(**lock):
        pass
    assert read().startswith("other")


# ------------------------------------------------------------------------------------------------------------- answers


def ask_core(final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], *options: str) -> list[dict]:
    core.main([*map(str, (final, *photos)), "--json", "--device", "cpu", *options])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def check_table(table: pd.DataFrame, expected: list[dict]) -> None:
    """The answers of a served model are those of fashion_core.predict."""
    assert list(table) == ["pattern", "pattern_probability", "fit", "fit_probability", "probabilities"]
    assert len(table) == len(expected)
    for row, answer in zip(table.to_dict("records"), expected, strict=True):
        said = json.loads(row["probabilities"])
        for name, values in answer["attributes"].items():
            assert row[name] == values["class"]
            assert row[f"{name}_probability"] == pytest.approx(values["probability"], abs=TOLERANCE)
            assert said[name] == pytest.approx(values["probabilities"], abs=TOLERANCE)


LOAD = """
import json, sys
repository = sys.argv.pop()
sys.path[:] = [path for path in sys.path if path not in ("", repository)]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
table = pandas.read_json(sys.stdin, dtype=False)
import fashion_core
files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "fashion_core"]
json.dump({"files": files, "search": "search" in sys.modules, "answers": model.predict(table).to_dict("records"),
    "flipped": model.predict(table, params={"tta": True}).to_dict("records"),
    "plain": model.predict(table[["image"]], params={"tta": False}).to_dict("records")}, sys.stdout)
"""


@pytest.mark.slow
def test_loads_without_this_project_and_without_pickle(
    store: str, champion: Version, final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = pd.concat([build_example(photo.read_bytes()) for photo in photos], ignore_index=True)
    table["box"] = BOX
    result = subprocess.run(
        [sys.executable, "-c", LOAD, "models:/served@champion", str(REPOSITORY)],
        input=table.to_json(),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
    )
    assert result.returncode == 0, result.stderr
    loaded = json.loads(result.stdout)
    folder = Registry(store, "served").download(champion).parent.parent
    assert not loaded["search"] and all(folder in Path(file).parents for file in loaded["files"])
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pyc")]
    assert "cloudpickle" not in (folder / "requirements.txt").read_text()
    check_table(pd.DataFrame(loaded["answers"]), ask_core(final, photos, capsys, "--box", BOX))
    check_table(pd.DataFrame(loaded["flipped"]), ask_core(final, photos, capsys, "--box", BOX, "--tta"))
    check_table(pd.DataFrame(loaded["plain"]), ask_core(final, photos, capsys, "--no-tta"))
    assert len({json.dumps(loaded[name]) for name in ("answers", "flipped", "plain")}) == 3

    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert pins == {name: version(name).split("+")[0] for name in SERVED_PACKAGES}
    imported = set()
    for path in [*map(Path, loaded["files"]), folder / "served_model.py"]:
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    third_party = imported - set(sys.stdlib_module_names) - {"fashion_core", "pydantic_core"}
    assert {name.replace("PIL", "pillow") for name in third_party} | {"torchvision"} == set(pins)


@pytest.mark.slow
def test_served_over_http(
    store: str, champion: Version, final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["models", "serve", "-m", "models:/served@champion", "--env-manager", "local"]
    environment = {"MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with run_server(command, "ping", tmp_path, **environment) as address:

        def post(content: dict) -> dict:
            body, kind = json.dumps(content).encode(), {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/invocations", body, kind)
            with urllib.request.urlopen(request, timeout=START_S) as response:
                return json.load(response)

        rows = [[base64.b64encode(photo.read_bytes()).decode(), BOX] for photo in photos]
        table = {"columns": ["image", "box"], "data": rows}
        answered = post({"dataframe_split": table, "params": {"tta": True}})
        check_table(pd.DataFrame(answered["predictions"]), ask_core(final, photos, capsys, "--box", BOX, "--tta"))
        rows[1][1] = "0,0,4000,9"
        with pytest.raises(urllib.error.HTTPError) as refused:
            post({"dataframe_split": table})
        assert refused.value.code == 400
        assert re.search(r"row 1: a box must be .* inside the image of 96 x 96", refused.value.read().decode())


@pytest.mark.slow
def test_through_a_tracking_server(
    store: str,
    final: Path,
    photos: list[Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same registry where MLflow keeps database and files behind a server; then the server goes away."""
    monkeypatch.setattr("search.registry.versions.lock_by_tag", partial(lock_by_tag, settle_s=0.1))
    command = ["server", "--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "files")]
    with run_server(command, "health", tmp_path, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") as address:
        client = open_store(address)
        run = client.create_run(client.create_experiment("remote")).info.run_id
        registry = Registry(address, "remote")
        given = {"run_id": run, "tags": {}, "example_image": photos[0].read_bytes()}
        one = registry.register(final, promotion_id="a", **given)
        assert registry.register(final, promotion_id="a", **given) == one
        client.create_model_version("remote", one.uri)
        two = registry.find(2)
        registry.promote(one, None, {})
        registry.promote(two, one, {})
        assert read_aliases(registry) == (2, 1) and registry.rollback()[0].number == 1
        assert LOCK_TAG not in client.get_registered_model("remote").tags
        options = ["--json", "--device", "cpu", "--tracking-uri", address]
        predict.main(["models:/remote@champion", *map(str, photos), *options])
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert answers == ask_core(final, photos, capsys)
        assert tmp_path not in registry.download(one).parents  # a copy, not the server's files
    for again in (registry, Registry(address, "remote")):
        with pytest.raises(SearchError, match=address):
            again.find(CHAMPION)


def test_faulty_rows_are_all_named(final: Path, photos: list[Path]) -> None:
    served = ServedModel().load(final)
    good = base64.b64encode(photos[0].read_bytes()).decode()
    text = base64.b64encode(b"not an image").decode()
    for rows, faults in [
        ([(good, None), ("%%", ""), (None, ""), (good, "1,2")], ["row 1: `image`", "row 2: `image`", "row 3: a box"]),
        ([(good, float("nan")), (text, " "), (good, "0,0,99,9")], ["row 1: cannot identify", "row 2: a box must be"]),
    ]:
        with pytest.raises(MlflowException) as refused:
            served.predict(None, pd.DataFrame(rows, columns=["image", "box"]))
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
        assert all(fault in refused.value.message for fault in faults) and "row 0" not in refused.value.message
    assert len(served.predict(None, build_example(photos[0].read_bytes())[:0])) == 0


# -------------------------------------------------------------------------------------------------------- command line


def test_ask_by_any_name(
    store: str,
    champion: Version,
    final: Path,
    photos: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = ask_core(final, photos, capsys, "--box", BOX)
    layout = SearchLayout(tmp_path, "mine")
    layout.folder.mkdir()
    layout.ledger.touch()
    save_member(layout.best_folder, draw_model(5, image_size=32))

    def ask(model: object) -> list[dict]:
        options = ["--json", "--device", "cpu", "--box", BOX, "--tracking-uri", store, "--results", str(tmp_path)]
        predict.main([str(model), *map(str, photos), *options])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    best = ask("mine")
    assert best == ask_core(layout.best_folder, photos, capsys, "--box", BOX) != expected
    shutil.copytree(final, layout.final.folder)
    for model in ("models:/served@champion", f"models:/served/{champion.number}", "mine", final):
        assert ask(model) == expected


def test_what_cannot_be_asked_is_told(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_versions(store, "asked", 1)[0].promote(Version("asked", 1, ""), None, {})
    layout = SearchLayout(tmp_path, "empty")
    layout.folder.mkdir()
    layout.ledger.touch()
    for model, message in [
        ("models:/asked@challenger", r"has 1 @champion of this model"),
        ("models:/asked/7", r"models:/asked/7 is not in sqlite.*has 1 @champion"),
        ("models:/unknown@champion", "has nothing of this model"),
        ("models:/asked", "models:/NAME@ALIAS or models:/NAME/NUMBER"),
        ("empty", r"once a trial of it has saved a model.*--resume empty"),
        ("absent", "saved model"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            predict.main([model, "x.jpg", "--tracking-uri", store, "--results", str(tmp_path)])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and re.search(message, error), error
    with pytest.raises(SystemExit):
        predict.main(["models:/asked@champion", "x.jpg", "--results", str(tmp_path / "elsewhere")])
    assert not (tmp_path / "elsewhere").exists()  # looking makes no database


# --------------------------------------------------------------------------------------------------- without a registry


def test_a_registry_that_is_away(tmp_path: Path) -> None:
    port = find_port()
    (tmp_path / "file").write_text("not a database, and not a folder\n" * 100)
    for uri, shown, reason in [
        (f"http://127.0.0.1:{port}", None, "refused"),
        (f"postgresql://me:secret@127.0.0.1:{port}/x", f"postgresql://me:***@127.0.0.1:{port}/x", "ConnectionRefused"),
        ("nosuch://here", None, "nosuch"),
        (f"sqlite:///{tmp_path / 'file'}", None, "not a database"),
        (f"sqlite:///{tmp_path / 'file' / 'below' / 'mlflow.db'}", None, "NotADirectory"),
    ]:
        registry = Registry(uri)
        with pytest.raises(SearchError, match=reason) as told:
            registry.connect()
        assert (shown or uri) in str(told.value) and "secret" not in str(told.value)
    with pytest.raises(SearchError, match=f"127.0.0.1:{port}"):
        Registry(f"http://127.0.0.1:{port}").find(CHAMPION)
