"""Comparing two models: numbers against independent ones, and what it must not be silent about."""

import io
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_models import SCHEMA, draw_model
from missing_labels import blank_data, blank_folder
from rich.console import Console
from scipy import stats

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from fashion_core.metrics import Measure
from fashion_core.models.ensemble import join_models, save_ensemble, save_member
from fashion_core.models.saved import SavedModel, load_model
from fashion_core.training.loop import fit
from search.planning.options import SearchOptions
from search.records.attempts import read_book
from search.records.events import SearchStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.registry import comparing
from search.registry.comparing import compute_comparison
from search.registry.comparison_view import show_comparison
from search.registry.versions import Registry
from search.tracking.store import open_store

CONFIG = TrainConfig(
    image_size=32, backbone="test_resnet", weights="none", batch_size=8, epochs=6, lr=5e-3, precision="fp32",
    eval_batch_size=20,
)  # fmt: skip
VAL = 48
DAMAGE = {"sleeve": 1, "neckline": 2}  # classes that one image in five, and one in sixteen, has


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(sample_folder, cache):
    return prepare(load_annotations(sample_folder), PrepareSettings(32, "box"), cache)


@pytest.fixture(scope="module")
def trained(data):
    """A network trained a little, with the scores that its training measured, and its answers."""
    *_, last = fit(CONFIG, data, train=data.indices("train"), val=data.indices("val"), device="cpu")
    network = last.state.evaluated_network.eval()
    confusion = [matrix.tolist() for matrix in last.confusion]
    return SavedModel(network, CONFIG, data.schema, last.metrics, last.epoch, confusion, data.fingerprint), last


@pytest.fixture(scope="module")
def damaged(trained, tmp_path_factory):
    """The same network, but two of its heads always answer a rare class."""
    saved = load_model(save_member(tmp_path_factory.mktemp("damaged"), trained[0]))
    with torch.no_grad():
        for name, rare in DAMAGE.items():
            saved.network.heads[saved.schema.names.index(name)].bias[rare] += 100
    return saved


@pytest.fixture
def write_search(tmp_path, sample_folder, data):
    """Writes a search by hand: its options, its ledger, and the models it kept."""

    def write(name, models, *, best=None, select_on="val", images=None, folder=sample_folder, **options):
        layout = SearchLayout(tmp_path / "results", name)
        images = images or [data.names[index] for index in data.indices("val")]
        with Ledger(layout.ledger) as ledger:
            ledger.append(SearchStarted(name=name, selection={"select_on": select_on, "select_images": images}))
        SearchOptions(data=folder, space="tiny", select_on=select_on, **options).save(layout.options)
        for number, saved in models.items():
            save_member(layout.checkpoint_folder(number), saved)
        if best is not None:
            save_member(layout.best_folder, models[best])
            layout.best_config.write_text(json.dumps({"trial": best}))
        return layout

    return write


@pytest.fixture
def compare(tmp_path, cache):
    """Compares, and gives what was computed and what was printed, on one line."""

    def run(one, other, folder=None, cache_dir=cache):
        console = Console(file=io.StringIO(), width=100)
        found = comparing.compare(
            str(one), str(other), results=tmp_path / "results", data=folder, cache_dir=cache_dir, console=console
        )
        show_comparison(found, console)
        return found, " ".join(console.file.getvalue().split())

    return run


def test_a_pair_is_one_look_at_the_images_in_any_order(tmp_path, write_search, compare, trained):
    """Written down beside the results, where promotions count it."""
    saved, _ = trained
    write_search("demo", {1: saved, 2: saved})
    for pair in (("demo:1", "demo:2"), ("demo:2", "demo:1")):
        _, text = compare(*pair)
        assert "Look 1 at these images: a promotion that is judged on them counts each" in text
    (images,) = read_book(tmp_path / "results" / ".attempts")
    (attempt,) = images.attempts
    assert len(images.digests) == VAL and attempt.note == "compared: demo:1 and demo:2"


