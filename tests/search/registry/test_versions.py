"""Versions and their aliases: one champion at any time, whoever promotes and wherever it is cut off."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from registered_models import REPOSITORY, ask_core, draw_versions, run_server

from fashion_core.errors import SearchError
from search import predict
from search.address import Address
from search.registry.lock import LOCK_TAG, lock_by_tag
from search.registry.versions import (
    CHAMPION,
    PREVIOUS,
    Registry,
    Version,
    find_only_model,
    list_models,
    name_model,
    rollback,
)
from search.tracking.store import open_store


class Killed(BaseException):
    """Stands for the end of the process: nothing here catches it."""


def read_aliases(registry: Registry) -> tuple[int | None, int | None]:
    """Numbers of champion and previous."""
    found = [registry.find(alias) for alias in (CHAMPION, PREVIOUS)]
    return found[0] and found[0].number, found[1] and found[1].number


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

    told = client.get_logged_model(output.model_id).tags["mlflow.modelVersions"]
    assert json.loads(told) == [{"name": "whole", "version": "1"}]  # its page leads to the version

    second = registry.register(final, promotion_id="b", tags={}, **given)
    assert second.number == 2 and registry.list_versions() == [first, second]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("parts", "parts"),
        ("a/FashionDataset/", "FashionDataset"),
        ("parts/labels.csv", "parts-labels"),
        ("own data/é: 1/2@x.parquet", "é-1-2-x"),
        ("/", "model"),
        ("/labels.jsonl", "labels"),
        ("v1.2", "v1.2"),
    ],
)
def test_a_model_is_named_by_its_data(data: str, name: str) -> None:
    assert name_model(Path(data)) == name


@pytest.mark.slow
def test_where_none_is_named_the_only_champion_is_meant(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(SearchError, match=r"exactly one with a champion, but .* has none; promote a search"):
        rollback(tracking_uri=uri)
    assert not (tmp_path / "mlflow.db").exists()
    one, versions = draw_versions(uri, "one", 2)
    draw_versions(uri, "without a champion", 1)
    for number, version in enumerate(versions):
        one.promote(version, versions[number - 1] if number else None, {})
    assert list_models(Address(uri)) == ["one"] and find_only_model(Address(uri)) == "one"
    assert rollback(tracking_uri=uri)[0].number == 1
    two, (version,) = draw_versions(uri, "two", 1)
    two.promote(version, None, {})
    with pytest.raises(SearchError, match="has one, two; name one with --model"):
        rollback(tracking_uri=uri)
