"""3D Slicer's code, in the environment that SLICER_ENV names, and a server that it talks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_support import Server
from slicer_env import SlicerProcess
from slicer_samples import MODELS, write_weights


@pytest.fixture(scope="session")
def slicer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlicerProcess]:
    """A process of 3D Slicer's code."""
    named = os.environ.get("SLICER_ENV")
    if not named:
        pytest.skip("needs 3D Slicer's code: run `make slicer`, then `make test`")
    running = SlicerProcess(Path(named, "bin", "python"), tmp_path_factory.mktemp("slicer"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def server(slicer: SlicerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model of each kind, whose answers are known; its studies are empty."""
    server = Server(tmp_path_factory.mktemp("slicer_server"), ",".join(MODELS), device="cpu")
    write_weights(server.model_dir)
    yield server.start()
    server.stop()
