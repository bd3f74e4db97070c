"""Scores against scikit-learn, and their error against a bootstrap."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from missing_labels import blank
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, recall_score

from fashion_core import metrics
from fashion_core.training.evaluation import ConfusionCounts

SIZES = (7, 3, 4)
NAMES = ("pattern", "sleeve", "neckline")


def draw_answers(images, seed, sizes=SIZES):
    """labels, answers: [N, K]; about half of the answers are right."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, size, images) for size in sizes], 1)
    guesses = np.stack([rng.integers(0, size, images) for size in sizes], 1)
    return labels, np.where(rng.random(labels.shape) < 0.5, labels, guesses)


def count(labels, answers, batch=16, sizes=SIZES):
    counts = ConfusionCounts(sizes)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        counts.update(torch.from_numpy(answers[part]), torch.from_numpy(labels[part]))
    return counts.to_numpy()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(0, 10_000))
def test_scores_against_scikit_learn(images, seed):
    labels, answers = draw_answers(images, seed)
    confusion = count(labels, answers)
    scores = metrics.compute_scores(confusion, NAMES)
    recalls = []
    for k, (name, size) in enumerate(zip(NAMES, SIZES, strict=True)):
        truth, given_answers = labels[:, k], answers[:, k]
        np.testing.assert_array_equal(confusion[k], confusion_matrix(truth, given_answers, labels=range(size)))
        assert scores[f"val/accuracy/{name}"] == pytest.approx(accuracy_score(truth, given_answers))
        present = sorted(set(truth.tolist()))
        wanted = recall_score(truth, given_answers, labels=present, average=None, zero_division=0)
        own = [recall for recall in metrics.compute_recalls(confusion[k]) if recall is not None]
        assert own == pytest.approx(wanted.tolist())
        assert np.mean(own) == pytest.approx(recall_score(truth, given_answers, labels=present, average="macro"))
        recalls += wanted.tolist()
    assert scores[metrics.ACCURACY] == pytest.approx((labels == answers).mean())
    assert scores[metrics.CLASS_ACCURACY] == pytest.approx(np.mean(recalls))
    assert set(scores) == {"val/accuracy", "val/class_accuracy", *(f"val/accuracy/{name}" for name in NAMES)}


def test_class_accuracy_of_one_category_is_balanced_accuracy():
    labels, answers = draw_answers(200, 1, (5,))
    scores = metrics.compute_scores(count(labels, answers, sizes=(5,)), ["only"])
    assert scores[metrics.CLASS_ACCURACY] == pytest.approx(balanced_accuracy_score(labels[:, 0], answers[:, 0]))


def test_a_class_without_images_is_left_out():
    labels, answers = np.array([[0], [0], [1]]), np.array([[0], [2], [1]])
    (matrix,) = count(labels, answers, sizes=(3,))
    assert metrics.compute_recalls(matrix) == [0.5, 1.0, None]
    assert metrics.compute_scores([matrix], ["only"])[metrics.CLASS_ACCURACY] == pytest.approx(0.75)


def test_standard_error_against_bootstrap():
    """Resampling images, whose categories stand and fall together, gives the same error."""
    rng = np.random.default_rng(0)
    skill = rng.random((300, 1))
    correct = rng.random((300, 6)) < skill
    picks = rng.integers(0, 300, (4000, 300))
    bootstrap = correct.mean(1)[picks].mean(1).std()
    assert metrics.compute_standard_error(correct) == pytest.approx(bootstrap, rel=0.06)
    naive = np.sqrt(correct.mean() * (1 - correct.mean()) / correct.size)
    assert metrics.compute_standard_error(correct) > 1.4 * naive
    assert metrics.compute_standard_error(correct[:1]) == 0.0


def test_majority_score_is_that_of_a_constant_answer():
    train, labels = np.array([[0, 1], [0, 1], [2, 1], [1, 0]]), np.array([[0, 1], [0, 0], [2, 1]])
    assert metrics.compute_majority_score(labels, train) == pytest.approx((2 / 3 + 2 / 3) / 2)


# ------------------------------------------------------------------------------------------------------ missing labels


def draw_correct(rng, images=300, rates=(0.6, 0.1, 0.4)):
    """[N, K]: categories of one image stand and fall together, some are unlabelled."""
    correct = rng.random((images, len(rates))) < 0.4 + 0.5 * rng.random((images, 1))
    return np.where(rng.random(correct.shape) < rates, np.nan, correct)


def score_by_loops(correct):
    """Mean over the categories with a label of the accuracy on labelled images."""
    found = [[x for x in column if not np.isnan(x)] for column in correct.T.tolist()]
    return np.mean([sum(column) / len(column) for column in found if column])


