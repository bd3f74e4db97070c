"""Focal loss against cross-entropy, a slow formula in float64, and its own limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fashion_core.config import TrainConfig
from fashion_core.errors import ConfigError
from fashion_core.training.losses import WeightedFocalLoss, build_loss, compute_alpha, compute_shares, focal_loss


def slow_focal_loss(logits, target, gamma, alpha=None, smoothing=0.0):
    """Mean of -sum_c q_c alpha_c (1 - p_c)^gamma log p_c, element by element in float64."""
    total = 0.0
    for row, truth in zip(np.asarray(logits, np.float64), np.asarray(target).tolist(), strict=True):
        p = np.exp(row - row.max())
        p /= p.sum()
        for c, p_c in enumerate(p):
            q = smoothing / len(p) + (1 - smoothing) * (c == truth)
            if q:
                total -= q * (alpha[c] if alpha is not None else 1) * (1 - p_c) ** gamma * math.log(p_c)
    return total / len(target)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_gamma_0_is_cross_entropy(smoothing, weighted):
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(64, 7, generator=generator)).requires_grad_()
    target = torch.randint(0, 7, (64,), generator=generator)
    alpha = torch.rand(7, generator=generator) if weighted else None
    # reduction none, then the mean over images: F.cross_entropy's own mean divides by the weights
    wanted = F.cross_entropy(logits, target, weight=alpha, label_smoothing=smoothing, reduction="none").mean()
    (wanted_gradient,) = torch.autograd.grad(wanted, logits)
    loss = focal_loss(logits, target, 0.0, alpha=alpha, label_smoothing=smoothing)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, wanted_gradient)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_against_slow_formula(data):
    classes, images = data.draw(st.integers(2, 7)), data.draw(st.integers(1, 5))
    floats = st.floats(-12, 12, width=32)
    logits = data.draw(st.lists(st.lists(floats, min_size=classes, max_size=classes), min_size=images, max_size=images))
    target = data.draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    gamma = data.draw(st.floats(0, 5))
    smoothing = data.draw(st.sampled_from([0.0, 0.1]))
    alpha = data.draw(st.none() | st.lists(st.floats(0.1, 5), min_size=classes, max_size=classes))
    loss = focal_loss(
        torch.tensor(logits),
        torch.tensor(target),
        gamma,
        alpha=None if alpha is None else torch.tensor(alpha),
        label_smoothing=smoothing,
    )
    assert loss.item() == pytest.approx(slow_focal_loss(logits, target, gamma, alpha, smoothing), rel=2e-4, abs=2e-6)


def test_gradient_against_finite_differences():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 3, 4])
    for gamma in (0.5, 2.0):
        leaf = logits.clone().requires_grad_()
        focal_loss(leaf, target, gamma).backward()
        for index in np.ndindex(3, 5):
            plus, minus = logits.double().numpy().copy(), logits.double().numpy().copy()
            plus[index] += 1e-5
            minus[index] -= 1e-5
            slope = (slow_focal_loss(plus, target, gamma) - slow_focal_loss(minus, target, gamma)) / 2e-5
            assert leaf.grad[index].item() == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits_stay_finite(dtype, gamma, smoothing):
    big = 6e4
    rows = [[big, -big, 0], [-big, big, 0], [0, 0, 0], [1e-7, 0, -1e-7], [20, -20, 0], [big, big, big]]
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    loss = focal_loss(logits, torch.zeros(len(rows), dtype=torch.int64), gamma, label_smoothing=smoothing)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss) and loss > 0
    assert torch.isfinite(logits.grad).all()


def test_small_losses_survive_half_precision():
    """A confident answer's loss is tiny but not 0 and not noise: it is computed in float32."""
    logits = torch.tensor([[8.0, 0.0]], dtype=torch.float16)
    assert focal_loss(logits, torch.tensor([0]), 2.0).item() == pytest.approx(
        slow_focal_loss([[8.0, 0.0]], [0], 2.0), rel=1e-3
    )


def draw_batch(sizes, images=16):
    generator = torch.Generator().manual_seed(2)
    logits = [torch.randn(images, size, generator=generator) for size in sizes]
    return logits, torch.stack([torch.randint(0, size, (images,), generator=generator) for size in sizes], 1)


def test_weighted_sum_and_category_losses():
    logits, labels = draw_batch((7, 3, 2))
    total, by_category = WeightedFocalLoss([1.0, 4.0, 0.0], 1.5, normalise=False)(logits, labels)
    wanted = [slow_focal_loss(values, labels[:, k], 1.5) for k, values in enumerate(logits)]
    assert by_category.tolist() == pytest.approx(wanted, rel=1e-5)
    assert total.item() == pytest.approx(wanted[0] + 4 * wanted[1], rel=1e-5)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8).filter(lambda weights: sum(weights) > 1e-3), st.booleans())
