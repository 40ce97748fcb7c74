"""The cache of downloaded files: complete or absent, of limited size, made once."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from monailabel_app.archive.cache import FolderCache


def _fill(size: int = 10):
    def make(folder: Path) -> None:
        (folder / "file").write_bytes(b"x" * size)

    return make


def test_what_failed_half_way_is_not_there(tmp_path):
    cache = FolderCache(tmp_path, 10**6)

    def fail(folder: Path) -> None:
        (folder / "file").write_bytes(b"x")
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        cache.get("images", "a", fail)
    assert not cache.has("images", "a") and not list(tmp_path.rglob("file"))
    assert (cache.get("images", "a", _fill()) / "file").is_file()


def test_threads_that_need_one_thing_make_it_once(tmp_path):
    cache, made = FolderCache(tmp_path, 10**6), []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.05)
        _fill()(folder)

    threads = [threading.Thread(target=cache.get, args=("images", "a", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_what_was_not_used_for_longest_goes_first_and_what_was_used_just_now_stays(tmp_path):
    cache = FolderCache(tmp_path, 2500, grace=60)
    for age, key in ((300, "old"), (200, "used"), (100, "new")):
        path = cache.get("images", key, _fill(1000))
        os.utime(path, (time.time() - age,) * 2)
    cache.get("images", "used", _fill())
    cache.get("images", "last", _fill(1000))
    cache.shrink()
    assert [key for key in ("old", "new", "used", "last") if cache.has("images", key)] == [
        "used",
        "last",
    ]


def test_a_file_that_a_power_cut_left_empty_is_made_again(tmp_path):
    path = FolderCache(tmp_path, 10**6).get("images", "a", _fill()) / "file"
    path.write_bytes(b"")
    assert FolderCache(tmp_path, 10**6).get("images", "a", _fill()).joinpath(
        "file"
    ).read_bytes() == (b"x" * 10)