def test_answers_are_marked_where_they_are_labelled():
    answers, labels = np.array([[0, 1], [2, 1]]), np.array([[0, 0], [2, 1]])
    assert metrics.mark_correct(answers, labels).tolist() == [[True, False], [True, True]]
    assert metrics.mark_correct(answers, labels).dtype == bool
    labels[0, 1] = -1
    np.testing.assert_array_equal(metrics.mark_correct(answers, labels), [[1, np.nan], [1, 1]])
    np.testing.assert_array_equal(metrics.mark_correct(answers[1], labels), [[0, np.nan], [1, 1]])


def test_the_score_is_over_labelled_images_whatever_stands_in_front():
    rng = np.random.default_rng(1)
    tables = np.stack([draw_correct(np.random.default_rng(seed), 40) for seed in range(6)]).reshape(2, 3, 40, 3)
    found = metrics.score_answers(tables)
    assert found.shape == (2, 3)
    for at in np.ndindex(2, 3):
        assert found[at] == pytest.approx(score_by_loops(tables[at]))
    tables[..., 1] = np.nan  # says nothing of these images, and costs nothing
    assert metrics.score_answers(tables[0, 0]) == pytest.approx(score_by_loops(tables[0, 0]))
    whole = rng.random((4, 30, 3)) < 0.7
    assert np.array_equal(metrics.score_answers(whole), whole.mean((1, 2)))


def test_an_images_values_have_the_score_as_mean_and_its_error_as_spread():
    rng = np.random.default_rng(2)
    correct = draw_correct(rng)
    values = metrics.score_images(correct)
    assert values.mean() == pytest.approx(score_by_loops(correct))
    picks = rng.integers(0, 300, (2000, 300))
    bootstrap = np.std([score_by_loops(correct[pick]) for pick in picks[:600]])
    assert metrics.compute_standard_error(correct) == pytest.approx(bootstrap, rel=0.1)
    alone = correct[:, 0][~np.isnan(correct[:, 0])]  # one category: the textbook's error of its labelled images
    assert metrics.compute_standard_error(correct[:, :1]) == pytest.approx(alone.std(ddof=1) / np.sqrt(len(alone)))
    other = np.where(np.isnan(correct), np.nan, rng.random(correct.shape) < 0.5)
    assert metrics.score_images((correct + other) / 2) == pytest.approx((values + metrics.score_images(other)) / 2)


def test_with_all_labels_an_image_counts_by_its_share():
    correct = np.random.default_rng(3).random((50, 6)) < 0.6
    assert np.array_equal(metrics.score_images(correct), correct.mean(1))
    assert np.array_equal(metrics.score_images(correct.astype(float)), correct.mean(1))


def test_the_majority_is_of_labelled_images_on_labelled_images():
    train = np.array([[-1, 1], [-1, 1], [2, -1], [0, 0], [2, -1]])
    labels = np.array([[2, -1], [0, 1], [2, 0], [-1, 1]])
    assert metrics.find_commonest(train).tolist() == [2, 1]
    assert metrics.compute_majority_score(labels, train) == pytest.approx((2 / 3 + 2 / 3) / 2)


# ----------------------------------------------------------------------------------------------------------- objectives

OBJECTIVES = [metrics.ACCURACY, metrics.CLASS_ACCURACY, *(f"{metrics.ACCURACY}/{name}" for name in NAMES)]


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_measure_gives_the_score_of_its_name(name, rate):
    """With all labels and without some: that of the confusion matrices."""
    labels, answers = draw_answers(150, 3)
    labels = blank(labels, [rate, rate, rate / 2])
    correct = np.stack([metrics.mark_correct(answers, labels)] * 2).astype(float)
    correct[1] = 1 - correct[1]
    measure = metrics.Measure(metrics.Objective(name), labels, NAMES)
    scores = metrics.compute_scores(count(labels, answers), NAMES)
    assert measure.score(correct)[0] == pytest.approx(scores[name])
    assert measure.score(correct)[1] == pytest.approx(1 - scores[name])
    assert measure.score_images(correct).mean(1) == pytest.approx(measure.score(correct))
    part = np.arange(40, 90)
    wanted = metrics.compute_scores(count(labels[part], answers[part]), NAMES)[name]
    assert measure.take(part).score(correct[0, part]) == pytest.approx(wanted)


