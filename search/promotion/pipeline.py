"""A promotion from its options to the alias: shortlist, re-runs, judgement, combination, final training, shipping."""

from __future__ import annotations

import dataclasses
import fcntl
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.models.ensemble import Saved
from search.cli import DEFAULT_RESULTS
from search.jobs.cluster import detect_cluster, start_ray, stop_ray
from search.jobs.material import prepare_material
from search.planning.options import load_options
from search.planning.resources import choose_resources, detect_machine
from search.promotion.opponent import Opponent, find_challenger, find_opponent
from search.promotion.options import PromotionOptions, Workplace
from search.promotion.outcome import Finding, build_facts, build_outcome, list_predictions, list_recipe_answers
from search.promotion.plan import build_promotion, check_data, fingerprint_data, load_promotion, save_promotion
from search.promotion.report import Outcome, render_promotion
from search.promotion.stages import Stages
from search.promotion.tracking import PromotionTracker
from search.promotion.view import draw_decision, draw_judgement, draw_plan
from search.records.layout import SearchLayout
from search.records.provenance import python_command
from search.records.record import SearchRecord, load_record
from search.registry.access import hide_password
from search.registry.shipped import Source, restore_folder, ship
from search.registry.versions import CHAMPION, KEY_TAG, Registry, Version
from search.reporting.words import write_interval
from search.statistics.gate import judge
from search.tracking.store import default_uri

JUDGED_TAG = "judged_against"


def run_promotion(
    layout: SearchLayout, options: PromotionOptions, place: Workplace, console: Console, *, replace: bool = False
) -> bool:
    """Promote a search, or go on with it. Returns whether its model is the champion.

    Raises:
        SearchError: there is no such search, or a stage cannot be done; what was done stays.
        FashionError: the data, a model or the registry is at fault.
    """
    started = time.time()
    record = load_record(layout)
    search_options = load_options(layout)
    with ExitStack() as stack:
        stack.enter_context(hold_folder(layout))
        restore_folder(layout.final.folder)
        old = None if replace else load_promotion(layout, record, options)
        plan = old or build_promotion(record, options)
        uri = place.tracking_uri or search_options.tracking_uri or default_uri(layout)
        material = prepare_material(
            place.data or search_options.data,
            [candidate.config for candidate in plan.everyone],
            AttributeSchema.from_dict(record.search["data"]["categories"]),
            place.cache_dir or search_options.cache_dir or layout.prepared_folder,
            console,
            skip_bad=search_options.skip_bad,
        )
        data = fingerprint_data(material.first)
        if old is not None:
            check_data(layout, old, data)
        else:  # nothing of an earlier one goes before all is known to be in order
            for name in ("reruns", "final"):
                shutil.rmtree(layout.promotion_folder / name, ignore_errors=True)
            plan = dataclasses.replace(plan, data=data)
            save_promotion(layout, plan)
        tracker = PromotionTracker(uri, layout, record, plan)
        tracker.start(options)
        stack.callback(tracker.close)
        machine = detect_machine() if place.address is None else None
        start_ray(place.address, machine)
        stack.callback(stop_ray)
        resources = choose_resources(
            machine or detect_cluster(),
            len(plan.everyone) * len(plan.seeds),
            concurrent=place.concurrent,
            cpus_per_trial=place.cpus_per_trial,
            gpus_per_trial=place.gpus_per_trial,
        )
        console.print(draw_plan(layout, plan, material, resources, uri, options.fit_on))
        stages = Stages(layout, plan, options, material, tracker, resources, console)
        registry, key = Registry(uri, place.model), options.build_key(plan.promotion_id)
        finding = find(stages, registry, key)
        outcome = build_outcome(stages, finding)
        layout.promotion_report.write_text(render_promotion(outcome))
        if options.fit_on == "train+val" and not (finding.verdict.passed or options.force):
            tell_tracker(stages, finding, outcome, [layout.promotion_report], passed=False)
            console.print(
                "nothing is trained once more, and nothing registered: the gate did not let it pass (--force does)",
                highlight=False,
            )
            return False
        saved = stages.build_model(finding.decision, finding.contenders)
        ship_model(stages, finding, outcome, record, saved, place, started)
        return register(stages, finding, outcome, registry, key)


