"""Which device a network runs on."""

from __future__ import annotations

import torch

from fashion_core.errors import ConfigError


def choose_device(name: str | None) -> torch.device:
    """The device named; by default the first GPU, else the CPU.

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the device must be one of this machine, but {name!r} is not ({reason}); try cpu") from None
    return device
