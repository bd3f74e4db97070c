"""The report of a reproduction, `README.md` with its figures, and its verdicts in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from fashion_core.escaping import show_text
from fashion_core.files import write_whole
from search.reporting.published import BACKBONES, DEPTHS, EXCHANGED, LOGS, PLACES, PRINTED, read_table
from search.reporting.tables import Part, Rows, join_parts
from search.reporting.terminal import draw_table, plain
from search.reporting.words import write_count, write_interval
from search.reproduction.figures import draw_arms, draw_categories, draw_claims, draw_epochs
from search.reproduction.levers import LEVERS
from search.reproduction.studies import Claim
from search.reproduction.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from rich.console import Console

    from search.reproduction.findings import ArmResult, Judged, Reproduction
    from search.reproduction.protocol import Arm
    from search.reproduction.studies import Study

REPORT = "README.md"
STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT: "red", Verdict.UNKNOWN: "yellow"}
POINTS = 100  # of a difference of 1
NONE = "-"


def write_report(found: Reproduction, folder: Path) -> list[Path]:
    """Write `README.md` and its figures. Returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw_figures(found, folder)
    path, names = folder / REPORT, {each.name for each in pictures}
    parts = build_report(found, names) if is_reports(found) else build_levers_report(found, names)
    write_whole(path, join_parts(parts))
    return [path, *pictures]


def is_reports(found: Reproduction) -> bool:
    """Whether these are studies of the report."""
    return all(study.name != LEVERS for study in found.studies)


def draw_figures(found: Reproduction, folder: Path) -> list[Path]:
    """Draw what there is to draw; a picture of before that has nothing to show any more goes."""
    studies = {study.name: study for study in found.studies}
    drawn: dict[str, Callable[[Path], bool]] = {"claims.png": lambda path: draw_claims(found.judged, path)}
    if is_reports(found):
        drawn |= {
            "flip.png": lambda path: draw_arms(found, studies["flip"], path),
            "backbones.png": lambda path: draw_arms(found, studies["backbones"], path),
            "categories.png": lambda path: draw_categories(found, studies["backbones"], path),
            "curves.png": lambda path: draw_epochs(found, studies["curves"], path),
        }
    written = []
    for name, draw in drawn.items():
        if draw(folder / name):
            written.append(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    return written


def build_report(found: Reproduction, pictures: set[str]) -> list[Part]:
    """The parts of `README.md`. pictures: names of those that there are."""
    parts: list[Part] = ["# The seed report, done again", describe_protocol(found), "## What it claims"]
    parts += [list_claims(found.judged), describe_verdicts(found)]
    parts += show_picture("claims.png", "every claim with its interval", pictures)
    for study in found.studies:
        parts += describe_study(found, study, pictures)
    return [*parts, "## How this was made", describe_making(found)]


def show_picture(name: str, what: str, pictures: set[str]) -> list[Part]:
    """A picture, where there is one."""
    return [f"![{what}]({name})"] if name in pictures else []


def describe_protocol(found: Reproduction) -> str:
    """What was trained, on what, in which way it is the report's."""
    protocol, trained = found.protocol, found.trained
    size = protocol.fixed.get("image_size")
    keys = {protocol.build_key(arm) for study in found.studies for arm in study.arms.values()}
    count = sum(len(trained.find(key)) for key in keys)
    text = (
        f"Studies of X. Li, *DeepFashion Attribute Prediction Challenge Report* (2021), in the protocol "
        f"`{show_text(protocol.name)}`: {size} px, {protocol.epochs} epochs, each training from a start and a seed of "
        f"its own. So far there are {write_count(count, 'training')}"
    )
    if trained.images:
        text += f", each on {trained.train_count:,} images and scored on {len(trained.images):,} others"
    text += ". The score is the accuracy averaged over the categories, of the best epoch, as in the author's logs."
    if not protocol.has_own_backbones:
        pairs = [f"`{name}` for {BACKBONES[place]}" for place, name in enumerate(protocol.backbones)]
        text += (
            f"\n\n**The backbones are stand-ins**: {', '.join(pairs)}. What the report says of its backbones cannot be "
            "told by them; what it says of the rest can, for these networks at this size."
        )
    return text


def list_claims(judged: Sequence[Judged]) -> Rows:
    """Every claim: what was published, what came out here, the verdict."""
    head = ("study", "claim", "in the report", "published, points", "here, points [95%]", "verdict")
    rows = []
    for each in judged:
        verdict = f"**{each.finding.verdict}**"
        if each.finding.reason:
            verdict += f": {each.finding.reason}"
        rows.append((each.study, each.claim.text, each.claim.source, write_published(each), write_found(each), verdict))
    return Rows(head, rows)


def write_published(judged: Judged) -> str:
    """What the report says a sum is, in points."""
    published = judged.claim.published
    return NONE if published is None else f"{POINTS * published:+.2f}"


def write_found(judged: Judged) -> str:
    """What came out, in points, with its interval where there is one."""
    estimate = judged.finding.estimate
    if estimate is None:
        return NONE
    if not math.isfinite(estimate.error):
        return f"{POINTS * estimate.value:+.2f}"
    low, high = (POINTS * end for end in estimate.compute_interval())
    return f"{POINTS * estimate.value:+.2f} [{low:+.2f}, {high:+.2f}]"


def describe_verdicts(found: Reproduction) -> str:
    """How verdicts are made, and how often they err."""
    counts = {verdict: sum(each.finding.verdict is verdict for each in found.judged) for verdict in Verdict}
    told = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())
    return (
        f"{told}. A difference is paired over images, and its 95% interval covers another draw of images, seeds and "
        "starts. A claim *holds* where the interval lies above 0, *does not* where it lies below, and else one *cannot "
        "tell*. Where a size is claimed, it holds where the interval lies within half of it to either side. A verdict "
        "errs in 2.5% of cases at most; of the whole table more may, since nothing is taken off for their number."
    )


