"""Links and names: what a person keeps as links is read, what leads elsewhere is asked for."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from fashion_core.data.disk import Disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repository" / "set"
    (folder / "img" / "deep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.jpg").write_text("a")
    return folder


def link(path: Path, target: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path.name


def test_the_folder_of_images_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / "img" / "deep").rmdir()
    (root / "img").rmdir()
    link(root / "img", tmp_path / "outside")
    link(root / "Img" / "img", tmp_path / "outside")
    disk = Disk(root)
    for name in ("img/a.jpg", "Img/img/a.jpg"):
        assert disk.find(name) == name and disk.explain_link(name) is None
    link(tmp_path / "named", root)
    assert Disk(tmp_path / "named").explain_link("img/a.jpg") is None


@pytest.mark.parametrize("name", ["img/a.jpg", "img/far/a.jpg", "a.jpg"])
def test_other_links_that_lead_out_are_asked_for(root: Path, tmp_path: Path, name: str) -> None:
    if name == "img/far/a.jpg":
        link(root / "img" / "far", tmp_path / "outside")
    else:
        link(root / name, tmp_path / "outside" / "a.jpg")
    assert "--follow-links" in (Disk(root).explain_link(name) or "")
    assert Disk(root, follow_links=True).explain_link(name) is None


@pytest.mark.parametrize("store", [".git/annex/objects/Xk/a", ".dvc/cache/files/md5/0c/a"])
@pytest.mark.parametrize("above", ["..", "."])
def test_stores_of_the_same_repository_are_read(root: Path, store: str, above: str) -> None:
    target = root / above / store
    target.parent.mkdir(parents=True)
    target.write_text("content")
    link(root / "img" / "a.jpg", target)
    assert Disk(root).explain_link("img/a.jpg") is None
    target.unlink()
    assert "link to nothing; fetch it" in (Disk(root).explain_link("img/a.jpg") or "")


def test_the_hubs_cache_is_read(tmp_path: Path) -> None:
    root = tmp_path / "datasets--bags" / "snapshots" / "0c1f"
    blob = tmp_path / "datasets--bags" / "blobs" / "77aa"
    blob.parent.mkdir(parents=True)
    blob.write_text("content")
    link(root / "img" / "a.jpg", blob)
    assert Disk(root).explain_link("img/a.jpg") is None


def test_loops_are_told(root: Path) -> None:
    link(root / "img" / "a.jpg", root / "img" / "b.jpg")
    link(root / "img" / "b.jpg", root / "img" / "a.jpg")
    assert "is a link to" in (Disk(root).explain_link("img/a.jpg") or "")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_either_form(root: Path, form: str) -> None:
    folder, base = (unicodedata.normalize(form, text) for text in ("Blusen grün", "é.jpg"))
    (root / "img" / folder).mkdir()
    (root / "img" / folder / base).write_text("content")
    for other in ("NFC", "NFD"):
        assert Disk(root).find(unicodedata.normalize(other, f"img/{folder}/{base}")) == f"img/{folder}/{base}"
    assert Disk(root).find("img/Blusen grün/e.jpg") is None and Disk(root).find("img/\0") is None


def test_a_link_to_nothing_is_told_as_such_wherever_it_leads(root: Path, tmp_path: Path) -> None:
    link(root / "img" / "a.jpg", tmp_path / "outside" / "gone.jpg")
    for follow_links in (False, True):
        assert "link to nothing" in (Disk(root, follow_links=follow_links).explain_link("img/a.jpg") or "")


def test_names_written_under_windows_are_found(root: Path) -> None:
    (root / "img" / "deep" / "a.jpg").write_text("a")
    (root / "img" / "b\\c.jpg").write_text("a")
    disk = Disk(root)
    assert disk.find("img\\deep\\a.jpg") == disk.find("img/deep\\a.jpg") == "img/deep/a.jpg"
    assert disk.find("img/b\\c.jpg") == "img/b\\c.jpg" and disk.find("img\\gone.jpg") is None
    assert all(
        disk.find(name) is None
        for name in ("/", "//", "/etc/passwd", "\\", "\\etc\\passwd", "\\\\server\\a.jpg", "C:\\a.jpg")
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [("img/deep/A.JPG", "img/deep/a.jpg"), ("img\\deep\\a", "img/deep/a.jpg"), ("img/deep/b.jpg", None), ("x", None)],
)
def test_nearly_the_same_name_is_suggested(root: Path, name: str, near: str | None) -> None:
    (root / "img" / "deep" / "a.jpg").write_text("a")
    assert Disk(root).suggest(name) == near
