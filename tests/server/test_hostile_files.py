"""Files that ask for much cost one request at most, and little of time and memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from hostile_files import HOSTILE, megabytes, random_tiff, write_hostile
from server_support import (
    MODEL,
    Server,
    assert_refused,
    discs,
    threshold_weights,
    write_dicom,
    write_png,
)

from lib.mammography.exams import list_exams

MAMMOGRAM = "1.2.840.10008.5.1.4.1.1.1.2"
SECONDS = 15.0
NEXT_SECONDS = 5.0  # of what takes a tenth of a second on a quiet machine
OVERHEAD_MB = 400  # beyond the decoded values: what decoders and answers need of their own
AS_IMAGES = {  # of those that are refused alike, one of each type goes into the folder
    *("MetaImage, NDims -1", "NRRD of 1086 bytes that promises 4 GB", "TIFF of 20,000 pages"),
    *("PNG, 8192 x 8192 of four 16 bit values", "DICOM that inflates to 6.2 GB"),
    *("NIfTI, 512 x 512 x 512 doubles", "DICOM of 2147483647 frames"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("hostile"), models=MODEL)
    threshold_weights(server.live_file)
    write_png(server.studies / "good.png", discs(96, 96))
    try:
        yield server.start()
    finally:
        server.stop()


class Watched:
    """The most memory of a process and its children together, in bytes."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.least = self.most = self.now()

    def now(self) -> int:
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                facts = process.memory_info()
                total += facts.rss - facts.shared
            except psutil.NoSuchProcess:
                continue
        return total


@contextmanager
def watched(server: Server) -> Iterator[Watched]:
    assert server.process is not None
    memory, over = Watched(server.process.pid), threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            memory.most = max(memory.most, memory.now())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def patience() -> float:
    """Return how many times longer all takes, as other programs work on this machine too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def check_limits(
    server: Server, ask: Callable[[], requests.Response], decoded: int
) -> requests.Response:
    """Ask something, and hold the answer to the limits of time and memory."""
    with watched(server) as memory:
        before = time.monotonic()
        answer = ask()
        seconds = time.monotonic() - before
    assert seconds < SECONDS * patience(), f"{seconds:.1f} s"
    assert 200 <= answer.status_code < 500, answer.text[:500]
    grown = megabytes(memory.most - memory.least)
    assert grown < megabytes(4 * decoded) + OVERHEAD_MB, f"{grown} MB more for {decoded} bytes"
    if not decoded:
        assert answer.status_code >= 400
    if answer.status_code >= 400:
        assert_refused(answer, answer.status_code)
    check_answers(server)
    return answer


def check_answers(server: Server) -> None:
    """Hold the answer to a good request to its limit of time."""
    before = time.monotonic()
    assert server.infer("good").status_code == 200
    assert time.monotonic() - before < NEXT_SECONDS * patience()


@pytest.mark.parametrize("name", HOSTILE)
def test_as_an_image(server: Server, name: str, tmp_path: Path) -> None:
    file = write_hostile(tmp_path, name)

    def ask() -> requests.Response:
        with open(file, "rb") as content:
            files = {"file": (file.name, content)}
            return server.post(f"/infer/{MODEL}", params={"output": "image"}, files=files)

    check_limits(server, ask, HOSTILE[name].decoded)


@pytest.mark.parametrize("name", HOSTILE)
def test_as_a_label(server: Server, name: str, tmp_path: Path) -> None:
    file = write_hostile(tmp_path, name)
    answer = check_limits(server, lambda: server.save_label("good", file), HOSTILE[name].decoded)
    assert answer.status_code >= 400
    assert "final" not in server.images()["good"]["labels"]


def test_as_images_of_the_folder(server: Server, tmp_path: Path) -> None:
    files = {name: write_hostile(tmp_path, name) for name in sorted(AS_IMAGES)}
    for file in files.values():
        check_limits(server, lambda file=file: server.add_image(file), 10**9)
    listed = server.images()
    for name, file in files.items():
        image = file.name.removesuffix(HOSTILE[name].suffix)
        if image in listed:
            check_limits(server, lambda image=image: server.infer(image), HOSTILE[name].decoded)
    assert server.post("/activelearning/random").status_code == 200


def test_a_damaged_file_among_sixty(server: Server) -> None:
    """It takes neither the exams nor the images from those beside it."""
    good = np.random.default_rng(0).integers(0, 255, (60, 16, 16), np.uint8)
    for number, pixels in enumerate(good):
        exam, view = divmod(number, 4)
        tags = {
            **{"SOPClassUID": MAMMOGRAM, "Modality": "MG", "PatientID": f"p{exam}"},
            **{"StudyInstanceUID": f"1.2.{exam + 1}", "ViewPosition": ("CC", "MLO")[view % 2]},
            "ImageLaterality": "LR"[view // 2],
        }
        write_dicom(server.studies / f"one{number}.dcm", pixels, **tags)
    damaged = server.studies / "one30.dcm"
    damaged.write_bytes(damaged.read_bytes()[:400])
    server.wait_for_image("one59")
    names = {f"one{number}" for number in range(60)}
    assert names <= set(server.images())
    answer = check_limits(server, lambda: server.infer("one30"), 0)
    assert "one30.dcm" in answer.text
    assert server.infer("one31").status_code == 200
    named = {view.name for exam in list_exams(server.studies) for view in exam.views.values()}
    assert {f"{name}.dcm" for name in names} - {damaged.name} <= named
    assert server.post("/activelearning/random").status_code == 200


def test_a_frame_count_as_segmentation(server: Server, tmp_path: Path) -> None:
    file = write_hostile(tmp_path, "DICOM of 2147483647 frames")

    def ask() -> requests.Response:
        with open(file, "rb") as content:
            files = {"file": (file.name, content)}
            return server.post(f"/infer/{MODEL}", params={"output": "dicom_seg"}, files=files)

    check_limits(server, ask, 0)


def test_a_click_on_a_large_stack(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    file.write_bytes(random_tiff(320, 320, 324))

    def ask() -> requests.Response:
        with open(file, "rb") as content:
            return server.post(
                "/infer/region_click",
                params={"output": "image"},
                files={"file": (file.name, content)},
                data={"params": '{"foreground": [[100, 100, 100]]}'},
            )

    check_limits(server, ask, 320 * 320 * 324)
