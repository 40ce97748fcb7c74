"""Frames of a DICOM file are put in order by position; times and stacks are never mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_label_samples import (
    OBLIQUE,
    ROWS,
    SPACING,
    decimals,
    enhanced,
    item,
    label,
    positions,
    write,
)
from pydicom.datadict import tag_for_keyword

from lib.dicom.objects import Author
from lib.dicom.read import dicom_grid, dicom_size, read_dicom
from lib.dicom.seg.read import read_seg
from lib.dicom.seg.write import make_seg
from lib.dicom.sources import read_sources
from lib.errors import InputError
from lib.image import Image
from lib.io.read import check_readable, image_geometry, image_size, read_image

SHUFFLED = [3, 0, 4, 1, 2]
MODEL = Author(model="model", version="1")


def _read(data, folder: Path, volume: str = "") -> Image:
    choose = (lambda name, volumes: list(volumes).index(volume)) if volume else None
    return read_dicom(write(data, folder / "a.dcm"), 10**6, 3, choose)


def _frames(places, **facts):
    """A volume in one file with a frame at each of `places`; its frame n is filled with n + 1.

    Args:
        facts: keyword of a functional group to the item of each frame.
    """
    data = enhanced(len(places), OBLIQUE)
    data.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=decimals(place))],
            **{group: [items[index]] for group, items in facts.items()},
        )
        for index, place in enumerate(places)
    ]
    shape = data.Rows, data.Columns
    pixels = np.stack([np.full(shape, n + 1, np.uint8) for n in range(len(places))])
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    return data


def test_a_time_is_chosen_as_channel_by_name_or_number(tmp_path):
    path = write(_frames(TWICE, **FACTS["time"]), tmp_path / "a.dcm")
    with pytest.raises(
        InputError, match=r"^a\.dcm: has 2 channels \(1 time 1, 2 time 2\) and none"
    ):
        read_image(path, spatial_dims=3)
    for asked in ("time 2", "2"):
        image = read_image(path, spatial_dims=None, channel=asked)
        assert _values(image) == [2, 4, 6, 8, 10] and image.facts["channel"] == "time 2"
    check_readable(path)
    (tmp_path / "channels.csv").write_text("id,channel\n*,time 2\n")
    assert _values(read_image(path, spatial_dims=3)) == [2, 4, 6, 8, 10]
    assert image_geometry(path) == image.geometry


def _values(image: Image) -> list[int]:
    return image.pixels[:, 0, 0].tolist()


def _content(**values):
    """FrameContentSequence items from lists of values."""
    return [
        item(**dict(zip(values, one, strict=True))) for one in zip(*values.values(), strict=True)
    ]


PLACES = positions(5, OBLIQUE)


def test_frames_lie_in_the_order_of_their_positions(tmp_path):
    image = _read(_frames(PLACES[SHUFFLED]), tmp_path)
    assert _values(image) == [SHUFFLED.index(n) + 1 for n in range(5)]
    assert image.geometry.origin == pytest.approx(PLACES[0])
    assert image.geometry.spacing == pytest.approx((SPACING[1], SPACING[0], 2.5))
    direction = np.reshape(image.geometry.direction, (3, 3))
    assert direction[:, 2] == pytest.approx(np.cross(OBLIQUE[:3], OBLIQUE[3:]))
    assert image.notes == ("frames are stored out of order; sorted by their positions",)
    assert dicom_grid(tmp_path / "a.dcm") == image.geometry


def test_frames_that_lead_one_way_stay_as_they_are(tmp_path):
    image = _read(_frames(PLACES[::-1]), tmp_path)
    assert _values(image) == [1, 2, 3, 4, 5] and image.notes == ()
    assert image.geometry.origin == pytest.approx(PLACES[4])


def test_a_label_of_sorted_frames_is_stored_with_the_frame_and_place_of_each(tmp_path):
    data = _frames(PLACES[SHUFFLED])
    drawn = label(5)
    seg = make_seg(drawn, data, {"gland": 1, "cyst": 2}, MODEL)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        place = groups.PlanePositionSequence[0].ImagePositionPatient
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert place == pytest.approx(PLACES[SHUFFLED[source.ReferencedFrameNumber - 1]])
    np.testing.assert_array_equal(read_seg(seg, data), drawn)
    found = {groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
             for groups in seg.PerFrameFunctionalGroupsSequence}  # fmt: skip
    assert found == {SHUFFLED.index(n) + 1 for n in range(5) if drawn[n].any()}


TWICE = np.repeat(PLACES, 2, axis=0)  # at each place one frame after the other
FACTS = {
    "time": {"FrameContentSequence": _content(TemporalPositionIndex=[1, 2] * 5)},
    "phase": {
        "CardiacSynchronizationSequence": _content(NominalCardiacTriggerDelayTime=[0.0, 90.5] * 5)
    },
    "echo": {"MREchoSequence": _content(EffectiveEchoTime=[4.6, 9.2] * 5)},
    "type": {
        "MRImageFrameTypeSequence": _content(FrameType=[["ORIGINAL", "M"], ["ORIGINAL", "P"]] * 5)
    },
}


@pytest.mark.parametrize("fact", FACTS)
def test_frames_at_the_same_places_are_kept_apart(tmp_path, fact):
    data = _frames(TWICE, **FACTS[fact])
    with pytest.raises(InputError, match=rf"^a\.dcm: holds 2 volumes \({fact} 1, {fact} 2\), exp"):
        _read(data, tmp_path)
    first, second = (_read(data, tmp_path, f"{fact} {n}") for n in (1, 2))
    assert (_values(first), _values(second)) == ([1, 3, 5, 7, 9], [2, 4, 6, 8, 10])
    assert (first.channel, second.channel) == (f"{fact} 1", f"{fact} 2")
    assert first.geometry == second.geometry and not first.over_time


def test_b_values_are_named_by_their_value_and_dimensions_by_their_name(tmp_path):
    b_values = _content(DiffusionBValue=[0.0, 1000.0] * 5)
    with pytest.raises(InputError, match=r"2 volumes \(b-value 0\.0, b-value 1000\.0\)"):
        _read(_frames(TWICE, MRDiffusionSequence=b_values), tmp_path)
    data = _frames(
        TWICE,
        FrameContentSequence=_content(
            DimensionIndexValues=[[n // 2 + 1, n % 2 + 1] for n in range(10)]
        ),
    )
    data.DimensionIndexSequence = [
        item(DimensionIndexPointer=tag_for_keyword(keyword))
        for keyword in ("ImagePositionPatient", "ContrastBolusAgentPhase")
    ]
    with pytest.raises(
        InputError, match=r"\(contrast bolus agent phase 1, contrast bolus agent ph"
    ):
        _read(data, tmp_path)


def test_times_and_echoes_are_both_named(tmp_path):
    four = np.repeat(PLACES, 4, axis=0)
    data = _frames(
        four,
        FrameContentSequence=_content(TemporalPositionIndex=[1, 1, 2, 2] * 5),
        MREchoSequence=_content(EffectiveEchoTime=[5.0, 10.0] * 10),
    )
    with pytest.raises(InputError, match=r"\(time 1, echo 1, time 1, echo 2, time 2, echo 1, time"):
        _read(data, tmp_path)
    assert _values(_read(data, tmp_path, "time 2, echo 1")) == [3, 7, 11, 15, 19]


def test_stacks_are_kept_apart_even_where_they_share_no_place(tmp_path):
    names = ["A"] * 3 + ["B"] * 2
    data = _frames(PLACES, FrameContentSequence=_content(StackID=names))
    with pytest.raises(InputError, match=r"2 volumes \(stack A, stack B\)"):
        _read(data, tmp_path)
    image = _read(data, tmp_path, "stack B")
    assert _values(image) == [4, 5]
    assert image.geometry.origin == pytest.approx(PLACES[3])
    assert dicom_size(tmp_path / "a.dcm")[2] == 3, "of the first"
    assert image_size(tmp_path / "a.dcm", "stack B")[2] == 2


def test_stacks_of_several_directions_are_kept_apart(tmp_path):
    data = _frames(PLACES)
    turned = decimals((0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    for groups in data.PerFrameFunctionalGroupsSequence[3:]:
        groups.PlaneOrientationSequence = [item(ImageOrientationPatient=turned)]
    del data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for groups in data.PerFrameFunctionalGroupsSequence[:3]:
        groups.PlaneOrientationSequence = [item(ImageOrientationPatient=decimals(OBLIQUE))]
    with pytest.raises(InputError, match=r"2 volumes \(direction 1, direction 2\)"):
        _read(data, tmp_path)


def test_frames_that_nothing_tells_apart_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"a\.dcm: two slices at the same position .* nothing that"
    ):
        _read(_frames(TWICE), tmp_path)
    incomplete = _content(TemporalPositionIndex=[1, 2] * 4 + [1])
    with pytest.raises(InputError, match="two slices at the same position"):
        _read(_frames(TWICE[:9], FrameContentSequence=incomplete), tmp_path)


def test_frames_of_one_place_are_a_loop_in_the_order_of_their_times(tmp_path):
    times = _content(TemporalPositionIndex=[3, 1, 2])
    image = _read(_frames(PLACES[[0, 0, 0]], FrameContentSequence=times), tmp_path)
    assert image.over_time and _values(image) == [2, 3, 1]
    data = _frames(
        PLACES[[0] * 6],
        FrameContentSequence=_content(TemporalPositionIndex=[1, 1, 2, 2, 3, 3]),
        MREchoSequence=_content(EffectiveEchoTime=[5.0, 10.0] * 3),
    )
    image = _read(data, tmp_path, "echo 2")
    assert image.over_time and _values(image) == [2, 4, 6]


def test_nuclear_medicine_is_parted_by_its_energy_windows(tmp_path):
    data = enhanced(6)
    del data.PerFrameFunctionalGroupsSequence, data.SharedFunctionalGroupsSequence
    data.Modality = "NM"
    data.EnergyWindowVector, data.SliceVector = [1, 1, 1, 2, 2, 2], [1, 2, 3] * 2
    with pytest.raises(InputError, match=r"2 volumes \(energy window 1, energy window 2\)"):
        _read(data, tmp_path)
    assert _read(data, tmp_path, "energy window 2").shape[0] == 3


def test_a_label_of_one_time_refers_to_the_frames_of_that_time():
    data = _frames(TWICE, **FACTS["time"])
    sources = read_sources(data, lambda name, volumes: list(volumes).index("time 2"))
    assert [frame.number for frame in sources.frames] == [2, 4, 6, 8, 10]
    drawn = label(5)
    np.testing.assert_array_equal(
        read_seg(make_seg(drawn, sources, {"gland": 1, "cyst": 2}, MODEL), sources), drawn
    )


@pytest.mark.parametrize(
    ("offsets", "reason"),
    [
        ([0, 1, 2, 4, 5], r"1 of 4 slices are not 1 mm .*\(from .* mm along .*\); .* are missing"),
        ([0, 1, 2.3, 3, 4], r"2 of 4 slices are not .* even distances; resample it"),
    ],
)
def test_frames_that_do_not_lie_evenly_are_refused(tmp_path, offsets, reason):
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    with pytest.raises(InputError, match=rf"^a\.dcm: {reason}"):
        _read(_frames(PLACES[0] + np.array(offsets)[:, None] * normal), tmp_path)


def test_the_header_alone_tells_the_size_of_a_volume(tmp_path):
    path = write(_frames(PLACES[SHUFFLED]), tmp_path / "a.dcm")
    assert dicom_size(path) == (13, ROWS, 5)
