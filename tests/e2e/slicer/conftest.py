"""3D Slicer's code, in the environment that SLICER_ENV names, and a server that it talks to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_support import Server
from slicer_env import SlicerProcess, image_id
from slicer_samples import MODELS, Write, write_weights
from test_clients import slicer_library


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


@pytest.fixture(scope="session")
def client(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """3D Slicer's client library, connected."""
    folder = tmp_path_factory.mktemp("slicer_client")
    return slicer_library().MONAILabelClient(server.url, tmpdir=str(folder), client_id="slicer")


@pytest.fixture
def add(
    server: Server, client: Any, tmp_path: Path
) -> Iterator[Callable[[str, Write, np.ndarray], Path]]:
    """A function that puts an image into the studies, gone after the test."""
    added: list[str] = []

    def put(suffix: str, write: Write, pixels: np.ndarray) -> Path:
        file = tmp_path / f"sample_{write.__name__}{suffix}"
        write(file, pixels)
        client.upload_image(str(file), image_id(file))
        added.append(image_id(file))
        return file

    yield put
    for name in added:
        server.delete("/datastore/image", params={"id": name})
