"""Every file of a search, and of its prepared data, cut, emptied or flipped between its stop and its going on."""

from __future__ import annotations

import random
from pathlib import Path

from bench import Bench
from judge import DONE, REFUSED
from plans import Row
from tries import Outcome

FILES = {  # kinds of files: patterns in the folder of results
    "ledger": "*/ledger.jsonl",
    "options": "*/options.json",
    "space": "*/space.yaml",
    "audit": "*/audit.md",
    "a state": "*/states/**/*",
    "a kept model": "*/checkpoints/**/*.safetensors",
    "prepared images": ".prepared/prepared-*.arrow",
    "what is known of images": ".prepared/known-*",
    "checksums": ".prepared/*.sums",
    "the selection": ".prepared/selection-*",
    "MLflow's database": "mlflow.db",
    "MLflow's log": "mlflow.db-wal",
}
WAYS = ("cut", "emptied", "flipped")


def play(bench: Bench, case: str, number: int, draws: random.Random) -> Outcome:
    """Damage a file of a search that was stopped half-way, and go on: equal to the twin, or refused in one line."""
    twin, half = bench.twin, bench.half
    kind, way = case.split(": ")
    with bench.open_try(half) as tried:
        found = sorted(path for path in tried.layout.results.glob(FILES[kind]) if path.is_file())
        if not found:
            tried.outcome.skipped = f"a search that is stopped half-way has no file of the kind {kind}"
            return tried.outcome
        tried.remember()
        path = draws.choice(found)
        damage(path, way, draws)
        command = tried.go_on()
        tried.measure_going_on(command)
        status = tried.run_to_end(command, DONE, REFUSED)
        if status == DONE:
            if kind == "ledger":
                tried.told.clear()  # what was cut off cannot be known; what is made of it must be right
            tried.judge(twin)
            forgive_told(tried.outcome, kind, command.printed + command.told)
        tried.outcome.endings = [f"{path.name} {way}: {line}" for line in tried.outcome.endings]
        return tried.outcome


def damage(path: Path, way: str, draws: random.Random) -> None:
    """Cut a file at a drawn place, empty it, or flip a bit of it."""
    content = path.read_bytes()
    place = draws.randrange(max(len(content), 1))
    if way == "cut":
        content = content[:place]
    elif way == "emptied":
        content = b""
    else:
        content = content[:place] + bytes([content[place] ^ 1 << draws.randrange(8)]) + content[place + 1 :]
    path.write_bytes(content)


def forgive_told(outcome: Outcome, kind: str, told: str) -> None:
    """Points that MLflow lost with its own file are no fault of a search that tells of it."""
    if kind.startswith("MLflow") and "resend" in told and outcome.differs == ["points"]:
        outcome.differs = []


CASES = tuple(f"{kind}: {way}" for kind in FILES for way in WAYS)
ROWS = (Row("damage", "every file cut, emptied, flipped", CASES, 2, play),)
