"""The samples of a journey in an archive: a real Orthanc, read by pydicom and highdicom."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import highdicom
import numpy as np
import SimpleITK as sitk
from archive import objects, stow
from journey_kinds import SAMPLES, Kind, Sample, patient
from pydicom import Dataset
from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    EnhancedUSVolumeStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLMicroscopicImageStorage,
)
from server_support import Server

from lib.dicom.objects import item
from lib.mammography.report.read import read_density_report
from lib.mammography.views import STANDARD_VIEWS
from lib.phantoms.dicom_objects import decimals, image_instance, study_uid
from monailabel_app.archive.orthanc import Orthanc

SERIES = 3  # stills in a series
STEP_MM, PIXEL_MM = 2.0, (0.9, 0.7)
ROW, COLUMN = (0.8, 0.6, 0.0), (0.0, 0.0, -1.0)  # directions of an oblique volume


def _picture(number: int, sample: Sample) -> list[Dataset]:
    """A Secondary Capture or a microscope's image, in grey or in colour."""
    colour = sample.pixels.ndim == 3
    kind = VLMicroscopicImageStorage if colour or number % 2 else SecondaryCaptureImageStorage
    return [image_instance(kind, "GM", ("picture", number, 1, 0), sample.pixels[None])]


def _still(number: int, sample: Sample) -> list[Dataset]:
    """One of three stills in a series of a study."""
    place = "still", number // SERIES, 1, number % SERIES
    return [image_instance(UltrasoundImageStorage, "US", place, sample.pixels[None])]


def _cine(number: int, sample: Sample) -> list[Dataset]:
    return [
        image_instance(
            UltrasoundMultiFrameImageStorage,
            "US",
            ("cine", number, 1, 0),
            sample.pixels,
            FrameTime="40",
            FrameIncrementPointer=0x00181063,
        )
    ]


def _volume_us(number: int, sample: Sample) -> list[Dataset]:
    frames = [
        item(PlanePositionVolumeSequence=[item(ImagePositionVolume=[0.0, 0.0, index * STEP_MM])])
        for index in range(len(sample.pixels))
    ]
    measures = item(PixelSpacing=decimals(PIXEL_MM), SliceThickness=str(STEP_MM))
    return [
        image_instance(
            EnhancedUSVolumeStorage,
            "US",
            ("volume_us", number, 1, 0),
            sample.pixels,
            FrameOfReferenceUID=study_uid("volume_us", number, "frame of reference"),
            SharedFunctionalGroupsSequence=[item(PixelMeasuresSequence=[measures])],
            PerFrameFunctionalGroupsSequence=frames,
        )
    ]


def _mr(number: int, sample: Sample) -> list[Dataset]:
    """Slices, each an instance; instance numbers run against their order in space."""
    normal, count = np.cross(ROW, COLUMN), len(sample.pixels)
    return [
        image_instance(
            MRImageStorage,
            "MR",
            ("mr", number, 1, index),
            plane[None],
            InstanceNumber=count - index,
            FrameOfReferenceUID=study_uid("mr", number, "frame of reference"),
            ImagePositionPatient=decimals(np.array((-31.0, 12.0, 47.0)) + index * STEP_MM * normal),
            ImageOrientationPatient=decimals((*ROW, *COLUMN)),
            PixelSpacing=decimals(PIXEL_MM),
            SliceThickness=str(STEP_MM),
        )
        for index, plane in enumerate(sample.pixels)
    ]


def _exam(number: int, sample: Sample) -> list[Dataset]:
    """An exam of four views, a series each."""
    views = {view.name: view for view in STANDARD_VIEWS}
    datasets = [
        image_instance(
            DigitalMammographyXRayImageStorageForPresentation,
            "MG",
            ("exam", number, series, 0),
            pixels[None],
            PatientID=patient(number),
            PatientSex="F",
            ImageLaterality=views[name].laterality,
            ViewPosition=views[name].projection,
        )
        for series, (name, pixels) in enumerate(sample.views.items(), 1)
    ]
    for data in datasets:
        del data.NumberOfFrames
    return datasets


