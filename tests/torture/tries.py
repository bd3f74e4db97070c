"""What every try of the torture found, a line each in a file that is appended to, and the table that they add up to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("fashion_core", "search")
COLUMNS = (
    "fault",
    "tries",
    "results lost",
    "configurations dropped",
    "decisions changed",
    "points doubled",
    "other than the twin",
    "stuck",
    "wrong endings",
    "seconds to go on",
)


@dataclass
class Outcome:
    """What one try found.

    Attributes:
        lost: results that the ledger told before a fault and no longer tells, and trials that never came.
        dropped: configurations that were proposed and are gone, or were drawn again as others.
        changed: decisions (ends of trials) that were made and are others now.
        doubled: points that MLflow holds more than once.
        differs: in what the search differs from its twin, which nothing disturbed.
        stuck: how often a command had to be ended because nothing moved.
        endings: what was wrong with how commands ended, a line each, with the command.
        going_on_s: seconds from a command that goes on to its first new result.
        kills: (what was killed, in which phase).
        skipped: why the try could not be made here; None: it was made.
    """

    lost: int = 0
    dropped: int = 0
    changed: int = 0
    doubled: int = 0
    differs: list[str] = field(default_factory=list)
    stuck: int = 0
    endings: list[str] = field(default_factory=list)
    going_on_s: list[float] = field(default_factory=list)
    kills: list[tuple[str, str]] = field(default_factory=list)
    skipped: str | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.lost or self.dropped or self.changed or self.doubled or self.stuck) and not (
            self.differs or self.endings
        )


@dataclass(frozen=True)
class Try:
    """One try: `number` counts those of a row; `digest` names the sources that were tried; `place`: when and where."""

    digest: str
    row: str
    number: int
    case: str
    wall_s: float
    outcome: Outcome
    place: str = ""


def compute_digest(root: Path) -> str:
    """SHA-256 of all sources of the packages: their paths and contents, in order."""
    digest = hashlib.sha256()
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def read_tries(path: Path, digest: str) -> list[Try]:
    """The tries of these sources; a line that a kill cut off is none."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if told["digest"] == digest:
            outcome = Outcome(**told["outcome"] | {"kills": [tuple(kill) for kill in told["outcome"]["kills"]]})
            found.append(Try(**told | {"outcome": outcome}))
    return found


def append_try(path: Path, told: Try) -> None:
    """Append a line; on a line of its own even where the one before was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
        is_cut = file.tell() and file.read(1) != b"\n"
        file.write((b"\n" if is_cut else b"") + json.dumps(asdict(told)).encode() + b"\n")


# ------------------------------------------------------------------------------------------------------------ the table


def render_report(rows: Sequence[Any], tries: Sequence[Try], digest: str, phases: Sequence[str]) -> str:
    """The report in Markdown.

    Args:
        rows: with `name`, `title` and `tries`, the number of a whole run.
        phases: that kills are counted by, in order.
    """
    lines = ["# Reliability", ""]
    lines += [
        "Written by `make torture` from `tries.jsonl` beside it: a line a try, seeded, counted only where `search/`",
        f"and `fashion_core/` are those of now (digest {digest[:12]}). All but tries and seconds should be 0.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    lines += [render_row(row, [each for each in tries if each.row == row.name]) for row in rows]
    lines += [
        "",
        "Results lost: told by the ledger before a fault, and not after. Dropped: proposed, and gone or drawn again.",
        "Stuck: nothing moved until the harness ended it. Wrong endings: a traceback, an exit status that is not the",
        "one promised, or an error that is not one line with its way out. Seconds to go on: median, from the command",
        "to its first new result.",
        "",
        *render_kills(tries, phases),
    ]
    if tries:
        hours = sum(each.wall_s for each in tries) / 3600
        places = sorted({each.place for each in tries} - {""})
        lines += ["", f"{len(tries)} tries in {hours:.1f} hours of wall time: {'; '.join(places)}."]
    if found := [each for each in tries if not each.outcome.is_clean]:
        lines += ["", "## Found", ""]
        lines += [f"- {each.row} {each.number} ({each.case}): {describe_fault(each.outcome)}" for each in found]
    if skipped := sorted({(each.row, each.outcome.skipped) for each in tries if each.outcome.skipped}):
        lines += ["", "## Not tried", "", *(f"- {row}: {why}" for row, why in skipped)]
    return "\n".join([*lines, ""])


def render_row(row: Any, tries: Sequence[Try]) -> str:
    """A row of the table."""
    made = [each.outcome for each in tries if each.outcome.skipped is None]
    seconds = [value for outcome in made for value in outcome.going_on_s]
    sums = [sum(getattr(outcome, name) for outcome in made) for name in ("lost", "dropped", "changed", "doubled")]
    counts = [
        f"{len(made)} of {row.tries}",
        *sums,
        sum(bool(outcome.differs) for outcome in made),
        sum(outcome.stuck for outcome in made),
        sum(len(outcome.endings) for outcome in made),
        f"{median(seconds):.0f}" if seconds else "",
    ]
    return f"| {row.title} | {' | '.join(str(count) for count in counts)} |"


def render_kills(tries: Sequence[Try], phases: Sequence[str]) -> list[str]:
    """The table of SIGKILLs: what was killed, by the phase it was in; a phase without any is named."""
    counts = Counter(kill for each in tries for kill in each.outcome.kills)
    targets = sorted({target for target, _ in counts})
    if not counts:
        return []
    lines = [f"| killed in | {' | '.join(targets)} | all |", f"| --- |{' --- |' * (len(targets) + 1)}"]
    for phase in phases:
        numbers = [counts[target, phase] for target in targets]
        lines.append(f"| {phase} | {' | '.join(map(str, numbers))} | {sum(numbers)} |")
    empty = [phase for phase in phases if not any(counts[target, phase] for target in targets)]
    return [*lines, "", f"{counts.total()} SIGKILLs{'; none yet in: ' + ', '.join(empty) if empty else ''}."]


def describe_fault(outcome: Outcome) -> str:
    """What a try found, in a line."""
    counts = {name: getattr(outcome, name) for name in ("lost", "dropped", "changed", "doubled", "stuck")}
    words = [f"{count} {name}" for name, count in counts.items() if count]
    words += [f"differs in {', '.join(outcome.differs)}"] if outcome.differs else []
    return "; ".join([*words, *outcome.endings])
