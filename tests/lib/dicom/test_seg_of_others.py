"""Segmentations as other programs write them, and damaged ones."""

from __future__ import annotations

import copy

import numpy as np
import pydicom
import pytest
from dicom_label_samples import (
    COLUMNS,
    FLIPPED,
    OBLIQUE,
    ROWS,
    SPACING,
    decimals,
    enhanced,
    label,
    mammogram,
    series,
    uid,
    us_frame,
    us_loop,
    write,
)
from pydicom.uid import RLELossless

from lib.dicom.objects import Author
from lib.dicom.seg.read import LABEL_MAP_STORAGE, read_seg, read_segments
from lib.dicom.seg.write import make_seg
from lib.errors import InputError

PERSON = Author(person="Doe^Jane")
LABELS = {"gland": 1, "cyst": 2}


def ours(sources, drawn, labels=LABELS):
    return make_seg(drawn, sources, labels, PERSON)


def unpacked(seg):
    """The frames of a BINARY segmentation, `(frames, rows, columns)`."""
    count = seg.NumberOfFrames * seg.Rows * seg.Columns
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[:count]
    return bits.reshape(seg.NumberOfFrames, seg.Rows, seg.Columns)


def with_frames(seg, pixels, groups):
    """The same segmentation with other frames: bits, or bytes where `pixels` holds shares."""
    seg = copy.deepcopy(seg)
    seg.NumberOfFrames, seg.Rows, seg.Columns = pixels.shape
    seg.PerFrameFunctionalGroupsSequence = list(groups)
    content = np.packbits(pixels.ravel(), bitorder="little") if seg.BitsAllocated == 1 else pixels
    seg.PixelData = content.tobytes() + b"\0" * (content.nbytes % 2)
    return seg


def without_references(seg):
    seg = copy.deepcopy(seg)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        del groups.DerivationImageSequence
    return seg


def fractional(seg, shares, top=255):
    seg = copy.deepcopy(seg)
    seg.SegmentationType, seg.SegmentationFractionalType = "FRACTIONAL", "PROBABILITY"
    seg.MaximumFractionalValue = top
    seg.BitsAllocated = seg.BitsStored = 8
    seg.HighBit = 7
    return with_frames(seg, shares.astype(np.uint8), seg.PerFrameFunctionalGroupsSequence)


@pytest.mark.parametrize("sources", [series(), us_loop(), enhanced()], ids=["CT", "US", "enhanced"])
def test_frames_may_come_in_any_order(sources):
    drawn = label(5)
    seg = ours(sources, drawn)
    order = np.random.default_rng(1).permutation(seg.NumberOfFrames)
    groups = [seg.PerFrameFunctionalGroupsSequence[index] for index in order]
    mixed = with_frames(seg, unpacked(seg)[order], groups)
    np.testing.assert_array_equal(read_seg(mixed, sources, LABELS), drawn)


@pytest.mark.parametrize("orientation", [OBLIQUE, FLIPPED], ids=["oblique", "flipped"])
def test_frames_without_references_go_where_they_lie(orientation):
    drawn = label(5)
    for sources in (series(5, orientation, [2, 0, 1, 4, 3]), enhanced(5, orientation)):
        seg = without_references(ours(sources, drawn))
        np.testing.assert_array_equal(read_seg(seg, sources, LABELS), drawn)


def test_references_count_more_than_places():
    sources, drawn = us_loop(), label(5)
    at_one_place = enhanced(5)
    for groups in at_one_place.PerFrameFunctionalGroupsSequence:
        groups.PlanePositionSequence = at_one_place.PerFrameFunctionalGroupsSequence[
            0
        ].PlanePositionSequence
    np.testing.assert_array_equal(read_seg(ours(at_one_place, drawn), at_one_place, LABELS), drawn)
    with pytest.raises(InputError, match="gives neither the image .* nor its position"):
        read_seg(without_references(ours(at_one_place, drawn)), at_one_place, LABELS)
    with pytest.raises(InputError, match="gives neither the image .* nor its position"):
        read_seg(without_references(ours(sources, drawn)), sources, LABELS)