MAKERS: dict[str, Callable[[int, Sample], list[Dataset]]] = {
    "picture": _picture,
    "histology": _picture,
    "still": _still,
    "cine": _cine,
    "volume_us": _volume_us,
    "mr": _mr,
    "exam_dicom": _exam,
}


class ArchivePlace:
    """An archive with the samples of a kind and one image of another; see `journey.Place`.

    Args:
        server: of the archive; it is started later.
    """

    def __init__(self, orthanc: Orthanc, kind: Kind, server: Server) -> None:
        self.orthanc, self.kind, self.server = orthanc, kind, server
        self.samples = [kind.make(seed) for seed in range(SAMPLES)]
        make = MAKERS[kind.name]
        self._datasets = [make(*numbered) for numbered in enumerate(self.samples)]
        stow(orthanc, [data for own in self._datasets for data in own])
        other = Sample(pixels=np.zeros((8, 40, 50), np.uint8))
        stow(orthanc, (_cine if kind.name == "mr" else _mr)(99, other))

    def image(self, number: int) -> str:
        first = self._datasets[number][0]
        return str(first.SOPInstanceUID if self.kind.name == "still" else first.SeriesInstanceUID)

    def study(self, number: int) -> str:
        return str(self._datasets[number][0].StudyInstanceUID)

    def places(self, number: int) -> list[tuple[str, int]]:
        return [
            (str(data.SOPInstanceUID), frame)
            for data in self._datasets[number]
            for frame in range(1, int(data.get("NumberOfFrames") or 1) + 1)
        ]

    def stored(self, number: int) -> np.ndarray | str:
        if self.samples[number].density:
            reports = [read_density_report(data) for data in self._objects("SR", number)]
            return max(reports, key=lambda report: report.when).density
        segs = [seg for seg in self._objects("SEG", number) if self._is_about(seg, number)]
        return _read_seg(max(segs, key=_written), self.places(number))

    def accept(self, number: int) -> None:
        sample, scratch = self.samples[number], self.server.folder / "accepted"
        scratch.mkdir(exist_ok=True)
        if sample.density:
            file = scratch / "label.json"
            file.write_text(json.dumps({"density": sample.density}))
        else:
            file = scratch / "label.nrrd"
            sitk.WriteImage(sitk.GetImageFromArray(sample.truth.astype(np.uint8)), str(file))
        reply = self.server.save_label(self.image(number), file)
        assert reply.ok, reply.text

    def _objects(self, modality: str, number: int) -> list[Dataset]:
        found: Sequence[Dataset] = objects(self.orthanc, modality)
        return [data for data in found if data.StudyInstanceUID == self.study(number)]

    def _is_about(self, seg: Dataset, number: int) -> bool:
        own = {instance for instance, _ in self.places(number)}
        (series,) = seg.ReferencedSeriesSequence
        return any(one.ReferencedSOPInstanceUID in own for one in series.ReferencedInstanceSequence)


def _written(data: Dataset) -> tuple[str, str]:
    return str(data.ContentDate), str(data.ContentTime)


def _read_seg(data: Dataset, places: list[tuple[str, int]]) -> np.ndarray:
    """Return what highdicom reads, `(slices, rows, columns)`; slices that are left out are 0."""
    seg: Any = highdicom.seg.Segmentation.from_dataset(data)
    how: dict[str, Any] = {
        "combine_segments": True,
        "assert_missing_frames_are_empty": True,
        "ignore_spatial_locations": True,
    }
    instances = [instance for instance, _ in places]
    if len(set(instances)) == len(places):
        return np.asarray(seg.get_pixels_by_source_instance(instances, **how))
    frames = [frame for _, frame in places]
    return np.asarray(seg.get_pixels_by_source_frame(instances[0], frames, **how))