def find(stages: Stages, registry: Registry, key: str) -> Finding:
    """Train the candidates again, judge them, choose what ships, and ask the gate."""
    console, material, recipe = stages.console, stages.material, stages.options.fit_on == "train+val"
    contenders, baseline = stages.build_contenders(stages.train_candidates())
    judgement = stages.judge(contenders, baseline)
    console.print(draw_judgement(judgement))
    decision = stages.combine(contenders)
    console.print(draw_decision(decision))
    challenger = find_challenger(decision, contenders, material.folds, recipe=recipe)
    over_seeds = len(challenger) > 1
    attempts, trouble = 0, ""
    try:
        registry.list_versions()
    except SearchError as error:  # the model can be shipped all the same, and registered later
        trouble = str(error)
    has_baseline = stages.plan.baseline is not None
    opponent = find_opponent(
        None if trouble else registry, material, baseline, recipe=over_seeds, key=key, has_baseline=has_baseline
    )
    if not trouble:
        attempts = count_attempts(registry, opponent, key)
    pool = list(judgement.answers) if over_seeds else []
    verdict = judge(challenger, opponent.answers, pool, material.schema.names)
    if not opponent.is_wanted:
        reason = "the baseline diverged with every seed, so there is nothing that this had to beat"
        verdict = dataclasses.replace(verdict, passed=False, reasons=(reason, *verdict.reasons))
    console.print(f"the gate, against {opponent.words}:", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  {reason}", highlight=False)
    return Finding(contenders, judgement, decision, challenger, opponent, verdict, attempts, trouble)


def count_attempts(registry: Registry, opponent: Opponent, key: str) -> int:
    """Versions of other promotions that were judged against the same opponent."""
    found = {
        version.tags.get(KEY_TAG)
        for version in registry.list_versions()
        if version.tags.get(JUDGED_TAG) == opponent.words
    }
    return len(found - {key})


def ship_model(
    stages: Stages,
    finding: Finding,
    outcome: Outcome,
    record: SearchRecord,
    saved: Saved,
    place: Workplace,
    started: float,
) -> None:
    """Write the folder of the model with its card."""
    layout, material, recipe = stages.layout, stages.material, stages.options.fit_on == "train+val"
    choice = finding.decision.chosen.choice
    shipped = ship(
        saved,
        layout.final.folder,
        build_facts(stages, outcome, finding, record, saved, place.model, started),
        data=material.data,
        images=material.val,
        trained=np.concatenate([material.train, material.val]) if recipe else material.train,
        correct=finding.challenger,
        source=Source(material.folder, material.cache_dir, material.skip_bad),
        reruns=list_recipe_answers(choice, finding.contenders) if recipe else None,
        predictions=list_predictions(finding.contenders, material.schema.names),
    )
    for what, error in (("ONNX file", shipped.measured.onnx_error), ("submission", shipped.measured.submission_error)):
        if error is not None:
            stages.console.print(f"no {what}: {error}", style="yellow", highlight=False)


def register(stages: Stages, finding: Finding, outcome: Outcome, registry: Registry, key: str) -> bool:
    """Register the model, and make it the champion if it may be. Returns whether it is.

    Raises:
        SearchError: MLflow does not answer; the model stands on the disk.
    """
    layout, tracker = stages.layout, stages.tracker
    opponent, verdict = finding.opponent, finding.verdict
    passed = verdict.passed or stages.options.force
    tell_tracker(stages, finding, outcome, [layout.promotion_report, layout.final.card], passed=passed)
    if finding.trouble or tracker.error is not None:
        raise SearchError(
            f"a model is registered where MLflow answers, but: {finding.trouble or tracker.error}; the model stands in "
            f"{layout.final.folder}; register it later with the same command: {repeat_command()}"
        )
    assert tracker.run_id is not None
    tags = {
        KEY_TAG: key,
        JUDGED_TAG: opponent.words,
        "gate": "passed" if verdict.passed else "refused",
        "forced": str(passed and not verdict.passed).lower(),
        "score": f"{outcome.score.value:.4f}",
        "search": layout.name,
        "fit_on": stages.options.fit_on,
    }
    number = None if opponent.version is None else opponent.version.number
    version = registry.register(
        layout.final.folder,
        run_id=tracker.run_id,
        promotion_id=f"{key} against {number or 'no champion'}",
        tags=tags,
        example_image=stages.read_example(),
    )
    if passed:
        registry.promote(version, opponent.version, {"forced": tags["forced"]})
    version = registry.find(version.number) or version
    show_end(stages, outcome, version, registry)
    return CHAMPION in version.aliases


def tell_tracker(stages: Stages, finding: Finding, outcome: Outcome, files: list[Path], *, passed: bool) -> None:
    """The end of the promotion, for MLflow."""
    gain = finding.verdict.comparison.mean
    values = {"promotion/score": outcome.score.value, "promotion/gain": gain.value}
    values["promotion/probability"] = gain.probability
    for name, each in zip(outcome.category_names, outcome.categories, strict=True):
        values[f"promotion/score/{name}"] = each.value
    stages.tracker.end(values, {"gate": "; ".join(finding.verdict.reasons)}, files, passed=passed)


def repeat_command() -> str:
    """What was typed."""
    return shlex.join([python_command(), *sys.argv])


def show_end(stages: Stages, outcome: Outcome, version: Version, registry: Registry) -> None:
    """What came of it, and what to do next."""
    console, layout, passed = stages.console, stages.layout, CHAMPION in version.aliases
    state = "is the champion" if passed else "is registered, but not the champion: the gate did not let it pass"
    console.print(
        f"{version.name}, version {version.number}, {state}: {write_interval(outcome.score)}", highlight=False
    )
    where = [] if layout.results == DEFAULT_RESULTS else ["--results", str(layout.results)]
    where += [] if registry.uri == default_uri(layout) else ["--tracking-uri", hide_password(registry.uri)]
    lines = [("report", str(layout.promotion_report)), ("model card", str(layout.final.card))]
    if passed:
        words = [python_command(), "-m search.predict", f"models:/{version.name}@{CHAMPION}", "IMAGE"]
        words += ["--box x1,y1,x2,y2", *where]
        lines.append(("ask it", " ".join(words)))
    for topic, text in lines:
        console.print(f"  {topic:10} {text}", highlight=False, soft_wrap=True)


@contextmanager
def hold_folder(layout: SearchLayout) -> Iterator[None]:
    """One process at a time promotes a search.

    Raises:
        SearchError: another one does.
    """
    layout.promotion_folder.mkdir(parents=True, exist_ok=True)
    with (layout.promotion_folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SearchError(
                f"one process may promote a search at a time, but another promotes {layout.name}; wait for it, or "
                "end it"
            ) from None
        yield
