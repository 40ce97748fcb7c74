"""Labels stored as DICOM Segmentation come back to the voxel, over every kind of image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_label_samples import (
    FLIPPED,
    OBLIQUE,
    SAGITTAL,
    dciodvfy,
    enhanced,
    image,
    label,
    mammogram,
    series,
    us_frame,
    us_loop,
    us_volume,
)
from pydicom.uid import SegmentationStorage, UltrasoundImageStorage

from lib.dicom.objects import Author, save
from lib.dicom.seg.codes import PROPERTIES, property_of
from lib.dicom.seg.functional_groups import NO_ORIENTATION
from lib.dicom.seg.read import Segment, read_seg, read_segments
from lib.dicom.seg.write import MAX_OBJECTS, make_seg
from lib.dicom.sources import in_order, read_sources
from lib.errors import InputError
from lib.tasks.registry import TASKS

MODEL = Author("ultrasound3d_structures", "7", software="0.1.0")
LABELS = {"gland": 1, "cyst": 2}
SHUFFLED = [3, 0, 4, 1, 2]
KINDS = {
    "an ultrasound frame": lambda: (us_frame(), None),
    "an ultrasound loop": lambda: (us_loop(), 5),
    "a 3D ultrasound volume": lambda: (us_volume(), 5),
    "a mammogram": lambda: (mammogram(), None),
    "a CT series": lambda: (series(), 5),
    "a flipped CT series out of order": lambda: (series(5, FLIPPED, SHUFFLED), 5),
    "an oblique MR series out of order": lambda: (series(5, OBLIQUE, SHUFFLED, "MR"), 5),
    "slices without a frame of reference": lambda: (unframed(), 5),
    "slices of two orientations": lambda: (series(3) + series(2, SAGITTAL, name="other"), 5),
    "one CT slice": lambda: (series(1), None),
    "an enhanced MR": lambda: (enhanced(5, SAGITTAL, None, "MR"), 5),
    "an oblique enhanced CT with frames out of order": lambda: (enhanced(5, OBLIQUE, SHUFFLED), 5),
    "an enhanced CT of one frame": lambda: (enhanced(1), None),
}


def unframed():
    slices = series()
    for data in slices:
        del data.FrameOfReferenceUID
    return slices


def write_seg(drawn, sources, labels, path, author, **options) -> Path:
    return save(make_seg(drawn, sources, labels, author, **options), path)


@pytest.fixture(params=KINDS, ids=[kind.replace(" ", "-") for kind in KINDS])
def kind(request):
    return KINDS[request.param]()


def test_a_label_comes_back_to_the_voxel(kind, tmp_path):
    sources, frames = kind
    drawn = label(frames)
    file = write_seg(drawn, sources, LABELS, tmp_path / "seg.dcm", MODEL)
    found = read_seg(file, sources, LABELS)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, drawn)
    np.testing.assert_array_equal(read_seg(file, sources), drawn)


def test_an_empty_label_is_an_answer_and_comes_back_empty(kind, tmp_path):
    sources, frames = kind
    drawn = np.zeros_like(label(frames))
    file = write_seg(drawn, sources, LABELS, tmp_path / "seg.dcm", MODEL)
    assert [segment.name for segment in read_segments(file)] == ["gland", "cyst"]
    np.testing.assert_array_equal(read_seg(file, sources, LABELS), drawn)


def test_highdicom_reads_the_same_voxels(kind, tmp_path):
    import highdicom

    sources, frames = kind
    drawn = label(frames)
    seg = highdicom.seg.segread(write_seg(drawn, sources, LABELS, tmp_path / "seg.dcm", MODEL))
    found = read_sources(sources).frames
    numbered = [frame.number for frame in found]
    if numbered[0] is None:
        stored = seg.get_pixels_by_source_instance(
            [frame.uid for frame in found],
            combine_segments=True,
            assert_missing_frames_are_empty=True,
        )
    else:
        stored = seg.get_pixels_by_source_frame(
            found[0].uid, numbered, combine_segments=True, assert_missing_frames_are_empty=True
        )
    np.testing.assert_array_equal(stored.reshape(drawn.shape), drawn)
    assert seg.get_segment_description(2).segment_label == "cyst"


@pytest.mark.parametrize("empty", [False, True], ids=["drawn", "empty"])
def test_dciodvfy_finds_no_error(kind, empty, tmp_path):
    sources, frames = kind
    file = write_seg(label(frames) * (not empty), sources, LABELS, tmp_path / "seg.dcm", MODEL)
    assert dciodvfy(file) == []


def test_dciodvfy_would_find_an_error(tmp_path):
    seg = make_seg(label(None), us_frame(), LABELS, MODEL)
    del seg.SegmentSequence[0].SegmentLabel
    seg.save_as(tmp_path / "bad.dcm", enforce_file_format=True)
    assert any("SegmentLabel" in line for line in dciodvfy(tmp_path / "bad.dcm"))


def test_dciodvfy_accepts_labels_of_persons_and_objects(tmp_path):
    person = Author(person="Doe^Jane")
    write_seg(label(None), us_frame(), LABELS, tmp_path / "person.dcm", person)
    write_seg(
        label(None, (3, 9)),
        us_frame(),
        {"nuclei": 1},
        tmp_path / "nuclei.dcm",
        MODEL,
        instances=True,
    )
    assert dciodvfy(tmp_path / "person.dcm") == dciodvfy(tmp_path / "nuclei.dcm") == []


def test_a_segment_tells_its_number_name_codes_and_who_made_it():
    seg = make_seg(label(5), us_loop(), LABELS, MODEL)
    assert seg.SOPClassUID == SegmentationStorage
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.Modality) == ("BINARY", "NO", "SEG")
    gland, cyst = seg.SegmentSequence
    assert (gland.SegmentNumber, gland.SegmentLabel) == (1, "gland")
    assert (cyst.SegmentNumber, cyst.SegmentLabel) == (2, "cyst")
    assert cyst.SegmentedPropertyTypeCodeSequence[0].CodeValue == "367643001"
    assert cyst.SegmentAlgorithmType == "AUTOMATIC"
    assert cyst.SegmentAlgorithmName == "ultrasound3d_structures"
    assert cyst.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "7"
    assert seg.SoftwareVersions == "0.1.0"
    assert read_segments(seg)[1] == Segment(
        number=2, name="cyst", algorithm="AUTOMATIC", author="ultrasound3d_structures 7"
    )


def test_a_corrected_label_is_semiautomatic_and_one_by_hand_manual():
    both = make_seg(label(None), us_frame(), LABELS, Author("nerve", "1", person="Doe^Jane"))
    hand = make_seg(label(None), us_frame(), LABELS, Author(person="Doe^Jane"))
    assert both.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert hand.SegmentSequence[0].SegmentAlgorithmType == "MANUAL"
    assert "SegmentAlgorithmName" not in hand.SegmentSequence[0]
    assert str(both.ContentCreatorName) == str(hand.ContentCreatorName) == "Doe^Jane"
    with pytest.raises(ValueError, match="model or a person"):
        Author()


def test_the_frames_refer_to_the_images_that_they_come_from():
    slices = series()
    seg = make_seg(label(5), slices, LABELS, MODEL)
    references = [
        groups.DerivationImageSequence[0].SourceImageSequence[0]
        for groups in seg.PerFrameFunctionalGroupsSequence
    ]
    assert references[0].ReferencedSOPInstanceUID == slices[0].SOPInstanceUID
    assert all("ReferencedFrameNumber" not in item for item in references)
    assert references[0].SpatialLocationsPreserved == "YES"
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 5
    assert seg.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == slices[0].StudyInstanceUID
    assert str(seg.PatientName) == "Muster^Änne"
    loop = make_seg(label(5), us_loop(), LABELS, MODEL)
    numbers = [
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for groups in loop.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == [1, 3, 4, 5] * 2  # the second frame is empty
    assert "FrameOfReferenceUID" not in loop


def test_an_image_without_orientation_gets_the_one_that_ohif_expects():
    for sources in (us_frame(), mammogram(), us_volume()):
        frames = None if "NumberOfFrames" not in sources else 5
        seg = make_seg(label(frames), sources, LABELS, MODEL)
        shared = seg.SharedFunctionalGroupsSequence[0]
        cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        assert tuple(map(float, cosines)) == NO_ORIENTATION


def test_values_that_are_no_segment_numbers_are_kept(tmp_path):
    drawn = label(5, (4, 200))
    file = write_seg(drawn, us_loop(), {"nerve": 200, "mass": 4}, tmp_path / "seg.dcm", MODEL)
    assert [(one.number, one.name, one.value) for one in read_segments(file)] == [
        (1, "mass", 4),
        (2, "nerve", 200),
    ]
    np.testing.assert_array_equal(read_seg(file, us_loop()), drawn)


def test_every_nucleus_keeps_its_own_value(tmp_path):
    drawn = np.zeros((9, 13), np.int32)
    for value, place in zip((1, 2, 7, 300), ((0, 0), (0, 3), (5, 5), (8, 12)), strict=True):
        drawn[place] = value
    file = write_seg(drawn, us_frame(), {"nuclei": 1}, tmp_path / "seg.dcm", MODEL, instances=True)
    assert [one.name for one in read_segments(file)] == [
        "nuclei 1",
        "nuclei 2",
        "nuclei 7",
        "nuclei 300",
    ]
    np.testing.assert_array_equal(read_seg(file, us_frame(), instances=True), drawn)
    np.testing.assert_array_equal(read_seg(file, us_frame(), {"nuclei": 1}), drawn > 0)
    kinds = {
        item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
        for item in pydicom.dcmread(file).SegmentSequence
    }
    assert kinds == {"Nucleus"}


def test_no_nuclei_are_stored_as_none(tmp_path):
    nothing = np.zeros((9, 13), np.uint16)
    file = write_seg(
        nothing, us_frame(), {"nuclei": 1}, tmp_path / "seg.dcm", MODEL, instances=True
    )
    assert not read_seg(file, us_frame(), instances=True).any()


def test_too_many_nuclei_are_refused_or_merged_when_asked():
    crowd = image(UltrasoundImageStorage, "US", Rows=20, Columns=20)
    drawn = np.arange(400, dtype=np.int32).reshape(20, 20)
    with pytest.raises(InputError, match=f"399 objects of 'nuclei'.* up to {MAX_OBJECTS}"):
        make_seg(drawn, crowd, {"nuclei": 1}, MODEL, instances=True)
    merged = make_seg(drawn, crowd, {"nuclei": 1}, MODEL, instances=True, too_many="merge")
    assert len(merged.SegmentSequence) == 1
    np.testing.assert_array_equal(read_seg(merged, crowd), drawn > 0)


def test_a_series_is_put_in_the_order_in_which_itk_stacks_it():
    shuffled = series(5, OBLIQUE, SHUFFLED)
    assert [data.InstanceNumber for data in in_order(shuffled)] == [1, 2, 3, 4, 5]
    for data in shuffled:
        del data.ImagePositionPatient
    assert [data.InstanceNumber for data in in_order(shuffled)] == [1, 2, 3, 4, 5]
    shuffled[2].InstanceNumber = [1, 2]  # as a damaged file may have it
    assert in_order(shuffled) == shuffled


@pytest.mark.parametrize(
    ("drawn", "labels", "message"),
    [
        (np.zeros((8, 13), int), LABELS, r"label of shape \(8, 13\), its source .*\(9, 13\)"),
        (np.zeros((2, 9, 13), int), LABELS, "one slice for each of 1"),
        (np.zeros((9, 13)), LABELS, "type float64, expected whole numbers"),
        (np.full((9, 13), -1), LABELS, "values from -1"),
        (np.full((9, 13), 3), LABELS, r"values 3 have no name, expected 1 \(gland\)"),
        (np.zeros((9, 13), int), {}, "at least one name"),
        (np.zeros((9, 13), int), {"gland": 0}, "a different value above 0"),
        (np.zeros((9, 13), int), {"gland": 1, "cyst": 1}, "a different value above 0"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(drawn, labels, message):
    with pytest.raises(InputError, match=message):
        make_seg(drawn, us_frame(), labels, MODEL)


def test_sources_that_cannot_be_referred_to_are_refused(tmp_path):
    with pytest.raises(InputError, match="no source images"):
        read_sources([])
    with pytest.raises(InputError, match="more than one series"):
        read_sources([us_frame(), mammogram()])
    with pytest.raises(InputError, match="1 different ones"):
        read_sources([us_frame(), us_frame()])
    nameless = us_frame()
    del nameless.StudyInstanceUID
    with pytest.raises(InputError, match="without StudyInstanceUID nothing can refer to it"):
        read_sources(nameless)
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(InputError, match="not a DICOM file"):
        read_sources(tmp_path / "text.dcm")


def test_that_images_were_compressed_with_loss_is_told(tmp_path):
    lossy = us_loop()
    lossy.LossyImageCompression, lossy.LossyImageCompressionRatio = "01", "12.5"
    assert make_seg(label(5), lossy, LABELS, MODEL).LossyImageCompression == "00"  # half a story
    lossy.LossyImageCompressionMethod = "ISO_10918_1"
    file = write_seg(label(5), lossy, LABELS, tmp_path / "seg.dcm", MODEL)
    assert pydicom.dcmread(file).LossyImageCompression == "01"
    assert dciodvfy(file) == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_odd_values_of_the_image_do_not_keep_a_label_from_being_stored(tmp_path):
    odd = us_frame()
    odd.PatientSex, odd.PatientBirthDate, odd.StudyTime = "W", "unknown", "noon"
    odd.SeriesNumber = None
    del odd.PatientName, odd.AccessionNumber, odd.ReferringPhysicianName
    file = write_seg(label(None), odd, LABELS, tmp_path / "seg.dcm", MODEL)
    np.testing.assert_array_equal(read_seg(file, odd, LABELS), label(None))
    assert dciodvfy(file) == []


def test_every_label_of_the_tasks_has_codes():
    names = {name for task in TASKS.values() for name in task.labels}
    assert {"nuclei", "nerve", "lesion", "gland", "cyst"} <= names & set(PROPERTIES)
    assert property_of("Breast_Lesion").region is not None
    assert property_of("something else").type[2] == "Tissue"


def test_the_label_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = write_seg(label(None), us_frame(), LABELS, tmp_path / "seg.dcm", MODEL)
    before = file.read_bytes()

    def break_off(handle, *_, **__):
        handle.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pydicom, "dcmwrite", break_off)
    with pytest.raises(OSError, match="disk full"):
        write_seg(label(None), us_frame(), LABELS, file, MODEL)
    assert file.read_bytes() == before
    assert [path.name for path in Path(tmp_path).iterdir()] == ["seg.dcm"]


def test_modules_import_without_highdicom(run_python):
    code = (
        "import sys, lib.dicom.seg.write, lib.mammography.report.write; "
        "assert 'highdicom' not in sys.modules"
    )
    ended: subprocess.CompletedProcess[str] = run_python("-c", code)
    assert ended.returncode == 0, ended.stderr
