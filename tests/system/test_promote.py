"""Promotions through the command, with real Ray, a real registry and real training: what must pass, what must not."""

import json
import os
import signal
import time

import numpy as np
import pytest
from house_rules import by_size
from whole_commands import start, tell
from written_search import write_search

from fashion_core.models.ensemble import load_saved
from fashion_core.models.saved import load_model
from search.promotion.attempt_state import read_states
from search.records.layout import SearchLayout
from search.registry.versions import Registry

pytestmark = pytest.mark.usefixtures("shared_ray")

GOOD, POOR = 5e-3, 1e-9
NO_BETTER = by_size(ci=("equal",), whole=("equal", "worse"))
# Equal for all commands of this file but those that say otherwise.
USUAL = ["--top", "2", "--seeds", "2"]


def promote(folder, *options, status=0):
    """What the command prints, on one line."""
    return tell(folder, "promote.py", *options, status=status)


def open_registry(folder):
    return Registry(f"sqlite:///{folder}/results/mlflow.db", "sample")


@pytest.fixture(scope="module")
def story(tmp_path_factory, sample_folder, shared_ray):
    """A poor model made champion by force, a better one after it, then an equal and a poorer one: what each printed."""
    folder = tmp_path_factory.mktemp("story")
    results = folder / "results"
    for name, rates in (("poor", [POOR]), ("good", [GOOD, POOR]), ("equal", [GOOD, POOR]), ("worse", [POOR])):
        write_search(results, name, sample_folder, rates)
    usual = ["--results", results, *USUAL]
    # of one seed, so that it is compared as it is: by its recipe, two seeds of so few epochs would tell too little
    told = {"forced": promote(folder, "poor", "--results", results, "--top", "1", "--seeds", "1", "--force")}
    told["good"] = promote(folder, "good", *usual)
    told |= {name: promote(folder, name, *usual, status=3) for name in NO_BETTER}
    return folder, told


def test_a_better_model_takes_the_place_of_the_champion(story):
    folder, told = story
    registry = open_registry(folder)
    champion = registry.find("champion")
    assert (
        champion.tags["search"] == "good" and champion.tags["gate"] == "passed" and champion.tags["forced"] == "false"
    )
    assert registry.find("previous").tags["search"] == "poor"
    page = (folder / "results" / "good" / "report.html").read_text()
    assert 'href="PROMOTION.md"' in page and "The champion comes from this search: version 2 of sample, " in page
    assert "version 2, is the champion" in told["good"] and "against the champion, version 1:" in told["good"]
    assert "compared as it is: there are no answers of two re-runs of it" in told["good"]


def test_force_is_written_down(story):
    version = open_registry(story[0]).find(1)
    assert version.tags["gate"] == "refused" and version.tags["forced"] == "true"


def test_no_better_model_passes(story):
    folder, told = story
    registry = open_registry(folder)
    versions = {version.tags["search"]: version for version in registry.list_versions()}
    for name in NO_BETTER:
        assert "the gate did not let it pass" in told[name]
        assert versions[name].tags["gate"] == "refused" and not versions[name].aliases
        assert "version 2, the mean of its 2 re-runs: " in told[name]
        assert "it is compared by its recipe, in the mean of its re-runs" in told[name]
    # the same seeds give the same networks, so there is no difference at all
    assert "+0.00 points" in told["equal"]
    if "worse" in told:
        assert "-" in told["worse"].split("not surely better: ")[1][:1]


