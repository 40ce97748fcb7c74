"""Frames that viewers cannot show, or that an archive does not give, are made of its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from lib.dicom.header import open_dicom
from lib.dicom.pixels import decode_frames
from monailabel_app.archive.cache import FolderCache
from monailabel_app.archive.decoded import DecodedFrames

PALETTE, BIG = "OBXXXX1A_rle_2frame.dcm", "ExplVR_BigEnd.dcm"


def _file(name: str) -> Path:
    file = get_testdata_file(name, download=False)
    if file is None:
        pytest.skip("needs pydicom-data: pip install -r requirements-dev.txt")
    return Path(file)


class Archive:
    """An archive of one file."""

    def __init__(self, name: str) -> None:
        self.file = _file(name)
        self.data = pydicom.dcmread(self.file, stop_before_pixels=True)
        self.row: dict[str, Any] = self.data.to_json_dict()
        self.asked = 0

    def metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        self.asked += 1
        return [self.row]

    def download(self, study: str, series: str, folder: Path, instance: str) -> list[Path]:
        return [Path(shutil.copy(self.file, folder / f"{instance}.dcm"))]

    @property
    def path(self) -> str:
        data = self.data
        return (
            f"studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}/instances/"
            f"{data.SOPInstanceUID}/frames"
        )


def _frames(archive: Archive, folder: Path) -> DecodedFrames:
    return DecodedFrames(archive, FolderCache(folder, 10**9))


def test_a_palette_becomes_rgb_in_metadata_and_frames(tmp_path):
    archive = Archive(PALETTE)
    frames = _frames(archive, tmp_path)
    (row,) = json.loads(frames.metadata(json.dumps([archive.row]).encode()))
    data = pydicom.Dataset.from_json(row)
    assert (data.PhotometricInterpretation, data.SamplesPerPixel) == ("RGB", 3)
    assert (data.BitsAllocated, data.HighBit, data.PlanarConfiguration) == (8, 7, 0)
    assert not [tag for tag in row if tag.startswith(("002811", "002812"))]
    assert data.NumberOfFrames == 2
    expected = decode_frames(archive.file, open_dicom(archive.file)).values
    found = frames.coloured(f"{archive.path}/2,1")
    assert found == [expected[1].tobytes(), expected[0].tobytes()]
    assert not archive.asked


def test_a_palette_is_known_again_after_a_restart(tmp_path):
    archive = Archive(PALETTE)
    frames = _frames(archive, tmp_path)
    assert frames.coloured(f"{archive.path}/1") and frames.coloured(f"{archive.path}/2")
    assert archive.asked == 1


def test_what_has_no_palette_is_left_to_the_archive(tmp_path):
    archive = Archive(BIG)
    frames = _frames(archive, tmp_path)
    body = json.dumps([archive.row]).encode()
    assert frames.metadata(body) is body
    assert frames.coloured(f"{archive.path}/1") is None
    assert frames.coloured(f"{archive.path}/1/rendered") is None
    assert frames.stored(archive.path.removesuffix("/frames")) is None


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"null", b'[{"0020000E": 7}]'])
def test_metadata_that_are_none_are_passed_on(body, tmp_path):
    assert _frames(Archive(BIG), tmp_path).metadata(body) == body


def test_frames_that_an_archive_does_not_give_are_taken_out_of_its_file(tmp_path):
    archive = Archive(BIG)
    (frame,) = _frames(archive, tmp_path).stored(f"{archive.path}/1")
    expected = decode_frames(archive.file, open_dicom(archive.file)).values[0]
    found = np.frombuffer(frame, np.uint8).reshape(3, *expected.shape[:2])
    assert np.array_equal(found.transpose(1, 2, 0), expected)


def test_a_palette_beside_grey_is_left_out(tmp_path):
    archive = Archive("eCT_Supplemental.dcm")
    assert "RedPaletteColorLookupTableData" in archive.data
    (row,) = json.loads(_frames(archive, tmp_path).metadata(json.dumps([archive.row]).encode()))
    assert not [tag for tag in row if tag.startswith(("002811", "002812"))]
    assert row["00280004"]["Value"] == ["MONOCHROME2"]
