"""A studies folder as DICOMweb: what is listed, what is found, and pixels as they are in files."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from server_support import write_dicom

from lib.dicom.parse import parse_file
from lib.errors import NotFoundError
from lib.phantoms.dicom_studies import (
    cine_study,
    ct_study,
    frame_study,
    mammogram_study,
)
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.studies.dicomweb.uids import is_uid

GREY = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)
RGB = np.random.default_rng(1).integers(0, 255, (7, 5, 3), dtype=np.uint8)
VOLUME = np.random.default_rng(2).integers(-900, 2000, (4, 6, 8), dtype=np.int16)
DIRECTION = (0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LEVELS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    studies = tmp_path / "studies"
    studies.mkdir()
    Image.fromarray(GREY).save(studies / "cells.png")
    Image.fromarray(RGB).save(studies / "histology.tif")
    volume = sitk.GetImageFromArray(VOLUME)
    volume.SetSpacing((0.5, 0.75, 2.0))
    volume.SetOrigin((1.0, -2.0, 3.0))
    volume.SetDirection(DIRECTION)
    sitk.WriteImage(volume, str(studies / "head.nrrd"))
    for side in "RL":
        for view in ("CC", "MLO"):
            Image.fromarray(GREY).save(studies / f"anna_{side}-{view}.png")
    return studies


class Web:
    """A client of a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = StudiesDatastore(str(folder))
        web = FastAPI()
        web.include_router(self.store.router())
        self.client = TestClient(web, base_url="http://localhost")

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(f"/proxy/dicom/{path}", params=query or None)

    def rows(self, path: str, **query: str) -> list[pydicom.Dataset]:
        reply = self.get(f"qido/{path}", **query)
        assert reply.status_code == 200, reply.text
        return [pydicom.Dataset.from_json(row) for row in reply.json()]

    def metadata(self, image: str) -> list[pydicom.Dataset]:
        uids = self.store.uids_of(image)
        path = f"wado/studies/{uids[LEVELS[0]]}/series/{uids[LEVELS[1]]}/metadata"
        reply = self.get(path)
        assert reply.status_code == 200, reply.text
        return [pydicom.Dataset.from_json(row) for row in reply.json()]

    def frame(self, data: pydicom.Dataset, number: int = 1) -> np.ndarray:
        study, series, instance = (data[level].value for level in LEVELS)
        path = f"studies/{study}/series/{series}/instances/{instance}/frames/{number}"
        reply = self.get(f"wado/{path}")
        assert reply.status_code == 200, reply.text
        kind = reply.headers["content-type"]
        assert kind.startswith('multipart/related; type="application/octet-stream"')
        mark = f"--{kind.rsplit('boundary=', 1)[1]}"
        head, body = reply.content.split(b"\r\n\r\n", 1)
        assert head.startswith(mark.encode()) and body.endswith(f"\r\n{mark}--\r\n".encode())
        signs = "i" if data.PixelRepresentation else "u"
        values = np.frombuffer(body[: -len(mark) - 6], f"<{signs}{data.BitsAllocated // 8}")
        colours = (3,) if data.SamplesPerPixel == 3 else ()
        return values.reshape(data.Rows, data.Columns, *colours)


@pytest.fixture
def web(folder: Path) -> Web:
    return Web(folder)