def test_a_single_image_needs_no_reference():
    for sources in (us_frame(), mammogram()):
        seg = without_references(ours(sources, label(None)))
        np.testing.assert_array_equal(read_seg(seg, sources, LABELS), label(None))


def test_frames_may_show_a_part_of_the_image():
    sources, drawn = series(5, OBLIQUE), label(5)
    rows, columns = slice(2, 8), slice(3, 12)
    seg = ours(sources, drawn)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        place = groups.PlanePositionSequence[0]
        moved = np.array(place.ImagePositionPatient, float)
        moved += rows.start * SPACING[0] * np.array(OBLIQUE[3:])
        moved += columns.start * SPACING[1] * np.array(OBLIQUE[:3])
        place.ImagePositionPatient = decimals(moved)
    part = with_frames(seg, unpacked(seg)[:, rows, columns], seg.PerFrameFunctionalGroupsSequence)
    expected = np.zeros_like(drawn)
    expected[:, rows, columns] = drawn[:, rows, columns]
    np.testing.assert_array_equal(read_seg(part, sources, LABELS), expected)
    np.testing.assert_array_equal(read_seg(without_references(part), sources, LABELS), expected)


@pytest.mark.parametrize(("turned", "mirrored"), [(False, True), (True, False), (True, True)])
def test_frames_may_be_turned_and_mirrored(turned, mirrored):
    sources, drawn = series(5, OBLIQUE), label(5)
    seg = ours(sources, drawn)
    pixels, along_row, along_column = unpacked(seg), OBLIQUE[:3], OBLIQUE[3:]
    moved = np.zeros(3)
    if mirrored:
        pixels = pixels[:, :, ::-1]
        moved = (COLUMNS - 1) * SPACING[1] * np.array(along_row)
        along_row = tuple(-side for side in along_row)
    shared = seg.SharedFunctionalGroupsSequence[0]
    if turned:
        pixels = pixels.transpose(0, 2, 1)
        along_row, along_column = along_column, along_row
        shared.PixelMeasuresSequence[0].PixelSpacing = decimals(SPACING[::-1])
    cosines = decimals((*along_row, *along_column))
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = cosines
    for groups in seg.PerFrameFunctionalGroupsSequence:
        place = groups.PlanePositionSequence[0]
        place.ImagePositionPatient = decimals(np.array(place.ImagePositionPatient, float) + moved)
    other = with_frames(seg, pixels, seg.PerFrameFunctionalGroupsSequence)
    np.testing.assert_array_equal(read_seg(other, sources, LABELS), drawn)


def test_what_lies_between_pixels_or_beyond_the_image_is_refused():
    sources, drawn = series(), label(5)
    for moved, message in ((0.4, "lie between those of the image"), (90.0, "lie beyond the image")):
        seg = ours(sources, drawn)
        for groups in seg.PerFrameFunctionalGroupsSequence:
            place = groups.PlanePositionSequence[0]
            x, *rest = place.ImagePositionPatient
            place.ImagePositionPatient = [float(x) + moved, *rest]
        with pytest.raises(InputError, match=message):
            read_seg(seg, sources, LABELS)
    seg = ours(sources, drawn)
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = ["1.4", "1.8"]
    with pytest.raises(InputError, match="turned or scaled"):
        read_seg(seg, sources, LABELS)


def test_of_overlapping_segments_the_higher_number_counts(caplog):
    sources = us_frame()
    drawn = np.zeros((ROWS, COLUMNS), np.uint8)
    drawn[1:4, 1:6], drawn[6, 6] = 1, 2
    seg = ours(sources, drawn)
    pixels = unpacked(seg)
    pixels[1, 3:5, 4:9] = 1
    both = with_frames(seg, pixels, seg.PerFrameFunctionalGroupsSequence)
    both = with_frames(both, pixels[::-1], both.PerFrameFunctionalGroupsSequence[::-1])
    drawn[3:5, 4:9] = 2
    np.testing.assert_array_equal(read_seg(both, sources, LABELS), drawn)
    assert "2 pixels lie in two segments" in caplog.text