def test_what_ships_is_whole(story):
    layout = SearchLayout(story[0] / "results", "good")
    final = layout.final
    saved = load_saved(final.folder)
    assert saved.schema.names == tuple(json.loads(final.attributes.read_text()))
    with np.load(final.answers) as answers:
        assert answers["correct"].shape == (1, 48, 6) and len(answers["digests"]) == 48
        score = answers["correct"].mean()
    with np.load(final.predictions) as kept:  # of every candidate's re-run, as its own model answers
        assert sorted({key.split("/")[0] for key in kept.files}) == [
            f"trial-{trial:04d}-seed{seed}" for trial in (0, 1) for seed in (0, 1)
        ]
        run = load_model(layout.promotion_folder / "reruns" / "trial-0001-seed1")
        answers = kept["trial-0001-seed1/sleeve"].argmax(1)
        counts = np.bincount(answers, minlength=kept["trial-0001-seed1/sleeve"].shape[1])
        assert counts.tolist() == np.sum(run.confusion[run.schema.names.index("sleeve")], 0).tolist()
    report = layout.promotion_report.read_text()
    assert f"scores **{score:.4f} [" in report and "val was unseen" in report
    assert "| trial 0 | 0.5000 |" in report and "| trial 1 | 0.4900 |" in report
    assert f"**{score:.4f}**" in final.card.read_text()
    lines = (final.folder / "prediction.txt").read_text().splitlines()
    assert len(lines) == 24 and all(len(line.split()) == 6 for line in lines)


def test_mlflow_shows_the_promotion(story):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{story[0]}/results/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "promote/good"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == [
        f"{label}-seed{seed}" for label in ("baseline", "trial-0000", "trial-0001") for seed in (0, 1)
    ]
    assert parent.data.tags["status"] == "promoted" and parent.data.metrics["promotion/p_value"] < 0.01
    assert parent.data.metrics["promotion/try"] == 2
    report = (story[0] / "results" / "good" / "PROMOTION.md").read_text()
    note = parent.data.tags["mlflow.note.content"]
    assert "**passed the gate**" in note and note in report and "## " not in note
    history = client.get_metric_history(children[0].info.run_id, "val/accuracy")
    assert [row.step for row in history] == [1, 2, 3, 4, 5, 6]


def test_the_same_seeds_train_the_same_networks(story):
    """Two searches with one configuration: every number of the re-runs is the same."""
    folders = [story[0] / "results" / name / "promotion" / "reruns" for name in ("good", "equal")]
    for label in ("trial-0000-seed0", "trial-0000-seed1"):
        one, other = (load_model(folder / label) for folder in folders)
        assert one.metrics["val/accuracy"] == other.metrics["val/accuracy"] and one.epoch == other.epoch
    configs = [load_model(folders[0] / f"trial-0000-seed{number}").config for number in (0, 1)]
    assert len({config.seed for config in configs}) == len({config.start_seed for config in configs}) == 2


@pytest.mark.long
def test_networks_for_soups_are_named_beforehand_and_have_one_start(tmp_path, sample_folder):
    results = tmp_path / "results"
    layout = write_search(results, "good", sample_folder, [GOOD])
    before = sorted(results.rglob("*"))
    options = ("good", "--results", results, "--top", "1", "--seeds", "2", "--baseline", "none", "--force")
    told = promote(tmp_path, *options, "--dry-run")
    assert "re-runs 2 networks, 12 epochs" in told and "may ship single, ensemble" in told and "for soups" not in told
    options += ("--forms", "soup,single")
    told = promote(tmp_path, *options, "--dry-run")
    assert "for soups 2 networks, 12 epochs" in told and "may ship single, soup" in told
    assert sorted(results.rglob("*")) == before
    told = promote(tmp_path, *options)
    assert "networks for soups: 2 to train" in told and "version 1, is the champion" in told
    configs = {path.name: load_model(path).config for path in (layout.promotion_folder / "reruns").iterdir()}
    assert sorted(configs) == ["trial-0000-seed0", "trial-0000-seed1", "trial-0000-soup0", "trial-0000-soup1"]
    starts = [config.start_seed for _, config in sorted(configs.items())]
    assert len(set(starts)) == 3 and starts[2] == starts[3]
    report = layout.promotion_report.read_text()
    assert "| soup" in report and "| ensemble" not in report


def test_giving_the_command_again_changes_nothing(story):
    folder, _ = story
    before = [(version.number, version.aliases) for version in open_registry(folder).list_versions()]
    again = promote(folder, "good", "--results", folder / "results", *USUAL)
    assert "0 to train, 6 done before" in again and "version 2, is the champion" in again
    states = read_states(SearchLayout(folder / "results", "good"))
    assert [(state.outcome, state.version) for state in states] == [("promoted", 2)] * 2
    assert [(version.number, version.aliases) for version in open_registry(folder).list_versions()] == before


