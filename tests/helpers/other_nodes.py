"""Nodes of a cluster that have other libraries than the machine that searches: folders for their PYTHONPATH."""

from pathlib import Path


def write_other_torch(folder: Path) -> Path:
    """One that says torch were of another version."""
    library = folder / "torch-0.1.dist-info"
    library.mkdir(parents=True)
    (library / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.1\n")
    return folder


def hide_timm(folder: Path) -> Path:
    """One behind which timm is not there, whatever is known of its version."""
    library = folder / "timm"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'timm'\")\n")
    return folder
