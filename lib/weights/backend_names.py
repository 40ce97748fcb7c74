"""The names of what computes a network's answers. Nothing here imports torch."""

from __future__ import annotations

import os

from lib.errors import choose

AUTO, TORCH, OPENVINO = "auto", "torch", "openvino"
BACKENDS = {
    AUTO: "OpenVINO on CPUs where it is installed, else torch",
    TORCH: "torch",
    OPENVINO: "OpenVINO on CPUs; torch, with a warning, where it cannot",
}
VARIABLE = "MONAILABEL_BACKEND"


def default_backend() -> str:
    """Return the backend where none is asked for: that of the environment, else "auto"."""
    return os.environ.get(VARIABLE) or AUTO


def check_backend(name: str) -> str:
    """Return `name`.

    Raises:
        NotFoundError: there is no such backend.
    """
    choose("backend", name, BACKENDS)
    return name
