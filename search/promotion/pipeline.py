"""A promotion from its options to the alias: re-runs, judgement, decision, gate, final model, release, registration."""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError, first_line
from fashion_core.files import write_whole
from fashion_core.secrets import hide_secrets
from search.experiment.stored import find_options, find_record
from search.jobs.cluster import look_at_cluster
from search.promotion.attempt_state import PROMOTED, REFUSED
from search.promotion.judgement import judge_candidates
from search.promotion.networks import combine
from search.promotion.opponent import ask_gate
from search.promotion.options import PromotionOptions, Workplace
from search.promotion.plan import find_plan
from search.promotion.release import build_release, restore_folder, ship
from search.promotion.report import render_promotion
from search.promotion.result import PromotionResult, build_result
from search.promotion.retraining import Retraining
from search.promotion.running import check_images, find_registry, open_promotion, share_out
from search.promotion.view import draw_decision, draw_judgement, draw_plan, show_end, show_gate
from search.records.layout import SearchLayout
from search.records.provenance import python_command, write_command
from search.registry.standing import find_champion
from search.registry.versions import INTERVAL_TAG, JUDGED_TAG, KEY_TAG
from search.reporting.page import write_page
from search.reporting.terminal import choose_console, plain
from search.reporting.words import bound_score, describe_search
from search.tracking.resending import send_again
from search.tracking.store import resend_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fashion_core.models.ensemble import Saved
    from search.promotion.judgement import Trained
    from search.promotion.plan import PromotionPlan
    from search.promotion.running import Promotion

CALL = "search.promote"


def promote(
    search: str | SearchLayout,
    options: PromotionOptions | None = None,
    *,
    place: Workplace | None = None,
    replace: bool = False,
    console: Console | None = None,
    command: Sequence[str] | None = None,
) -> PromotionResult:
    """Train a search's best trials again, judge them, combine them, and register what is best.

    The same call goes on where it was cut off.

    Args:
        search: its name under `place.results`, or where it stands.
        options: what is asked for.
        place: where it runs, and what it works with.
        replace: forget an earlier promotion of this search, and begin anew.
        console: shows how far it is; None shows nothing.
        command: what is written down as what made it, as `sys.argv`; None: this call.

    Raises:
        SearchError: there is no such search, or a stage cannot be done; what was done stays.
        FashionError: the data, a model or the registry is at fault.
    """
    options, place = options or PromotionOptions(), place or Workplace()
    layout = search if isinstance(search, SearchLayout) else SearchLayout(place.results, search)
    return run_promotion(
        layout, options, place, choose_console(console), command or describe_call(layout, options), replace=replace
    )


def plan_promotion(
    layout: SearchLayout, options: PromotionOptions, place: Workplace, console: Console, *, replace: bool = False
) -> PromotionPlan:
    """What a promotion would do: shown, and nothing of it done.

    Raises:
        SearchError: it cannot begin.
    """
    settings = find_options(layout, place.storage)
    search = find_record(settings, layout)
    plan = find_plan(layout, search, options, anew=replace)
    with look_at_cluster(place.address, allow_open=bool(place.allow_open_cluster)) as machine:
        resources = share_out(place, plan, AttributeSchema.from_dict(search.begun.categories), machine)
    counts = search.begun.tell("data", "counts")
    if not options.is_fresh:
        check_images(counts["val"], options, place.data or settings.data)
    console.print(draw_plan(plan, options, search, resources, find_registry(layout, settings, place), counts))
    return plan


def describe_call(layout: SearchLayout, options: PromotionOptions) -> tuple[str, ...]:
    """The call from Python that promotes a search so."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.model_dump(exclude_defaults=True).items())
    return (f"{CALL}({layout.name!r}{f', PromotionOptions({given})' if given else ''})",)


def run_promotion(
    layout: SearchLayout,
    options: PromotionOptions,
    place: Workplace,
    console: Console,
    command: Sequence[str],
    *,
    replace: bool = False,
) -> PromotionResult:
    """Promote a search, or go on with it: see `promote`."""
    with open_promotion(layout, options, place, console, command, replace=replace) as promotion:
        restore_folder(promotion.layout.final.folder)
        retraining, material = Retraining(promotion), promotion.material
        counts = {"train": len(material.train), "val": len(material.val)}
        shown = (promotion.plan, options, promotion.search, promotion.resources, promotion.registry, counts)
        console.print(draw_plan(*shown, promotion.attempt, promotion.own))
        trained = retraining.train_candidates()
        judgement = judge_candidates(
            trained, material.folds, material.groups, promotion.selected_on, np.random.default_rng(0)
        )
        console.print(draw_judgement(judgement))
        with console.status("choosing what ships"):
            decision = combine(trained, material, promotion.limit, options)
        console.print(draw_decision(decision))
        gate = ask_gate(promotion, trained, judgement, decision)
        show_gate(gate, console)
        result = build_result(promotion, trained, judgement, decision, gate)
        if result.passed or not options.is_recipe:
            promotion.wait(lambda: write_own(result))
            model = retraining.build_model(decision.choice, trained)
            shipped = release_model(promotion, trained, result, model)
            promotion.wait(lambda: write_reports(shipped))
            result = promotion.wait(lambda: register(promotion, shipped))
        else:
            promotion.wait(lambda: write_reports(result))
            files = [result.files.report, result.files.result]
            promotion.tracker.end(result.metrics, result.gate.reasons, files, passed=False)
        promotion.wait(lambda: end_attempt(promotion, result))
        renew_page(promotion)
        show_end(result, promotion.registry, console)
        return result


def write_own(result: PromotionResult) -> None:
    """What the attempt's own folder tells of it, with its picture once there is one."""
    files = result.files
    files.folder.mkdir(parents=True, exist_ok=True)
    if result.shipped is not None:
        write_whole(files.coverage, result.shipped.layout.coverage.read_bytes())
    write_whole(files.result, json.dumps(result.to_dict(), indent=2) + "\n")
    write_whole(files.report, render_promotion(result, files.coverage.name))


