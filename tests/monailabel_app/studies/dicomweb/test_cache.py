"""Decoded frames are kept within a limit, and each file is decoded once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from lib.image import Geometry
from lib.io.shown_frames import ShownFrames
from monailabel_app.studies.dicomweb.cache import FrameCache


class Reader:
    """Makes frames of 100 bytes, and notes of which files."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path, channel: str) -> ShownFrames:
        self.read.append(path.name)
        time.sleep(0.05)
        return ShownFrames(
            pixels=np.zeros((1, 10, 10), np.uint8),
            slope=1,
            intercept=0,
            window=None,
            geometry=Geometry.flat(10, 10),
            volume=False,
        )


def _files(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_the_least_recently_used_frames_are_forgotten(tmp_path):
    a, b, c = _files(tmp_path, "a", "b", "c")
    cache = FrameCache(250, read := Reader())
    for file in (a, b, a, c, a, b):
        cache.get(file)
    assert read.read == ["a", "b", "c", "b"]


def test_frames_beyond_the_limit_are_kept_until_others_come(tmp_path):
    (a,) = _files(tmp_path, "a")
    cache = FrameCache(50, read := Reader())
    for _ in range(3):
        cache.get(a)
    assert read.read == ["a"]


def test_requests_at_once_decode_a_file_once_and_a_changed_file_again(tmp_path):
    (a,) = _files(tmp_path, "a")
    cache = FrameCache(250, read := Reader())
    threads = [threading.Thread(target=cache.get, args=(a,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read.read == ["a"]
    a.write_bytes(b"other")
    cache.get(a)
    assert read.read == ["a", "a"]