def test_images_are_listed_by_name_and_an_exam_as_one_study(web: Web) -> None:
    rows = {str(row.PatientName): row for row in web.rows("studies", limit="101", offset="0")}
    assert set(rows) == {"cells", "histology", "head", "anna"}
    assert rows["head"].NumberOfStudyRelatedInstances == len(VOLUME)
    assert rows["anna"].NumberOfStudyRelatedSeries == 4
    assert rows["anna"].ModalitiesInStudy == "MG" and rows["cells"].ModalitiesInStudy == "OT"
    assert {row.StudyDescription for row in rows.values()} == {"no label"}
    (right,) = web.metadata("anna_R-MLO")
    assert (right.ImageLaterality, right.ViewPosition) == ("R", "MLO")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"PatientName": "*ELL*"}, {"cells"}),
        ({"00100010": "h*"}, {"head", "histology"}),
        ({"00100020": "*anna*"}, {"anna"}),
        ({"ModalitiesInStudy": "US\\MG"}, {"anna"}),
        ({"StudyDescription": "labelled*"}, set()),
        ({"StudyDate": "20000101-20000102"}, set()),
        ({"StudyDate": "20000101-"}, {"anna", "cells", "head", "histology"}),
        ({"limit": "2", "offset": "1"}, {"cells", "head"}),
        ({"PatientName": "[a-z]*"}, set()),
        ({"fuzzymatching": "true", "includefield": "00081030,00080060", "limit": "1"}, {"anna"}),
    ],
)
def test_studies_are_filtered_and_paged(
    web: Web, query: dict[str, str], expected: set[str]
) -> None:
    assert {str(row.PatientName) for row in web.rows("studies", **query)} == expected


def test_pixels_of_one_bit_are_bytes(folder: Path) -> None:
    bits = np.arange(16 * 24).reshape(16, 24) % 7 < 3
    packed = np.packbits(bits, bitorder="little")[None]
    tags = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "Rows": 16, "Columns": 24}
    write_dicom(folder / "bits.dcm", packed, **tags)
    web = Web(folder)
    (data,) = web.metadata("bits")
    assert np.array_equal(web.frame(data), bits)
    assert data.WindowCenter - data.WindowWidth / 2 == 0 and data.BitsStored == 8


def test_pictures_keep_their_pixels(web: Web) -> None:
    (grey,), (colour,) = web.metadata("cells"), web.metadata("histology")
    assert np.array_equal(web.frame(grey), GREY)
    assert colour.PhotometricInterpretation == "RGB" and np.array_equal(web.frame(colour), RGB)
    low = grey.WindowCenter - grey.WindowWidth / 2
    assert low == pytest.approx(GREY.min(), abs=1) and grey.WindowWidth == pytest.approx(53, abs=1)


def test_slices_of_a_volume_lie_where_they_lie_in_the_file(web: Web) -> None:
    slices = web.metadata("head")
    assert [data.InstanceNumber for data in slices] == [1, 2, 3, 4]
    for number, data in enumerate(slices):
        assert np.array_equal(web.frame(data), VOLUME[number])
        assert data.PixelSpacing == [0.75, 0.5]
        assert data.ImageOrientationPatient == [0, -1, 0, 0, 0, 1]
        assert data.ImagePositionPatient == [1 - 2 * number, -2, 3]


