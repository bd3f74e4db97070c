"""What mattered in a search: the design of its trials, effects against truth that is known, and the file."""

import numpy as np
import pytest

from fashion_core.errors import SearchError
from search.effects import main
from search.records.events import EpochEnded, SearchStarted, TrialEnded, TrialPaused, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger, pack_correct
from search.records.record import TrialRecord, load_record
from search.reporting.effects import IS_THERE, build_design, split_stages, write_effects
from search.statistics.effects import estimate_effects

NAMES = ("backbone", "fc_layers", "lr", "gamma", "weight_decay", "weight_a", "weight_b", "weight_c")
CATEGORIES = {"a": ["x", "y"], "b": ["x", "y"], "c": ["x", "y"]}


def draw_trials(rng, count):
    """Parameters of a random search, its weights with mean 1."""
    weights = np.exp(rng.uniform(-0.7, 0.7, (count, 3)))
    weights /= weights.mean(1, keepdims=True)
    return [
        {
            "backbone": str(rng.choice(["r", "s"])),
            "fc_layers": int(rng.choice([0, 2, 4])),
            "lr": float(10 ** rng.uniform(-4, -2)),
            "gamma": float(rng.uniform(0, 5)),
            "weight_decay": float(rng.uniform(0, 0.1)),
            **{f"weight_{name}": float(value) for name, value in zip("abc", row, strict=True)},
        }
        for row in weights
    ]


def answer(rng, trials, images=400):
    """[T, N, 3] bool: 4 layers cost category c 20 points, a doubled weight of a gives a 6, the rest does nothing."""
    difficulty = rng.normal(0, 0.15, (images, 3))
    chance = np.full((len(trials), 3), 0.7)
    chance[:, 2] -= [0.2 * (trial["fc_layers"] == 4) for trial in trials]
    weights = np.log2([[trial[f"weight_{name}"] for name in "abc"] for trial in trials])
    chance[:, 0] += 0.06 * 1.5 * (weights[:, 0] - weights.mean(1))
    return rng.random((len(trials), images, 3)) < chance[:, None] + difficulty


def test_a_choice_has_a_column_for_each_value_but_its_first():
    trials = [{"backbone": name, "only": 1} for name in "srt"]
    design = build_design(trials, ["backbone", "only"], [])
    assert design.matrix.tolist() == [[1, 1, 0], [1, 0, 0], [1, 0, 1]]
    assert design.columns == {"backbone": [1, 2]}
    told = {(name, text): difference.tolist() for name, text, difference in design.effects}
    assert told == {("backbone", "r → s"): [0, 1, 0], ("backbone", "r → t"): [0, 0, 1]}


def test_known_effects_are_found_and_nothing_else():
    rng = np.random.default_rng(0)
    trials = draw_trials(rng, 300)
    design = build_design(trials, NAMES, "abc")
    effects = estimate_effects(design, answer(rng, trials))
    rows = {(name, text): index for index, (name, text, _) in enumerate(design.effects)}
    assert len(rows) == 1 + 2 + 3 * 2 + 3
    truth = np.zeros((len(rows), 4))
    truth[rows["fc_layers", "0 → 4"]] = [-0.2 / 3, 0, 0, -0.2]
    truth[rows["category_weights", "a x 2"], :2] = [0.06 / 3, 0.06]
    for name in "bc":  # a's share of the three falls
        truth[rows["category_weights", f"{name} x 2"], :2] = [-0.03 / 3, -0.03]
    distance = np.abs(effects.values - truth) / effects.errors
    assert distance.max() < 4 and (distance > 1.96).mean() < 0.1
    strong = np.abs(effects.values / effects.errors)
    assert strong[rows["fc_layers", "0 → 4"], 3] > 5 and strong[rows["category_weights", "a x 2"], 1] > 3
    assert max(effects.shares, key=effects.shares.get) == "fc_layers"
    assert effects.shares["gamma"] == pytest.approx(0, abs=0.02)
    assert 0 < effects.noise < 1 and sum(effects.shares.values()) + effects.noise == pytest.approx(1, abs=0.1)


def test_a_curve_is_followed():
    """A number's effect is told below and above its middle; here it rises, then falls."""
    rng = np.random.default_rng(3)
    trials = [{"gamma": value} for value in rng.uniform(0, 4, 200).tolist()]
    chance = 0.8 - 0.05 * (np.array([trial["gamma"] for trial in trials]) - 2) ** 2
    design = build_design(trials, ["gamma"], [])
    effects = estimate_effects(design, rng.random((200, 300, 1)) < chance[:, None, None])
    rise, fall = effects.values[:, 0]
    assert rise > 5 * effects.errors[0, 0] and fall < -5 * effects.errors[1, 0]
    assert rise == pytest.approx(0.05 * 1.6**2, rel=0.2) and fall == pytest.approx(-0.05 * 1.6**2, rel=0.2)


