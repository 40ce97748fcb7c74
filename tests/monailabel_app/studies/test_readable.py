"""What was found in the files of a folder is kept, and found again when a file changes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lib.tasks.registry import get_task
from monailabel_app.studies import readable
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.studies.readable import MEMORY, Looks

TASK = get_task("nuclei")


def _png(path: Path, cut: bool = False) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    Image.fromarray(pixels).save(path)
    if cut:
        path.write_bytes(path.read_bytes()[:500])
    return path


def _open(folder: Path) -> StudiesDatastore:
    return StudiesDatastore(str(folder), tasks=[TASK])


@pytest.fixture
def counted(monkeypatch) -> list[str]:
    """The names of the files that were looked at, and how."""
    seen: list[str] = []
    look_at = readable.look_at

    def look(path: Path, whole: bool):
        seen.append(f"{path.name} {'whole' if whole else 'header'}")
        return look_at(path, whole)

    monkeypatch.setattr(readable, "look_at", look)
    return seen


def test_cut_and_odd_files_are_counted_apart_with_their_reasons(tmp_path):
    for name in ("a.png", "b.png"):
        _png(tmp_path / name)
    _png(tmp_path / "cut.png", cut=True)
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty.nrrd").touch()
    store = _open(tmp_path)
    status = store.status()
    assert (status["total"], status["completed"], status["unreadable_count"]) == (2, 0, 3)
    assert set(status["unreadable"]) == {"cut", "text", "empty"}
    assert all(f"{id}." in reason for id, reason in status["unreadable"].items())
    for id in ("a", "b"):
        store.save_label(id, str(_png(tmp_path / "a.png")), "final", {})
    status = store.status()
    assert status["completed"] == status["total"] == 2


def test_a_labelled_image_that_cannot_be_read_counts_neither_as_completed_nor_as_open(tmp_path):
    label = tmp_path / "labels" / "final"
    label.mkdir(parents=True)
    _png(tmp_path / "a.png")
    _png(tmp_path / "cut.png", cut=True)
    _png(label / "cut.png")
    status = _open(tmp_path).status()
    assert (status["total"], status["completed"]) == (1, 0)
    assert status["label_tags"] == {"final": 1}


def test_no_file_is_read_twice_nor_after_a_restart(tmp_path, counted):
    for index in range(3):
        _png(tmp_path / f"{index}.png")
    store = _open(tmp_path)
    assert store.unreadable() == {} and store.look("1").whole
    assert sorted(counted) == [f"{n}.png {how}" for n in range(3) for how in ("header", "whole")]
    counted.clear()
    again = _open(tmp_path)
    assert again.unreadable() == {} and again.look("1").whole
    assert counted == [] and (tmp_path / MEMORY).exists()


def test_a_file_that_changes_is_looked_at_again(tmp_path):
    path = _png(tmp_path / "a.png")
    looks = Looks()
    assert not looks.at(path, whole=True).error
    _png(path, cut=True)
    assert looks.at(path, whole=True).error
    _png(path)
    assert not looks.at(path).error


def test_a_file_that_could_not_be_read_is_asked_again_after_a_while(tmp_path, monkeypatch):
    header = tmp_path / "a.mhd"
    header.write_text(
        "NDims = 2\nDimSize = 16 16\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    )
    looks = Looks()
    assert "a.raw" in looks.at(header, whole=True).error
    (tmp_path / "a.raw").write_bytes(bytes(256))
    assert looks.at(header, whole=True).error, "kept for a while"
    later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not looks.at(header, whole=True).error


@pytest.mark.parametrize("content", ["", "{", '{"rules": "0", "whole": {"a": [1]}}', "[]"])
def test_a_damaged_memory_is_left_aside(tmp_path, content):
    (tmp_path / ".scores").mkdir()
    (tmp_path / MEMORY).write_text(content)
    _png(tmp_path / "a.png", cut=True)
    assert set(_open(tmp_path).unreadable()) == {"a"}


def test_an_image_of_several_channels_is_a_sample_and_its_choice_is_heeded(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 32, 24), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    store = StudiesDatastore(str(tmp_path), tasks=[get_task("ultrasound3d_vnet")])
    assert store.unreadable() == {} and store.look("a").size == (24, 32, 5)
    (tmp_path / "channels.csv").write_text("id,channel\n*,2\n")
    again = StudiesDatastore(str(tmp_path), tasks=[get_task("ultrasound3d_vnet")])
    assert "2D image" in again.unreadable()["a"], "its pages are channels"


def test_large_files_are_not_read_to_their_end_by_an_overview(tmp_path, monkeypatch, counted):
    monkeypatch.setattr(readable, "SMALL", 100)
    _png(tmp_path / "cut.png", cut=True)
    store = _open(tmp_path)
    assert store.unreadable() == {} and counted == ["cut.png header"]
    assert "truncated" in store.look("cut").error
    assert set(store.unreadable()) == {"cut"}, "it is remembered"