def test_of_shares_half_and_more_is_the_segment_and_the_largest_wins():
    sources = us_frame()
    shares = np.zeros((2, ROWS, COLUMNS))
    shares[0, 0, :5] = (0, 126, 128, 255, 200)
    shares[1, 0, :5] = (130, 0, 140, 130, 126)
    seg = fractional(ours(sources, label(None)), shares)
    assert read_seg(seg, sources, LABELS)[0, :5].tolist() == [2, 0, 2, 1, 1]
    few = fractional(ours(sources, label(None)), shares > 100, top=255)
    assert read_seg(few, sources, LABELS)[0, :5].tolist() == [2, 1, 2, 2, 2]
    percent = fractional(ours(sources, label(None)), shares * 100 / 255, top=100)
    assert read_seg(percent, sources, LABELS)[0, :5].tolist() == [2, 0, 2, 1, 1]


def test_shares_may_be_compressed(tmp_path):
    sources, drawn = us_loop(), label(5)
    seg = ours(sources, drawn)
    seg = fractional(seg, unpacked(seg) * 255)
    plain_file = pydicom.dcmread(write(seg, tmp_path / "plain.dcm"))
    plain_file.compress(RLELossless, encoding_plugin="pydicom")
    plain_file.save_as(tmp_path / "rle.dcm")
    np.testing.assert_array_equal(read_seg(tmp_path / "rle.dcm", sources, LABELS), drawn)


@pytest.mark.parametrize("bits", [8, 16])
def test_label_maps_are_read(bits, tmp_path):
    sources, drawn = us_loop(), label(5)
    seg = ours(sources, drawn)
    seg.SOPClassUID, seg.SegmentationType = LABEL_MAP_STORAGE, "LABELMAP"
    seg.BitsAllocated = seg.BitsStored = bits
    seg.HighBit = bits - 1
    groups = ours(sources, np.maximum(drawn, 1)).PerFrameFunctionalGroupsSequence[:5]
    for group in groups:
        del group.SegmentIdentificationSequence
    maps = with_frames(seg, drawn.astype(f"<u{bits // 8}"), groups)
    maps.PhotometricInterpretation = "PALETTE COLOR"
    np.testing.assert_array_equal(read_seg(maps, sources, LABELS), drawn)
    if bits == 8:
        maps = pydicom.dcmread(write(maps, tmp_path / "maps.dcm"))
        maps.compress(RLELossless, encoding_plugin="pydicom")
        np.testing.assert_array_equal(read_seg(maps, sources, LABELS), drawn)
        assert maps.PhotometricInterpretation == "PALETTE COLOR"


def test_segments_are_taken_by_name_whatever_their_number():
    sources, drawn = us_frame(), label(None)
    viewer = ours(sources, np.choose(drawn, [0, 2, 1]), {"Cyst": 1, "GLAND": 2})
    np.testing.assert_array_equal(read_seg(viewer, sources, LABELS), drawn)
    np.testing.assert_array_equal(read_seg(viewer, sources), np.choose(drawn, [0, 2, 1]))


def test_segments_with_names_of_the_viewer_are_taken_by_number():
    sources, drawn = us_frame(), label(None)
    viewer = ours(sources, drawn, {"Segment 1": 1, "Segment 2": 2})
    np.testing.assert_array_equal(read_seg(viewer, sources, LABELS), drawn)


def test_segments_of_other_tasks_may_be_there_when_they_are_empty():
    sources, drawn = us_frame(), label(None)
    others = {"cyst": 2, "gland": 1, "liver": 3}
    np.testing.assert_array_equal(read_seg(ours(sources, drawn, others), sources, LABELS), drawn)


