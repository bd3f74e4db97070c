"""What a process takes of its machine: against what it took, and against counters of Linux written by hand."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from fashion_core.hardware import usage
from fashion_core.hardware.allocator import give_back_memory
from fashion_core.hardware.usage import UsageMeter
from fashion_core.metrics import CPU_JOULES, GPU_BUSY, GPU_JOULES, OF_MACHINE, PEAK_GPU_MEMORY, PEAK_MEMORY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the peak of a process's memory")
def test_each_reading_has_the_peak_since_the_one_before() -> None:
    meter = UsageMeter()
    if not meter.is_reset:
        pytest.skip("this kernel does not forget a peak")
    give_back_memory()  # of tests before this one
    meter.read()
    before = meter.read()[PEAK_MEMORY]
    held = bytearray(300 << 20)
    held[::4096] = bytes([1]) * len(held[::4096])
    del held
    give_back_memory()  # a training before may have had the heap keep it
    high, after = meter.read()[PEAK_MEMORY], meter.read()[PEAK_MEMORY]
    assert high >= before + 290 and after <= high - 250


def test_what_a_machine_does_not_tell_is_left_out(tmp_path: Path) -> None:
    assert UsageMeter(proc=tmp_path, powercap=tmp_path).read() == {}
    assert UsageMeter().read().keys() <= OF_MACHINE


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with two processors, whose counters and clock a test sets."""
    monkeypatch.setattr(usage.os, "sysconf", lambda name: 100)
    clock = SimpleNamespace(own=0.0)
    monkeypatch.setattr(time, "process_time", lambda: clock.own)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):  # the last is a part of the first
        (tmp_path / name).mkdir()
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")

    def tell(busy: float, own: float, *joules: float) -> None:
        ticks = round(busy * 100)
        (tmp_path / "stat").write_text(f"cpu  {ticks} 0 0 99999 77 0 0 0 5 5\ncpu0 1 1 1\n")
        clock.own = own
        for number, value in enumerate(joules):
            (tmp_path / f"intel-rapl:{number}" / "energy_uj").write_text(f"{round(value * 1e6)}\n")

    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("123456\n")
    return SimpleNamespace(folder=tmp_path, tell=tell)


def test_a_process_has_the_part_of_the_energy_that_it_has_of_the_busy_time(machine: SimpleNamespace) -> None:
    machine.tell(100, 10, 1, 2)
    meter = UsageMeter(proc=machine.folder, powercap=machine.folder)
    machine.tell(108, 12, 5, 8)  # 10 joules, 2 of 8 seconds
    assert meter.read()[CPU_JOULES] == pytest.approx(2.5)
    machine.tell(110, 14, 6, 1)  # the second counter began again, at 10 joules: 1 and 3, all of them ours
    assert meter.read()[CPU_JOULES] == pytest.approx(4)
    machine.tell(110, 14, 6, 1)
    assert meter.read()[CPU_JOULES] == 0


def test_energy_that_only_an_administrator_may_read_is_left_out(machine: SimpleNamespace) -> None:
    machine.tell(100, 10, 1)  # the second one cannot be read
    meter = UsageMeter(proc=machine.folder, powercap=machine.folder)
    machine.tell(108, 12, 5)
    assert CPU_JOULES not in meter.read()


@pytest.mark.parametrize(("gpus", "share"), [(0.0, 1), (0.25, 0.25), (1.0, 1), (2.0, 1)])
def test_a_gpu_tells_memory_and_energy(gpus: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs in the place of those that a machine for tests lacks."""
    counters, peaks, reset = {"GPU-a": 1000, "GPU-b": 5000}, {0: 3 << 20, 1: 1 << 20}, []
    named = {0: SimpleNamespace(uuid="a"), 1: SimpleNamespace(uuid="b")}
    for name, value in {
        "is_initialized": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": named.__getitem__,
        "max_memory_allocated": peaks.__getitem__,
        "reset_peak_memory_stats": reset.append,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    nvml: Any = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=counters.__getitem__,  # in millijoules
        nvmlDeviceGetSamples=lambda name, kind, since: (1, samples[name] if (kind, since) == (1, 5_000_000) else []),
        NVML_GPU_UTILIZATION_SAMPLES=1,
    )
    samples = {
        name: [SimpleNamespace(sampleValue=SimpleNamespace(uiVal=value)) for value in values]
        for name, values in {"GPU-a": (100, 60), "GPU-b": (0,)}.items()
    }
    monkeypatch.setattr(time, "time", lambda: 5.0)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = UsageMeter(gpus)
    counters |= {"GPU-a": 3000, "GPU-b": 9000}
    found = meter.read()
    assert found[GPU_JOULES] == pytest.approx(6 * share) and found[PEAK_GPU_MEMORY] == 4
    assert found[GPU_BUSY] == pytest.approx(0.4)
    assert reset == [0, 1, 0, 1]
    samples["GPU-b"] = []  # nothing new yet
    assert GPU_BUSY not in meter.read()
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as where it is not installed
    assert GPU_JOULES not in meter.read()