def write_reports(result: PromotionResult) -> None:
    """The same, and the report of the search where the attempt stands for it."""
    write_own(result)
    if result.stands:
        write_whole(result.report, render_promotion(result))


def end_attempt(promotion: Promotion, result: PromotionResult) -> None:
    """The attempt is over: what is asked for after it is another. Where MLflow lacks it, the same command sends it."""
    write_own(result)
    tracker, version = promotion.tracker, result.version
    if tracker.error is None:
        found = {"forced": result.forced, "run_id": tracker.run_id, "version": version and version.number}
        promotion.own.end(time.time(), PROMOTED if result.passed else REFUSED, **found)


def renew_page(promotion: Promotion) -> None:
    """Write the page of the search again, with its champion and a link to PROMOTION.md; MLflow gets both.

    A fault costs that alone.
    """
    layout, record, registry = promotion.layout, promotion.search, promotion.registry

    def tell(text: str, way: str) -> None:
        promotion.console.print(plain(f"{text} {way}", "yellow"), soft_wrap=True)

    try:
        champion = find_champion(layout, record, registry.uri, registry.model)
        promotion.wait(lambda: write_page(layout, record, describe_search(record), champion=champion))
    except Exception as error:  # of a picture, a library, a folder without rights
        why = first_line(error) or type(error).__name__
        text = f"{layout.page.name} does not tell of this promotion yet ({why}); write it with"
        tell(text, write_command("report", layout))
        return
    if promotion.tracker.error is not None:  # told before; the same command sends all
        return
    try:
        files = (layout.page, layout.promotion_report)
        promotion.wait(lambda: send_again(layout, record, files, registry.uri))
    except SearchError as error:
        tell(f"{first_line(error)}; send {layout.page.name} there later with", resend_command(layout, registry.uri))


def release_model(promotion: Promotion, trained: Trained, result: PromotionResult, model: Saved) -> PromotionResult:
    """Write the folder of the model with its card."""
    release = build_release(promotion, trained, result, model)
    result = dataclasses.replace(result, ended=time.time(), seconds=time.monotonic() - promotion.started)
    shipped = promotion.wait(lambda: ship(release, result, result.final.folder))
    has_test = result.search.data["counts"]["test"] > 0
    for what, error in (("ONNX file", shipped.onnx_error), ("submission", shipped.submission_error)):
        if error is not None and (what != "submission" or has_test):
            promotion.console.print(plain(f"no {what}: {error}", "yellow"))
    return dataclasses.replace(result, shipped=shipped)


def register(promotion: Promotion, result: PromotionResult) -> PromotionResult:
    """Register the model, and make it the champion if it may be.

    Raises:
        SearchError: MLflow does not answer; the model stands on the disk.
    """
    layout, tracker, registry, opponent = promotion.layout, promotion.tracker, promotion.registry, result.opponent
    files = [result.files.report, result.files.result, result.final.card]
    tracker.end(result.metrics, result.gate.reasons, files, passed=result.passed)
    if opponent.trouble or tracker.error is not None:
        raise SearchError(
            f"a model is registered where MLflow answers, but: {opponent.trouble or tracker.error}; the model stands "
            f"in {result.final.folder}; register it later with the same command: {repeat(promotion.command)}"
        )
    assert tracker.run_id is not None
    tags = {
        KEY_TAG: promotion.key,
        JUDGED_TAG: opponent.words,
        "gate": "passed" if result.verdict.passed else "refused",
        "forced": str(result.forced).lower(),
        "try": result.verdict.attempt,
        "score": f"{result.score.value:.4f}",
        INTERVAL_TAG: "{:.4f} {:.4f}".format(*bound_score(result.score)),
        "objective": result.objective.name,
        "search": layout.name,
        "fit_on": result.options.fit_on,
    }
    number = None if opponent.version is None else opponent.version.number
    version = registry.register(
        result.final.folder,
        run_id=tracker.run_id,
        promotion_id=f"{promotion.key} against {number or 'no champion'}",
        tags=tags,
        example_image=promotion.material.read_example(),
    )
    if result.passed:
        registry.promote(version, opponent.version, {"forced": tags["forced"]})
    return dataclasses.replace(result, version=registry.find(version.number) or version)


def repeat(command: Sequence[str]) -> str:
    """What to give again: the call from Python, or what was typed."""
    return command[0] if command[0].startswith(CALL) else shlex.join([python_command(), *map(hide_secrets, command)])
