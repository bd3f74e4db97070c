"""The device named, or the best there is."""

import pytest
import torch

from fashion_core.errors import ConfigError
from fashion_core.hardware import device


def test_device() -> None:
    assert device.choose_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(ConfigError, match=name):
            device.choose_device(name)


def test_the_first_gpu_is_taken_where_there_is_one(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "empty", lambda size, device: asked.append(device))
    for is_there, wanted in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda is_there=is_there: is_there)
        assert device.choose_device() == device.choose_device(None) == torch.device(wanted)
    assert device.choose_device(torch.device("cpu")) == torch.device("cpu") == asked[-1]


@pytest.mark.parametrize(("build", "remedy"), [(None, "install the build of torch"), ("CUDA 13.0", "nvidia-smi")])
def test_a_process_with_gpus_must_see_one(build: str | None, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"^a training with GPUs must see one, but .* sees none; .*{remedy}"):
        device.check_gpus(0.25, build, sees=False)
    device.check_gpus(0.25, build, sees=True)
    device.check_gpus(0, build, sees=False)


def test_an_error_without_a_message_is_told_too(monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(ConfigError, match=r"'cpu' is not \(RuntimeError\); try cpu"):
        device.choose_device("cpu")
