"""Batches are the images and labels asked for, in the memory format asked for."""

import numpy as np
import torch

from fashion_core.loading.batches import BatchSource

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
