"""How the runs of a study or simulation are executed, and how what they left is found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.machine import machine_facts
from lib.weights.checkpoint import utc_now, versions

REPORT = "report.json"

Say = Callable[[str], object]


@dataclass(frozen=True)
class Execution:
    """How runs are executed: device, number format, progress bars, the command that asked."""

    device: str = "auto"
    precision: str = "auto"
    progress: bool = True
    command: str = ""

    def provenance(self, device: torch.device) -> dict[str, Any]:
        """Return what a report says of its making: machine, versions, command and time."""
        return {
            "machine": machine_facts(device),
            "versions": versions(),
            "command": self.command,
            "created": utc_now(),
        }


def read_result(file: Path, identity: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the result in `file`, None where it is absent, damaged or of another identity.

    Args:
        identity: what decides the result; None accepts any.
    """
    try:
        result: dict[str, Any] = json.loads(file.read_text())
        found = result["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if isinstance(found, dict) and identity in (None, found) else None