def test_the_error_of_a_mean_over_classes_is_that_of_strata():
    """By the formula, of one category; of two, whose answers stand and fall together, by drawing images again."""
    rng = np.random.default_rng(5)
    labels = np.stack([rng.choice(3, 240, p=[0.7, 0.2, 0.1]), rng.integers(0, 2, 240)], 1)
    skills = np.stack([0.9 - 0.25 * labels[:, 0], 0.6 + 0.2 * labels[:, 1]], 1)
    correct = (rng.random((240, 1)) < skills).astype(float)
    measure = metrics.Measure(metrics.Objective(metrics.CLASS_ACCURACY), labels, ("one", "other"))
    classes = [(k, label) for k in range(2) for label in np.unique(labels[:, k])]
    parts = [correct[labels[:, k] == label, k] for k, label in classes]
    assert measure.score(correct) == pytest.approx(np.mean([part.mean() for part in parts]))
    alone = metrics.Measure(measure.objective, labels[:, :1], ("one",))
    wanted = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts[:3])) / 3
    assert alone.compute_standard_error(correct[:, :1]) == pytest.approx(wanted)
    drawn = []
    for _ in range(4000):
        rows = rng.integers(0, len(labels), len(labels))
        again = [correct[rows][labels[rows, k] == label, k].mean() for k, label in classes]
        drawn.append(np.mean(again))
    assert measure.compute_standard_error(correct) == pytest.approx(np.std(drawn), rel=0.05)


def test_the_error_of_a_category_is_that_of_its_labelled_images():
    labels, answers = draw_answers(90, 8)
    labels = blank(labels, [0.5, 0.0, 0.2])
    correct = metrics.mark_correct(answers, labels)
    for k, name in enumerate(NAMES):
        measure = metrics.Measure(metrics.Objective(f"val/accuracy/{name}"), labels, NAMES)
        own = correct[labels[:, k] >= 0, k].astype(float)
        assert measure.compute_standard_error(correct) == pytest.approx(own.std(ddof=1) / np.sqrt(len(own)))
    default = metrics.Measure().compute_standard_error(correct)
    assert default == metrics.compute_standard_error(correct)


def test_a_class_of_one_image_has_no_error():
    labels = np.array([[0, 0], [0, 1], [1, 1], [0, -1]])
    correct = np.ones((4, 2))
    measure = metrics.Measure(metrics.Objective(metrics.CLASS_ACCURACY), labels, ("one", "other"))
    assert measure.list_single() == [("one", 1), ("other", 0)] and measure.compute_standard_error(correct) is None
    assert metrics.Measure(labels=labels, names=("one", "other")).list_single() == []


def test_the_commonest_class_by_another_objective():
    labels, train = np.array([[0], [0], [0], [1]]), np.array([[0], [0], [1]])
    measure = metrics.Measure(metrics.Objective(metrics.CLASS_ACCURACY), labels, ("only",))
    assert metrics.compute_majority_score(labels, train) == 0.75
    assert metrics.compute_majority_score(labels, train, measure) == 0.5


def test_names_of_objectives():
    default, classes, category = (metrics.Objective(name) for name in OBJECTIVES[:3])
    assert (default.error_name, default.beside) == (metrics.ACCURACY_SE, metrics.CLASS_ACCURACY)
    assert (classes.error_name, classes.beside) == ("val/class_accuracy_se", metrics.ACCURACY)
    assert (category.error_name, category.category) == ("val/accuracy_se/pattern", "pattern")
    assert [each.is_default for each in (default, classes, category)] == [True, False, False]
    assert default.category is classes.category is None and "accuracy of pattern" in category.words


def test_rare_classes_leave_few_degrees_of_freedom():
    """Student's interval holds as often as it says, and the test errs no more often, though two classes are rare."""
    rng, labels = np.random.default_rng(0), np.repeat([0, 1, 2, 3], [150, 40, 7, 3])[:, None]
    measure = metrics.Measure(metrics.Objective(metrics.CLASS_ACCURACY), labels, ("only",))
    drawn = (rng.random((2, 3000, *labels.shape)) < 0.7).astype(float)
    gains = measure.score_images(drawn[0]) - measure.score_images(drawn[1])
    error, df = gains.std(1, ddof=1) / np.sqrt(len(labels)), measure.count_freedom(drawn[0])
    assert 2 < df < 10
    assert np.mean(np.abs(gains.mean(1)) <= stats.t.ppf(0.975, df) * error) > 0.94
    assert np.mean(stats.t.sf(gains.mean(1) / error, df) <= 0.01) < 0.012


def test_degrees_of_freedom_are_those_of_the_images_that_count():
    labels, answers = draw_answers(90, 8)
    correct = metrics.mark_correct(answers, blank(labels, [0.5, 0.0, 0.2])).astype(float)
    assert metrics.Measure().count_freedom(correct) == 89
    category = metrics.Measure(metrics.Objective("val/accuracy/pattern"), names=NAMES)
    assert category.count_freedom(correct) == pytest.approx((~np.isnan(correct[:, 0])).sum() - 1)
    two = np.repeat([0, 1], 10)[:, None]  # of equal size: as in the t test of two samples
    classes = metrics.Measure(metrics.Objective(metrics.CLASS_ACCURACY), two, ("only",))
    assert classes.count_freedom(np.ones((20, 1))) == pytest.approx(18)
