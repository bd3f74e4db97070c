"""What trainings open: images in every way wanted, features once for all probes that share them."""

import io

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import PreparedData
from fashion_core.loading.features import cache_features
from fashion_core.models.backbones import build_backbone
from search.jobs.images import prepare_images
from search.jobs.training import find_feature_key, open_data, save_selection
from search.planning.resources import Resources

BOX, WHOLE = PrepareSettings(32), PrepareSettings(32, "whole")


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A configuration that probes a backbone with weights of its own."""
    weights = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    torch.manual_seed(0)
    save_file(build_backbone("test_resnet", weights="none", feature="logits").network.state_dict(), weights)
    return TrainConfig(image_size=32, backbone="test_resnet", weights=str(weights), batch_size=8, epochs=2).model_copy(
        update={"probe_epochs": 1}
    )


@pytest.fixture
def quiet():
    return Console(file=io.StringIO(), width=80)


def test_every_way_is_prepared_once(sample_folder, tmp_path, quiet):
    annotations = load_annotations(sample_folder)
    images = prepare_images(annotations, [BOX, WHOLE], [], tmp_path, quiet)
    assert images.prepared.keys() == {BOX, WHOLE} and not images.features
    assert images.first is images.prepared[BOX] and images.first.names == images.prepared[WHOLE].names
    assert "preparing 192 images" in quiet.file.getvalue()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.arrow")}
    assert len(written) == 2
    again = Console(file=io.StringIO(), width=80)
    prepare_images(annotations, [BOX, WHOLE], [], tmp_path, again)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.arrow")} == written
    assert not again.file.getvalue()


@pytest.mark.slow
def test_probes_that_look_at_the_same_share_features(sample_folder, tmp_path, quiet, probe):
    other = probe.model_copy(update={"probe_lr": 0.1, "seed": 9})
    wider = probe.model_copy(update={"crop": "whole"})
    images = prepare_images(load_annotations(sample_folder), [BOX, WHOLE], [probe, other, wider], tmp_path, quiet)
    assert images.features.keys() == {find_feature_key(probe), find_feature_key(wider)}
    assert len(set(images.features.values())) == 2
    assert quiet.file.getvalue().count("preparing 192 features of test_resnet") == 2
    for config, settings in ((probe, BOX), (wider, WHOLE)):
        path = images.features[find_feature_key(config)]
        before = path.stat().st_mtime_ns
        assert path == cache_features(config, images.prepared[settings], tmp_path)
        assert path.stat().st_mtime_ns == before  # it was made already


@pytest.mark.slow
def test_a_site_can_be_used_from_any_folder(sample_folder, tmp_path, quiet, probe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (cache := tmp_path / "cache").mkdir()
    images = prepare_images(load_annotations(sample_folder), [BOX], [probe], cache.relative_to(tmp_path), quiet)
    save_selection(cache / "selection.npz", images.first.labelled("train")[:8], images.first.labelled("val")[:8])
    site = images.build_site(cache / "selection.npz", Resources(2, 1, 0.0))
    monkeypatch.chdir("/")
    job = site.build_job(probe)
    assert (job.threads, job.gpus) == (1, 0.0) and job.features.is_absolute()
    data = open_data(job.prepared)
    assert isinstance(data, PreparedData) and data.fingerprint == images.first.fingerprint
    (first,) = [result for result in job.run() if result.epoch == 1]  # the probe reads its features
    assert len(first.probabilities[0]) == 8