def test_a_parameter_that_some_trials_lack_has_its_effect_among_the_others():
    rng = np.random.default_rng(5)
    trials = [{"optimizer": str(rng.choice(["adam", "sgd"])), "lr": float(rng.uniform(0, 1))} for _ in range(150)]
    for trial in trials:
        if trial["optimizer"] == "sgd":
            trial |= {"momentum": float(rng.uniform(0, 1)), "nesterov": bool(rng.integers(2))}
    chance = [0.5 + 0.2 * trial.get("momentum", 0.5) + 0.1 * trial.get("nesterov", False) for trial in trials]
    design = build_design(trials, ["optimizer", "lr", "momentum", "nesterov"], [])
    effects = estimate_effects(design, rng.random((150, 300, 1)) < np.array(chance)[:, None, None])
    rows = {name: index for index, (name, *_) in enumerate(design.effects)}
    count = sum("momentum" in trial for trial in trials)
    assert design.effects[rows["nesterov"]][1] == f"false → true (in {count} trials)"
    for name, truth in {"momentum": 0.2 * 0.4, "nesterov": 0.1, "lr": 0.0}.items():
        assert abs(effects.values[rows[name], 0] - truth) < 2 * effects.halves[rows[name], 0] < 0.08


def test_a_parameter_of_two_parents_has_no_effect_that_is_its_parents():
    """Where both parents have a value there is a gain, and `warm`, which is there alone, does nothing.

    Without a column of its presence, its curve and the levels of `mode` would take the gain as theirs.
    """
    rng, trials, held = np.random.default_rng(0), [], []
    for _ in range(200):
        trial = {"opt": rng.choice(["a", "b"]), "sched": rng.choice(["c", "d"]), "x": float(rng.uniform(0, 1))}
        if (trial["opt"], trial["sched"]) == ("b", "d"):
            trial |= {"warm": float(rng.uniform(0, 1)), "mode": rng.choice(["p", "q", "r"])}
        trials.append(trial)
    design = build_design(trials, ["opt", "sched", "x", "warm", "mode"], [])
    assert not any("is there" in name for name, *_ in design.effects)
    assert [name for name in design.columns if "is there" in name] == ["warm is there"]  # that of `mode` is the same
    gain = np.array([0.05 * ("warm" in trial) for trial in trials])
    for _ in range(5):
        chance = 0.7 + gain + rng.normal(0, 0.005, len(trials))
        correct = (rng.random((len(trials), 300, 1)) < chance[:, None, None]).astype(float)
        effects = estimate_effects(design, correct)
        for (name, *_), value, half in zip(design.effects, effects.values[:, 0], effects.halves[:, 0], strict=True):
            if name in ("warm", "mode"):
                held.append(abs(value) <= half)
    assert np.mean(held) >= 0.8


def test_presence_that_another_column_tells_has_no_column():
    trials = [{"opt": "ab"[n % 2], **({"warm": n / 40} if n % 2 else {})} for n in range(40)]
    assert list(build_design(trials, ["opt", "warm"], []).columns) == ["opt", "warm"]


def test_two_parameters_that_act_together():
    rng = np.random.default_rng(6)
    trials = [{"net": str(rng.choice(["r", "s"])), "lr": float(rng.uniform(0, 1))} for _ in range(120)]
    chance = [0.5 + 0.3 * trial["lr"] * (trial["net"] == "s") for trial in trials]
    correct = rng.random((120, 300, 1)) < np.array(chance)[:, None, None]
    design = build_design(trials, ["net", "lr"], [], ("net", "lr"))
    effects = estimate_effects(design, correct)
    (row,) = [index for index, (name, *_) in enumerate(design.effects) if name == "net x lr"]
    assert effects.values[row, 0] == pytest.approx(0.3 * 0.8, abs=2 * effects.halves[row, 0])
    assert effects.values[row, 0] > 3 * effects.halves[row, 0]
    net = [name for name, *_ in design.effects].index("net")
    assert effects.values[net, 0] == pytest.approx(0.15, abs=0.03)  # at the mean of the other one


def test_stages_of_a_trial():
    def rows(*pairs):
        return [
            EpochEnded(
                trial=0, epoch=1, metrics={"val/accuracy": score} | ({} if stage is None else {"train/probe": stage})
            )
            for stage, score in pairs
        ]

    def split(*pairs):
        return split_stages(TrialRecord(0, "", {}, False, 0.0, epochs=rows(*pairs)))

    assert split((1.0, 0.6), (1.0, 0.7), (1.0, 0.65), (0.0, 0.69), (0.0, 0.8)) == (0.7, 0.8)
    assert split((1.0, 0.6)) is None and split((None, 0.6)) is None and split() is None


