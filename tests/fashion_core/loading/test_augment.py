"""Augmentation: shapes of what is drawn, and two ways to crop against each other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch.nn import functional as F

from fashion_core.config import TrainConfig
from fashion_core.loading.augment import (
    CROP_ASPECTS,
    ERASED_AREA,
    ERASED_ASPECTS,
    Augmentation,
    crop_by_grid,
    crop_by_slices,
    draw_boxes,
    erase_boxes,
    jitter_colours,
    mixup,
    resize_images,
)

SIDE = 48


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw_images(count: int, seed: int = 0, height: int = SIDE, width: int = SIDE) -> torch.Tensor:
    """[B, 3, H, W] uint8 noise with channels_last strides, as a batch source gives it."""
    pixels = torch.randint(0, 256, (count, height, width, 3), generator=seeded(seed), dtype=torch.uint8)
    return pixels.permute(0, 3, 1, 2)


def test_nothing_to_do_gives_the_same_tensor():
    images = draw_images(4)
    assert Augmentation(flip=0)(images, seeded()) is images


@pytest.mark.parametrize(
    "strengths",
    [{"flip": 0.5}, {"crop_strength": 0.5}, {"jitter": 0.4}, {"erasing": 1.0}],
    ids=lambda strengths: next(iter(strengths)),
)
def test_each_strength_draws_for_each_image(strengths):
    one = draw_images(1)
    images = one.expand(16, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    out = Augmentation(**{"flip": 0, **strengths})(images, seeded(3))
    assert torch.equal(images, before)  # the prepared images are not ours to change
    assert (out.shape, out.dtype) == (images.shape, torch.uint8)
    assert out.is_contiguous(memory_format=torch.channels_last)
    different = {bytes(image.contiguous().numpy()) for image in out}
    assert len(different) == 2 if "flip" in strengths else len(different) >= 15


def test_same_generator_same_images():
    augmentation = Augmentation(0.5, 0.5, 0.4, 0.5)
    images = draw_images(8)
    assert torch.equal(augmentation(images, seeded(1)), augmentation(images, seeded(1)))
    assert not torch.equal(augmentation(images, seeded(1)), augmentation(images, seeded(2)))


def test_flip_mirrors_the_expected_share():
    images = draw_images(400, height=4, width=4)
    out = Augmentation(flip=0.25)(images, seeded())
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    kept = (out == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert abs(mirrored.float().mean().item() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 400)
    assert torch.equal(Augmentation(flip=1.0)(images, seeded()), images.flip(3))


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 300), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_crop_boxes_keep_area_and_aspect(side, strength, seed):
    boxes = draw_boxes(64, side, side, (1 - strength, 1.0), CROP_ASPECTS, seeded(seed)).double()
    top, left, height, width = boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (height >= 1).all() and (width >= 1).all()
    assert (top + height <= side).all() and (left + width <= side).all()
    # sides are rounded to whole pixels, each by half of one at most
    assert ((height + 0.5) * (width + 0.5) >= (1 - strength) * side**2 - 1e-6).all()
    assert ((width + 0.5) / (height - 0.5) >= CROP_ASPECTS[0] - 1e-6).all()
    assert ((width - 0.5) / (height + 0.5) <= CROP_ASPECTS[1] + 1e-6).all()


def test_crop_areas_and_places_are_spread_evenly():
    boxes = draw_boxes(4000, 224, 224, (0.2, 1.0), CROP_ASPECTS, seeded()).double()
    shares = boxes[:, 2] * boxes[:, 3] / 224**2
    quantiles = torch.quantile(shares, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quantiles, torch.tensor([0.4, 0.6, 0.8], dtype=torch.float64), atol=0.03, rtol=0)
    room = 224 - boxes[:, 2]
    place = (boxes[:, 0] / room)[room > 50]
    assert abs(place.mean().item() - 0.5) < 0.03 and place.min() < 0.05 and place.max() > 0.95


def test_slices_and_grid_cut_the_same():
    """Both ways of cropping agree to the rounding of one grey level, on noise, up to the edges."""
    for height, width in ((SIDE, SIDE), (40, 56)):
        images = draw_images(32, 5, height, width)
        boxes = draw_boxes(32, height, width, (0.1, 1.0), CROP_ASPECTS, seeded(6))
        one, other = crop_by_slices(images, boxes), crop_by_grid(images, boxes)
        assert (one.int() - other.int()).abs().max() <= 1
        assert (one.float() - other.float()).mean().abs() < 0.1  # the uint8 kernel rounds after each of its two passes
        assert one.stride() == other.stride() == images.stride()


def test_crop_is_a_resized_slice():
    images = draw_images(1)
    out = crop_by_slices(images, torch.tensor([[5, 9, 20, 30]]))
    wanted = F.interpolate(images[:, :, 5:25, 9:39].double(), (SIDE, SIDE), mode="bilinear", align_corners=False)
    assert (out.double() - wanted).abs().max() <= 1
    whole = torch.tensor([[0, 0, SIDE, SIDE]])
    assert torch.equal(crop_by_slices(images, whole), images) and torch.equal(crop_by_grid(images, whole), images)


@pytest.mark.parametrize(("height", "width"), [(SIDE, SIDE), (45, 47)])  # one and many pixels a row of `view_rows`
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_jitter_against_each_colour_operation(height, width, memory_format):
    """Brightness, contrast and saturation as Pillow defines them, one at a time."""
    images = draw_images(2, 0, height, width)[1:].contiguous(memory_format=memory_format)
    picture = Image.fromarray(images[0].permute(1, 2, 0).numpy())
    for index, enhance in enumerate((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)):
        for factor in (0.6, 1.3):
            factors = torch.ones(1, 3)
            factors[0, index] = factor
            wanted = torch.from_numpy(np.array(enhance(picture).enhance(factor))).permute(2, 0, 1)
            difference = (jitter_colours(images, factors)[0].int() - wanted.int()).abs()
            assert difference.max() <= 2, (enhance.__name__, factor)
    unchanged = jitter_colours(images, torch.ones(1, 3))
    assert torch.equal(unchanged, images) and unchanged.stride() == images.stride()


def test_jitter_factors_are_within_strength():
    images = torch.full((200, 3, 4, 4), 100, dtype=torch.uint8)  # grey: only brightness shows
    out = Augmentation(flip=0, jitter=0.3)(images, seeded()).float()
    assert out.min() >= 70 and out.max() <= 130
    assert out.min() < 75 and out.max() > 125


def test_erasing_fills_boxes_with_the_mean_colour():
    images = draw_images(3)
    boxes = torch.tensor([[2, 3, 10, 20], [0, 0, SIDE, SIDE], [1, 1, 5, 5]])
    out = erase_boxes(images, boxes, torch.tensor([True, True, False]))
    assert torch.equal(out[2], images[2])
    mean = images[0].float().mean((1, 2)).round().to(torch.uint8)
    wanted = images[0].clone()
    wanted[:, 2:12, 3:23] = mean[:, None, None]
    assert torch.equal(out[0], wanted)
    assert (out[1] == out[1, :, :1, :1]).all()


def test_erased_share_and_area():
    images = draw_images(300)
    out = Augmentation(flip=0, erasing=0.4)(images, seeded())
    changed = (out != images).any(1).flatten(1).float().mean(1)
    assert abs((changed > 0).float().mean().item() - 0.4) < 4 * math.sqrt(0.24 / 300)
    boxes = draw_boxes(500, SIDE, SIDE, ERASED_AREA, ERASED_ASPECTS, seeded()).double()
    shares = boxes[:, 2] * boxes[:, 3] / SIDE**2
    assert shares.min() > 0.01 and shares.max() < 0.37
    assert changed.max() <= shares.max() + 0.05


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 5), st.integers(0, 2**31), st.integers(2, 9))
def test_mixup_blends_as_it_says(alpha, seed, count):
    images = draw_images(count, height=4, width=4).float()
    blend, permutation, share = mixup(images, alpha, seeded(seed))
    assert 0 <= share <= 1 and sorted(permutation.tolist()) == list(range(count))
    torch.testing.assert_close(blend, share * images + (1 - share) * images[permutation], atol=1e-3, rtol=1e-5)


def test_mixup_shares_follow_beta():
    generator, images = seeded(), torch.zeros(2, 3, 1, 1)
    shares = torch.tensor([mixup(images, 2.0, generator)[2] for _ in range(2000)])
    assert abs(shares.mean() - 0.5) < 0.02 and abs(shares.var() - 1 / 20) < 0.006  # Beta(2, 2): variance 1/20


def test_from_config_takes_every_strength():
    config = TrainConfig(flip=0.1, crop_strength=0.2, jitter=0.3, erasing=0.4)
    augmentation = Augmentation.from_config(config)
    assert vars(augmentation) == {"flip": 0.1, "crop_strength": 0.2, "jitter": 0.3, "erasing": 0.4}


@pytest.mark.parametrize("size", [24, 40])
def test_smaller_images_are_those_that_pillow_makes(size):
    """Pillow's bilinear filter averages over what a pixel covers, too."""
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    smaller = resize_images(images, size)
    assert smaller.shape == (3, 3, size, size) and smaller.dtype == torch.uint8
    for image, made in zip(images, smaller, strict=True):
        wanted = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
        assert np.abs(made.permute(1, 2, 0).numpy().astype(int) - np.asarray(wanted).astype(int)).max() <= 1
    assert resize_images(images, 64) is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_batch_looks_like_the_cpu_batch():
    images = draw_images(32)
    augmentation = Augmentation(0.5, 0.5, 0.3, 0.5)
    one, other = augmentation(images, seeded(1)), augmentation(images.cuda(), seeded(1))
    assert other.is_cuda and (one.int() - other.cpu().int()).abs().max() <= 4
