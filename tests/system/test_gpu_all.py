"""The command for GPUs and the recording of learning curves run, on a CPU too: what they write, not how fast."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.data.pixels import build_settings
from fashion_core.data.prepared import PreparedData
from fashion_core.data.splits import select_images
from fashion_core.errors import ConfigError
from fashion_core.training.loop import fit
from search.records.ledger import pack_correct

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # at the end: its modules have common names

import draw_configurations  # noqa: E402
import gpu_all  # noqa: E402
import record_curves  # noqa: E402
from record_curves import Clock, Place, Run, check_known, choose_run, load_runs, train_run  # noqa: E402

CONFIG = {"backbone": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 16, "epochs": 2}


def run_command(name: str, *arguments: object) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_everything_for_a_gpu_runs_on_a_cpu(tmp_path, monkeypatch):
    """In this process, which has imported what it needs."""
    monkeypatch.setattr(sys, "argv", ["gpu_all.py", "--tiny", "--out", str(tmp_path / "gpu.json")])
    gpu_all.main()
    content = json.loads((tmp_path / "gpu.json").read_text())
    steps = content["steps"]
    assert {name: step["status"] for name, step in steps.items()} == dict.fromkeys(gpu_all.STEPS, "done")
    assert content["device"] == "cpu" and content["torch"] == torch.__version__
    assert content["command"] == "python tests/benchmarks/gpu_all.py --tiny --out gpu.json"
    assert steps["tests"]["exit_status"] == 0
    assert steps["speed"]["test_resnet"]["images_per_second"] > 0
    for count in (1, 2):
        figure = steps["packed"][f"test_resnet 32 px batch 8 x {count}"]
        assert figure["images_per_second_together"] > 0 and figure["share"] == 1 / count
    assert steps["shares"]["other"]["error"] is None
    assert all(len(steps["tuning"][f"test_resnet seed {seed}"]["val_accuracy"]) == 1 for seed in (0, 1))


def test_a_step_past_its_limit_is_cut_and_costs_no_figure(tmp_path):
    results = gpu_all.Results(tmp_path / "gpu.json")
    results.write({"steps": {"data": {"seconds_to_prepare": 2.0}}})
    gpu_all.start_step("data", ["--out", str(results.path), "--cache", str(tmp_path)], 1, results)
    assert results.read()["steps"]["data"] == {"seconds_to_prepare": 2.0, "status": "cut after 1 s"}


def test_steps_without_time_are_not_begun(tmp_path, monkeypatch):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu_all.py", "--tiny", "--seconds", "0", "--out", str(out)])
    gpu_all.main()
    steps = json.loads(out.read_text())["steps"]
    assert steps == {step: {"status": "no time was left"} for step in gpu_all.STEPS}


def test_all_limits_together_are_eight_minutes():
    assert set(gpu_all.LIMITS) == set(gpu_all.STEPS) and sum(gpu_all.LIMITS.values()) == 480


def test_batches_are_whole():
    """A last batch of another size costs another choice of kernels, which takes longer than what is measured."""
    full = gpu_all.FULL
    assert full.train % full.batch_size == 0
    assert full.val % TrainConfig().eval_batch_size == 0
    assert all(case.images % case.batch_size == 0 for case in full.packed)


@pytest.fixture(scope="module")
def place(sample_prepared, sample_folder, tmp_path_factory):
    """The drawn data set at two sizes, scored on what is held out of train."""
    runs = [Run("a", "g", TrainConfig(**{**CONFIG, "image_size": size})) for size in (32, 48)]
    cache, deadline = tmp_path_factory.mktemp("cache"), time.time() + 600
    return record_curves.build_place(runs, sample_folder, cache, device="cpu", processes=1, deadline=deadline)


def list_scores(results) -> list[dict[str, float]]:
    timed = ("seconds", "per_second")
    return [{k: v for k, v in result.metrics.items() if not k.endswith(timed)} for result in results]


def test_a_run_is_what_fit_trains(place: Place):
    config = TrainConfig(**CONFIG, start_seed=3)
    data = PreparedData.open(Path(place.prepared[build_settings(config)]))
    chosen = select_images(data, "heldout", 0)
    assert np.array_equal(chosen.train, place.train) and np.array_equal(chosen.select, place.select)
    wanted = list_scores(fit(config, data, train=chosen.train, val=chosen.select, device="cpu"))
    assert list_scores(train_run(Run("a", "g", config), place)) == wanted
    assert list_scores(train_run(Run("a", "g", config, early=(1, 32)), place)) == wanted
    assert list_scores(train_run(Run("a", "g", config, early=(1, 48)), place)) != wanted


@pytest.mark.slow
@pytest.mark.long  # `test_a_run_is_what_fit_trains` has its parts
def test_what_is_recorded(sample_folder, tmp_path):
    runs = [
        {"name": "plain", "group": "g", "config": CONFIG},
        {
            "name": "growing",
            "group": "g",
            "config": {**CONFIG, "start_seed": 5},
            "early": {"epochs": 1, "image_size": 48},
        },
        {"name": "absent", "group": "g", "config": {**CONFIG, "weights": "/nowhere.pth"}},
    ]
    (tmp_path / "runs.json").write_text(json.dumps({"runs": runs}))
    out = tmp_path / "curves.jsonl"
    command = ["record_curves.py", "--data", sample_folder, "--configurations", tmp_path / "runs.json", "--out", out]
    command += ["--processes", 2, "--cache", tmp_path / "cache"]
    assert "0 known, 2 finished, 0 cut, 1 failed" in run_command(*command)
    heading, *lines = map(json.loads, out.read_text().splitlines())
    records = {line["name"]: line for line in lines}
    assert records["absent"]["status"] == "failed" and "WeightsError" in records["absent"]["error"]
    assert [epoch["image_size"] for epoch in records["growing"]["epochs"]] == [48, 32]
    data = PreparedData.open(next((tmp_path / "cache").glob("prepared-*.arrow")))
    labels = data.labels[[data.names.index(name) for name in heading["images"]]]
    sizes = [len(classes) for classes in heading["categories"].values()]
    for name in ("plain", "growing"):
        record = records[name]
        assert TrainConfig(**record["config"]) == load_runs(tmp_path / "runs.json")[name == "growing"].config
        for epoch in record["epochs"]:
            correct = record_curves.unpack_correct(epoch["correct"], *labels.shape)
            assert correct.mean() == pytest.approx(epoch["metrics"][metrics.ACCURACY])
        logits = record_curves.read_logits(record, out.with_suffix(".f16"), sizes)
        answers = np.stack([values.argmax(1) for values in logits], 1)
        assert ((answers == labels) == correct).mean() > 0.98  # a float16 may make two classes equal
        np.testing.assert_allclose(np.exp(logits[0].astype(np.float32)).sum(1), 1, atol=0.01)
    (tmp_path / "runs.json").write_text(json.dumps({"runs": runs[:2]}))
    assert "2 known, 0 finished" in run_command(*command)


def test_a_name_has_one_configuration():
    runs = [Run("a", "g", TrainConfig(**CONFIG))]
    check_known(runs, [{"name": "a", "config": TrainConfig(**CONFIG).model_dump(mode="json")}])
    with pytest.raises(ConfigError, match="a was recorded with another"):
        check_known(runs, [{"name": "a", "config": TrainConfig(**CONFIG, seed=1).model_dump(mode="json")}])
    with pytest.raises(ConfigError, match="stands twice"):
        check_known([*runs, *runs], [])


def test_none_is_started_that_cannot_end():
    long, short = (Run(str(epochs), "g", TrainConfig(**{**CONFIG, "epochs": epochs})) for epochs in (20, 2))
    clock = Clock()
    assert choose_run([long, short], clock, time.time() + 10) is long  # nothing is known yet
    clock.note({"config": CONFIG, "epochs": [{"image_size": 32, "seconds": 1.0}]})
    assert choose_run([long, short], clock, time.time() + 60) is long
    assert choose_run([long, short], clock, time.time() + 10) is short
    assert choose_run([long, short], clock, time.time() + 1) is None
    larger = Run("l", "g", TrainConfig(**{**CONFIG, "image_size": 64}))
    assert clock.estimate_epoch(larger.config) == pytest.approx(4.0)  # four times the pixels


def test_configurations_are_drawn_the_same_each_time():
    runs = draw_configurations.draw_lite0()
    assert runs == draw_configurations.draw_lite0()
    names = [run["name"] for run in runs]
    assert len(set(names)) == len(names) == 3 * 64 + 12 * 4
    by_name = {run["name"]: run for run in runs}
    small, full = by_name["07-small"]["config"], by_name["07-full"]["config"]
    assert {name for name in full if small[name] != full[name]} == {"image_size"}
    repeat = by_name["07-repeat2"]["config"]
    assert {name for name in full if repeat[name] != full[name]} == {"seed", "start_seed"}
    assert len(draw_configurations.draw_wide()) == 2 * 8 * 3
    combined = {run["name"]: run["config"] for run in draw_configurations.draw_combined()}
    assert len(combined) == 2 * len(draw_configurations.COMBINED)
    for name, added in draw_configurations.COMBINED.items():
        one, other = combined[f"{name}-0"], combined[f"{name}-1"]
        assert added.items() <= one.items() and one["seed"] != other["seed"]
        assert one["backbone"] == added.get("backbone", "tf_efficientnet_lite1")


def test_recorded_curves_are_of_the_drawn_configurations():
    curves = BENCHMARKS.parents[1] / "results" / "curves" / "lite0.jsonl"
    heading, *records = map(json.loads, curves.read_text().splitlines())
    drawn = {run["name"]: run["config"] for run in draw_configurations.draw_lite0()}
    assert len(records) == 72 and len(heading["images"]) == 749
    for record in records:
        assert TrainConfig(**record["config"]) == TrainConfig(**drawn[record["name"]])
        last = record["epochs"][-1]
        correct = record_curves.unpack_correct(last["correct"], len(heading["images"]), len(heading["categories"]))
        assert len(record["epochs"]) == 8
        assert correct.mean() == pytest.approx(last["metrics"][metrics.ACCURACY])


@pytest.mark.parametrize("missing", [False, True])
def test_recorded_answers_are_packed_as_a_ledger_packs_them(missing):
    rng = np.random.default_rng(0)
    correct = rng.random((7, 3)) < 0.5
    if missing:
        correct = np.where(rng.random((7, 3)) < 0.4, np.nan, correct)
    text = record_curves.pack_correct(correct)
    assert text == pack_correct(correct)
    np.testing.assert_array_equal(record_curves.unpack_correct(text, 7, 3), correct)
