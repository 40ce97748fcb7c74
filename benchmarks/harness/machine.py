"""The facts of a machine that a figure may depend on, and none that name the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lib.devices import cpu_bf16, cpu_has_bf16_units
from lib.weights.checkpoint import versions

_BF16 = {
    "amx": "bf16 matrix units (AMX)",
    "avx512": "bf16 vector dot products (AVX512-BF16), no matrix units",
    "none": "no bf16 units",
}


def machine_facts(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the accelerator, the processor, its number formats, cores and threads.

    Processor and threads stand under two keys each: stored reports of studies have the first, those
    of `benchmark` the second.

    Args:
        device: that is computed on; `name` is the processor's where it is the CPU.
    """
    device, cpu, threads = torch.device(device), _processor(), torch.get_num_threads()
    return {
        "device": device.type,
        "name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "processor": cpu,
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "torch_threads": threads,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": cpu_has_bf16_units(),
        "bf16": cpu_bf16(),
        "system": platform.system(),
    }


def _processor() -> str:
    """Return the model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_and_load() -> dict[str, float]:
    """Return the memory in GiB and the processes at work before a benchmark starts."""
    import psutil  # not needed for a study

    return {
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(psutil.getloadavg()[0], 2),
    }


def bf16_words(facts: Mapping[str, Any]) -> str:
    """Return in words how the machine multiplies bfloat16; older facts have `bf16_units` alone."""
    if "bf16" in facts:
        return _BF16[facts["bf16"]]
    return "bf16 units" if facts["bf16_units"] else "no bf16 units"


def all_versions() -> dict[str, str]:
    """Return the versions of all that is measured, with OpenVINO's where it is installed."""
    try:
        return {**versions(), "openvino": version("openvino")}
    except PackageNotFoundError:
        return versions()
