"""A model by any name that a person gives."""

import json
import re
import shutil
from pathlib import Path

import pytest
from drawn_models import draw_model
from registered_models import BOX, ask_core, draw_versions

from fashion_core.models.ensemble import save_member
from search import predict
from search.records.layout import SearchLayout
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
