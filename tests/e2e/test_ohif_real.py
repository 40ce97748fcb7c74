"""Real ultrasound in OHIF: palettes, RLE, JPEG of all sorts, big endian, stills and loops at once.

The files are those of pydicom and pydicom-data.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive import stow
from archive_server import ArchiveServer
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import generate_uid
from viewer import Viewer

from lib.dicom.header import open_dicom
from lib.dicom.pixels import decode_frames

TOOL = "region_click"
MOST_FRAMES = 12
FILES = {  # and by how much a decoded value may differ
    "OBXXXX1A.dcm": 0,  # a palette
    "OBXXXX1A_expb.dcm": 0,  # a palette, big endian
    "OBXXXX1A_rle_2frame.dcm": 0,  # a palette and RLE, a loop
    "gdcm-US-ALOKA-16.dcm": 0,  # a palette of segments, 16 bit
    "JPGLosslessP14SV1_1s_1f_8b.dcm": 0,
    "US1_J2KR.dcm": 0,
    "color3d_jpeg_baseline.dcm": 3,  # a loop in YBR
    "color-pl.dcm": 0,  # a retired kind, colour by plane
    "ExplVR_BigEnd.dcm": 0,
    "SC_ybr_full_422_uncompressed.dcm": 1,
}

_PIXELS = """() => {
    const [{ viewport }] = window.shownElements();
    const values = viewport.getCornerstoneImage().getPixelData();
    let text = '';
    values.forEach(value => (text += String.fromCharCode(value)));
    return btoa(text);
}"""
_PLACE = """() => {
    const [{ viewport }] = window.shownElements();
    const { left, top } = viewport.canvas.getBoundingClientRect();
    const { imageData, dimensions } = viewport.getImageData();
    const middle = [dimensions[0] >> 1, dimensions[1] >> 1, 0];
    const [x, y] = viewport.worldToCanvas(imageData.indexToWorld(middle));
    return [left + x, top + y];
}"""


@pytest.fixture(scope="module")
def images() -> dict[str, Dataset]:
    """The files by name, as images of one series."""
    study, series, found = generate_uid(), generate_uid(), {}
    for number, name in enumerate(FILES, 1):
        file = get_testdata_file(name, download=False)
        if file is None:
            pytest.skip("needs pydicom-data: pip install -r requirements-dev.txt")
        data = pydicom.dcmread(file)
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.PatientID, data.PatientName, data.Modality = "REAL", "Real^Ultrasound", "US"
        data.InstanceNumber, data.SeriesNumber = number, 1
        frames = int(data.get("NumberOfFrames") or 1)
        if frames > MOST_FRAMES:  # takes long on a busy machine
            kept = islice(generate_frames(data.PixelData, number_of_frames=frames), MOST_FRAMES)
            data.PixelData, data.NumberOfFrames = encapsulate(list(kept)), MOST_FRAMES
        found[name] = data
    return found


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile()


@pytest.fixture(scope="module")
def server(
    new_orthanc, images, profile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    archive = new_orthanc()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their values are as old devices wrote them
        stow(archive, images.values())
    server = ArchiveServer(tmp_path_factory.mktemp("real_server"), archive)
    yield server.start()
    server.stop()


def _shown(viewer: Viewer, data: Dataset) -> np.ndarray:
    """The pixels on the screen, `(rows, columns)` or `(rows, columns, 3)`."""
    values = np.frombuffer(base64.b64decode(viewer.page.evaluate(_PIXELS)), np.uint8)
    return np.squeeze(values.reshape(int(data.Rows), int(data.Columns), -1)[..., :3])


def _first_frame(data: Dataset, folder: Path) -> np.ndarray:
    file = folder / "image.dcm"
    data.save_as(file, enforce_file_format=True)
    return decode_frames(file, open_dicom(file)).values[0]


def test_each_real_ultrasound_shows_its_pixels_and_takes_a_click_whose_answer_is_kept(
    new_viewer, server, profile, images, tmp_path
):
    viewer = new_viewer(profile, server.url)
    study = str(next(iter(images.values())).StudyInstanceUID)
    viewer.open(study)
    drawn = {}
    for name, data in images.items():
        instance = str(data.SOPInstanceUID)
        viewer.hang(instance)
        expected, found = _first_frame(data, tmp_path), _shown(viewer, data)
        assert found.shape == expected.shape, name
        assert np.abs(found.astype(int) - expected).max() <= FILES[name], name
        viewer.choose(TOOL)
        viewer.click("Add")
        viewer.page.mouse.click(*viewer.page.evaluate(_PLACE))
        viewer.page.wait_for_function(
            "() => document.querySelector('.ml-status').textContent.includes('answered')"
        )
        drawn[instance] = viewer.drawn()[instance, 1]
        assert drawn[instance].any(), name
        assert viewer.press("Submit") == "The label is saved"
        viewer.click("Add")
        viewer.picture(f"real_{Path(name).stem}")
    viewer.open(study)
    viewer.choose(TOOL)
    for instance, label in drawn.items():
        viewer.hang(instance)
        assert "what you submit" in viewer.correct()
        assert np.array_equal(viewer.drawn()[instance, 1], label)
