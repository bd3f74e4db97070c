"""In which phase a command is, as one sees it from outside: its processes, what it prints, its ledger and its files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Of a search or a promotion, in the order in which they come."""

    IMPORT = "import"
    RAY = "Ray's start"
    PLAN = "plan"
    PREPARATION = "preparation"
    BEFORE = "before the first event"
    TRIALS = "trials"
    BETWEEN = "between ledger and MLflow"
    BEST = "copy of the best"
    REPORT = "report"
    CLOSING = "closing"
    RERUNS = "trained again"
    JUDGING = "judged"
    SHIPPING = "shipping"
    REGISTERING = "registering"


SEARCHING = tuple(Phase)[:10]
PROMOTING = (Phase.IMPORT, Phase.RAY, Phase.PLAN, Phase.RERUNS, Phase.JUDGING, Phase.SHIPPING, Phase.REGISTERING)
FROM_START = (Phase.IMPORT, Phase.RAY, Phase.PLAN)  # of every command, whether it begins or goes on
ONCE = (Phase.PREPARATION, Phase.BEFORE)  # of a search that has no event yet
LAST = (Phase.BEST, Phase.REPORT, Phase.CLOSING, Phase.SHIPPING, Phase.REGISTERING)

DRIVER, GROUP, WORKER, RAYLET, GCS = "driver", "group", "worker", "raylet", "gcs_server"
OF_COMMAND, OF_RAY = (DRIVER, GROUP), (RAYLET, GCS)
TARGETS: dict[Phase, tuple[str, ...]] = {
    Phase.IMPORT: OF_COMMAND,
    Phase.RAY: (*OF_COMMAND, *OF_RAY),
    Phase.BEST: OF_COMMAND,  # Ray's processes have nothing to do any more
    Phase.REPORT: OF_COMMAND,
    Phase.CLOSING: OF_COMMAND,
    Phase.JUDGING: OF_COMMAND,
    Phase.SHIPPING: OF_COMMAND,
    Phase.REGISTERING: OF_COMMAND,
}
for _phase in Phase:
    TARGETS.setdefault(_phase, (*OF_COMMAND, WORKER, *OF_RAY))

DELAY_S = {  # the longest wait within a phase before a kill falls: about as long as it lasts on two cores at rest
    Phase.IMPORT: 2.0,
    Phase.RAY: 2.0,
    Phase.PLAN: 1.0,
    Phase.TRIALS: 4.0,
    Phase.RERUNS: 6.0,
    Phase.CLOSING: 1.0,
    Phase.REPORT: 0.5,
    Phase.REGISTERING: 1.5,
}
SHORT_S = 0.1  # of the others


@dataclass(frozen=True)
class Seen:
    """What is seen of a command.

    Attributes:
        processes: names of those that live and belong to it.
        printed: its output so far.
        events: kinds that its ledger got since it began, in order.
        written: names of files, relative to the search's folder, that were written since it began.
    """

    processes: Collection[str] = ()
    printed: str = ""
    events: Sequence[str] = ()
    written: Collection[str] = ()


def tell_start(seen: Seen) -> Phase:
    """The phase of a command that has shown no plan yet."""
    if is_warm(seen.processes):
        return Phase.PLAN
    return Phase.RAY if GCS in seen.processes else Phase.IMPORT


def is_warm(processes: Collection[str]) -> bool:
    """Whether Ray has a worker: agents are none."""
    return WORKER in processes


def has_plan(printed: str) -> bool:
    """Whether a command has shown its plan: of a search, or of a promotion."""
    return "tracking " in printed or "re-runs" in printed


def is_reached(wanted: Phase, found: Phase) -> bool:
    """Whether this is the moment; one that comes once and was too short to be seen is not waited for."""
    order = tuple(Phase)
    return found == wanted or (wanted in ONCE and order.index(found) > order.index(wanted))


def tell_phase(seen: Seen) -> Phase:
    """The phase of a search."""
    if "search_ended" in seen.events:
        if "README.md" in seen.written:
            return Phase.CLOSING
        return Phase.REPORT if "best_config.json" in seen.written else Phase.BEST
    if seen.events:
        return Phase.BETWEEN if seen.events[-1] == "epoch" else Phase.TRIALS
    if not has_plan(seen.printed):
        return tell_start(seen)
    is_preparing = "preparing " in seen.printed and "prepared " not in seen.printed.split("preparing ", 1)[1]
    return Phase.PREPARATION if is_preparing else Phase.BEFORE


def tell_promotion(seen: Seen) -> Phase:
    """The phase of a promotion."""
    if "final/answers.npz" in seen.written:
        return Phase.REGISTERING
    if any(name.startswith(".final.new") for name in seen.written):
        return Phase.SHIPPING
    if not has_plan(seen.printed):
        return tell_start(seen)
    return Phase.JUDGING if seen.events and seen.events[-1] == "all trained" else Phase.RERUNS
