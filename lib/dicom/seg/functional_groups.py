"""The frames that a DICOM segmentation stores, with their planes and their source images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from lib.dicom.geometry import group_items, number, pixel_spacing
from lib.dicom.header import tag_value
from lib.dicom.objects import Coded, code_item, item, reference
from lib.dicom.sources import SourceFrame, Sources, orientation_of
from lib.dicom.ultrasound_region import tissue_regions

# OHIF refuses a segmentation without orientation; this one it takes for images that have none
NO_ORIENTATION = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
_SEGMENTATION: Coded = ("113076", "DCM", "Segmentation")
_PURPOSE: Coded = ("121322", "DCM", "Source image for image processing operation")


def set_frames(
    seg: Dataset, label: np.ndarray, segments: Sequence[tuple[str, int, int]], sources: Sources
) -> None:
    """Set pixels and functional groups of `seg`: segment by segment, frame by frame.

    Frames without the segment are left out; an empty segment keeps the first.

    Args:
        label: `(frames, rows, columns)`.
        segments: name, segment number and label value of each.
    """
    chosen = []
    for _, segment, value in segments:
        indices = np.flatnonzero((label == value).any(axis=(1, 2)))
        chosen += [(segment, value, int(index)) for index in indices] or [(segment, value, 0)]
    placed = all(frame.plane for frame in sources.frames)
    planes = [frame.plane for frame in sources.frames if frame.plane]
    one_orientation = len({plane.orientation for plane in planes}) < 2
    order = _order_in_space(sources) if placed else list(range(len(sources.frames)))
    rank = {index: position for position, index in enumerate(order, start=1)}
    shared, frame_of_reference = Dataset(), planes[0].frame_of_reference if placed else ""
    if measures := _measures(sources) if placed else _spacing(sources.datasets[0]):
        shared.PixelMeasuresSequence = [measures]  # OHIF opens no segmentation without them
    if frame_of_reference:
        seg.FrameOfReferenceUID = frame_of_reference
        seg.PositionReferenceIndicator = (
            tag_value(sources.datasets[0], "PositionReferenceIndicator") or ""
        )
    if one_orientation:
        cosines = orientation_of(sources.datasets[0], 0) or NO_ORIENTATION
        shared.PlaneOrientationSequence = [
            item(ImageOrientationPatient=[_decimal(side) for side in cosines])
        ]
    seg.PatientOrientation = tag_value(sources.datasets[0], "PatientOrientation") or ""
    organization = generate_uid(prefix=None)
    seg.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    seg.DimensionIndexSequence = _dimensions(organization, placed)
    seg.SharedFunctionalGroupsSequence = [shared]
    seg.PerFrameFunctionalGroupsSequence = [
        _groups(sources.frames[index], segment, rank[index], placed, one_orientation)
        for segment, _, index in chosen
    ]
    seg.NumberOfFrames = len(chosen)
    pixels = _packed((label[index] == value for _, value, index in chosen), label[0].size)
    seg.PixelData = pixels + b"\0" * (len(pixels) % 2)
    seg["PixelData"].VR = "OB"


def _order_in_space(sources: Sources) -> list[int]:
    """Return the indices of the frames, sorted along their normal."""
    planes = [frame.plane for frame in sources.frames if frame.plane]
    offsets = [float(np.dot(planes[0].normal, plane.position)) for plane in planes]
    return sorted(range(len(offsets)), key=offsets.__getitem__)


def _measures(sources: Sources) -> Dataset:
    """Return spacing and slice thickness, mm; without a thickness the distance of the slices."""
    planes = [frame.plane for frame in sources.frames if frame.plane]
    steps = np.diff(sorted(plane.offset for plane in planes))
    step = float(np.median(steps)) if len(steps) else 0.0
    thickness = 0.0
    first = sources.datasets[0]
    for holder in (first, *group_items(first, "PixelMeasuresSequence")):
        thickness = thickness or number(holder, "SliceThickness")
    found = _measures_item(planes[0].spacing, thickness or step or 1.0)
    if step > 0 and np.allclose(steps, step, rtol=0.02):
        found.SpacingBetweenSlices = _decimal(step)
    return found


def _spacing(image: Dataset) -> Dataset | None:
    """Return spacing and slice thickness of an image without a plane; None without a spacing."""
    sides = pixel_spacing(image)
    if sides is None:
        regions = tissue_regions(image, int(image.Rows), int(image.Columns))
        sides = next((region.spacing for region in regions if region.spacing), None)
    if sides is None:
        return None
    return _measures_item(sides, number(image, "SliceThickness") or 1.0)


def _measures_item(spacing: tuple[float, float], thickness: float) -> Dataset:
    return item(
        PixelSpacing=[_decimal(side) for side in spacing], SliceThickness=_decimal(thickness)
    )


def _dimensions(organization: str, placed: bool) -> list[Dataset]:
    second = (
        ("ImagePositionPatient", "PlanePositionSequence", "Position")
        if placed
        else ("InStackPositionNumber", "FrameContentSequence", "Frame")
    )
    named = (("ReferencedSegmentNumber", "SegmentIdentificationSequence", "Segment"), second)
    return [
        item(
            DimensionIndexPointer=pydicom.datadict.tag_for_keyword(tag),
            FunctionalGroupPointer=pydicom.datadict.tag_for_keyword(group),
            DimensionOrganizationUID=organization,
            DimensionDescriptionLabel=text,
        )
        for tag, group, text in named
    ]


def _groups(
    frame: SourceFrame, segment: int, rank: int, placed: bool, one_orientation: bool
) -> Dataset:
    """Return the functional groups of one frame: its segment, its plane and its source image."""
    source = reference(frame.data)
    if frame.number is not None:
        source.ReferencedFrameNumber = frame.number
    source.PurposeOfReferenceCodeSequence = [code_item(_PURPOSE)]
    source.SpatialLocationsPreserved = "YES"
    derivation = item(
        SourceImageSequence=[source], DerivationCodeSequence=[code_item(_SEGMENTATION)]
    )
    content = item(DimensionIndexValues=[segment, rank], StackID="1", InStackPositionNumber=rank)
    groups = item(
        FrameContentSequence=[content],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
        DerivationImageSequence=[derivation],
    )
    if placed and frame.plane:
        position = [_decimal(side) for side in frame.plane.position]
        groups.PlanePositionSequence = [item(ImagePositionPatient=position)]
    if not one_orientation:
        cosines = frame.plane.orientation if frame.plane else NO_ORIENTATION
        groups.PlaneOrientationSequence = [
            item(ImageOrientationPatient=[_decimal(side) for side in cosines])
        ]
    return groups


def _packed(masks: Iterator[np.ndarray], pixels: int) -> bytes:
    """Return the masks as bits, 8 pixels to a byte, the first in the lowest bit, without gaps."""
    if pixels % 8:
        return np.packbits(
            np.concatenate([mask.ravel() for mask in masks]), bitorder="little"
        ).tobytes()
    return b"".join(np.packbits(mask.ravel(), bitorder="little").tobytes() for mask in masks)


def _decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(float(value)))
