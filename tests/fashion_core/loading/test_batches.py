"""Batches are the images and labels asked for, in the memory format asked for."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashion_core.loading.batches import BatchSource, fits_beside

CPU = torch.device("cpu")
INDICES = np.arange(100, 119)


def test_batches_are_the_images_asked_for(sample_prepared):
    for channels_last in (True, False):
        source = BatchSource(sample_prepared, INDICES, CPU, channels_last=channels_last)
        images, labels = source.batch(torch.tensor([3, 0, 3]))
        wanted = sample_prepared.gather(INDICES[[3, 0, 3]])
        assert images.dtype == torch.uint8 and np.array_equal(images.permute(0, 2, 3, 1).numpy(), wanted)
        assert images.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert np.array_equal(labels.numpy(), sample_prepared.labels[INDICES[[3, 0, 3]]])


def test_a_source_has_its_own_positions(sample_prepared):
    source = BatchSource(sample_prepared, sample_prepared.labelled("val"), CPU)
    assert len(source) == 48 and source.resident is None  # a CPU reads the mapped file
    assert np.array_equal(source.labels.numpy(), sample_prepared.labels[120:168])


MIB = st.integers(1, 80_000)


@given(MIB, MIB, MIB, MIB, st.floats(1, 16))
def test_images_never_take_what_the_training_comes_to_hold(limit, peak, train, val, scale):
    """A card in MiB: what the network holds at its peak, later `scale` times that, with both sources' images."""
    taken = peak
    for size in (train, val):
        if fits_beside(size, max(limit - taken, 0), taken, scale):
            taken += size
    assert taken == peak or taken - peak + peak * scale <= limit


def test_images_stay_on_a_gpu_with_room():
    assert fits_beside(2100, 80_000 - 10_000, 10_000, 1.0)
    assert not fits_beside(2100, 10_000 - 6_000, 6_000, 1.0)  # 4000 are left, and more than 40% would be gone
    assert fits_beside(2100, 40_000 - 10_000, 10_000, 2.0) and not fits_beside(2100, 40_000 - 10_000, 10_000, 3.9)


def test_a_cpu_keeps_none(sample_prepared):
    source = BatchSource(sample_prepared, INDICES, CPU)
    source.settle()
    assert source.resident is None
