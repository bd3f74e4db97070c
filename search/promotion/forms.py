"""What is shipped of all that was trained: the best network, an average of weights, or an ensemble of networks.

Each form is chosen by a procedure that looks at some images alone, so all are scored under one cross-fitting, and so is
the choice between them. N images, K categories, C classes of one category.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.models.cost import UNLIMITED, Cost
from search.promotion.judgement import TrainedCandidate, find_best_candidate
from search.promotion.options import ENSEMBLE, SINGLE, SOUP
from search.statistics.crossfit import cross_fit
from search.statistics.intervals import LEVEL, Estimate, compare, estimate_score
from search.statistics.members import average_members, find_correct, select_members

if TYPE_CHECKING:
    from fashion_core.metrics import Measure

SEEDS = "seeds"
MAX_MEMBERS = 8  # of an ensemble, repeats included
MAX_INGREDIENTS, MAX_SOUPS = 4, 2  # of a soup: at most 2 x 7 averages, each to be run on all images
Network = tuple[int, int]  # position of the candidate, and of its seed; those for soups count on behind the re-runs
Chooser = Callable[[np.ndarray], "Choice"]


@dataclass(frozen=True)
class Choice:
    """What was chosen on some images.

    Attributes:
        form: `single`, `soup`, `seeds` (an ensemble of all of one candidate), `ensemble` (a greedy one).
        networks: those it is made of; one named twice counts twice.
        probabilities: K arrays [N, C_i], of all images.
    """

    form: str
    networks: tuple[Network, ...]
    probabilities: list[np.ndarray]


@dataclass(frozen=True)
class Form:
    """A form in the table.

    Attributes:
        choice: made on all images.
        score: cross-fitted.
        gain: over one network, the mean of those of the best candidate, under the same cross-fitting.
        answers: [1, N, K], cross-fitted.
    """

    choice: Choice
    score: Estimate
    gain: Estimate
    cost: Cost
    answers: np.ndarray = field(compare=False, repr=False)


@dataclass(frozen=True)
class Decision:
    """What ships.

    Attributes:
        answers: [1, N, K]: cross-fitted answers of the whole procedure, the choice of the form included.
        one_network: [1, N, K]: the mean of the networks of the best candidate, chosen without the images scored.
        notes: what a reader of the report must know, a sentence each.
    """

    forms: tuple[Form, ...]
    chosen: Form
    answers: np.ndarray
    one_network: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def choice(self) -> Choice:
        """Of the form that ships."""
        return self.chosen.choice

    def describe_state(self, form: Form) -> str:
        """What became of a form, in a word."""
        if form.choice.form != SINGLE and len(set(form.choice.networks)) == 1:
            return "none"  # on all images, nothing was added to the best network
        if form is self.chosen:
            return "ships"
        return "not surely better" if form.score.value > self.chosen.score.value else "lost"


@dataclass
class Pool:
    """The networks to choose from.

    Attributes:
        candidates: best of the search first.
        soups: groups of networks whose weights can be averaged, in the order they are tried.
        labels: [N, K], negative where an image is unlabelled in a category.
        average: probabilities of all images by the average of some networks' weights: K arrays [N, C_i].
        has_ensemble: whether ensembles may ship.
        limit: what a choice may cost at most.
        takes_best: the best form ships, whatever it costs.
    """

    candidates: Sequence[TrainedCandidate]
    labels: np.ndarray
    folds: np.ndarray
    soups: Sequence[Sequence[Network]] = ()
    average: Callable[[tuple[Network, ...]], list[np.ndarray]] | None = None
    has_ensemble: bool = True
    limit: Cost = UNLIMITED
    takes_best: bool = False
    averaged: dict[tuple[Network, ...], list[np.ndarray]] = field(default_factory=dict)

    @property
    def measure(self) -> Measure:
        """The objective on the N images."""
        return self.candidates[0].measure

    def compute_cost(self, choice: Choice) -> Cost:
        """Of the whole model: an ensemble's distinct networks together, a soup's like one."""
        distinct = list(dict.fromkeys(choice.networks))
        costs = [self.candidates[position].cost for position, _ in distinct]
        return costs[0] if choice.form == SOUP else sum(costs[1:], costs[0])

    def list_networks(self, images: np.ndarray) -> dict[Network, list[np.ndarray]]:
        """Every network at its best epoch on some images: K arrays [N, C_i]."""
        return {
            (position, seed): candidate.find_probabilities(seed, epoch)
            for position, candidate in enumerate(self.candidates)
            for seed, epoch in enumerate(candidate.choose_epochs(images))
        }

    def find_average(self, networks: tuple[Network, ...]) -> list[np.ndarray]:
        """Probabilities of a soup, computed once."""
        assert self.average is not None
        key = tuple(sorted(networks))
        if key not in self.averaged:
            self.averaged[key] = self.average(key)
        return self.averaged[key]

    def score(self, probabilities: Sequence[np.ndarray], images: np.ndarray) -> float:
        """The score on some images."""
        return float(self.measure.take(images).score(find_correct(probabilities, self.labels)[images]))


def choose_single(pool: Pool, images: np.ndarray) -> Choice:
    """The best candidate by its mean over seeds, and of that the best network."""
    position = find_best_candidate(pool.candidates, images)
    candidate = pool.candidates[position]
    seed = candidate.find_best_seed(images)
    epoch = int(candidate.choose_epochs(images)[seed])
    return Choice(SINGLE, ((position, seed),), candidate.find_probabilities(seed, epoch))


def choose_seeds(pool: Pool, images: np.ndarray) -> Choice:
    """All networks of the candidate that is best by its mean over seeds, or as many as cost no more than is allowed.

    Source: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles.
    Nothing but candidate and epochs is chosen, so that little is chosen by luck.
    """
    position = find_best_candidate(pool.candidates, images)
    names, stacked = stack_networks(pool, images)
    return average_affordable(pool, SEEDS, names, stacked, [at for at, name in enumerate(names) if name[0] == position])


def choose_ensemble(pool: Pool, images: np.ndarray) -> Choice:
    """A greedy ensemble, the largest that costs no more than is allowed (see `select_members`)."""
    names, stacked = stack_networks(pool, images)
    members = select_members(
        [values[:, images] for values in stacked], pool.labels[images], MAX_MEMBERS, pool.measure.take(images)
    )
    return average_affordable(pool, ENSEMBLE, names, stacked, members)


def stack_networks(pool: Pool, images: np.ndarray) -> tuple[list[Network], list[np.ndarray]]:
    """Names of all M networks, and their answers at the epochs that are best on some images: K arrays [M, N, C_i]."""
    networks = pool.list_networks(images)
    return list(networks), [np.stack(columns) for columns in zip(*networks.values(), strict=True)]


def average_affordable(
    pool: Pool, form: str, names: Sequence[Network], stacked: Sequence[np.ndarray], members: Sequence[int]
) -> Choice:
    """The mean answers of members, the first of them where all together cost more than is allowed; one at least."""
    for size in range(len(members), 0, -1):
        taken = members[:size]
        choice = Choice(form, tuple(names[member] for member in taken), average_members(stacked, taken))
        if pool.compute_cost(choice).fits(pool.limit):
            break
    return choice


def choose_soup(pool: Pool, images: np.ndarray) -> Choice:
    """The best greedy average of weights over all groups.

    Wortsman et al. 2022, recipe 1, but tried in the order given, not by score on these images, so that the same
    averages serve every choice. Each network has the weights of its best epoch on all images: no other is kept.
    """
    best: tuple[float, Choice] | None = None
    for group in pool.soups[:MAX_SOUPS]:
        chosen: tuple[Network, ...] = (group[0],)
        score = pool.score(pool.find_average(chosen), images)
        for network in group[1:MAX_INGREDIENTS]:
            found = pool.score(pool.find_average((*chosen, network)), images)
            if found >= score:
                chosen, score = (*chosen, network), found
        if best is None or score > best[0]:
            best = score, Choice(SOUP, chosen, pool.find_average(chosen))
    assert best is not None
    return best[1]


def answer_by_mean(candidates: Sequence[TrainedCandidate], images: np.ndarray) -> np.ndarray:
    """[1, N, K]: what a network of the candidate that is best on some images answers in the mean.

    No network is chosen, so it is what one more of that recipe can be expected to do, and what other forms add to.
    """
    mean: np.ndarray = candidates[find_best_candidate(candidates, images)].answer(images).mean(0, keepdims=True)
    return mean


def answer_by_form(candidate: TrainedCandidate, form: str, folds: np.ndarray) -> np.ndarray:
    """[1, N, K]: one candidate in a form that all can have, cross-fitted; a soup is one network, as a single is."""
    pool = Pool([candidate], candidate.labels, folds)
    choosers = {SEEDS: choose_seeds, ENSEMBLE: choose_ensemble}
    if form in choosers and len(candidate.runs) > 1:
        return cross_fit(partial(answer_by, pool, partial(choosers[form], pool)), folds)
    return cross_fit(partial(answer_by_mean, [candidate]), folds)


def list_choosers(pool: Pool) -> dict[str, Chooser]:
    """The forms there are, the plainest first."""
    choosers: dict[str, Chooser] = {SINGLE: partial(choose_single, pool)}
    if pool.soups:
        choosers[SOUP] = partial(choose_soup, pool)
    if not pool.has_ensemble:
        return choosers
    if max(len(candidate.runs) for candidate in pool.candidates) > 1:
        choosers[SEEDS] = partial(choose_seeds, pool)
    if sum(len(candidate.runs) for candidate in pool.candidates) > 1:
        choosers[ENSEMBLE] = partial(choose_ensemble, pool)
    return choosers


def answer_by(pool: Pool, chooser: Chooser, images: np.ndarray) -> np.ndarray:
    """[1, N, K] float: what was chosen on some images answers to all; NaN where an image is unlabelled."""
    return find_correct(chooser(images).probabilities, pool.labels)[None].astype(float)


def choose_form(pool: Pool, choosers: dict[str, Chooser], images: np.ndarray) -> Choice:
    """The form that is picked under a cross-fitting within these images, chosen on all of them."""
    folds = pool.folds[images]
    answers = {}
    for name, chooser in choosers.items():
        right = np.empty((1, len(images), pool.labels.shape[1]))
        for fold in np.unique(folds):
            inside = folds == fold
            right[:, inside] = answer_by(pool, chooser, images[~inside])[:, images[inside]]
        answers[name] = right
    choices = {name: chooser(images) for name, chooser in choosers.items()}
    return choices[pick_form(pool, choices, answers, images)]


def pick_form(pool: Pool, choices: Mapping[str, Choice], answers: Mapping[str, np.ndarray], images: np.ndarray) -> str:
    """The cheapest form that is not told apart from the best, paired over images; of equal cost the better one.

    In the manner of Breiman et al. 1984, Classification and Regression Trees, whose rule is within one standard error.

    Args:
        answers: [1, n, K] of each form on some images, cross-fitted.
        images: [n], these.
    """
    measure = pool.measure.take(images)
    scores = {name: measure.score_images(each) for name, each in answers.items()}
    means = {name: float(measure.score(each)[0]) for name, each in answers.items()}
    best = max(means, key=lambda name: means[name])
    if pool.takes_best:
        return best
    image_df = measure.count_freedom(answers[best])
    lows = {name: compare(scores[best], own, None, image_df).compute_interval(LEVEL)[0] for name, own in scores.items()}
    near = [name for name, low in lows.items() if low <= 0]
    return min(near, key=lambda name: (pool.compute_cost(choices[name]).parameters, -means[name]))


def decide(pool: Pool) -> Decision:
    """Choose what ships, and score the whole procedure."""
    choosers = list_choosers(pool)
    all_images = np.arange(len(pool.folds))
    choices = {name: chooser(all_images) for name, chooser in choosers.items()}
    # one network alone is neither a soup nor an ensemble
    real = {name: choosers[name] for name in choices if name == SINGLE or len(set(choices[name].networks)) > 1}
    answers = {name: cross_fit(partial(answer_by, pool, chooser), pool.folds) for name, chooser in choosers.items()}
    scores = {name: pool.measure.score_images(each) for name, each in answers.items()}  # [1, N]
    one_network = cross_fit(partial(answer_by_mean, pool.candidates), pool.folds)
    image_df = pool.measure.count_freedom(one_network)
    forms: list[Form] = []
    for name, choice in choices.items():
        gain = compare(scores[name], pool.measure.score_images(one_network), None, image_df)
        score = estimate_score(scores[name], None, image_df)
        forms.append(Form(choice, score, gain, pool.compute_cost(choice), answers[name]))
    picked = pick_form(pool, choices, {name: answers[name] for name in real}, all_images)
    chosen = next(form for form in forms if form.choice.form == picked)
    procedure = cross_fit(partial(answer_by, pool, partial(choose_form, pool, real)), pool.folds)
    return Decision(tuple(forms), chosen, procedure, one_network)
