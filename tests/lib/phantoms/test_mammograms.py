"""Synthetic mammography exams: seeded, of the class asked for, and real DICOM objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pydicom
import pytest
from mammogram_samples import SCALE, exam

from lib.mammography.breast import prepare_breast
from lib.mammography.density_labels import BIRADS, read_density
from lib.mammography.exams import list_exams
from lib.mammography.mammogram import read_mammogram
from lib.mammography.views import STANDARD_VIEWS
from lib.phantoms.mammograms.dicom import DETECTORS, mammogram_dataset, write_mammogram
from lib.phantoms.mammograms.exams import BORDERS, exam_phantom, write_exams

# type 1 attributes of PS3.3 A.26.2: Digital Mammography X-Ray Image IOD, For Presentation
TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("PresentationIntentType", "ImageType", "PatientOrientation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "Rows", "Columns"),
    *("PixelRepresentation", "PixelIntensityRelationship", "PixelIntensityRelationshipSign"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "PresentationLUTShape", "PixelData"),
    *("LossyImageCompression", "BurnedInAnnotation", "ImagerPixelSpacing", "PositionerType"),
    *("ImageLaterality", "OrganExposed", "AnatomicRegionSequence", "ViewCodeSequence"),
    *("WindowCenter", "WindowWidth", "DetectorType"),
)


def test_a_phantom_depends_on_its_seed_and_number_alone():
    again = exam_phantom(1, 0, SCALE, "B")
    for one, two in zip(exam().views, again.views, strict=True):
        np.testing.assert_array_equal(one.pixels, two.pixels)
    other = exam_phantom(2, 0, SCALE, "B").views[0].pixels
    assert other.shape != again.views[0].pixels.shape or (other != again.views[0].pixels).any()


@pytest.mark.parametrize("density", BIRADS)
def test_the_dense_share_sets_the_class(density):
    phantom = exam(0, density)
    low, high = BORDERS[BIRADS.index(density)], BORDERS[BIRADS.index(density) + 1]
    assert phantom.density == density and low <= phantom.fraction < high
    shares = [view.fraction for view in phantom.views]
    assert max(shares) == pytest.approx(phantom.fraction, abs=0.02)
    for view in phantom.views:
        assert not (view.dense & ~view.breast).any()


def test_classes_come_evenly_and_some_lie_near_a_border():
    drawn = [exam_phantom(5, number, 0.02) for number in range(40)]
    assert {kind: sum(e.density == kind for e in drawn) for kind in BIRADS} == dict.fromkeys(
        BIRADS, 10
    )
    near = sum(min(abs(e.fraction - border) for border in BORDERS[1:-1]) < 0.021 for e in drawn)
    assert 1 <= near <= 12
    assert {e.views[0].detector.name for e in drawn} == {d.name for d in DETECTORS}


@pytest.mark.parametrize("index", range(4))
def test_a_view_is_a_complete_mammography_object(tmp_path, index):
    phantom = exam().views[index]
    data = pydicom.dcmread(write_mammogram(tmp_path / "a.dcm", phantom, 1, 0, index))
    assert [name for name in TYPE_1 if data.get(name) in (None, "", b"")] == []
    assert data.SOPClassUID.name == ("Digital Mammography X-Ray Image Storage - For Presentation")
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
    assert data.ViewPosition == phantom.view.projection
    assert data.pixel_array.max() < 2**data.BitsStored
    found = read_mammogram(tmp_path / "a.dcm")
    assert found.view == phantom.view and found.notes == found.doubts == ()
    assert found.spacing == pytest.approx((phantom.spacing, phantom.spacing), rel=1e-4)


def test_uids_follow_from_the_seed_and_join_the_views_of_an_exam():
    sets = [
        [mammogram_dataset(exam().views[i], seed, number, i) for i in range(4)]
        for seed, number in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    one, same, other, seeded = ([d.SOPInstanceUID for d in views] for views in sets)
    assert one == same
    assert len({*one, *other, *seeded}) == 12
    assert [len({d.StudyInstanceUID for d in views}) for views in sets] == [1, 1, 1, 1]
    assert len({views[0].PatientID for views in sets}) == 3


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.name)
def test_every_detector_and_interpretation_shows_the_same_picture(tmp_path, detector):
    phantom = exam().views[0]
    top = 2**phantom.detector.bits - 1
    pixels = np.rint(phantom.pixels / top * (2**detector.bits - 1)).astype(np.uint16)
    other = replace(phantom, pixels=pixels, detector=detector)
    shown = read_mammogram(write_mammogram(tmp_path / "a.dcm", other)).pixels
    usual = read_mammogram(write_mammogram(tmp_path / "b.dcm", phantom)).pixels
    np.testing.assert_allclose(shown, usual, atol=0.002)


def test_detectors_are_those_of_the_devices():
    sizes = {(d.columns, d.rows, d.spacing) for d in DETECTORS}
    assert sizes == {(2816, 3584, 0.085), (3328, 4096, 0.07), (1914, 2294, 0.1)}
    assert {d.photometric for d in DETECTORS} == {"MONOCHROME1", "MONOCHROME2"}
    assert {d.bits for d in DETECTORS} == {12, 14, 16}


def test_left_views_hang_as_left_breasts():
    for phantom in exam().views:
        half = phantom.pixels.shape[1] // 2
        right = phantom.breast[:, half:].sum() > phantom.breast[:, :half].sum()
        assert right == (phantom.view.laterality == "R")


def test_exams_are_written_once_with_the_labels_asked_for(tmp_path):
    paths = write_exams(tmp_path, seed=4, exams=4, scale=0.03, labelled=0.5)
    assert len(paths) == 16 and all(path.is_file() for path in paths)
    exams = list_exams(tmp_path)
    assert [tuple(e.views) for e in exams] == [STANDARD_VIEWS] * 4
    assert [e.density is not None for e in exams].count(True) == 2
    assert len({e.patient for e in exams}) == 4
    label = tmp_path / "labels" / "final" / "exam_000_R-CC.json"
    assert read_density(label) == exam_phantom(4, 0, 0.03).density
    before = {path: path.stat().st_mtime_ns for path in paths}
    paths[3].unlink()
    assert write_exams(tmp_path, seed=4, exams=4, scale=0.03, labelled=0.5) == paths
    changed = [p for p in paths if p.stat().st_mtime_ns != before[p]]
    assert changed == [paths[3]]


def test_the_class_is_not_told_by_the_mean_grey():
    """A model has to see how far the gland reaches, not how bright the image is."""
    means, classes = [], []
    for number in range(16):
        phantom = exam_phantom(6, number, 0.04)
        view = phantom.views[0]
        grey = view.pixels / (2**view.detector.bits - 1)
        means.append(float(grey[view.breast].mean()))
        classes.append(BIRADS.index(phantom.density))
    assert 0.2 < np.corrcoef(means, classes)[0, 1] < 0.97


def test_phantoms_are_found_without_doubts(tmp_path):
    for density in "AD":
        for index, view in enumerate(exam(0, density).views):
            path = write_mammogram(tmp_path / f"{density}{index}.dcm", view, 1, 0, index)
            prepared = prepare_breast(read_mammogram(path), 128)
            assert prepared.notes == prepared.doubts == ()
