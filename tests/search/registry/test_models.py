"""A model by any name that a person gives."""

import json
import re
import shutil
from pathlib import Path

import pytest
from drawn_models import draw_model
from registered_models import BOX, ask_core, draw_versions

from fashion_core.errors import SearchError
from fashion_core.models.ensemble import save_member
from search import predict
from search.records.layout import SearchLayout
from search.registry.models import find_model, open_model
from search.registry.versions import Version


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


def test_a_model_ready_to_be_asked(
    store: str, champion: Version, final: Path, photos: list[Path], tmp_path: Path
) -> None:
    layout = SearchLayout(tmp_path, "mine")
    layout.folder.mkdir()
    layout.ledger.touch()
    save_member(layout.checkpoint_folder(7), draw_model(5, image_size=32))
    box = (10, 5, 70, 90)
    registered = open_model("models:/served@champion", results=tmp_path, tracking_uri=store, device="cpu")
    by_path = open_model(str(final), device="cpu")
    assert registered.temperatures == by_path.temperatures == (2.5, 0.5)
    answers = [[each.to_dict() for each in model.predict(photos, box)] for model in (registered, by_path)]
    assert answers[0] == answers[1] and len(answers[0]) == 3
    trial = open_model("mine:7", results=tmp_path, device="cpu")
    assert trial.temperatures is None and trial.words.startswith("one trial: test_resnet at 32 px")
    assert trial.predict(photos[:1], box)[0].to_dict() != answers[0][0]
    assert find_model("mine:7", tmp_path, None) == layout.checkpoint_folder(7)
    with pytest.raises(SearchError, match="mine:8 has none; those that have one are mine:7"):
        open_model("mine:8", results=tmp_path)
    with pytest.raises(SearchError, match="searches are mine"):
        open_model("absent", results=tmp_path)
