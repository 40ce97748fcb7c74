"""Where the parts of a long run lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """How the runs are executed: device, number format, the command that asked for them."""

    device: str = "auto"
    precision: str = "auto"
    progress: bool = True
    command: str = ""
