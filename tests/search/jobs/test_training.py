"""One training on whatever process: it is that of `fit`, finds its files, and has a seed of its own."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fashion_core import metrics
from fashion_core.config import FEATURE_FIELDS, TrainConfig
from fashion_core.data.pixels import PrepareSettings
from fashion_core.errors import ConfigError, DataError
from fashion_core.training.checkpoint import save_training
from fashion_core.training.loop import fit
from search.jobs.training import (
    JobSite,
    TrainingJob,
    describe_error,
    find_feature_key,
    load_selection,
    save_selection,
)

TINY = {"image_size": 64, "backbone": "test_resnet", "weights": "none", "batch_size": 8, "epochs": 3}
TRAIN, SELECT = np.arange(16), np.arange(120, 128)
OTHER_VALUES = {
    "image_size": 96,
    "crop": "box_margin",
    "crop_margin": 0.2,
    "backbone": "test_efficientnet",
    "weights": "hub",
    "feature": "logits",
}


@pytest.fixture
def selection(tmp_path):
    save_selection(tmp_path / "selection.npz", TRAIN, SELECT)
    return tmp_path / "selection.npz"


@pytest.fixture
def one_thread():
    """Whatever a job sets, the next test has what it had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def get_numbers(results):
    """What does not depend on the clock."""
    return [(each.metrics[metrics.TRAIN_LOSS], each.metrics[metrics.ACCURACY], each.probabilities) for each in results]


def assert_equal_numbers(one, other):
    assert len(one) == len(other)
    for (loss, score, probabilities), wanted in zip(one, other, strict=True):
        assert (loss, score) == wanted[:2]
        assert all(map(np.array_equal, probabilities, wanted[2]))


def test_a_job_trains_as_fit_does_on_the_images_chosen(sample_prepared, selection, one_thread):
    config = TrainConfig(**TINY, lr=0.01)
    job = pickle.loads(pickle.dumps(TrainingJob(config, sample_prepared.path, selection, None, threads=1)))
    wanted = get_numbers(fit(config, sample_prepared, train=TRAIN, val=SELECT))
    assert_equal_numbers(get_numbers(job.run()), wanted)
    assert wanted[0][2][0].shape[0] == len(SELECT)


def test_a_job_goes_on_from_a_saved_state(sample_prepared, selection, tmp_path, one_thread):
    job = TrainingJob(TrainConfig(**TINY, lr=0.01), sample_prepared.path, selection, None, threads=1)
    whole = get_numbers(job.run())
    save_training(tmp_path / "state", next(job.run()).state)
    rest = list(job.run(tmp_path / "state"))
    assert [result.epoch for result in rest] == [2, 3]
    assert_equal_numbers(get_numbers(rest), whole[1:])


def test_a_job_uses_the_threads_it_was_given(selection, tmp_path, one_thread):
    with pytest.raises(DataError):  # before it opens anything
        next(TrainingJob(TrainConfig(**TINY), tmp_path / "gone", selection, None, threads=2).run())
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_job_with_a_gpu_does_not_train_on_the_cpu(sample_prepared, selection, one_thread):
    job = TrainingJob(TrainConfig(**TINY), sample_prepared.path, selection, None, threads=1, gpus=0.5)
    with pytest.raises(ConfigError, match=r"must see one, but was given 0\.5 and sees none; "):
        next(job.run())


def test_a_site_knows_which_files_a_configuration_wants(tmp_path):
    small, whole = PrepareSettings(32), PrepareSettings(64, "whole")
    probe = TrainConfig(image_size=32, backbone="test_resnet", weights="hub", probe_epochs=2)
    site = JobSite(
        {small: tmp_path / "small", whole: tmp_path / "whole"},
        tmp_path / "selection",
        threads=3,
        gpus=0.5,
        features={find_feature_key(probe): tmp_path / "features"},
    )
    job = site.build_job(TrainConfig(image_size=64, crop="whole"))
    assert (job.prepared, job.features) == (tmp_path / "whole", None)
    assert (job.selection, job.threads, job.gpus) == (tmp_path / "selection", 3, 0.5)
    assert site.build_job(probe).features == tmp_path / "features"
    assert site.build_job(probe.model_copy(update={"probe_epochs": 0})).features is None
    with pytest.raises(KeyError):
        site.build_job(TrainConfig(image_size=64, crop="box"))


@given(st.sets(st.sampled_from(sorted(OTHER_VALUES))))
def test_features_are_shared_where_nothing_that_decides_them_differs(changed):
    plain = TrainConfig(crop="box_margin" if "crop_margin" in changed else "box")
    other = plain.model_copy(update={name: OTHER_VALUES[name] for name in changed} | {"lr": 0.5, "probe_lr": 0.1})
    is_same = all(getattr(plain, name) == getattr(other, name) for name in FEATURE_FIELDS)
    assert (find_feature_key(plain) == find_feature_key(other)) == is_same
    assert find_feature_key(plain) == find_feature_key(plain.model_copy(update={"seed": 5, "epochs": 9}))


def test_every_feature_field_has_another_value_here():
    assert OTHER_VALUES.keys() == set(FEATURE_FIELDS)


@given(st.lists(st.integers(0, 2**40)), st.lists(st.integers(0, 2**40)))
def test_a_selection_comes_back_as_it_was(tmp_path_factory, train, select):
    path = tmp_path_factory.mktemp("selection") / "selection.npz"
    save_selection(path, np.array(train, np.int64), np.array(select, np.int64))
    for found, wanted in zip(load_selection(path), (train, select), strict=True):
        assert found.dtype == np.int64 and found.tolist() == wanted
    assert list(path.parent.iterdir()) == [path]


def test_a_selection_is_replaced_whole_or_not_at_all(selection):
    before = selection.read_bytes()
    with pytest.raises(ValueError, match="broken"):
        save_selection(selection, Broken(), SELECT)
    assert selection.read_bytes() == before and list(selection.parent.iterdir()) == [selection]


class Broken:
    def __array__(self, *_, **__):
        raise ValueError("broken")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        torch.OutOfMemoryError("CUDA is full"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
    ],
)
def test_where_memory_ran_out_a_remedy_is_told(error):
    text = describe_error(error)
    assert "smaller batch_size" in text and type(error).__name__ in text and str(error) in text


def test_other_errors_are_told_as_they_are():
    assert describe_error(ValueError("no such thing")) == "ValueError: no such thing"
