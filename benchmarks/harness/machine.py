"""The facts of a machine that a figure may depend on; nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from lib.devices import cpu_bf16, cpu_has_bf16_units
from lib.weights.checkpoint import versions


def device_facts(device: torch.device) -> dict[str, str | int]:
    """Return the accelerator, or the processor where there is none, cores and threads."""
    name = processor()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "device": device.type,
        "name": name,
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }


def processor() -> str:
    """Return the model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


_BF16 = {
    "amx": "bf16 matrix units (AMX)",
    "avx512": "bf16 vector dot products (AVX512-BF16), no matrix units",
    "none": "no bf16 units",
}


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, what it computes in, memory and load."""
    return {
        "cpu": processor(),
        "cores": psutil.cpu_count(logical=True),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": cpu_has_bf16_units(),
        "bf16": cpu_bf16(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(psutil.getloadavg()[0], 2),
    }


def bf16_words(facts: Mapping[str, Any]) -> str:
    """Return in words how the machine of `facts` multiplies bfloat16; older facts tell less."""
    if "bf16" in facts:
        return _BF16[facts["bf16"]]
    return "bf16 units" if facts["bf16_units"] else "no bf16 units"


def all_versions() -> dict[str, str]:
    """Return the versions of all that is measured, OpenVINO's too where it is installed."""
    found = versions()
    try:
        found["openvino"] = version("openvino")
    except PackageNotFoundError:
        pass
    return found
