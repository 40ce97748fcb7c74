"""The facts of a machine that a figure may depend on; nothing that tells whose machine it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def machine_facts(device: torch.device) -> dict[str, str | int]:
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