# ------------------------------------------------------------------------------------------------------------ the file


def write_search(layout, count, *, stages=False, missing=None):
    """missing: [400, 3] bool, images without a label in a category."""
    rng = np.random.default_rng(0)
    trials = draw_trials(rng, count)
    labelled = {} if missing is None else {"labelled": dict(zip("abc", (~missing).sum(0).tolist(), strict=True))}
    with Ledger(layout.ledger) as ledger:
        ledger.append(
            SearchStarted(
                name=layout.name,
                settings={"sampler": "random"},
                data={"categories": CATEGORIES},
                selection={"select_count": 400} | labelled,
            )
        )
        for number, (params, correct) in enumerate(zip(trials, answer(rng, trials), strict=True)):
            ledger.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=False))
            if missing is not None:
                correct = np.where(missing, np.nan, correct)
            score = float(np.nanmean(correct))
            for epoch, stage in enumerate((1.0, 0.0) if stages else (1.0,), 1):
                scores = {"val/accuracy": score + 0.1 * (epoch - 1), "train/probe": stage}
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=scores))
            ledger.append(TrialEnded(trial=number, status="finished", best=score, correct=pack_correct(correct)))


def test_the_command_writes_the_effects(tmp_path, monkeypatch, capsys):
    layout = SearchLayout(tmp_path, "s")
    write_search(layout, 120, stages=True)
    monkeypatch.setattr("sys.argv", ["effects", "s", "--results", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and "EFFECTS.md" in capsys.readouterr().out
    text = layout.effects.read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| `fc_layers` | 0 → 4 ")]
    mean, a, b, c = row.split("|")[3:7]
    assert "**-" in mean and "**-" in c and "**" not in a and "**" not in b
    assert "tau **1.00**" in text and "120 finished trials" in text and "same 400 images" in text
    assert text.index("`fc_layers` | ", text.index("whose")) < text.index("`gamma` | ", text.index("whose"))


def test_too_few_trials_have_no_effects(tmp_path):
    layout = SearchLayout(tmp_path, "s")
    write_search(layout, 12)
    with pytest.raises(
        SearchError, match=r"at least 22 trials that finished or that ASHA stopped, but s has 12; run 10 more"
    ):
        write_effects(layout, load_record(layout))


def test_missing_labels_leave_the_effects_of_the_labelled(tmp_path):
    """A category's effects are those of a search on its labelled images alone."""
    missing = np.random.default_rng(3).random((400, 3)) < (0.6, 0.0, 0.3)
    write_search(SearchLayout(tmp_path, "s"), 120, missing=missing)
    text = write_effects(SearchLayout(tmp_path, "s"), load_record(SearchLayout(tmp_path, "s"))).read_text()
    known = (~missing).sum(0)
    assert f"same 400 images, labelled in a: {known[0]}, b: 400, c: {known[2]} of them. Changes" in text
    write_search(SearchLayout(tmp_path, "whole"), 120)
    whole = write_effects(SearchLayout(tmp_path, "whole"), load_record(SearchLayout(tmp_path, "whole"))).read_text()
    assert "labelled" not in whole
    for line, other in zip(text.splitlines(), whole.splitlines(), strict=True):
        if line.startswith("| `fc_layers` | ") and "→" in line:  # b has all its labels
            assert line.split("|")[5] == other.split("|")[5] and line.split("|")[4] != other.split("|")[4]


def write_stopped_search(layout, count, *, stop=True, lowest=0.0, pauses=False):
    """ASHA after epoch 3 of 9, factor 3: `fc_layers` 4 costs 12 points in the end, and 8 at the rung.

    Those below the cutoff, which is `lowest` or more, are stopped there, or pause: the search ended first.
    """
    rng, seen = np.random.default_rng(7), []
    settings = {"sampler": "random", "grace_epochs": 3, "reduction_factor": 3, "max_epochs": 9}
    with Ledger(layout.ledger) as ledger:
        categories, selection = {"a": ["x", "y"], "b": ["x", "y"]}, {"select_count": 400}
        ledger.append(
            SearchStarted(name=layout.name, settings=settings, data={"categories": categories}, selection=selection)
        )
        for number in range(count):
            params = {"fc_layers": int(rng.choice([0, 4])), "lr": float(rng.uniform(0, 1))}
            ledger.append(TrialStarted(trial=number, trial_id=f"id{number}", params=params, enqueued=False))
            own, is_deep = rng.normal(0, 0.05), params["fc_layers"] == 4
            first, last = (rng.random((400, 2)) < 0.7 - cost * is_deep + own for cost in (0.08, 0.12))
            cutoff = np.quantile(seen, 2 / 3) if seen and stop else lowest
            seen.append(first.mean())
            is_stopped = first.mean() < cutoff
            for epoch, correct in [(3, first), (9, last)][: 2 - is_stopped]:
                scores = {"val/accuracy": correct.mean(), "val/accuracy/a": correct[:, 0].mean()}
                scores |= {"val/accuracy/b": correct[:, 1].mean()}
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=scores))
            correct, status = (first, "stopped") if is_stopped else (last, "finished")
            best, packed = float(correct.mean()), pack_correct(correct)
            if is_stopped and pauses:
                ledger.append(TrialPaused(trial=number, rung=3, correct=packed))
                ledger.append(TrialEnded(trial=number, status="paused", best=best))
            else:
                ledger.append(TrialEnded(trial=number, status=status, best=best, correct=packed))