def test_uids_are_the_same_for_the_same_files_and_others_for_other_content(
    web: Web, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            shutil.copy(file, copy / file.name)
    Image.fromarray(GREY[::-1]).save(copy / "cells.png")
    other = Web(copy)
    for image in ("head", "histology", "anna_R-CC"):
        uids = web.store.uids_of(image)
        assert other.store.uids_of(image) == uids and all(map(is_uid, uids.values()))
        assert {uid[:5] for uid in uids.values()} == {"2.25."}
    assert other.store.uids_of("cells") != web.store.uids_of("cells")


def test_any_uid_leads_back_to_the_image(web: Web) -> None:
    for image in ("cells", "head", "anna_L-CC"):
        for data in web.metadata(image):
            for name in (image, str(data.SOPInstanceUID), str(data.SeriesInstanceUID)):
                assert web.store.image_of(name) == image
    for unknown in ("1.2.3", "nobody"):
        with pytest.raises(NotFoundError, match="unknown image"):
            web.store.image_of(unknown)


def test_a_series_of_several_files_is_no_image(folder: Path) -> None:
    first, second = (frame_study(seed, (48, 64)).datasets[0] for seed in (1, 2))
    for data in (first, second):
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", "1.2.3.4"
        data.save_as(folder / f"still{data.SOPInstanceUID[-4:]}.dcm", enforce_file_format=True)
    web = Web(folder)
    with pytest.raises(NotFoundError, match=r"holds 2 images.*SOPInstanceUID"):
        web.store.image_of("1.2.3.4")
    image = web.store.image_of(str(second.SOPInstanceUID))
    assert web.store.uids_of(image) == {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SOPInstanceUID": str(second.SOPInstanceUID),
    }


def test_slices_of_a_ct_are_images_each_with_a_series_of_its_own(folder: Path) -> None:
    for data in ct_study(3, (3, 24, 32)).datasets:
        data.save_as(folder / f"slice{data.InstanceNumber}.dcm", enforce_file_format=True)
    web = Web(folder)
    (study,) = web.rows("studies", ModalitiesInStudy="CT")
    assert study.NumberOfStudyRelatedSeries == 3
    for number in (1, 2, 3):
        (data,) = web.metadata(f"slice{number}")
        assert data.InstanceNumber == number
        assert web.store.image_of(str(data.SeriesInstanceUID)) == f"slice{number}"


def test_dicom_files_are_themselves(folder: Path) -> None:
    (loop,) = cine_study(3, 4, (48, 48)).datasets
    loop.save_as(folder / "loop.dcm", enforce_file_format=True)
    for number, data in enumerate(mammogram_study(5, 0.05).datasets):
        data.save_as(folder / f"m{number}.dcm", enforce_file_format=True)
    web = Web(folder)
    (row,) = web.rows("studies", StudyInstanceUID=str(loop.StudyInstanceUID))
    assert row.PatientName == loop.PatientName and row.StudyDescription.startswith("no label; ")
    (found,) = web.metadata("loop")
    assert found.SOPInstanceUID == loop.SOPInstanceUID and found.NumberOfFrames == 4
    assert "PixelData" not in found and found.FrameTime == loop.FrameTime
    for number, frame in enumerate(loop.pixel_array, start=1):
        assert np.array_equal(web.frame(found, number), frame)
    (study,) = web.rows("studies", ModalitiesInStudy="MG", PatientName="Phantom*")
    assert study.NumberOfStudyRelatedSeries == 4


def test_a_copy_of_a_dicom_file_has_an_instance_of_its_own(folder: Path) -> None:
    (still,) = frame_study(3, (48, 64)).datasets
    for name in ("one", "two"):
        still.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    web = Web(folder)
    one, two = (web.store.uids_of(name)["SOPInstanceUID"] for name in ("one", "two"))
    assert one == still.SOPInstanceUID and two != one
    assert web.store.image_of(two) == "two"


def test_a_new_label_and_who_made_it_are_told_at_once(web: Web, tmp_path: Path) -> None:
    label = tmp_path / "label.png"
    Image.fromarray((GREY > 30).astype(np.uint8)).save(label)
    web.rows("studies")
    web.store.save_label("cells", str(label), "final", {"user": "Anna B"})
    (row,) = web.rows("studies", PatientName="cells")
    assert row.StudyDescription.startswith("labelled by Anna B, 2")
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps({"density": "B"}))
    web.store.save_label("anna_R-CC", str(answer), "final", {})
    (row,) = web.rows("studies", PatientName="anna")
    assert row.StudyDescription.startswith("1 of 4 labelled, 2")


def test_new_and_changed_files_are_seen(web: Web, folder: Path, monkeypatch) -> None:
    monkeypatch.setattr("monailabel_app.studies.dicomweb.service.FRESH_SECONDS", 0.0)
    web.store.web._until = 0.0
    before = web.store.uids_of("cells")
    Image.fromarray(GREY[:, ::-1]).save(folder / "cells.png")
    Image.fromarray(GREY).save(folder / "later.png")
    web.store.refresh()
    assert {str(row.PatientName) for row in web.rows("studies")} >= {"later", "cells"}
    assert web.store.uids_of("cells") != before
    (data,) = web.metadata("cells")
    assert np.array_equal(web.frame(data), GREY[:, ::-1])


