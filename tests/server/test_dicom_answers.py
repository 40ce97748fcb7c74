"""Answers as DICOM segmentations: of DICOM images, and refused of others."""

from __future__ import annotations

import io
import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_label_samples import enhanced, item, write
from pydicom.uid import generate_uid
from server_support import MODEL, Server, assert_refused, discs, read_itk, write_dicom, write_png

from lib.dicom.seg.read import read_seg, read_segments

ASK = {"output": "dicom_seg"}


@pytest.fixture
def image(calm: Server):
    """A DICOM image of discs among the studies; gone after the test."""
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    file = write_dicom(calm.studies / "answered.dcm", discs(72, 96), **uids)
    calm.wait_for_image(file.stem)
    yield file
    file.unlink()


@pytest.mark.parametrize("wanted", ["instances", "mask"])
def test_an_answer_is_a_segmentation_of_the_image_with_its_objects(calm, image, wanted):
    params = {"result": wanted, "result_extension": ".nrrd"}
    label = read_itk(calm.infer(image.stem, json.dumps(params)).content, ".nrrd")
    reply = calm.infer(image.stem, json.dumps({"result": wanted}), **ASK)
    assert reply.ok, reply.text
    assert reply.headers["content-type"] == "application/dicom"
    seg = pydicom.dcmread(io.BytesIO(reply.content))
    objects = 12 if wanted == "instances" else 1
    assert len(read_segments(seg)) == objects == np.max(read_seg(seg, image))
    assert np.array_equal(read_seg(seg, image), np.squeeze(sitk.GetArrayFromImage(label)))
    assert {one.algorithm for one in read_segments(seg)} == {"AUTOMATIC"}


@pytest.mark.parametrize("way", ["upload", "session"])
def test_an_image_that_was_sent_is_answered_the_same_way(calm, image, way):
    if way == "upload":
        reply = calm.post(f"/infer/{MODEL}", params=ASK, files={"file": image.open("rb")})
    else:
        made = calm.put("/session/", files={"files": image.open("rb")}).json()["session_id"]
        reply = calm.post(f"/infer/{MODEL}", params={**ASK, "session_id": made})
        assert calm.delete(f"/session/{made}").ok
    assert reply.ok, reply.text
    seg = pydicom.dcmread(io.BytesIO(reply.content))
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == (
        pydicom.dcmread(image).SeriesInstanceUID
    )
    assert np.array_equal(read_seg(seg, image) > 0, discs(72, 96) > 128)


def test_what_no_segmentation_can_refer_to_is_refused_with_the_reason(calm, tmp_path):
    reply = calm.infer("fluorescence_000", **ASK)
    assert_refused(reply, 400, "fluorescence_000.png is no DICOM image", "output=image")
    picture = write_png(tmp_path / "sent.png", discs(48, 48))
    reply = calm.post(f"/infer/{MODEL}", params=ASK, files={"file": picture.open("rb")})
    assert_refused(reply, 400, "sent.png is no DICOM image")
    nameless = write_dicom(tmp_path / "nameless.dcm", discs(48, 48))
    reply = calm.post(f"/infer/{MODEL}", params=ASK, files={"file": nameless.open("rb")})
    assert_refused(reply, 400, "without StudyInstanceUID, SeriesInstanceUID")


def test_of_a_file_of_two_times_the_one_asked_for_is_answered(calm):
    """The frames alternate; only those of the second time show discs."""
    data = enhanced(4)
    data.Rows, data.Columns = 72, 96
    data.PixelData = np.stack([np.zeros_like(discs(72, 96)), discs(72, 96)] * 2).tobytes()
    for index, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        groups.FrameContentSequence = [item(TemporalPositionIndex=index % 2 + 1)]
        groups.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 3 * (index // 2)]
    file = write(data, calm.studies / "times.dcm")
    try:
        calm.wait_for_image("times")
        assert_refused(
            calm.infer("times", **ASK), 400, "times.dcm: has 2 channels (1 time 1, 2 time 2)"
        )
        reply = calm.infer("times", json.dumps({"channel": "time 2"}), **ASK)
        assert reply.ok, reply.text
        seg = pydicom.dcmread(io.BytesIO(reply.content))
        frames = {
            groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
            for groups in seg.PerFrameFunctionalGroupsSequence
        }
        assert frames == {2, 4}
        assert (np.array(read_seg(seg, data)[1::2] > 0) == (discs(72, 96) > 128)).all()
    finally:
        file.unlink()
