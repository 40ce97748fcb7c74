"""The facts of a machine that a time depends on; nothing that tells whose machine it is."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from lib.checkpoints import versions
from lib.devices import cpu_has_bf16_units


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, what it computes in, memory and load."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=True),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": cpu_has_bf16_units(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(psutil.getloadavg()[0], 2),
    }


def all_versions() -> dict[str, str]:
    """Return the versions of all that is measured, OpenVINO's too where it is installed."""
    found = versions()
    try:
        found["openvino"] = version("openvino")
    except PackageNotFoundError:
        pass
    return found


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