# -------------------------------------------------------------------------------------------------------------- studies


def describe_study(found: Reproduction, study: Study, pictures: set[str]) -> list[Part]:
    """One study: its question, its arms, its figure."""
    title = f"## {study.name}: {study.question}"
    if study.name == "table2":
        table: Part = list_table(found)
        note = (
            "What was published are test accuracies, in both readings: the author's logs, of validation accuracies, "
            "fit Table 2 far better with its two SE columns exchanged."
        )
        return [title, note, table]
    parts: list[Part] = [title]
    if study.name in ("depth", "se"):
        return [*parts, "Its arms are those of Table 2, above; the verdicts stand in the table of claims."]
    parts.append(list_arms(found, study))
    if study.name == "flip":
        parts += show_picture("flip.png", "score by epoch with and without the flip: figure 8", pictures)
    if study.name == "backbones":
        parts += show_picture("categories.png", "accuracy by category: figure 9", pictures)
        parts += show_picture("backbones.png", "score by epoch: figure 10", pictures)
    if study.name == "curves":
        parts += show_picture("curves.png", "loss and accuracy by epoch and category: figure 6", pictures)
    if study.figure is not None:
        parts.append(f"In the report: {study.figure}; no numbers are known here.")
    return parts


def list_table(found: Reproduction) -> Rows:
    """Table 2 beside what came out: a row an arm."""
    printed, exchanged = (read_table(reading) for reading in (PRINTED, EXCHANGED))
    own = found.protocol.has_own_backbones
    head = ("backbone", *(() if own else ("stand-in",)), "FC", PRINTED, EXCHANGED, "logs", *HERE)
    arms = next(study for study in found.studies if study.name == "table2").arms.values()
    by_row = {(arm.place, arm.changes["fc_layers"]): arm for arm in arms}
    rows = []
    for place in PLACES:
        for depth in DEPTHS:
            names = (BACKBONES[place], *(() if own else (show_text(found.protocol.backbones[place]),)))
            scores = (f"{table[depth][place]:.4f}" for table in (printed, exchanged, LOGS))
            rows.append((*names, str(depth), *scores, *write_arm(found.sum_up(by_row[place, depth]))))
    return Rows(head, rows)


HERE = ("here [95%]", "trainings", "SD over them, points")


def list_arms(found: Reproduction, study: Study) -> Rows:
    """The arms of a study: scores, trainings, how these differ."""
    rows = [(show_text(found.name_arm(name, arm)), *write_arm(found.sum_up(arm))) for name, arm in study.arms.items()]
    return Rows(("configuration", *HERE), rows)


def write_arm(result: ArmResult) -> tuple[str, str, str]:
    """Score, trainings and their spread, as cells under `HERE`."""
    count = str(result.count) + (f", and {result.diverged} diverged" if result.diverged else "")
    if result.score is None:
        return NONE, count, NONE
    return write_interval(result.score), count, NONE if result.seed_sd is None else f"{POINTS * result.seed_sd:.2f}"


def describe_making(found: Reproduction) -> str:
    """The command, and where the trainings stand."""
    protocol = found.protocol
    on = f" --on {protocol.backbones[protocol.on]}" if protocol.on else ""
    return (
        f"`python search/reproduce.py all --data DIR --space {show_text(protocol.name)}{on}` trains what is missing "
        "and writes this page; cut off, the same command goes on. Each search that trained for it stands in a folder "
        "beside it, with its ledger and report. An arm that two studies share is trained once. Studies of one factor "
        f"are on `{show_text(protocol.backbones[protocol.on])}`.{describe_recordings(found)}"
    )


