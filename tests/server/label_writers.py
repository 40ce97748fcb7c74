"""Processes that save labels until they are killed; run by `test_label_safety`.

``python label_writers.py kill FOLDER COUNT`` starts two writers on one studies folder, kills one
and then the other at random moments, checks the folder, and so on COUNT times.
``python label_writers.py crowd FOLDER`` saves with two processes of eight threads each.
``python label_writers.py full FOLDER`` saves a label that the disk has no room for.
Exits with 0 if nothing was lost; says what was lost otherwise.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import signal
import struct
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.io.labels import read_label
from monailabel_app.studies.datastore import StudiesDatastore

SIZE = (64, 48)
WRITERS = 2
IMAGES = 6  # of each writer, and as many that both write
THREADS = 8
ENTRY = struct.Struct("<BHI")  # what happened, image, value

STARTED, SAVED = 1, 2


def name(number: int) -> str:
    return f"image_{number:03d}"


def make_studies(folder: Path, images: int) -> None:
    for number in range(images):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / f"{name(number)}.png")


def label_file(value: int, extension: str) -> str:
    """Write a label whose content is known from `value` in every pixel."""
    handle, file = tempfile.mkstemp(suffix=extension)
    os.close(handle)
    pixels = np.full(SIZE, value % 60000 + 1, dtype=np.uint16)
    Image.fromarray(pixels).save(file)
    return file


def write_for_ever(folder: Path, images: list[int], journal: int, seed: int) -> None:
    """Save labels over and over; every start and every success is reported through the pipe."""
    store = StudiesDatastore(str(folder))
    chance = random.Random(seed)
    value = seed
    while True:
        value += 1
        number = chance.choice(images)
        file = label_file(value, chance.choice((".png", ".tif")))
        os.write(journal, ENTRY.pack(STARTED, number, value))
        store.save_label(name(number), file, "final", {"value": value})
        os.write(journal, ENTRY.pack(SAVED, number, value))
        os.unlink(file)


class Writer:
    """A forked process that saves labels, and what it has reported of them."""

    def __init__(self, folder: Path, images: list[int], seed: int) -> None:
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.reading)
                write_for_ever(folder, images, writing, seed)
            finally:
                os._exit(3)  # only an error ends it
        os.close(writing)
        self.entries: list[tuple[int, int, int]] = []

    def collect(self, seconds: float) -> int:
        """Read the journal for a while; returns how many labels were saved meanwhile."""
        saved, end = 0, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.reading], [], [], left)[0]:
                break
            if not (data := os.read(self.reading, ENTRY.size)):
                break
            self.entries.append(ENTRY.unpack(data))
            saved += self.entries[-1][0] == SAVED
        return saved

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        assert os.WIFSIGNALED(status), "a writer failed by itself"
        self.collect(0.2)
        os.close(self.reading)


def kill_and_check(folder: Path, count: int) -> None:
    chance = random.Random(7)
    make_studies(folder, (WRITERS + 1) * IMAGES)
    shared = list(range(WRITERS * IMAGES, (WRITERS + 1) * IMAGES))
    allowed: dict[int, set[int]] = {}  # values that may be on the disk, by image
    written: set[int] = set()
    saves = 0
    for turn in range(count):
        writers = []
        for index in range(WRITERS):
            own = list(range(index * IMAGES, (index + 1) * IMAGES))
            seed = (turn * WRITERS + index) * 10_000
            writers.append(Writer(folder, own + shared, seed))
        first, second = writers if turn % 2 else reversed(writers)
        while not first.collect(chance.uniform(0.01, 0.15)):
            pass  # kill a writer that is at work, not one that is starting
        first.kill()
        deadline = time.monotonic() + 60
        while not second.collect(0.05):
            assert time.monotonic() < deadline, "a killed writer has left the folder locked"
        second.kill()
        for writer in writers:
            for what, number, value in writer.entries:
                written.add(value)
                if number in shared:
                    allowed.setdefault(number, set()).add(value)
                elif what == SAVED:
                    allowed[number] = {value}
                    saves += 1
                else:
                    allowed.setdefault(number, {0}).add(value)
        check(folder, allowed)
    print(f"{count * WRITERS} kills, {saves} saves checked, {len(written)} begun")


def check(folder: Path, allowed: dict[int, set[int]]) -> None:
    """Compare the folder with what may be there; a fresh start must list the same."""
    index = json.loads((folder / "datastore_v2.json").read_text())
    store = StudiesDatastore(str(folder))
    for number, values in allowed.items():
        expected = {value % 60000 + 1 for value in values if value}
        labels = index["objects"][name(number)]["labels"]
        if "final" not in labels:
            assert 0 in values or number >= WRITERS * IMAGES, f"{name(number)} lost its label"
            continue
        file = folder / "labels" / "final" / f"{name(number)}{labels['final']['ext']}"
        pixels = read_label(file, SIZE)
        assert (pixels == pixels[0, 0]).all(), f"{file.name} is torn"
        assert pixels[0, 0] in expected, f"{file.name} holds {pixels[0, 0]}, not {expected}"
        assert store.get_label_uri(name(number), "final") == str(file.resolve())
    assert all(not file.startswith(".") for file in store.list_images())


def crowd(folder: Path) -> None:
    count = WRITERS * THREADS * 3
    make_studies(folder, count)
    StudiesDatastore(str(folder))
    pids = []
    for index in range(WRITERS):
        if (pid := os.fork()) == 0:
            try:
                store = StudiesDatastore(str(folder))

                def save(number: int, store: StudiesDatastore = store) -> None:
                    file = label_file(number, ".png")
                    store.save_label(name(number), file, "final", {"value": number})

                with ThreadPoolExecutor(THREADS) as pool:
                    list(pool.map(save, range(index, count, WRITERS)))
                os._exit(0)
            finally:
                os._exit(3)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0, "a writer failed"
    index = json.loads((folder / "datastore_v2.json").read_text())
    for number in range(count):
        label = index["objects"][name(number)]["labels"]["final"]
        assert label["info"]["value"] == number
        pixels = read_label(folder / "labels" / "final" / f"{name(number)}.png", SIZE)
        assert (pixels == number + 1).all()
    print(f"{count} labels of {WRITERS} processes with {THREADS} threads each are there")


def full_disk(folder: Path) -> None:
    """A limit on the size of files fails a write half-way, as a full disk does."""
    from monailabel_app.web.reasons import explain

    make_studies(folder, 1)
    store = StudiesDatastore(str(folder))
    store.save_label(name(0), label_file(5, ".png"), "final", {})
    noise = np.random.default_rng(0).integers(0, 60000, SIZE, dtype=np.uint16)
    Image.fromarray(noise).save(folder / "noise.tif")
    content = sorted(folder.rglob("*"))
    limit = (folder / "noise.tif").stat().st_size // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for attempt in (
        lambda: store.save_label(name(0), str(folder / "noise.tif"), "final", {}),
        lambda: store.add_image("copy", str(folder / "noise.tif"), {}),
    ):
        try:
            attempt()
        except OSError as error:
            status, reason = explain(error)
            assert status == 507 and "no space left" in reason, (status, reason)
        else:
            raise AssertionError("a file beyond the limit was saved")
        assert sorted(folder.rglob("*")) == content, "a part of a file was left"
        again = StudiesDatastore(str(folder))
        assert (read_label(again.get_label_uri(name(0), "final")) == 6).all()
        assert "copy" not in again.list_images()
    print("the label from before the disk was full is there")


if __name__ == "__main__":
    studies = Path(sys.argv[2])
    if sys.argv[1] == "kill":
        kill_and_check(studies, int(sys.argv[3]))
    else:
        {"crowd": crowd, "full": full_disk}[sys.argv[1]](studies)