def test_normalised_weights_have_mean_1_and_keep_their_proportions(weights, normalise):
    loss = WeightedFocalLoss(weights, normalise=normalise)
    if not normalise:
        assert loss.weights.tolist() == pytest.approx(weights)
        return
    assert loss.weights.mean().item() == pytest.approx(1)
    assert [w * sum(weights) for w in loss.weights.tolist()] == pytest.approx([w * len(weights) for w in weights])


@pytest.mark.parametrize("weights, gamma", [([1.0, -0.1], 2.0), ([0.0, 0.0], 2.0), ([1.0], -1.0)])
def test_impossible_losses_are_refused(weights, gamma):
    with pytest.raises(ConfigError, match="must be >= 0"):
        WeightedFocalLoss(weights, gamma)


def test_build_loss_reads_the_configuration():
    config = TrainConfig(
        focal_gamma=1.0, category_weights={"fit": 3.0}, label_smoothing=0.1, class_balance=0.5, normalise_weights=False
    )
    loss = build_loss(config, ["fit", "sleeve"], [[30, 10], [5, 5, 0]])
    assert (loss.weights.tolist(), loss.gamma, loss.label_smoothing) == ([3.0, 1.0], 1.0, 0.1)
    logits, labels = draw_batch((2, 3))
    _, by_category = loss(logits, labels)
    for k, counts in enumerate(([30, 10], [5, 5, 0])):
        alpha = compute_alpha(counts, 0.5).tolist()
        wanted = slow_focal_loss(logits[k], labels[:, k], 1.0, alpha, 0.1)
        assert by_category[k].item() == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ConfigError, match=r"fit, sleeve.*\['slevee'\]"):
        build_loss(TrainConfig(category_weights={"slevee": 1.0}), ["fit", "sleeve"], [[1, 1], [1, 1, 1]])


@given(st.lists(st.integers(0, 5000), min_size=2, max_size=8).filter(lambda counts: sum(counts) > 0), st.floats(0, 1))
def test_alpha_has_mean_1_over_the_images(counts, strength):
    """Over those that there are: a class without one has no part in the mean."""
    alpha = compute_alpha(counts, strength).double().numpy()
    images = np.repeat(alpha, counts)
    assert images.mean() == pytest.approx(1, rel=1e-5)
    counts = np.maximum(counts, 1)
    np.testing.assert_allclose(alpha * counts**strength, (alpha * counts**strength)[0], rtol=1e-5)


def test_alpha_of_a_category_without_images():
    assert compute_alpha([0, 0, 0], 0.5).tolist() == [1, 1, 1]


# ------------------------------------------------------------------------------------------------------ missing labels


def test_an_unlabelled_image_has_no_loss_and_no_gradient_in_that_category_alone():
    """Every category is that of its labelled images by themselves, smoothed and with class weights as ever."""
    logits, labels = draw_batch((4, 3, 5))
    labels[::3, 0], labels[1:14, 1], labels[:, 2] = -1, -1, -1
    alpha = [torch.rand(size) + 0.5 for size in (4, 3, 5)]
    loss = WeightedFocalLoss([1.0, 2.0, 3.0], 1.5, normalise=False, alpha=alpha, label_smoothing=0.1)
    leaves = [values.clone().requires_grad_() for values in logits]
    total, by_category = loss(leaves, labels)
    total.backward()
    for k in (0, 1):
        known = labels[:, k] >= 0
        own, truth = logits[k][known].requires_grad_(), labels[known, k]
        wanted = slow_focal_loss(own.detach(), truth, 1.5, alpha[k].tolist(), 0.1)
        assert by_category[k].item() == pytest.approx(wanted, rel=1e-5)
        focal_loss(own, truth, 1.5, alpha=alpha[k], label_smoothing=0.1).backward()
        torch.testing.assert_close(leaves[k].grad[known], (k + 1) * own.grad)
        assert (leaves[k].grad[~known] == 0).all() and (~known).any()
    assert by_category[2] == 0 and (leaves[2].grad == 0).all()  # no image of the batch is labelled in it
    assert total.item() == pytest.approx((by_category[0] + 2 * by_category[1]).item())


@given(st.integers(1, 700))
def test_with_all_labels_every_image_counts_exactly_once(images):
    assert (compute_shares(torch.zeros(images, 2, dtype=torch.int64)) == 1).all()
