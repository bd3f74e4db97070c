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
