"""Names of images as the disk has them, and where links may lead.

A name is written in one form of Unicode (NFC: one letter é) in a list and in another (NFD: e and an accent) on the
disk, or the other way; the two look alike. A list that was written under Windows has `\\` between folders.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STORES = (".git/annex/objects", ".dvc/cache")  # where git-annex and DVC keep what their links lead to
MISSING_LINK = "fetch it (`git annex get`, `dvc pull`), or correct the link"


class Disk:
    """The folder of a data set. Each of its folders is listed once, and the listing kept."""

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        self.root = root.resolve()
        self.follow_links = follow_links
        self._names: dict[str, set[str]] = {}  # of a folder, "" for the root
        self._folders: dict[str, str] = {"": ""}  # as written -> as on the disk
        self._homes = [self.root, *find_stores(self.root)]
        self._targets: dict[str, Path] = {}  # of a folder, with all links followed

    def list_names(self, folder: str) -> set[str]:
        """What stands in a folder below the root; nothing where there is none."""
        if folder not in self._names:
            try:
                self._names[folder] = set(os.listdir(self.root / folder))
            except (OSError, ValueError):  # ValueError: a NUL in the name
                self._names[folder] = set()
        return self._names[folder]

    def find(self, name: str) -> str | None:
        """A path below the root as the disk has it; None where nothing stands there."""
        found = self.find_as_written(name)
        plain = name.replace("\\", "/")
        return self.find_as_written(plain) if found is None and plain != name else found

    def find_as_written(self, name: str) -> str | None:
        """As `find`, of a path between whose folders `/` stands."""
        if posixpath.isabs(name):
            return None
        folder, base = posixpath.split(name)
        if folder not in self._folders:
            self._folders[folder] = self.find_as_written(folder) or folder
        folder = self._folders[folder]
        names = self.list_names(folder)
        if base not in names:
            if base.isascii():
                return None
            wanted = unicodedata.normalize("NFC", base)
            alike = sorted(each for each in names if unicodedata.normalize("NFC", each) == wanted)
            if not alike:
                return None
            base = alike[0]
        return posixpath.join(folder, base)

    def suggest(self, name: str) -> str | None:
        """A file that has nearly the name of one that is missing: in other capitals, or with another ending."""
        folder, base = posixpath.split(name.replace("\\", "/"))
        names = sorted(self.list_names(self._folders.get(folder, folder)))
        stem = posixpath.splitext(base)[0].lower()
        alike = [each for each in names if each.lower() == base.lower()]
        alike += [each for each in names if stem and posixpath.splitext(each)[0].lower() == stem]
        return posixpath.join(folder, alike[0]) if alike else None

    def explain_link(self, name: str) -> str | None:
        """What is wrong with where an image's path leads; None if nothing is.

        It may lead to a place below the root, below the folder that a folder at the top (`img`, `Img/img`) is a link
        to, and into the store of git-annex, DVC or the Hugging Face hub that the root belongs to.
        """
        folder, base = posixpath.split(name)
        path = self.root / name
        try:
            if folder not in self._targets:
                self._targets[folder] = (self.root / folder).resolve()
            target = path.resolve() if path.is_symlink() else self._targets[folder] / base
        except (OSError, RuntimeError):  # RuntimeError: Python's, of a loop
            return f"the image must be a file, but {name} is a link to itself; restore it"
        if path.is_symlink() and not path.exists():
            return f"the image must be a file, but {name} is a link to nothing; {MISSING_LINK}"
        homes = [*self._homes, *self.find_tops(name)]
        if not self.follow_links and not any(target.is_relative_to(home) for home in homes):
            return (
                f"an image must lie in the data set's folder, but {name} is a link out of it; copy it there, or read "
                "such links with --follow-links"
            )
        return None

    def find_tops(self, name: str) -> list[Path]:
        """Where the folders at the top lead that an image lies in."""
        parts = name.split("/")[:-1]
        tops = parts[:1] + (["/".join(parts[:2])] if parts[:1] == ["Img"] and len(parts) > 1 else [])
        for top in tops:
            if top not in self._targets:
                self._targets[top] = (self.root / top).resolve()
        return [self._targets[top] for top in tops]


def find_stores(root: Path) -> list[Path]:
    """Folders outside a data set's that hold its images' contents, under names that say nothing."""
    stores = [above / store for above in (root, *root.parents) for store in STORES]
    if root.parent.name == "snapshots":  # of the Hugging Face hub's cache
        stores.append(root.parent.parent / "blobs")
    return [store.resolve() for store in stores if store.is_dir()]