def answer(saved, data, images):
    """Probabilities of a network without `fashion_core.predict`: of each image and its mirror image, averaged."""
    pixels = torch.from_numpy(data.gather(images)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        sides = [saved.network(each) for each in (pixels, pixels.flip(3))]
    return [sum(part.softmax(1) for part in parts).numpy() / 2 for parts in zip(*sides, strict=True)]


def find_right(probabilities, labels):
    return np.stack([values.argmax(1) for values in probabilities], 1) == labels


def measure_ece(probabilities, right):
    """Expected calibration error, a bin after the other."""
    sure = np.stack([values.max(1) for values in probabilities], 1).ravel()
    right, error = right.ravel(), 0.0
    for edge in range(15):
        inside = (sure > edge / 15) & (sure <= (edge + 1) / 15)
        error += abs(sure[inside].sum() - right[inside].sum()) / len(sure)
    return error


# ------------------------------------------------------------------------------------------------------- the numbers


def test_a_model_against_itself(write_search, compare, trained):
    saved, last = trained
    write_search("demo", {1: saved, 4: saved}, best=4)
    found, text = compare("demo", "demo:1")
    assert found.difference.mean.value == 0 and found.p_value == 1 and found.winner is None
    assert found.images == VAL and found.is_alike and found.scarce == []
    for score in found.scores:  # as training measured them
        assert score.mean.value == pytest.approx(last.metrics["val/accuracy"])
        measured = [last.metrics[f"val/accuracy/{name}"] for name in found.categories]
        assert [each.value for each in score.categories] == pytest.approx(measured)
    assert "Nothing tells A and B apart" in text and "In no category is one of them surely better" in text
    assert "A demo, the best of this search, trial 4: test_resnet at 32 px, epoch 6" in text
    assert "B demo:1, one trial: test_resnet" in text and f"{VAL} validation images of sample" in text


def check_width(found, spread):
    """As wide as the spread over images says, or a little wider: see `search.statistics.intervals.compute_floor`."""
    assert np.mean(found) == pytest.approx(np.mean(spread))
    assert 1 - 1e-9 <= np.ptp(found) / np.ptp(spread) < 1.05


@pytest.mark.slow
def test_a_planted_difference_is_found(write_search, compare, data, trained, damaged):
    saved, last = trained
    write_search("good", {0: saved}, best=0)
    write_search("bad", {0: damaged}, best=0)
    found, text = compare("good", "bad")
    images = data.indices("val")
    labels = data.labels[images]
    answers = [answer(each, data, images) for each in (saved, damaged)]
    right = [find_right(each, labels) for each in answers]
    assert (right[0] == last.correct).all()
    gain = right[0].mean(1) - right[1].mean(1)
    test = stats.ttest_1samp(gain, 0, alternative="greater")
    both = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
    assert found.difference.mean.value == pytest.approx(gain.mean()) and gain.mean() > 0.05
    check_width(found.difference.mean.compute_interval(), both)
    assert found.p_value == pytest.approx(2 * test.pvalue, rel=0.3) and found.p_value < 0.02
    for index, estimate in enumerate(found.difference.categories):
        column = right[0][:, index].astype(float) - right[1][:, index]
        assert estimate.value == pytest.approx(column.mean())
        won, lost = (column > 0).sum(), (column < 0).sum()
        plus_four = np.sqrt(won + lost + 1 - (won - lost) ** 2 / (VAL + 2)) / (VAL + 2)  # Agresti & Min 2005
        half = max(plus_four, stats.sem(column)) * stats.t.ppf(1 - 0.05 / 12, VAL - 1)
        span = column.mean() - half, column.mean() + half
        assert estimate.compute_interval(found.difference.category_level) == pytest.approx(span)
    for score, probabilities, each in zip(found.scores, answers, right, strict=True):
        span = stats.ttest_1samp(each.mean(1), 0).confidence_interval(0.95)
        check_width(score.mean.compute_interval(), span)
        assert score.calibration_error == pytest.approx(measure_ece(probabilities, each), abs=1e-6)
    assert found.winner == 0 and found.list_won(1) == []
    assert set(found.list_won(0)) <= set(DAMAGE) and "neckline" in found.list_won(0)
    assert f"A is better than B: by {100 * found.difference.mean.value:.2f} points on these 48 images" in text
    assert f"A is surely better in {', '.join(found.list_won(0))}" in text

    swapped, text = compare("bad", "good")
    assert swapped.winner == 1 and swapped.list_won(1) == found.list_won(0)
    assert swapped.p_value == pytest.approx(found.p_value)
    assert f"B is better than A: by {-100 * swapped.difference.mean.value:.2f} points" in text
    low, high = sorted(-100 * end for end in swapped.difference.mean.compute_interval())
    assert f"by {low:.2f} to {high:.2f} on all images like them" in text
    assert f"{100 * swapped.difference.mean.value:.2f} * {-high:.2f} to {-low:.2f}" in text


@pytest.mark.slow
def test_an_ensemble_sees_each_member_its_own_images(tmp_path, compare, data, sample_folder, sample_prepared):
    """Two members at two sizes with unequal shares; the temperatures beside it change the calibration alone."""
    members = [draw_model(1, data.schema, image_size=32), draw_model(2, data.schema, image_size=64, crop="box")]
    folder = tmp_path / "an [red]ensemble"
    save_ensemble(folder, join_models(members, [3, 1]))
    alone = save_member(tmp_path / "alone", members[1])
    (tmp_path / "results").mkdir()
    found, text = compare(folder, alone, sample_folder)
    images = data.indices("val")
    assert [sample_prepared.names[index] for index in images] == [data.names[index] for index in images]
    labels = data.labels[images]
    parts = [answer(each, of, images) for each, of in zip(members, (data, sample_prepared), strict=True)]
    mean = [0.75 * one + 0.25 * other for one, other in zip(*parts, strict=True)]
    for score, probabilities in zip(found.scores, (mean, parts[1]), strict=True):
        right = find_right(probabilities, labels)
        assert score.mean.value == pytest.approx(right.mean())
        assert score.calibration_error == pytest.approx(measure_ece(probabilities, right), abs=1e-6)
    wanted = f"A {folder}, ensemble of 2 (test_resnet at 32 px, test_resnet at 64 px)"
    assert wanted.replace(" ", "") in text.replace(" ", "")  # a long path may be folded
    (folder / "temperatures.json").write_text(json.dumps(dict.fromkeys(data.schema.names, 2.0)))
    tempered, _ = compare(folder, alone, sample_folder)
    assert tempered.difference == found.difference and tempered.scores[1] == found.scores[1]
    halved = [values**0.5 / (values**0.5).sum(1, keepdims=True) for values in mean]
    wanted = measure_ece(halved, find_right(mean, labels))
    assert tempered.scores[0].calibration_error == pytest.approx(wanted, abs=1e-6)


def test_the_smallest_lead_is_found_as_often_as_it_says():
    """Leads of that size, drawn: the winner is found in 80% of them."""
    rng = np.random.default_rng(1)
    labels = np.zeros((300, 1), int)

    def draw(chance):
        return [np.where(rng.random(300)[:, None] < chance, [0.8, 0.2], [0.3, 0.7])]

    lead = np.mean([compute_comparison(draw(0.6), draw(0.6), labels, ["a"]).detectable for _ in range(50)])
    found = [compute_comparison(draw(0.6 + lead / 2), draw(0.6 - lead / 2), labels, ["a"]).winner for _ in range(400)]
    assert np.mean([winner == 0 for winner in found]) == pytest.approx(0.8, abs=0.07)


# ------------------------------------------------------------------------------------------- what a model has seen


def write_final(layout, saved, trained_on, judged_on):
    save_member(layout.final.folder, saved)
    layout.final.trained_on.write_text(json.dumps({"digests": sorted(trained_on)}))
    layout.final.card.write_text("# A model\n")
    if judged_on is not None:
        count = len(judged_on)
        answers = {"correct": np.ones((1, count, 2)), "labels": np.zeros((count, 2), np.int64)}
        np.savez(layout.final.answers, digests=np.array(judged_on), **answers)


@pytest.mark.slow
def test_a_promoted_model_goes_before_the_best_trial(write_search, compare, data, trained, damaged):
    layout = write_search("demo", {2: damaged}, best=2)
    digests = np.array(data.sha256)
    write_final(layout, trained[0], digests[data.indices("train")], digests[data.indices("val")[:9]])
    found, text = compare("demo", "demo:2")
    assert found.winner == 0 and "A demo, what this search was promoted to: test_resnet" in text
    assert "A's score flatters it: it was picked among candidates by scores on 9 of these images." in text
    assert "the difference leans towards the one that was picked among more" in text
    by_path, text = compare(layout.final.folder, "demo:2")
    assert (by_path.scores, by_path.difference) == (found.scores, found.difference)
    assert "a promoted model: test_resnet" in text
    layout.final.answers.unlink()
    _, text = compare("demo", "demo:2")
    assert "So the difference leans towards B." in text and "A's score" not in text


@pytest.mark.slow
def test_a_registered_version(tmp_path, write_search, compare, data, trained, damaged):
    """What its folder says travels with it into MLflow's registry."""
    layout = write_search("demo", {2: damaged}, best=2)
    digests = np.array(data.sha256)
    write_final(layout, trained[0], digests[data.indices("train")], digests[data.indices("val")[:9]])
    client = open_store(f"sqlite:///{tmp_path / 'results' / 'mlflow.db'}")
    run = client.create_run(client.create_experiment("promote", (tmp_path / "artifacts").as_uri()))
    photo = SearchOptions.load(layout.options).data / data.names[0]
    Registry(client.tracking_uri, "tops").register(
        layout.final.folder, run_id=run.info.run_id, promotion_id="p", tags={}, example_image=photo.read_bytes()
    )
    wanted, _ = compare("demo", "demo:2")
    shutil.rmtree(layout.final.folder)
    found, text = compare("models:/tops/1", "demo:2")
    assert (found.scores, found.difference) == (wanted.scores, wanted.difference)
    assert "A models:/tops/1, a registered version: test_resnet" in text
    assert "it was picked among candidates by scores on 9 of these images" in text
    with pytest.raises(SearchError, match="models:/tops@champion is not in"):
        compare("demo:2", "models:/tops@champion")


@pytest.mark.parametrize(("one", "other"), [("demo", "whole"), ("whole", "demo"), ("whole", "whole")])
def test_images_that_one_was_trained_on_are_refused(write_search, compare, data, trained, one, other):
    write_search("demo", {2: trained[0]}, best=2)
    layout = write_search("whole", {0: trained[0]})
    digests = np.array(data.sha256)
    write_final(layout, trained[0], [*digests[data.indices("train")], *digests[data.indices("val")[:7]]], None)
    with pytest.raises(SearchError) as caught:
        compare(one, other)
    message = str(caught.value)
    assert "the 48 validation images of sample" in message and "name another data set with --data" in message
    for side, name in (("A", one), ("B", other)):
        assert (f"{side} (whole) was trained on 7 of them" in message) == (name == "whole")
        assert f"{side} (demo)" not in message


def copy_as_val(source, target, rows):
    """A data set whose validation images are rows of another one's training images, under other names.

    Where these stood, its first one differs by a byte: what counts is the folder that a model was trained in.
    """
    shutil.copytree(source, target)
    for suffix in ("", "_attr", "_bbox"):
        lines = [line for line in (source / "split" / f"train{suffix}.txt").read_text().splitlines() if line.strip()]
        lines = lines[-120:]
        chosen = [lines[row] for row in rows]
        if not suffix:
            for place, line in enumerate(chosen):
                shutil.copy(source / line, target / f"img/again{place}.jpg")
            chosen = [f"img/again{place}.jpg" for place in range(len(rows))]
            with (target / lines[0]).open("ab") as file:
                file.write(b"\0")
        (target / "split" / f"val{suffix}.txt").write_text("\n".join(chosen) + "\n")
    return target


@pytest.mark.slow
def test_images_are_known_again_in_another_folder(tmp_path, write_search, compare, data, trained, sample_folder):
    """Of ten images of another data set, four were held out of the search's training, and six were trained on."""
    held = [data.names[index] for index in data.indices("train")[:4]]
    write_search("held", {0: trained[0]}, best=0, select_on="heldout", images=held)
    write_search("other", {0: trained[0]}, best=0)
    assert load_annotations(sample_folder).table["image"][:4].to_pylist() == held
    with pytest.raises(SearchError, match=r"A \(held\) was trained on 6 of them and B \(other\) was trained on 10 of"):
        compare("held", "other", copy_as_val(sample_folder, tmp_path / "ten", range(10)))
    write_search("alike", {0: trained[0]}, best=0, select_on="heldout", images=held[:3])
    with pytest.raises(SearchError, match=r"but B \(alike\) was trained on 1 of them"):
        compare("held", "alike", copy_as_val(sample_folder, tmp_path / "four", range(4)))
    found, text = compare("held", "held:0", copy_as_val(sample_folder, tmp_path / "three", range(3)))
    assert found.images == 3
    assert "A's score flatters it: its trial and its epoch were picked by scores on these very images." in text
    assert "B's score flatters it: its epoch was picked" in text


@pytest.mark.slow
def test_the_data_set_is_that_of_the_first_search(tmp_path, write_search, compare, data, trained, sample_folder):
    """And prepared images are kept where a search of the two keeps them."""
    held = [data.names[index] for index in data.indices("train")[:6]]
    given = {"best": 0, "select_on": "heldout", "images": held}
    write_search("plain", {0: trained[0]}, **given)
    folder = copy_as_val(sample_folder, tmp_path / "six", range(6))
    write_search("other", {0: trained[0]}, folder=folder, cache_dir=tmp_path / "kept", **given)
    found, text = compare("other", "plain", cache_dir=None)
    assert found.images == 6 and "6 validation images of six" in text and text.count("flatters") == 2
    assert list((tmp_path / "kept").glob("*.arrow")) and not (tmp_path / "results/.prepared").exists()
    found, text = compare("plain", "other")
    assert found.images == VAL and "flatters" not in text
    compare("plain", "plain:0", cache_dir=None)
    assert list((tmp_path / "results/.prepared").glob("*.arrow"))


@pytest.mark.slow
def test_who_was_picked_on_these_images_is_said(write_search, compare, data, trained):
    held = [data.names[index] for index in data.indices("train")[:9]]
    write_search("held", {0: trained[0]}, best=0, select_on="heldout", images=held)
    write_search("seen", {0: trained[0]}, best=0)
    _, text = compare("held", "seen")
    assert "A's score" not in text and "So the difference leans towards B." in text
    assert "B's score flatters it: its trial and its epoch were picked by scores on these very images." in text
    _, text = compare("seen", "held")
    assert "A's score flatters it" in text and "So the difference leans towards A." in text
    _, text = compare("held", "held:0")
    assert "flatters" not in text and "leans" not in text and "not known" not in text


@pytest.mark.slow
def test_what_is_not_known_is_said(tmp_path, write_search, compare, sample_folder, trained):
    path = save_member(tmp_path / "alone", trained[0])
    layout = write_search("demo", {0: trained[0]}, best=0)
    _, text = compare("demo", path)
    assert "B: it is not known what it was trained on" in text and "a path alone does not tell" in text
    assert "leans" not in text  # nobody knows what picked B
    write_final(layout, trained[0], [], None)
    layout.final.trained_on.unlink()
    _, text = compare("demo:0", "demo")
    assert "B: it is not known" in text and "has no trained_on.json" in text

    gone = write_search("gone", {0: trained[0], 1: replace(trained[0], data_fingerprint="of others")}, best=0,
                        folder=tmp_path / "nowhere")  # fmt: skip
    with pytest.raises(SearchError, match=r"nowhere, is gone; say where it is with --data"):
        compare("gone", "demo:0")
    assert gone.options.is_file()
    _, text = compare("gone", "gone:1", sample_folder)  # the first was trained on the same data, now elsewhere
    assert "A: " not in text and "B: it is not known" in text and "nowhere, is gone." in text

    write_search("older", {0: replace(trained[0], data_fingerprint="of before")}, best=0)
    _, text = compare("older", "demo:0")
    assert "A: its data set has changed since" in text and "A's score flatters it" in text


# ------------------------------------------------------------------------------------------------------------ mistakes


def test_names_that_lead_nowhere(tmp_path, write_search, compare, trained):
    with pytest.raises(SearchError, match=r"but got 'demo'; searches are none"):
        compare("demo", "demo")
    write_search("demo", {3: trained[0], 12: trained[0]})
    write_search("empty", {})
    for name in ("nothing", "demo:x", "nothing:3", "no/such/file"):
        with pytest.raises(SearchError, match=rf"but got '{name}'; searches are demo, empty"):
            compare("demo:3", name)
    with pytest.raises(SearchError, match="demo:4 has none; those that have one are demo:3, demo:12"):
        compare("demo:4", "demo:3")
    with pytest.raises(SearchError, match="empty:0 has none; those that have one are none"):
        compare("demo:3", "empty:0")
    with pytest.raises(SearchError, match=r"but demo has none; go on with it .*: demo:3, demo:12"):
        compare("demo", "demo:3")
    path = save_member(tmp_path / "alone", trained[0])
    with pytest.raises(SearchError, match="neither model comes from a search; name one with --data"):
        compare(path, path)


@pytest.mark.slow
def test_other_categories_are_refused(tmp_path, write_search, compare, sample_folder, data, trained):
    write_search("demo", {0: trained[0]}, best=0)
    (alone := tmp_path / "alone").mkdir()
    save_member(alone, draw_model(0, SCHEMA))
    with pytest.raises(SearchError, match=r"same categories, but A has .*sleeve.* and B .*'tight', 'loose'\]\}"):
        compare("demo", alone)
    with pytest.raises(SearchError, match=r"data set of their categories, .*'floral', 'striped'.*, but .*sample has"):
        compare(alone, alone, sample_folder)
    turned = AttributeSchema(tuple(reversed(data.schema.categories)))
    save_member(tmp_path / "turned", draw_model(0, turned, image_size=32))
    with pytest.raises(SearchError, match="same categories"):
        compare("demo", tmp_path / "turned")


def test_one_image_is_too_few(tmp_path, write_search, compare, data, trained, sample_folder):
    held = [data.names[index] for index in data.indices("train")[:4]]
    write_search("held", {0: trained[0]}, best=0, select_on="heldout", images=held)
    with pytest.raises(SearchError, match="two labelled validation images or more, but there is 1"):
        compare("held", "held", copy_as_val(sample_folder, tmp_path / "one", range(1)))


def test_its_dictionary_is_json_and_nothing_is_printed(write_search, cache, tmp_path, trained, damaged, capfd):
    write_search("good", {0: trained[0]}, best=0)
    write_search("bad", {0: damaged}, best=0)
    found = comparing.compare("good", "bad", results=tmp_path / "results", cache_dir=cache)
    assert capfd.readouterr() == ("", "")
    told = json.loads(json.dumps(found.to_dict()))
    low, high = found.difference.mean.compute_interval()
    assert told["winner"] == "A" and (told["difference"]["low"], told["difference"]["high"]) == (low, high)
    assert told["A"]["name"] == "good" and told["B"]["words"].startswith("the best of this search, trial 0")
    assert told["B"]["score"]["value"] == found.scores[1].mean.value and told["images"] == VAL
    low, high = found.difference.categories[0].compute_interval(found.difference.category_level)
    first = told["categories"][found.categories[0]]
    assert (first["low"], first["high"]) == (low, high)


# ------------------------------------------------------------------------------------------------------ missing labels


@pytest.mark.slow
def test_models_are_compared_on_labelled_images(compare, write_search, trained, damaged, sample_folder, tmp_path):
    """Each category on the images labelled in it, as scipy compares them there; the score is the mean of these."""
    folder = blank_folder(sample_folder, tmp_path / "some")
    write_search("good", {0: trained[0]}, best=0)
    write_search("bad", {0: damaged}, best=0)
    found, text = compare("good", "bad", folder)
    data = prepare(load_annotations(folder), PrepareSettings(32, "box"), tmp_path / "prepared")
    images = data.indices("val")
    labels = data.labels[images]
    right = [find_right(answer(each, data, images), labels).astype(float) for each in (trained[0], damaged)]
    means = []
    for k, estimate in enumerate(found.difference.categories):
        known = labels[:, k] >= 0
        gain = (right[0] - right[1])[known, k]
        means.append(gain.mean())
        assert estimate.value == pytest.approx(gain.mean()) and found.labelled[k] == known.sum()
        if gain.any():
            span = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
            assert estimate.compute_interval() == pytest.approx((span.low, span.high))
    assert found.difference.mean.value == pytest.approx(np.mean(means)) and found.images == VAL
    assert found.to_dict()["labelled"] == dict(zip(found.categories, found.labelled, strict=True))
    assert "labelled images" in text and min(found.labelled) < VAL
    whole, text = compare("good", "bad")
    assert whole.labelled == () and "labelled" not in whole.to_dict() and "labelled images" not in text


def test_a_category_with_hardly_a_label_cannot_be_compared(sample_prepared):
    data = blank_data(sample_prepared)
    data.labels[121:168, 2] = -1
    with pytest.raises(SearchError, match=r"labelled in each category, but length has [01]; name another"):
        comparing.find_judged(data)


# ----------------------------------------------------------------------------------------------------------- objectives


@pytest.mark.parametrize(
    ("one", "other", "objective", "remark"),
    [
        ("val/class_accuracy", "val/class_accuracy", "val/class_accuracy", None),
        ("val/accuracy/fit", "val/accuracy/fit", "val/accuracy/fit", None),
        ("val/accuracy", "val/accuracy", "val/accuracy", None),
        (
            "val/accuracy/fit",
            "val/accuracy",
            "val/accuracy",
            "A for val/accuracy/fit; B for val/accuracy: compared",
        ),
    ],
)
def test_models_are_compared_by_what_both_were_made_for(one, other, objective, remark):
    models = [SimpleNamespace(saved=draw_model(seed, objective=name)) for seed, name in enumerate((one, other))]
    labels = np.stack([np.arange(60) % 3, np.arange(60) // 50], 1)
    found, remarks = comparing.choose_objective(models, Measure(labels=labels, names=SCHEMA.names))
    assert found.name == objective and (remark is None) == (remarks == ())
    assert remark is None or remark in remarks[0]
    rng = np.random.default_rng(0)
    answers = [[rng.dirichlet(np.ones(size), 60) for size in SCHEMA.sizes] for _ in range(2)]
    comparison = compute_comparison(*answers, labels, SCHEMA.names, found)
    right = [find_right(each, labels) for each in answers]
    wanted = [measure_plainly(each, labels, objective) for each in right]
    assert [score.mean.value for score in comparison.scores] == pytest.approx(wanted)
    assert comparison.difference.mean.value == pytest.approx(wanted[0] - wanted[1])
    assert comparison.to_dict()["objective"] == objective
    console = Console(file=io.StringIO(), width=300)
    show_comparison(comparison, console)
    assert (f"score: {objective}, " in console.file.getvalue()) == (objective != "val/accuracy")


def measure_plainly(right, labels, objective):
    """Of answers [N, K], by loops."""
    if objective == "val/accuracy/fit":
        return right[:, 1].mean()
    if objective == "val/accuracy":
        return right.mean()
    return np.mean([right[labels[:, k] == c, k].mean() for k in range(2) for c in np.unique(labels[:, k])])


def test_a_class_of_one_image_is_not_compared():
    models = [SimpleNamespace(saved=draw_model(seed, objective="val/class_accuracy")) for seed in range(2)]
    labels = np.stack([np.arange(60) % 3, np.arange(60) // 59], 1)
    found, (remark,) = comparing.choose_objective(models, Measure(labels=labels, names=SCHEMA.names))
    assert found.is_default and "where a class has one image alone, as in fit: compared is val/accuracy" in remark