def describe_recordings(found: Reproduction) -> str:
    """Which trainings stand in recordings, and what they ran on; empty where none do."""
    keys = {found.protocol.build_key(arm) for study in found.studies for arm in study.arms.values()}
    counts = Counter(each.device for key in keys for each in found.trained.find(key) if each.device is not None)
    if not counts:
        return ""
    told = ", ".join(f"{count} on {show_text(device)}" for device, count in sorted(counts.items()))
    return (
        f" {write_count(sum(counts.values()), 'training')} stand in the recordings beside this page ({told}): "
        "`tests/benchmarks/record_curves.py` made them, of the lists that `draw_configurations.py` writes."
    )


# --------------------------------------------------------------------------------------------------------------- levers


def build_levers_report(found: Reproduction, pictures: set[str]) -> list[Part]:
    """The page of the levers."""
    (study,) = found.studies
    parts: list[Part] = ["# Levers of the score", describe_recipe(found), list_levers(found)]
    parts += show_picture("claims.png", "every lever with its interval", pictures)
    command = f"python search/reproduce.py {LEVERS} --data DIR --space {show_text(found.protocol.name)}"
    made = f"`{command}` trains what is missing and writes this page; cut off, the same command goes on."
    made += describe_recordings(found)
    return [*parts, describe_verdicts(found), "## All configurations", list_arms(found, study), made]


def describe_recipe(found: Reproduction) -> str:
    """What is compared with what, on which images."""
    protocol, trained = found.protocol, found.trained
    text = (
        f"Each lever is switched on alone in the recipe `{show_text(protocol.name)}` "
        f"(`{show_text(protocol.backbones[protocol.on])}`, {protocol.fixed.get('image_size')} px, {protocol.epochs} "
        "epochs), each training from a start and a seed of its own."
    )
    if trained.images:
        text += (
            f" Trained on {trained.train_count:,} images of train and scored on {len(trained.images):,} others held "
            "out of train: no image of val or test was looked at."
        )
    return f"{text} The score is the accuracy averaged over the categories, of the best epoch."


def list_levers(found: Reproduction) -> Rows:
    """What each lever gains and costs."""
    rows = []
    for each in found.judged:
        assert isinstance(each.claim, Claim)
        (arm, _), (recipe, _) = each.claim.contrast
        verdict = f"**{each.finding.verdict}**" + (f": {each.finding.reason}" if each.finding.reason else "")
        pace = compare_seconds(found, arm, recipe)
        rows.append((each.claim.text, f"`{each.claim.source}`", write_found(each), verdict, pace))
    return Rows(("lever", "what it changes", "gain, points [95%]", "verdict", "time, of the recipe's"), rows)


def compare_seconds(found: Reproduction, arm: Arm, recipe: Arm) -> str:
    """How long a training of an arm takes, as a multiple of one of the recipe, in the mean of those that ended."""
    ours, theirs = (found.trained.find(found.protocol.build_key(each)) for each in (arm, recipe))
    base = sum(each.seconds for each in theirs) / max(len(theirs), 1)
    if not ours or not base:
        return NONE
    return f"{sum(each.seconds for each in ours) / len(ours) / base:.2f}"


# ------------------------------------------------------------------------------------------------------------- terminal


def show_findings(found: Reproduction, studies: Sequence[Study], console: Console) -> None:
    """Print the verdicts of some studies."""
    names = [study.name for study in studies]
    console.print(draw_verdicts(found, names))
    if "table2" in names:
        console.print()
        console.print(draw_table(("", PRINTED, "exchanged", "here [95%]"), list_short(found)))


def draw_verdicts(found: Reproduction, names: Collection[str]) -> Table:
    """A row a claim of these studies."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in found.judged:
        if each.study in names:
            verdict = Text(str(each.finding.verdict), STYLES[each.finding.verdict])
            table.add_row(verdict, Text("\n").join([plain(each.claim.text), plain(describe_finding(each), "dim")]))
    return table


def describe_finding(judged: Judged) -> str:
    """What came out beside what was published, and why it cannot be told where the interval does not say so."""
    finding = judged.finding
    told = "nothing here yet" if finding.estimate is None else f"here {write_found(judged)} points"
    published = "" if judged.claim.published is None else f"; published {write_published(judged)}"
    reason = f"; {finding.reason}" if finding.reason and finding.estimate is not None else ""
    return f"{told}{published} ({judged.claim.source}){reason}"


def list_short(found: Reproduction) -> list[tuple[str, ...]]:
    """Table 2 in few columns: a row an arm."""
    printed, exchanged = (read_table(reading) for reading in (PRINTED, EXCHANGED))
    table = next(study for study in found.studies if study.name == "table2")
    rows = []
    for name, arm in table.arms.items():
        depth = arm.changes["fc_layers"]
        scores = (f"{each[depth][arm.place]:.4f}" for each in (printed, exchanged))
        rows.append((found.name_arm(name, arm), *scores, write_arm(found.sum_up(arm))[0]))
    return rows
