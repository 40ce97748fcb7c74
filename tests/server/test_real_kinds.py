"""Real DICOM of many kinds in a folder: shown, asked about, clicked on, labelled and opened again.

The files are those of pydicom and pydicom-data. Each is shown with as many bytes as it promises, or
says why not.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from server_support import Server, read_itk, write_png

TOOL = "region_click"
LESION = "busi_lesion"
KINDS = {  # modality and dimensions
    "OBXXXX1A.dcm": ("US", "2d"),  # a palette
    "OBXXXX1A_rle_2frame.dcm": ("US", "loop"),  # a palette and RLE
    "gdcm-US-ALOKA-16.dcm": ("US", "2d"),  # a palette of segments
    "US1_J2KI.dcm": ("US", "2d"),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": ("US", "2d"),
    "ExplVR_BigEnd.dcm": ("US", "2d"),
    "CT_small.dcm": ("CT", "2d"),
    "693_J2KR.dcm": ("CT", "2d"),
    "J2K_pixelrep_mismatch.dcm": ("CT", "2d"),
    "eCT_Supplemental.dcm": ("CT", "3d"),
    "MR_small_RLE.dcm": ("MR", "2d"),
    "emri_small.dcm": ("MR", "3d"),
    "MR-SIEMENS-DICOM-WithOverlays.dcm": ("MR", "2d"),
    "RG3_UNCI.dcm": ("CR", "2d"),  # MONOCHROME1
    "JPEG2000.dcm": ("NM", "2d"),
    "SC_rgb_16bit.dcm": ("OT", "2d"),
    "OT-PAL-8-face.dcm": ("OT", "2d"),
}
AS = {"PT": "MR_small.dcm", "XA": "CT_small.dcm"}  # kinds of which there is no file: one retagged
REFUSED = {
    "MR_truncated.dcm": "pixel data",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "no pixel data",
}
EVERY = {
    **{Path(name).stem: kind for name, kind in KINDS.items()},
    **{modality: (modality, "2d") for modality in AS},
}


def _file(name: str) -> Path:
    file = get_testdata_file(name, download=False)
    if file is None:
        pytest.skip("needs pydicom-data: pip install -r requirements-dev.txt")
    return Path(file)


@pytest.fixture(scope="module")
def real(launch) -> Server:
    def prepare(server: Server) -> None:
        server.conf["models"] = f"nuclei_vcr,{LESION},volume_vnet"
        for name in (*KINDS, *REFUSED):
            shutil.copy(_file(name), server.studies / name)
        for modality, name in AS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = pydicom.dcmread(_file(name))
                data.Modality = modality
                data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.{len(name)}"
                data.save_as(server.studies / f"{modality}.dcm")
        write_png(server.studies / "grey.png", np.eye(16, dtype=np.uint8))

    return launch(prepare)


def _about(server: Server, image: str) -> dict[str, Any]:
    answer = server.get("/viewer/image", params={"image": image})
    assert answer.ok, answer.text
    return dict(answer.json())


def _metadata(server: Server, image: str) -> tuple[str, pydicom.Dataset]:
    """Where the instance of an image lies, and its attributes."""
    uids = _about(server, image)
    series = f"/proxy/dicom/studies/{uids['StudyInstanceUID']}/series/{uids['SeriesInstanceUID']}"
    found = server.get(f"{series}/metadata")
    assert found.ok, found.text
    instance = uids["SOPInstanceUID"]
    (told,) = [one for one in found.json() if one["00080018"]["Value"] == [instance]]
    return f"{series}/instances/{instance}", pydicom.Dataset.from_json(told)


@pytest.mark.parametrize("image", EVERY)
def test_it_is_shown_with_the_pixels_that_its_attributes_promise(real: Server, image: str) -> None:
    place, data = _metadata(real, image)
    frames = int(data.get("NumberOfFrames") or 1)
    answer = real.get(f"{place}/frames/{frames}")
    assert answer.ok, answer.text
    body = answer.content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
    samples = int(data.SamplesPerPixel)
    assert len(body) == data.Rows * data.Columns * samples * (int(data.BitsAllocated) // 8)
    assert data.PhotometricInterpretation in ("RGB", "MONOCHROME1", "MONOCHROME2")
    assert int(data.BitsAllocated) in (8, 16) and data.HighBit == data.BitsStored - 1
    if samples == 1:
        signs = "i" if data.PixelRepresentation else "u"
        values = np.frombuffer(body, f"<{signs}{data.BitsAllocated // 8}")
        low = -(2 ** (data.BitsStored - 1)) if data.PixelRepresentation else 0
        assert low <= values.min() < values.max() < low + 2**data.BitsStored
    rendered = real.get(f"{place}/rendered")
    assert rendered.ok and rendered.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(("image", "kind"), EVERY.items())
def test_the_viewer_is_told_what_fits_and_why_the_rest_does_not(
    real: Server, image: str, kind: tuple[str, str]
) -> None:
    found = _about(real, image)
    assert (found["modality"], found["dimensions"]) == kind
    assert found["channels"] == {} and found["hint"]
    assert set(found["trainers"]) | set(found["unfit"]) >= {LESION, "volume_vnet"}
    assert (LESION in found["trainers"]) is (kind[0] == "US")
    assert ("volume_vnet" in found["trainers"]) is (kind[1] == "3d")
    assert TOOL in found["models"]


@pytest.mark.parametrize("image", EVERY)
def test_a_click_is_answered_saved_and_opened_again(
    real: Server, image: str, tmp_path: Path
) -> None:
    _, data = _metadata(real, image)
    frames = int(data.get("NumberOfFrames") or 1)
    point = [int(data.Columns) // 2, int(data.Rows) // 2, frames // 2]
    asked = {"foreground": [point], "background": [], "result_extension": ".nrrd"}
    answer = real.post(
        f"/infer/{TOOL}",
        params={"image": str(data.SOPInstanceUID), "output": "image"},
        data={"params": json.dumps({**asked, "index": "file"})},
    )
    assert answer.ok, answer.text
    found = sitk.GetArrayFromImage(read_itk(answer.content, ".nrrd"))
    found = found.reshape(frames, int(data.Rows), int(data.Columns))
    assert found[tuple(point[::-1])]
    (tmp_path / "label.nrrd").write_bytes(answer.content)
    saved = real.save_label(str(data.SOPInstanceUID), tmp_path / "label.nrrd")
    assert saved.ok, saved.text
    again = real.get("/viewer/label", params={"image": str(data.SOPInstanceUID)})
    assert again.ok, again.text
    opened = sitk.GetArrayFromImage(read_itk(again.content, ".nrrd"))
    np.testing.assert_array_equal(opened.reshape(found.shape) != 0, found != 0)
    assert _about(real, image)["label"]["by"]


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_what_cannot_be_shown_says_why(real: Server, name: str, reason: str) -> None:
    place, _ = _metadata(real, Path(name).stem)
    answer = real.get(f"{place}/frames/1")
    assert answer.status_code == 400
    assert name in answer.json()["detail"] and reason in answer.json()["detail"]
    assert reason in _about(real, Path(name).stem)["hint"]
