"""Where a search's numbers come from: code, libraries, machine, command. No path, host or user name."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import fashion_core
from fashion_core.files import hash_file
from fashion_core.secrets import hide_secrets
from search.cli import DEFAULT_RESULTS
from search.records.versions import find_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records.layout import SearchLayout

LIBRARIES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pyarrow")
PACKAGES = ("fashion_core", "search", "spaces")  # a search's own results, not yet committed, change no code
GIT_TIMEOUT_S = 10
SPECIAL = set(" \t\n'\"\\$&;|<>()`")  # what a shell takes for something else, and paths and addresses may have


def collect_provenance(arguments: Sequence[str]) -> dict[str, str]:
    """A flat dictionary of texts.

    Args:
        arguments: the command line, as `sys.argv`.
    """
    import torch  # takes seconds: a command's help reads this file too

    found = {
        "command": describe_command(arguments),
        "version": fashion_core.__version__,
        "code_digest": digest_code(),
        **describe_git(),
        "python": platform.python_version(),
        **{name: find_version(name) for name in LIBRARIES},
        "platform": platform.platform(terse=True),
        "cpu": describe_cpu(),
        "cpu_count": str(len(os.sched_getaffinity(0))),
    }
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return found | ({"gpu": ", ".join(gpus)} if gpus else {})


def digest_code() -> str:
    """Hex digest of all Python files of both packages, by name and content."""
    folder, digest = Path(__file__).resolve().parents[2], hashlib.blake2b(digest_size=8)
    for path in sorted(path for package in PACKAGES[:2] for path in (folder / package).rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


def describe_command(arguments: Sequence[str]) -> str:
    """The command without secrets, and with absolute paths cut to their last name: they say where things are kept."""
    words = list(arguments)
    if words and PurePath(words[0]).name == "__main__.py":  # what `python -m PACKAGE` makes of it
        return " ".join(["python", "-m", PurePath(words[0]).parent.name, *describe_words(words[1:])])
    words = describe_words(words)
    return " ".join(["python", *words] if words and words[0].endswith(".py") else words)


def describe_words(arguments: Sequence[str]) -> list[str]:
    """Words of a command so."""
    words = []
    for word in arguments:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        shown = PurePath(value).name if value.startswith(("/", "~")) else value
        told = hide_secrets(option + equals + shown)
        words.append(shlex.quote(told) if SPECIAL & set(told) else told)
    return words


def python_command() -> str:
    """How a person calls this Python from where they are: `python` where that is it, else its path."""
    here, found = os.path.abspath(sys.executable), shutil.which("python")
    if found is not None and os.path.abspath(found) == here:
        return "python"
    relative = os.path.relpath(here)
    return here if relative.startswith("..") else relative


def write_command(command: str, layout: SearchLayout, *options: str) -> str:
    """A sub-command of `fashion-search` about a search, to be copied.

    Args:
        options: what stands before the search's name; an option `--results` follows where it is needed.
    """
    where = [] if layout.results == DEFAULT_RESULTS else ["--results", str(layout.results)]
    return shlex.join([python_command(), "-m", "search", command, *options, layout.name, *where])


def describe_git() -> dict[str, str]:
    """Commit and whether the code differs from it; empty where this code is not in a repository of its own."""
    folder = Path(__file__).resolve().parents[2]  # the repository
    if not (folder / ".git").exists():
        return {}
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *command],
                capture_output=True,
                text=True,
                timeout=GIT_TIMEOUT_S,
                check=True,
            ).stdout
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", *PACKAGES))
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": commit.strip(), "git_dirty": str(bool(status.strip())).lower()}


def describe_cpu() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
