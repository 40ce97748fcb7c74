"""How busy a device is: utilisation, floating point operations a second, share of the peak, memory.

On any device: figures that cannot be read there are None.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# dense products of bfloat16 (T4, V100: float16), by a part of the name; from the data sheets, SXM
# where there are several
SHEET_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.5,
    "H100": 989.5,
    "A100": 312.0,
    "L40S": 362.0,
    "A10": 125.0,
    "L4": 121.0,
    "RTX 4090": 165.2,
    "V100": 125.0,
    "T4": 65.0,
}
WATCHED_SECONDS = 1.2
SAMPLE_SECONDS = 0.1


def wait_for(device: torch.device) -> None:
    """Wait until `device` has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_flops(call: Callable[[], object]) -> int:
    """Return the floating point operations of convolutions and products in `call`, which is done.

    A multiplication and an addition are two.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


@lru_cache(maxsize=8)
def peak_tflops(device: torch.device, dtype: torch.dtype) -> dict[str, float | None]:
    """Return what a large product of matrices reaches on the device, and what its sheet says."""
    cuda = device.type == "cuda"
    side = 8192 if cuda else 1024
    factors = [torch.randn(side, side, device=device).to(dtype) for _ in range(2)]
    torch.matmul(*factors)
    wait_for(device)
    start, count = time.perf_counter(), 10 if cuda else 3
    for _ in range(count):
        torch.matmul(*factors)
    wait_for(device)
    measured = 2 * side**3 * count / (time.perf_counter() - start) / 1e12
    name = torch.cuda.get_device_name(device) if cuda and dtype != torch.float32 else ""
    sheet = next((value for key, value in SHEET_TFLOPS.items() if key in name), None)
    return {"measured": round(measured, 3), "sheet": sheet}


@dataclass
class Utilisation:
    """The samples of a device's utilisation in per cent; none where it cannot be read."""

    samples: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """The mean, in per cent."""
        return round(sum(self.samples) / len(self.samples), 1) if self.samples else None


@contextmanager
def watched(device: torch.device, samples: list[float] | None = None) -> Iterator[Utilisation]:
    """Sample the utilisation of `device` from a thread, within the context.

    Args:
        samples: where to keep the samples.
    """
    utilisation = Utilisation([] if samples is None else samples)
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            value = read_utilisation(device)
            if value is None:
                return
            utilisation.samples.append(value)

    thread = threading.Thread(target=sample, daemon=True)
    if device.type == "cuda":
        thread.start()
    try:
        yield utilisation
    finally:
        over.set()
        if device.type == "cuda":
            thread.join()


def read_utilisation(device: torch.device) -> float | None:
    """Return the share of time in which kernels ran, in per cent, by NVML or by nvidia-smi."""
    try:
        return float(torch.cuda.utilization(device))
    except Exception:  # without NVML's Python package, or without the right to ask
        pass
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(
            [*query, "-i", str(device.index or 0)], capture_output=True, text=True, timeout=5
        )
        return float(told.stdout.strip())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def load_of(
    run: Callable[[], object], flops: float, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the figures of a second of `run`, which is called over and over.

    Args:
        flops: of one call.
    """
    peak = peak_tflops(device, dtype)  # before: it computes, too
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls = 0
    with watched(device) as utilisation:
        start = time.perf_counter()
        while not calls or time.perf_counter() - start < WATCHED_SECONDS:
            run()
            calls += 1
        wait_for(device)
        taken = time.perf_counter() - start
    return {
        "utilisation_percent": utilisation.mean,
        **rate_of(flops * calls, taken, peak),
        "peak_device_memory_mib": device_memory_mib(device),
    }


def rate_of(flops: float, seconds: float, peak: dict[str, float | None]) -> dict[str, Any]:
    """Return operations a second, and their share of the peak."""
    rate = flops / seconds / 1e12

    def share(of: float | None) -> float | None:
        return round(rate / of, 4) if of else None

    return {
        "tflop_per_s": round(rate, 4),
        "share_of_measured_peak": share(peak["measured"]),
        "share_of_sheet_peak": share(peak["sheet"]),
    }


def device_memory_mib(device: torch.device) -> int | None:
    """Return the most that tensors took on the device, in MiB; None on a CPU."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**20)


def device_name(device: torch.device) -> str:
    """Return the name of a device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def load_lines(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line of `load_of`'s figures for each variant that has them."""
    lines = []
    for name, row in figures.items():
        if "tflop_per_s" not in row:
            continue
        words = [f"{row['tflop_per_s']:.3g} TFLOP/s"]
        if row["share_of_measured_peak"] is not None:
            words.append(f"{row['share_of_measured_peak']:.1%} of a large product's")
        if row.get("utilisation_percent") is not None:
            words.append(f"{row['utilisation_percent']:.0f} % busy")
        if row.get("peak_device_memory_mib") is not None:
            words.append(f"{row['peak_device_memory_mib']} MiB on the device")
        lines.append(f"{name}: {', '.join(words)}")
    return lines
