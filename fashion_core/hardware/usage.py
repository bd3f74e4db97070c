"""What a training takes of its machine: peak memory, and where the machine tells it, energy and how busy a GPU is."""

from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch

from fashion_core.metrics import CPU_JOULES, GPU_BUSY, GPU_JOULES, PEAK_GPU_MEMORY, PEAK_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable

PROC, POWERCAP = Path("/proc"), Path("/sys/class/powercap")
PACKAGES = "intel-rapl:*[0-9]"  # energy meters of whole processors, AMD's too; of their parts: `intel-rapl:0:1`
RESET_PEAK = "5"  # proc_pid_clear_refs(5)
PEAK_LINE = "VmHWM:"
NVML = "pynvml"  # of the package nvidia-ml-py; without it a GPU tells neither its energy nor how busy it is
MIB = 2**20


class UsageMeter:
    """Measures what this process takes, from one reading to the next.

    Energy of processors is the machine's, times this process's part of the time that they were busy; so those of
    several processes add up.

    Args:
        gpus: the share of a GPU that the process has: of a shared one, this part of the energy counts.
        proc, powercap: where Linux tells.
    """

    def __init__(self, gpus: float = 0.0, proc: Path = PROC, powercap: Path = POWERCAP) -> None:
        self.share, self.proc = gpus if 0 < gpus < 1 else 1.0, proc
        self.packages = [path for path in sorted(powercap.glob(PACKAGES)) if path.name.count(":") == 1]
        self.restart()

    def restart(self) -> None:
        """Measure from now on."""
        self.is_reset = self.reset_peak()
        if torch.cuda.is_initialized():
            for index in range(torch.cuda.device_count()):
                torch.cuda.reset_peak_memory_stats(index)
        self.cpu = [read_number(path / "energy_uj") for path in self.packages]
        self.busy, self.own = self.read_busy(), time.process_time()
        self.gpu, self.at = read_gpu_energy(), time.time()

    def read(self) -> dict[str, float]:
        """By name of a metric, what was taken since the last reading; what the machine does not tell is left out."""
        found = {
            PEAK_MEMORY: self.read_peak(),
            PEAK_GPU_MEMORY: read_gpu_peak(),
            CPU_JOULES: self.read_cpu(),
            GPU_JOULES: self.read_gpu(),
            GPU_BUSY: read_gpu_busy(self.at),
        }
        self.restart()
        return {name: value for name, value in found.items() if value is not None}

    def reset_peak(self) -> bool:
        """Let Linux forget the peak of this process's memory. Returns whether it did: else it is of another time."""
        try:
            (self.proc / "self" / "clear_refs").write_text(RESET_PEAK)
        except OSError:
            return False
        return True

    def read_peak(self) -> float | None:
        """Most memory that this process had in RAM, with mapped files, in MiB."""
        if not self.is_reset:
            return None
        lines = read_text(self.proc / "self" / "status").splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(PEAK_LINE)), None)

    def read_busy(self) -> float | None:
        """Seconds that the machine's processors were busy, since it started."""
        words = read_text(self.proc / "stat").partition("\n")[0].split()
        if len(words) < 6 or words[0] != "cpu":
            return None
        counts = [int(word) for word in words[1:9]]  # after these, guests, whose time stands in the first ones too
        return (sum(counts) - counts[3] - counts[4]) / os.sysconf("SC_CLK_TCK")

    def read_cpu(self) -> float | None:
        """This process's part of the energy of all processors, in joules."""
        busy, own = self.read_busy(), time.process_time() - self.own
        if not self.packages or busy is None or self.busy is None:
            return None
        joules = 0.0
        for path, before in zip(self.packages, self.cpu, strict=True):
            now = read_number(path / "energy_uj")
            if now is None or before is None:  # only an administrator may read it on most systems
                return None
            if now < before:  # the counter began again
                now += read_number(path / "max_energy_range_uj") or 0
            joules += (now - before) / 1e6
        return joules * min(1.0, own / max(busy - self.busy, own, 1e-9))

    def read_gpu(self) -> float | None:
        """The energy of the GPUs that this process sees, times its share of them, in joules."""
        now = read_gpu_energy()
        if now is None or self.gpu is None or now.keys() != self.gpu.keys():
            return None
        return sum(now[name] - self.gpu[name] for name in now) * self.share


def read_text(path: Path) -> str:
    """A file of the system; empty where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """The whole number in a file of the system; None where it cannot be read."""
    text = read_text(path).strip()
    return int(text) if text.isdigit() else None


def read_gpu_peak() -> float | None:
    """Most memory that PyTorch had allocated on the GPUs that this process sees, in MiB; None where it uses none."""
    if not torch.cuda.is_initialized():
        return None
    return sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())) / MIB


def read_gpu_energy() -> dict[str, float] | None:
    """Joules since their driver was loaded, of the GPUs that this process sees, by name; None where nobody tells."""
    return ask_gpus(lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)


def read_gpu_busy(since: float) -> float | None:
    """Share of the time that the GPUs worked which this process sees, for it and for others; None where nobody tells.

    Args:
        since: unix seconds; the driver remembers the last 20 seconds or so.
    """

    def average(nvml: Any, handle: Any) -> float:
        _, samples = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, int(since * 1e6))
        return float(mean(sample.sampleValue.uiVal for sample in samples)) / 100

    found = ask_gpus(average)
    return mean(found.values()) if found else None


def ask_gpus(ask: Callable[[Any, Any], float]) -> dict[str, float] | None:
    """What NVIDIA's library tells of each GPU that this process sees, by name; None where it does not.

    Args:
        ask: of the library, and a GPU.
    """
    if not torch.cuda.is_initialized():
        return None
    try:
        nvml: Any = import_module(NVML)
        nvml.nvmlInit()
        names = [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(torch.cuda.device_count())]
        return {name: ask(nvml, nvml.nvmlDeviceGetHandleByUUID(name)) for name in names}
    except Exception:  # not installed, a GPU that does not tell, a driver that is not NVIDIA's
        return None