def read_effect(text, start):
    """The mean's value and half width in a row of the table."""
    (row,) = [line for line in text.splitlines() if line.startswith(start)]
    value, half = row.split("|")[3].replace("*", "").split("±")
    return float(value), float(half)


def test_stopped_trials_count_so_that_effects_are_not_shrunk(tmp_path):
    layout = SearchLayout(tmp_path, "s")
    write_stopped_search(layout, 240)
    record = load_record(layout)
    text = write_effects(layout, record).read_text()
    finished = record.count_statuses()["finished"]
    assert f"240 trials (240 reached epoch 3, {finished} reached epoch 9). Effects on the end of training" in text
    assert "among those who did, effects look smaller" in text
    value, half = read_effect(text, "| `fc_layers` | 0 → 4 ")
    assert abs(value + 12) < half < 6


def test_paused_trials_count_as_stopped_ones_do(tmp_path):
    texts = []
    for name, pauses in (("s", False), ("t", True)):
        layout = SearchLayout(tmp_path / name, "s")
        layout.folder.mkdir(parents=True)
        write_stopped_search(layout, 60, pauses=pauses)
        texts.append(write_effects(layout, load_record(layout)).read_text())
    assert texts[0] == texts[1]


def test_where_no_trial_has_finished_effects_are_those_at_the_rung(tmp_path):
    layout = SearchLayout(tmp_path, "s")
    write_stopped_search(layout, 60, stop=False, lowest=1.0, pauses=True)
    record = load_record(layout)
    assert record.count_statuses()["paused"] == 60
    text = write_effects(layout, record).read_text()
    assert "60 reached epoch 3, 0 reached epoch 9). Effects on the score after epoch 3" in text


def test_with_few_trials_to_the_end_effects_are_those_at_the_rung(tmp_path):
    layout = SearchLayout(tmp_path, "s")
    write_stopped_search(layout, 22)
    text = write_effects(layout, load_record(layout)).read_text()
    assert "Effects on the score after epoch 3, since effects on the end of training need 15 trials there" in text
    value, half = read_effect(text, "| `fc_layers` | 0 → 4 ")
    assert abs(value + 8) < half


def test_the_file_tells_of_conditional_and_lost_trials(tmp_path):
    layout = SearchLayout(tmp_path, "s")
    write_search(layout, 120)
    record = load_record(layout)
    for number, trial in record.trials.items():
        if number % 2:
            trial.params["momentum"] = number / 120
    record.trials[3].end = None
    layout.effects.unlink(missing_ok=True)
    text = write_effects(layout, record).read_text()
    assert "(in 59 trials)" in text and "Not all trials have `momentum`" in text
    assert "1 trial that failed, diverged, still run or have no answers kept are left out" in text
    assert "## How `fc_layers` and `" in text and "where " in text.split("act together")[1]


def test_what_a_parameter_hangs_on_is_not_shrunk_where_two_do_together():
    """Whether a trial has it is told by both alone, and by neither; of one parent's, its own columns tell."""
    rng = np.random.default_rng(3)
    nets, layers = rng.choice(["r", "s", "t"], 60), rng.integers(3, size=60)
    trials = [
        {"net": str(net), "layers": int(count), "lr": rng.random()} for net, count in zip(nets, layers, strict=True)
    ]
    names = ["net", "layers", "lr", "decay", "momentum"]
    for trial in trials:
        if trial["net"] != "r":
            trial["momentum"] = rng.random()
    assert build_design(trials, names, []).unshrunk == frozenset()
    for trial in trials:
        if trial["net"] != "r" and trial["layers"]:
            trial["decay"] = rng.random()
    assert build_design(trials, names, []).unshrunk == {"net", "layers", f"decay{IS_THERE}"}
