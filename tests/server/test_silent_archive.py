"""An archive that falls silent: what needs it fails in time, and everything else goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from fake_archive import FROZEN, STOPS, TRICKLES, WORKS, FakeArchive
from server_support import MODEL, Server, assert_refused, discs, threshold_weights

from lib.image import Geometry
from lib.io.masks import write_mask

SILENT_SECONDS = 5.0  # many times what an answer takes on a busy machine
PATIENCE = 30  # of those who wait for the archive, with a busy machine
MANY = 60  # more than there are threads of any kind


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeArchive]:
    archive = FakeArchive(tmp_path_factory.mktemp("fake_archive"))
    yield archive
    archive.stop()


@pytest.fixture(scope="module")
def served(archive: FakeArchive, launch) -> Server:
    """A server that was started while its archive was silent."""

    def prepare(server: Server) -> None:
        server.studies = archive.url  # type: ignore[assignment]
        server.conf |= {
            "archive_cache": str(server.folder / "cache"),
            "archive_seconds": str(SILENT_SECONDS),
        }
        threshold_weights(server.live_file)
        archive.mode = FROZEN

    return launch(prepare)


@pytest.fixture
def working(served: Server, archive: FakeArchive) -> Server:
    """The server, its archive at work again, the image in the cache."""
    archive.mode = WORKS
    served.wait_for(lambda: served.infer(archive.image).ok, "an answer")
    return served


@pytest.fixture
def label(tmp_path: Path) -> Path:
    file = tmp_path / "label.nrrd"
    write_mask(file, (discs(96, 96) > 100).astype(np.uint8), Geometry.flat(96, 96))
    return file


def _seconds(call) -> tuple[float, int]:
    """Return how long a request took, and its status; 0 where its answer broke off."""
    begin = time.monotonic()
    try:
        status = call().status_code
    except requests.exceptions.ChunkedEncodingError:
        status = 0
    return time.monotonic() - begin, status


def test_a_server_starts_on_a_silent_archive_and_says_so(served, archive):
    archive.mode = FROZEN
    assert "does not answer" in served.get("/info/").json()["datastore"]["error"]
    assert_refused(served.get("/datastore/?output=all"), 502, "the archive at", "does not answer")
    archive.mode = WORKS
    served.wait_for(lambda: archive.image in served.get("/datastore/?output=all").text, "the image")
    assert "error" not in served.get("/info/").json()["datastore"]


@pytest.mark.parametrize("mode", [FROZEN, TRICKLES, STOPS])
def test_while_many_wait_for_a_silent_archive_everything_else_is_answered(working, archive, mode):
    archive.mode = mode
    paths = [
        "/proxy/dicom/studies",
        "/datastore/?output=all",
        f"/datastore/label/versions?image={archive.image}",
    ]
    with ThreadPoolExecutor(MANY) as pool:
        waiting = [
            pool.submit(_seconds, lambda path=paths[number % 3]: working.get(path))
            for number in range(MANY)
        ]
        time.sleep(0.3)
        for path in ("/info/", f"/model/info/{MODEL}", "/train/", "/logs/?lines=5"):
            seconds, _ = _seconds(lambda path=path: working.get(path))
            assert seconds < SILENT_SECONDS, path
        seconds, status = _seconds(lambda: working.infer(archive.image))
        assert (seconds < SILENT_SECONDS, status) == (True, 200)
        for number, future in enumerate(waiting):
            seconds, status = future.result()
            assert seconds < PATIENCE
            if number % 3 == 0:  # the proxy; what is known of the archive may still be answered
                assert status in (502, 503, 504) or (mode == STOPS and status == 0)


def test_a_label_that_the_archive_did_not_take_is_said_and_can_be_saved_again(
    working, archive, label
):
    before = archive.stored
    archive.mode = FROZEN
    time.sleep(2.5)  # the listing is out of date
    begin = time.monotonic()
    assert_refused(working.save_label(archive.image, label), 502, "does not answer")
    assert time.monotonic() - begin < PATIENCE
    assert archive.stored == before
    archive.mode = WORKS
    working.wait_for(lambda: working.save_label(archive.image, label).ok, "the label")
    assert archive.stored == before + 1
