"""Lines that the tests reached, room by room, from coverage's JSON; exit status 1 where a room has too few.

python .ci/coverage_rooms.py [coverage.json]
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

LEAST_PERCENT = 85


def find_room(path: str) -> str:
    """`search/tune` of `search/tune/searcher.py`; of a file on the top floor its package."""
    return "/".join(path.split("/")[:-1][:2])


def count_lines(report: dict) -> dict[str, tuple[int, int]]:
    """Room -> (lines reached, lines)."""
    rooms: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for path, file in report["files"].items():
        room, summary = find_room(path.replace("\\", "/")), file["summary"]
        reached, lines = rooms[room]
        rooms[room] = reached + summary["covered_lines"], lines + summary["num_statements"]
    return {room: counts for room, counts in sorted(rooms.items()) if counts[1]}


def main(path: Path) -> int:
    rooms = count_lines(json.loads(path.read_text()))
    short = []
    for room, (reached, lines) in rooms.items():
        percent = 100 * reached / lines
        print(f"{percent:6.1f} %  {reached:5} of {lines:5} lines  {room}")
        if percent < LEAST_PERCENT:
            short.append(room)
    if short:
        print(f"every room needs tests that reach {LEAST_PERCENT} % of its lines, but {', '.join(short)} has fewer")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "coverage.json")))