def test_a_refused_attempt_leaves_those_of_the_champion_as_they_are(story):
    """Its report, its model, its run: the same networks in one form alone are no better than themselves."""
    from mlflow.tracking import MlflowClient

    folder, _ = story
    layout = SearchLayout(folder / "results", "good")
    client = MlflowClient(f"sqlite:///{folder}/results/mlflow.db")
    version = open_registry(folder).find("champion")

    def look():
        run = client.get_run(version.run_id)
        paths = [layout.promotion_report, *sorted(layout.final.folder.rglob("*")), *layout.attempt(1).folder.iterdir()]
        return [path.read_bytes() for path in paths if path.is_file()], run.data, run.info.end_time

    before, known = look(), {state.number for state in read_states(layout)}
    told = promote(folder, "good", "--results", folder / "results", *USUAL, "--forms", "single", status=3)
    own = read_states(layout)[-1]
    files = layout.attempt(own.number)
    assert own.number not in known and own.outcome == "refused"
    assert f"attempt {own.number} of this search; attempt {own.number - 1} was promoted, and stands" in told
    assert f"report {files.report.relative_to(folder)}" in told.replace(f"{folder}/", "")
    assert str(look()) == str(before) and open_registry(folder).find("champion") == version
    assert f"# Promotion of `good`, attempt {own.number}\n" in files.report.read_text()
    assert "**did not pass the gate**" in files.report.read_text() and "](coverage.png)" in files.report.read_text()
    found = json.loads(files.result.read_text())
    assert (found["attempt"], found["stands"], found["gate"]["passed"]) == (own.number, False, False)
    assert load_saved(files.final.folder).schema.names and files.coverage.is_file()
    run = client.get_run(own.run_id)
    assert run.data.tags["status"] == "refused" and own.run_id != version.run_id
    assert open_registry(folder).find(own.version).run_id == own.run_id


def test_other_options_begin_anew_or_not_at_all(story):
    told = promote(story[0], "good", "--results", story[0] / "results", "--seeds", "3", status=2)
    assert "--seeds 2" in told and "--replace" in told


@pytest.mark.long
def test_replacing_begins_anew_once_all_is_known_to_be_right(tmp_path, sample_folder):
    results = tmp_path / "results"
    layout = write_search(results, "good", sample_folder, [GOOD])
    options = ("good", "--results", results, "--top", "1", "--force", "--replace")
    promote(tmp_path, *options, "--seeds", "1", "--baseline", "none")
    assert "cannot be read" in promote(tmp_path, *options, "--seeds", "2", "--baseline", "no.yaml", status=2)
    assert [path.name for path in (layout.promotion_folder / "reruns").iterdir()] == ["trial-0000-seed0"]
    (tmp_path / "diverges.yaml").write_text("{optimizer: sgd, lr: 100, head_lr_factor: 1000, seed: 5}")
    told = promote(tmp_path, *options, "--seeds", "2", "--baseline", "diverges.yaml")
    # another promotion: a new version, and a run of its own with other parameters
    assert "re-runs: 4 to train" in told and "version 2, is the champion" in told
    assert "baseline diverged with seed 0, 1" in layout.promotion_report.read_text()
    assert open_registry(tmp_path).find("champion").tags["judged_against"] == "the champion, version 1"


def test_a_baseline_that_diverged_opens_no_gate(tmp_path, sample_folder):
    results = tmp_path / "results"
    write_search(results, "good", sample_folder, [GOOD])
    (tmp_path / "diverges.yaml").write_text("{optimizer: sgd, lr: 100, head_lr_factor: 1000}")
    options = ("--seeds", "1", "--top", "1", "--baseline", "diverges.yaml")
    told = promote(tmp_path, "good", "--results", results, *options, status=3)
    assert "the baseline diverged with every seed" in told and "the gate did not let it pass" in told


