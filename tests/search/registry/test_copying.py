"""A version copied to another registry: all of it, or not at all; what stands there is never overwritten."""

import base64
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from registered_models import draw_versions

from fashion_core.errors import SearchError
from search.commands import app
from search.registry.copying import COPIED_TAG, compute_digests, copy_version
from search.registry.versions import CHAMPION, Registry, Version
from search.tracking.store import open_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evidence(store: str, champion: Version) -> Version:
    """The champion, whose run has figures and a file."""
    client = MlflowClient(store)
    client.log_metric(champion.run_id, "promotion/score", 0.8527)
    client.log_param(champion.run_id, "top", 3)
    client.set_tag(champion.run_id, "gate", "better; surely")
    client.log_text(champion.run_id, "# Promotion\n", "PROMOTION.md")
    return Registry(store, "served").find(CHAMPION)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('there') / 'mlflow.db'}"


def test_all_of_it_goes_along_once(
    store: str, evidence: Version, target: str, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    done = copy_version("served", target, tracking_uri=store)
    registry, client, version = Registry(target, "served"), open_store(target), done.version
    assert done.is_new and done.files > 10 and version.aliases == () and registry.find(CHAMPION) is None
    here, there = (compute_digests(each.download_part(one)) for each, one in
                   ((Registry(store, "served"), evidence), (registry, version)))  # fmt: skip
    assert here == there and len(here) == done.files
    ours, theirs = dict(evidence.tags), dict(version.tags)
    assert ours.pop("predecessor") == "none" and theirs.pop(COPIED_TAG) == f"{store} models:/served/1"
    assert theirs == ours and theirs["gate"] == "passed"
    text = MlflowClient(store).get_model_version("served", "1").description
    assert client.get_model_version("served", "1").description == text != ""
    run = client.get_run(version.run_id)
    assert run.data.metrics == {"promotion/score": 0.8527} and run.data.params == {"top": "3"}
    assert run.data.tags["gate"] == "better; surely" and run.data.tags["kind"] == "copy"
    assert "PROMOTION.md" in [each.path for each in client.list_artifacts(run.info.run_id)]

    again = copy_version("models:/served@champion", target, tracking_uri=store)
    assert not again.is_new and again.version == version and registry.list_versions() == [version]
    with pytest.raises(SystemExit, match="0"):
        app.main(["copy", "served/1", "--to", target, "--tracking-uri", store, "--champion"])
    out = capsys.readouterr().out
    assert "is there already: models:/served/1" in out and "it is the champion there" in out
    assert registry.find(CHAMPION).number == 1 and registry.list_crownings()[-1].how == "copied"

    mlflow.set_tracking_uri(target)
    try:
        model = mlflow.pyfunc.load_model("models:/served@champion")
        table = pd.DataFrame({"image": [base64.b64encode(photos[0].read_bytes()).decode()]})
        assert list(model.predict(table)["error"]) == [None]
    finally:
        mlflow.set_tracking_uri(None)


def test_what_is_there_with_other_content_is_left_and_told(
    store: str, evidence: Version, target: str, final: Path, photos: list[Path], run_id: str
) -> None:
    copy_version("served", target, tracking_uri=store, model="kept", champion=True)
    registry = Registry(target, "kept")
    (path,) = registry.download_part(registry.find(1)).rglob("MODEL_CARD.md")
    before = path.read_bytes()
    path.write_text("# Another\n")
    told = r"models:/kept/1 in .* differs from models:/served/1 in .* in the file .*MODEL_CARD.md; nothing was changed"
    with pytest.raises(SearchError, match=told):
        copy_version("served", target, tracking_uri=store, model="kept")
    path.write_bytes(before)
    registry.connect().set_model_version_tag("kept", "1", "score", "0.9")
    with pytest.raises(SearchError, match="in the tag score; nothing"):
        copy_version("served", target, tracking_uri=store, model="kept")

    other = Registry(store, "other").register(
        final, run_id=run_id, promotion_id="q", tags={}, example_image=photos[0].read_bytes()
    )
    with pytest.raises(SearchError, match=r"becomes champion where there is none, but kept .* has version 1; promote"):
        copy_version("other/1", target, tracking_uri=store, model="kept", champion=True)
    assert registry.find(CHAMPION).number == 1 and other.aliases == ()


def test_a_copy_that_arrives_otherwise_makes_no_version_and_goes_on(
    store: str, evidence: Version, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = MlflowClient.log_model_artifacts

    def damage(client: MlflowClient, model: str, folder: str) -> None:
        next(Path(folder).rglob("temperatures.json")).write_text("{}")
        send(client, model, folder)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", damage)
        with pytest.raises(SearchError, match=r"1 did not, such as .*temperatures.json; no version was made"):
            copy_version("served", target, tracking_uri=store, model="damaged")
    assert Registry(target, "damaged").list_versions() == []
    assert copy_version("served", target, tracking_uri=store, model="damaged").is_new
    assert len(Registry(target, "damaged").list_versions()) == 1


def test_what_cannot_be_copied_is_told(store: str, tmp_path: Path) -> None:
    draw_versions(store, "no champion", 1)
    for name, message in (
        ("no champion", r"has no champion of no champion, and of this model 1; name another"),
        ("no champion/7", "has no 7 of no champion"),
        ("a/b/c", "must be NAME, NAME@ALIAS or NAME/NUMBER, but got 'a/b/c'"),
    ):
        with pytest.raises(SearchError, match=message):
            copy_version(name, f"sqlite:///{tmp_path}/mlflow.db", tracking_uri=store)
    with pytest.raises(SearchError, match="to another registry, or under another name, but models:/no champion/1 is"):
        copy_version("no champion/1", store, tracking_uri=store)
    assert not list(tmp_path.iterdir())
