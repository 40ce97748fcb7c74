"""Versions of labels on the disk: numbered, told by record or by name, never overwritten."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lib.data.versions import (
    FOUND,
    UNKNOWN,
    VERSIONS,
    labels_of_readers,
    read_versions,
    reader_of,
    standing,
    version_name,
    with_found,
    write_version,
)

NAMES = (
    "anna",
    "Änna Ö",
    "a/b\\c",
    "-",
    ".",
    "..",
    "x-20260101T000000Z",
    "名" * 64,
    "a.png",
    "0001",
)


@pytest.fixture
def label(tmp_path: Path) -> Path:
    file = tmp_path / "label.nii.gz"
    file.write_bytes(b"one")
    return file


@pytest.mark.parametrize("name", NAMES)
def test_a_version_comes_back_with_its_record_and_nearly_so_without(tmp_path, label, name):
    write_version(
        tmp_path, "x", label, reader=name, ext=".nii.gz", client="Slicer", info={"a": [1]}
    )
    (version,) = read_versions(tmp_path, "x")
    assert (version.number, version.reader, version.client) == (1, name, "Slicer")
    assert version.info == {"a": [1]} and version.file.read_bytes() == b"one"
    assert version.file.parent == tmp_path / VERSIONS / "x"
    (version.file.parent / "0001.json").unlink()
    (rebuilt,) = read_versions(tmp_path, "x")
    assert rebuilt.reader == name or len(name.encode()) > 64
    assert (rebuilt.number, rebuilt.file) == (1, version.file)
    assert abs((rebuilt.time - version.time).total_seconds()) < 1
    (version.file.parent / "0001.json").write_text('{"reader": 5')
    assert read_versions(tmp_path, "x") == [rebuilt]


def test_numbers_go_on_whatever_is_missing(tmp_path, label):
    for _ in range(3):
        write_version(tmp_path, "x", label, reader="anna", ext=".png")
    folder = tmp_path / VERSIONS / "x"
    (folder / "0002.json").unlink()
    next(folder.glob("0003-*")).unlink()
    assert [one.number for one in read_versions(tmp_path, "x")] == [1, 2]
    assert write_version(tmp_path, "x", label, reader="anna", ext=".png").number == 4
    (folder / "notes.txt").write_text("of somebody")
    (folder / ".0005-anna-20260101T000000Z.png.abc.partial").write_text("of a killed process")
    assert [one.number for one in read_versions(tmp_path, "x")] == [1, 2, 4]


def test_a_density_is_told_from_its_record(tmp_path):
    density = tmp_path / "d.json"
    density.write_text('{"density": "C"}')
    write_version(tmp_path, "x", density, reader="anna", ext=".json")
    (version,) = read_versions(tmp_path, "x")
    assert json.loads(version.file.read_text()) == {"density": "C"} and version.reader == "anna"


def test_the_newest_of_each_reader_counts_since_the_label_was_taken_away(tmp_path, label):
    def keep(reader: str, content: bytes) -> None:
        label.write_bytes(content)
        write_version(tmp_path, "x", label, reader=reader, ext=".nii.gz")

    keep("cleo", b"0")
    write_version(tmp_path, "x", None, reader=UNKNOWN)
    for reader, content in (("bert", b"1"), ("anna", b"2"), ("bert", b"3"), ("anna", b"4")):
        keep(reader, content)
    assert len(standing(read_versions(tmp_path, "x"))) == 4
    found = labels_of_readers(tmp_path, "x", label)
    assert {name: one.file.read_bytes() for name, one in found.items()} == {
        "anna": b"4",
        "bert": b"3",
    }


def test_what_was_done_by_hand_is_a_version_too(tmp_path, label):
    assert with_found([], None) == []
    (found,) = with_found([], label, {"user": "anna"})
    assert (found.number, found.reader, found.client, found.file) == (1, "anna", FOUND, label)
    write_version(tmp_path, "x", label, reader="anna", ext=".nii.gz")
    kept = read_versions(tmp_path, "x")
    assert with_found(kept, label) == kept
    assert with_found(kept, None)[-1].file is None
    label.write_bytes(b"other")
    assert [one.reader for one in with_found(kept, label)] == ["anna", UNKNOWN]
    assert list(labels_of_readers(tmp_path, "x", label)) == ["anna", UNKNOWN]


def test_a_header_is_kept_with_its_pixels(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "l.mhd"))
    assert (tmp_path / "l.raw").is_file()
    version = write_version(tmp_path, "x", tmp_path / "l.mhd", reader="anna", ext=".mhd")
    assert with_found(read_versions(tmp_path, "x"), tmp_path / "l.mhd")[1:] == []
    (tmp_path / "l.raw").unlink()
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(version.file))), pixels)


@pytest.mark.parametrize(
    "info, reader",
    [
        ({"user": "anna", "client_id": "user-xyz", "model": "nuclei"}, "anna"),
        ({"client_id": "user-xyz"}, "user-xyz"),
        ({"model": "nuclei"}, "model nuclei"),
        ({"client_id": None}, UNKNOWN),
        ({"client_id": " \n"}, UNKNOWN),
        ({"client_id": 7}, "7"),
        ({}, UNKNOWN),
    ],
)
def test_the_reader_is_who_logged_in_else_the_client(info, reader):
    assert reader_of(info) == reader


def test_a_label_without_a_time_has_a_name_that_can_be_read():
    never = datetime.min.replace(tzinfo=timezone.utc)
    assert version_name(1, "anna", never, ".nrrd") == "0001-anna-19700101T000000Z.nrrd"