def test_a_rollback_restores(story):
    folder, _ = story
    told = promote(folder, "--rollback", "--results", folder / "results")
    assert "version 1 is the champion again" in told
    registry = open_registry(folder)
    try:
        assert registry.find("champion").number == 1 and registry.find("previous") is None
        assert "before this one" in promote(folder, "--rollback", "--results", folder / "results", status=2)
    finally:
        registry.promote(registry.find(2), registry.find(1), {})


@pytest.mark.long
def test_the_recipe_is_judged_and_a_new_network_ships(story, sample_folder):
    folder = story[0]
    layout = write_search(folder / "results", "recipe", sample_folder, [GOOD])
    options = ["--results", folder / "results", *USUAL, "--model", "recipes"]
    told = promote(folder, "recipe", *options, "--fit-on", "train+val", "--force")
    assert "final training on train and val: " in told
    trained = json.loads(layout.final.trained_on.read_text())["digests"]
    with np.load(layout.final.answers) as answers:
        assert set(answers["digests"].tolist()) <= set(trained)
    assert "trained on the validation images too" in layout.final.card.read_text()
    # it is judged by its networks of train alone, then and later, so that no image scores what was trained on it
    again = promote(folder, "good", *options, status=3)
    assert "against the champion, version 1" in again


STAGES = {
    "a re-run": "promotion/reruns/*/run.json",
    "an epoch of the second seed": "promotion/reruns/*seed1/epochs/0002.npz",
    "shipping": ".final.new",
    "registering": "final/answers.npz",
}
KILLED_AT = by_size(ci=("registering",), whole=tuple(STAGES))


def test_a_kill_at_any_stage_costs_nothing_but_time(tmp_path, sample_folder, story):
    results = tmp_path / "results"
    layout = write_search(results, "good", sample_folder, [GOOD, POOR])
    options = ("good", "--results", results, *USUAL, "--force")
    for stage in KILLED_AT:
        pattern = STAGES[stage]
        process = start(tmp_path, "promote.py", *options)
        deadline = time.monotonic() + 600  # a machine may be busy
        while not list(layout.folder.glob(pattern)):
            assert process.poll() is None and time.monotonic() < deadline, (stage, process.communicate()[0])
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    told = promote(tmp_path, *options)
    assert "0 to train, 6 done before" in told and "version 1, is the champion" in told
    (version,) = open_registry(tmp_path).list_versions()
    assert version.aliases == ("champion",)
    with np.load(layout.final.answers) as one, np.load(SearchLayout(story[0] / "results", "good").final.answers) as two:
        assert np.array_equal(one["correct"], two["correct"])  # as if nothing had happened


def test_without_a_registry_the_model_stays_on_disk(tmp_path, sample_folder):
    results = tmp_path / "results"
    layout = write_search(results, "good", sample_folder, [GOOD])
    options = ("good", "--results", results, "--top", "1", "--seeds", "1", "--baseline", "none", "--force")
    uri = " --tracking-uri http://127.0.0.1:9"
    told = promote(tmp_path, *options, *uri.split(), status=2)
    assert "register it later" in told and told.endswith("promote.py " + " ".join(map(str, options)) + uri)
    assert load_saved(layout.final.folder).schema.names
    assert "version 1, is the champion" in promote(tmp_path, *options)


def test_bad_input_is_told_and_changes_nothing(tmp_path, sample_folder):
    results = tmp_path / "results"
    layout = write_search(results, "short", sample_folder, [GOOD, GOOD], statuses=("stopped", "failed"))
    before = sorted(path.name for path in results.rglob("*"))
    assert "known are short" in promote(tmp_path, "shorty", "--results", results, status=2)
    told = promote(tmp_path, "short", "--results", results, status=2)
    assert "reached their full budget" in told and "fashion-search extend short --trials 50" in told
    assert "Missing argument 'NAME'" in promote(tmp_path, "--results", results, status=2)
    after = sorted(path.name for path in results.rglob("*"))
    assert set(after) - set(before) <= {"promotion"}
    assert not layout.final.folder.exists()
