"""One server for most of the tests, and a way to start others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from server_support import MODEL, UNTRAINED, Server, threshold_weights

from lib.phantoms.nuclei import write_nuclei_studies


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"server", "launch"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("server")


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Return a function that prepares folders and starts a server on them, for one module."""
    servers: list[Server] = []

    def start(prepare: Callable[[Server], None]) -> Server:
        server = Server(tmp_path_factory.mktemp("own_server"))
        servers.append(server)
        prepare(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server over eight phantoms, six of them labelled; one model has no weights."""
    server = Server(tmp_path_factory.mktemp("server"), f"{MODEL},{UNTRAINED}")
    write_nuclei_studies(server.studies, count=8, labelled=6)
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


@pytest.fixture
def calm(server: Server) -> Iterator[Server]:
    """The server; after the test it must still answer and must have logged no traceback."""
    before = len(server.log)
    yield server
    assert server.get("/info/").ok
    assert "Traceback" not in server.log[before:]