def test_files_that_cannot_be_read_are_left_out_and_nothing_fails(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
    cut = (folder / "head.nrrd").read_bytes()
    (folder / "cut.nrrd").write_bytes(cut[:-200])
    times = sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.uint8), isVector=False)
    sitk.WriteImage(times, str(folder / "series.nii.gz"))
    web = Web(folder)
    names = {str(row.PatientName) for row in web.rows("studies")}
    assert {"cells", "head"} <= names and not names & {"broken", "series"}
    for name in names:
        (row,) = web.rows("studies", PatientName=name)
        reply = web.get(f"wado/studies/{row.StudyInstanceUID}/metadata")
        assert reply.status_code in (200, 400), name
        if reply.status_code == 400:
            assert name == "cut" and "\n" not in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("", 404),
        ("wado/studies/1.2/metadata", 404),
        ("wado/studies/1.2/series/1.3/instances/1.4/frames/1", 404),
        ("aets", 404),
        ("qido/studies?limit=x", 400),
        ("qido/studies?offset=-1", 400),
        ("qido/studies/1.2/series", 200),
        ("qido/studies?StudyInstanceUID=*&PatientName=***", 200),
    ],
)
def test_odd_requests_are_refused_in_one_sentence(web: Web, path: str, status: int) -> None:
    reply = web.get(path)
    assert reply.status_code == status
    if status == 200:
        assert isinstance(reply.json(), list)
    else:
        assert "\n" not in reply.json()["detail"]
    assert web.client.post(f"/proxy/dicom/{path}").status_code == 405


def test_a_frame_that_is_not_there_is_not_found(web: Web) -> None:
    (data,) = web.metadata("cells")
    study, series, instance = (data[level].value for level in LEVELS)
    at = f"wado/studies/{study}/series/{series}/instances/{instance}"
    for number in ("0", "2", "999999"):
        assert web.get(f"{at}/frames/{number}").status_code == 404
    for what in ("rendered", "thumbnail", "frames/1/rendered"):
        reply = web.get(f"{at}/{what}")
        assert Image.open(io.BytesIO(reply.content)).size == GREY.shape[::-1]
    whole = web.get(at).content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
    made = pydicom.dcmread(io.BytesIO(whole))
    assert np.array_equal(made.pixel_array, GREY) and made.SOPInstanceUID == instance


def test_names_of_any_signs_are_listed(tmp_path: Path) -> None:
    for name in ("zün ^ \\ x=y", "a" * 200, "細胞"):
        Image.fromarray(GREY).save(tmp_path / f"{name}.png")
    web = Web(tmp_path)
    rows = web.rows("studies")
    assert len(rows) == 3 and "細胞" in {str(row.PatientName) for row in rows}
    assert all(len(str(row.PatientName)) <= 64 for row in rows)


def test_stacks_of_pages_and_channels_open(tmp_path: Path) -> None:
    pages = np.random.default_rng(3).integers(0, 60000, (3, 20, 24), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "RFP"]}}
    tifffile.imwrite(tmp_path / "channels.ome.tif", pages, metadata=names)
    web = Web(tmp_path)
    for data, page in zip(web.metadata("stack"), pages, strict=True):
        assert np.array_equal(web.frame(data), page)
    (image,) = set(web.store.list_images()) - {"stack"}
    (data,) = web.metadata(image)
    assert np.array_equal(web.frame(data), pages[0])


