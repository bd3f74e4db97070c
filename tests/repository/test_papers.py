"""The pages around the code hold what they name."""

import re
from datetime import date
from pathlib import Path

import yaml

import fashion_core

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_citation_is_of_this_version() -> None:
    """The keys that the schema of CFF 1.2.0 requires, and the types it gives them."""
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software" and citation["message"]
    assert citation["version"] == fashion_core.__version__ and "title" in citation
    assert all(author.keys() == {"name"} for author in citation["authors"]) and citation["authors"]
    assert citation.keys() <= {"cff-version", "message", "type", "title", "version", "abstract", "authors", "keywords"}


def test_the_changelog_has_this_version_under_what_comes() -> None:
    headings = re.findall(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\S+)", heading).groups() for heading in headings[1:]]
    assert released[0][0] == fashion_core.__version__
    assert [date.fromisoformat(day) for _, day in released] == sorted(
        (date.fromisoformat(day) for _, day in released), reverse=True
    )


def test_the_guide_names_commands_and_files_that_are_there() -> None:
    guide = (REPOSITORY / ".github" / "CONTRIBUTING.md").read_text()
    makefile = (REPOSITORY / "Makefile").read_text()
    named = set(re.findall(r"`make ([\w-]+)", guide))
    assert {"env", "test", "test-fast", "test-all", "coverage", "lint", "bench"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for name in re.findall(r"`((?:fashion_core|search|spaces|tests|\.ci)/[\w./-]*)`", guide):
        assert (REPOSITORY / name).exists(), name
