"""A promotion from its options to the alias: shortlist, re-runs, judgement, combination, final training, shipping."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from rich.console import Console

from fashion_core.attributes import AttributeSchema
from fashion_core.ensemble import Saved
from fashion_core.errors import SearchError
from search.cluster import detect_cluster, start_ray, stop_ray
from search.driver import load_options
from search.gate import judge
from search.layout import SearchLayout
from search.ledger import SearchRecord
from search.material import prepare_material
from search.opponent import KEY_TAG, Opponent, find_challenger, find_opponent
from search.promotion import begin_promotion, load_record
from search.promotion_facts import Finding, build_facts, build_outcome, list_recipe_answers
from search.promotion_options import PromotionOptions, Workplace
from search.promotion_report import Outcome, render_promotion
from search.promotion_stages import Stages
from search.promotion_tracking import PromotionTracker
from search.promotion_view import draw_decision, draw_judgement, draw_plan, write_interval
from search.provenance import python_command
from search.registry import CHAMPION, Registry, Version, register_command
from search.resources import choose_resources, detect_machine
from search.shipping import Source, restore_folder, ship
from search.tracking import default_uri

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
        if replace:
            shutil.rmtree(layout.promotion_folder / "reruns", ignore_errors=True)
            shutil.rmtree(layout.promotion_folder / "final", ignore_errors=True)
            (layout.promotion_folder / "plan.json").unlink(missing_ok=True)
        plan = begin_promotion(layout, record, options)
        uri = place.tracking_uri or search_options.tracking_uri or default_uri(layout)
        registry, key = Registry(uri, place.model), options.build_key(plan.search_id)
        material = prepare_material(
            place.data or search_options.data,
            [candidate.config for candidate in plan.everyone],
            AttributeSchema.from_dict(record.search["data"]["categories"]),
            place.cache_dir or search_options.cache_dir or layout.prepared_folder,
            console,
            skip_bad=search_options.skip_bad,
        )
        tracker = PromotionTracker(uri, layout, record, plan)
        tracker.start(options)
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
        console.print(draw_plan(layout, plan, material, resources, uri))
        stages = Stages(layout, plan, options, material, tracker, resources, console)
        finding = find(stages, registry, key)
        saved = stages.build_model(finding.decision, finding.contenders)
        outcome = build_outcome(stages, finding)
        ship_model(stages, finding, outcome, record, saved, place, started)
        return register(stages, finding, outcome, registry, key)


def find(stages: Stages, registry: Registry, key: str) -> Finding:
    """Train the candidates again, judge them, choose what ships, and ask the gate."""
    console, material, recipe = stages.console, stages.material, stages.plan.fit_on == "train+val"
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
    opponent = find_opponent(None if trouble else registry, material, baseline, recipe=over_seeds, key=key)
    if not trouble:
        attempts = count_attempts(registry, opponent, key)
    pool = list(judgement.answers) if over_seeds else []
    verdict = judge(challenger, opponent.answers, pool, material.schema.names)
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
    """Write the report, and the folder of the model with its card."""
    layout, material, recipe = stages.layout, stages.material, stages.plan.fit_on == "train+val"
    layout.promotion_report.write_text(render_promotion(outcome))
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
    values = {"promotion/score": outcome.score.value, "promotion/gain": verdict.comparison.mean.value}
    values |= {
        f"promotion/score/{name}": each.value
        for name, each in zip(outcome.category_names, outcome.categories, strict=True)
    }
    values["promotion/probability"] = verdict.comparison.mean.probability
    tracker.end(
        values, {"gate": "; ".join(verdict.reasons)}, [layout.promotion_report, layout.final.card], passed=passed
    )
    command = register_command(layout, registry.uri)
    if finding.trouble or tracker.error is not None:
        raise SearchError(
            f"a model is registered where MLflow answers, but: {finding.trouble or tracker.error}; the model stands in "
            f"{layout.final.folder}; register it later with the same command: {command}"
        )
    assert tracker.run_id is not None
    tags = {
        KEY_TAG: key,
        JUDGED_TAG: opponent.words,
        "gate": "passed" if verdict.passed else "refused",
        "forced": str(passed and not verdict.passed).lower(),
        "score": f"{outcome.score.value:.4f}",
        "search": layout.name,
        "fit_on": stages.plan.fit_on,
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
    show_end(stages, outcome, version, registry, passed)
    return passed


def show_end(stages: Stages, outcome: Outcome, version: Version, registry: Registry, passed: bool) -> None:
    """What came of it, and what to do next."""
    console, layout = stages.console, stages.layout
    state = "is the champion" if passed else "is registered, but not the champion: the gate did not let it pass"
    console.print(
        f"{version.name}, version {version.number}, {state}: {write_interval(outcome.score)}", highlight=False
    )
    tracking = "" if registry.uri == default_uri(SearchLayout(layout.results, layout.name)) else registry.uri
    lines = [("report", str(layout.promotion_report)), ("model card", str(layout.final.card))]
    if passed:
        words = [python_command(), "-m search.predict", f"models:/{version.name}@{CHAMPION}", "IMAGE"]
        words += ["--box x1,y1,x2,y2"] + (["--tracking-uri", tracking] if tracking else [])
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
