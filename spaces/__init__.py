"""Search spaces, one YAML file each; ``search.space.reading.load_space`` reads and checks them."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def list_spaces() -> list[str]:
    """Names of the spaces that are shipped, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))