def test_nothing_is_written_into_the_folder(web: Web, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for row in web.rows("instances"):
        for data in web.metadata(web.store.image_of(str(row.SOPInstanceUID))):
            web.frame(data)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_views_in_studies_of_their_own_are_shown_as_one_exam(folder: Path) -> None:
    views = mammogram_study(1).datasets
    for number, data in enumerate(views):
        data.StudyInstanceUID, data.PatientID, data.StudyDate = f"1.2.{number}", "EVA", "20240301"
        data.save_as(folder / f"mammogram{number}.dcm", enforce_file_format=True)
    web = Web(folder)
    (row,) = web.rows("studies", PatientID="EVA")
    assert row.NumberOfStudyRelatedSeries == 4
    told = [data for number in range(4) for data in web.metadata(f"mammogram{number}")]
    assert {str(data.StudyInstanceUID) for data in told} == {str(row.StudyInstanceUID)} == {"1.2.0"}
    assert web.frame(told[3]).shape == (views[3].Rows, views[3].Columns)
    assert web.store.study_images("mammogram3") == [f"mammogram{number}" for number in range(4)]


def test_a_list_reads_the_header_of_each_dicom_file_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write_dicom(folder / f"still{number}.dcm", GREY)
    reads: list[str] = []

    def parse(path: Any, *arguments: Any, **named: Any) -> Any:
        reads.append(Path(path).name)
        return parse_file(path, *arguments, **named)

    monkeypatch.setattr("lib.dicom.header.parse_file", parse)
    monkeypatch.setattr("lib.dicom.parse.parse_file", parse)
    assert len(Web(folder).rows("studies")) == 9
    assert sorted(reads) == [f"still{number}.dcm" for number in range(5)]


def test_channels_are_series_of_one_study_and_one_image(folder: Path) -> None:
    stained = np.stack([GREY, GREY[::-1], GREY // 2])
    told = {"axes": "CYX", "Channel": {"Name": ["GFP", "DAPI", "gfp"]}}
    tifffile.imwrite(folder / "stained.tif", stained, photometric="minisblack", metadata=told)
    slices = np.stack([stained[:2]] * 4)
    told = {"axes": "ZCYX", "Channel": {"Name": ["GFP", "DAPI"]}}
    tifffile.imwrite(folder / "deep.tif", slices, photometric="minisblack", metadata=told)
    web = Web(folder)
    assert list(web.store.channels("stained")) == ["1", "DAPI", "3"]  # two names are one
    assert web.store.channels("cells") == web.store.channels("histology") == {}
    row = next(row for row in web.rows("studies") if row.PatientName == "stained")
    assert row.NumberOfStudyRelatedSeries == 3 and row.StudyDescription == "no label"
    path = f"wado/studies/{row.StudyInstanceUID}/metadata"
    for number, told in enumerate(web.get(path).json()):
        data = pydicom.Dataset.from_json(told)
        assert np.array_equal(web.frame(data), stained[number])
        assert web.store.image_of(data.SOPInstanceUID) == "stained"
        assert web.store.channel_of(data.SOPInstanceUID) == ("1", "DAPI", "3")[number]
        assert data.SeriesDescription.endswith(": stained.tif")
    frames = {(data.FrameOfReferenceUID, data.SeriesInstanceUID) for data in web.metadata("deep")}
    assert len(frames) == 1
    assert web.store.study_images("stained") == ["stained"]


def test_the_channel_that_the_table_chooses_is_shown_first(folder: Path) -> None:
    told = {"axes": "CYX", "Channel": {"Name": ["GFP", "DAPI"]}}
    stained = np.stack([GREY, GREY[::-1]])
    tifffile.imwrite(folder / "stained.tif", stained, photometric="minisblack", metadata=told)
    web = Web(folder)
    before = web.store.channels("stained")
    assert list(before) == ["GFP", "DAPI"] and web.store.channel_of("stained") == "GFP"
    (folder / "channels.csv").write_text("id,channel\n*,dapi\n")
    web.store.web._until = 0.0  # as after a second
    after = web.store.channels("stained")
    assert list(after) == ["DAPI", "GFP"] and after == before
    (shown,) = web.metadata("stained")
    assert np.array_equal(web.frame(shown), GREY[::-1])
