"""Which device a network runs on."""

from __future__ import annotations

import torch

from fashion_core.errors import ConfigError, first_line
from fashion_core.escaping import show_value


def choose_device(name: torch.device | str | None = None) -> torch.device:
    """The device named; by default the first GPU, else the CPU.

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"the device must be one of this machine, but {show_value(str(name))} is not ({first_line(error)}); try cpu"
        ) from None
    return device


def check_gpus(given: float, build: str | None, *, sees: bool) -> None:
    """Raise ConfigError where a process that was given GPUs sees none: it would train on the CPU, and say nothing.

    Args:
        given: GPUs, or a share of one.
        build: what PyTorch was built for, such as `CUDA 13.0`; None: the CPU alone.
        sees: whether PyTorch can use one.
    """
    if not given or sees:
        return
    remedy = (
        "install the build of torch for GPUs there (this one is for the CPU alone)"
        if build is None
        else f"see that `nvidia-smi` runs there, that its driver is new enough for {build}, and that a container is "
        "started with its GPUs (docker: --gpus all)"
    )
    raise ConfigError(f"a training with GPUs must see one, but was given {given:g} and sees none; {remedy}")


def name_build() -> str | None:
    """What PyTorch was built for: `CUDA 13.0`, `ROCm 7.1`; None: the CPU alone."""
    if torch.version.cuda is not None:
        return f"CUDA {torch.version.cuda}"
    return None if torch.version.hip is None else f"ROCm {torch.version.hip}"
