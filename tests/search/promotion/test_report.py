"""PROMOTION.md: what it must say, and where it must warn."""

from dataclasses import replace

from drawn_results import build_result

from fashion_core.escaping import escape_markdown
from search.promotion.report import render_promotion
from search.reporting.words import write_interval


def test_figures_and_verdict_stand_at_the_top(stage):
    result = build_result(stage)
    report = render_promotion(result)
    head = report.split("\n## ")[0]
    assert head.startswith("# Promotion of `drawn`\n\nTrial 12, trained again with a fresh seed. It scores **")
    assert write_interval(result.score) in head and "on 48 validation images and **passed the gate**" in head
    assert "\n\nThe baseline: the report's recipe; " in report
    assert "val was unseen" in head and "**val was used by the search.**" not in report
    assert "**val was used by the search.**" in render_promotion(build_result(stage, select_on="val"))
    refused = replace(result.gate, verdict=replace(result.verdict, passed=False))
    assert "**did not pass the gate**" in render_promotion(replace(result, gate=refused))
    forced = render_promotion(replace(build_result(stage, force=True), gate=refused))
    assert "**did not pass the gate, and was promoted by force**" in forced


def test_a_later_attempt_has_its_number_and_place(stage):
    result = replace(build_result(stage), attempt=3, stands=False)
    assert render_promotion(result).startswith("# Promotion of `drawn`, attempt 3\n")
    assert result.report.parts[-4:] == ("promotion", "attempts", "3", "PROMOTION.md")
    assert result.final.folder == result.report.parent / "final"
    found = result.to_dict()
    assert (found["attempt"], found["stands"], found["report"]) == (3, False, str(result.report))


def test_another_objective_is_named(stage):
    plain = render_promotion(build_result(stage))
    other = render_promotion(build_result(stage, objective="val/class_accuracy"))
    assert "in `val/class_accuracy`, the mean over all classes of the recall, on 48 validation images" in other
    assert "scores of `val/class_accuracy` are means over seeds" in other and "| **val/class_accuracy** | **" in other
    assert "The gate compares `val/class_accuracy`; no category may lose" in other
    assert "class_accuracy" not in plain and "| **mean** | **" in plain


def test_every_candidate_category_and_reason_is_told(stage):
    result = replace(build_result(stage, opponent="the champion, version 3"), notes=("Mind this.",))
    report = render_promotion(result)
    for row in result.judgement.rows:
        assert f"| {row.candidate.words} | " in report
    for name in stage.prepared.schema.names:
        assert f"| {name} | " in report
    assert "## The gate: against the champion, version 3" in report
    assert all(f"- {escape_markdown(reason)}" in report for reason in result.verdict.reasons)
    assert "| single | 1 | " in report and "**ships**" in report
    assert "- command: `python search/promote.py drawn`, 2026-" in report
    assert "training of all re-runs: 1 min 40 s of one worker's time\n- Mind this." in report


def test_whose_scores_they_are(stage):
    assert "Cross-fitted scores of the whole procedure" in render_promotion(build_result(stage))
    report = render_promotion(build_result(stage, fit_on="train+val"))
    assert "the scores are those of its recipe over all seeds**" in report