def test_segments_of_other_tasks_are_left_out_and_named(caplog):
    sources, drawn = us_frame(), label(None)
    both = drawn.copy()
    both[8, 12] = 3
    others = {"cyst": 2, "gland": 1, "liver": 3}
    found = read_seg(ours(sources, both, others), sources, LABELS)
    np.testing.assert_array_equal(found, np.where(both == 3, 0, both))
    assert "segments 3 'liver' are left out" in caplog.text
    with pytest.raises(InputError, match="segments 3 'liver' are no label of this task"):
        read_seg(ours(sources, np.where(both == 3, 3, 0), others), sources, LABELS)


def test_a_label_of_another_image_is_refused_even_when_it_is_empty():
    other = us_frame()
    other.SOPInstanceUID, other.SeriesInstanceUID = uid("other"), uid("other series")
    for drawn in (label(None), np.zeros_like(label(None))):
        with pytest.raises(InputError, match="belongs to another image"):
            read_seg(ours(us_frame(), drawn), other, LABELS)
    with pytest.raises(InputError, match="belongs to another image"):
        read_seg(ours(series(), label(5)), series(4), LABELS)


def test_highdicoms_own_segmentations_are_read():
    from highdicom.seg import Segmentation, SegmentDescription

    from lib.dicom.objects import coded
    from lib.dicom.seg.codes import TISSUE

    sources, drawn = series(5, OBLIQUE, [3, 0, 4, 1, 2]), label(5)
    seg = Segmentation(
        sources,
        drawn,
        "BINARY",
        [
            SegmentDescription(number, name, coded(TISSUE), coded(TISSUE), "MANUAL")
            for name, number in LABELS.items()
        ],
        uid("series of highdicom"),
        9,
        uid("highdicom"),
        1,
        "maker",
        "model",
        "1",
        "1",
    )
    np.testing.assert_array_equal(read_seg(seg, sources, LABELS), drawn)


def test_a_file_that_is_no_segmentation_says_so(tmp_path):
    with pytest.raises(InputError, match="Ultrasound Image Storage, expected a DICOM seg"):
        read_seg(us_frame(), us_frame())
    with pytest.raises(InputError, match="gone.dcm: no such file"):
        read_segments(tmp_path / "gone.dcm")
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(InputError, match="empty.dcm: not a DICOM file"):
        read_segments(tmp_path / "empty.dcm")


def test_a_missing_attribute_gives_an_input_error_or_is_not_needed():
    sources, drawn = series(), label(5)
    whole = ours(sources, drawn)
    refused = set()
    for element in whole:
        seg = copy.deepcopy(whole)
        del seg[element.tag]
        try:
            np.testing.assert_array_equal(read_seg(seg, sources, LABELS), drawn)
        except InputError:
            refused.add(element.keyword)
    assert {"PixelData", "SegmentSequence", "Rows", "NumberOfFrames"} <= refused
    assert "PatientName" not in refused


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("Rows", 60000),
        ("NumberOfFrames", 10**8),
        ("NumberOfFrames", 0),
        ("BitsAllocated", 32),
        ("SegmentSequence", []),
        ("PerFrameFunctionalGroupsSequence", []),
        ("PixelData", b"\0"),
        ("Columns", None),
    ],
)
def test_values_that_cannot_be_give_an_input_error(tag, value):
    seg = ours(us_loop(), label(5))
    seg[tag].value = value
    with pytest.raises(InputError, match="store|truncated|damaged"):
        read_seg(seg, us_loop(), LABELS)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_file_gives_nothing_but_input_errors(tmp_path):
    sources = series()
    content = write(ours(sources, label(5)), tmp_path / "seg.dcm").read_bytes()
    rng = np.random.default_rng(5)
    outcomes = set()
    for attempt in range(60):
        damaged = bytearray(content)
        if attempt % 3:
            for place in rng.integers(132, len(content), 4):
                damaged[place] = rng.integers(0, 256)
        else:
            damaged = damaged[: rng.integers(0, len(content))]
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        try:
            read_seg(tmp_path / "damaged.dcm", sources, LABELS)
            outcomes.add("read")
        except InputError as error:
            assert str(tmp_path) not in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
