"""The samples of a journey in a plain folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from journey_kinds import SAMPLES, Kind, Sample, patient
from PIL import Image
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage, generate_uid
from server_support import Server, write_dicom

from lib.io.labels import read_label
from lib.io.read import image_geometry

OBLIQUE = (0.8, 0.0, 0.6, 0.6, 0.0, -0.8, 0.0, 1.0, 0.0)
SERIES = 3  # stills in a series
_OTHER = "another.png"  # what none of the volumes, loops and exams is like
_UIDS: dict[tuple[object, ...], str] = {}


def _uid(*names: object) -> str:
    return _UIDS.setdefault(names, generate_uid())


def _write_picture(folder: Path, number: int, sample: Sample) -> list[Path]:
    file = folder / f"picture_{number}.png"
    Image.fromarray(sample.pixels).save(file)
    return [file]


def _write_still(folder: Path, number: int, sample: Sample) -> list[Path]:
    """Write one of three stills in a series of a study."""
    place = folder, number // SERIES
    file = write_dicom(
        folder / f"still_{number}.dcm",
        sample.pixels,
        SOPClassUID=UltrasoundImageStorage,
        StudyInstanceUID=_uid("study", *place),
        SeriesInstanceUID=_uid("series", *place),
        PatientName=f"still {number // SERIES}",
        PatientID=f"still {number // SERIES}",
        InstanceNumber=number % SERIES + 1,
    )
    return [file]


def _write_cine(folder: Path, number: int, sample: Sample) -> list[Path]:
    file = write_dicom(
        folder / f"cine_{number}.dcm",
        sample.pixels,
        SOPClassUID=UltrasoundMultiFrameImageStorage,
        StudyInstanceUID=_uid("cine study", folder, number),
        SeriesInstanceUID=_uid("cine series", folder, number),
        PatientName=f"cine {number}",
        PatientID=f"cine {number}",
        FrameTime=40,
    )
    return [file]


def _write_volume(suffix: str) -> Callable[[Path, int, Sample], list[Path]]:
    def write(folder: Path, number: int, sample: Sample) -> list[Path]:
        volume = sitk.GetImageFromArray(sample.pixels)
        volume.SetSpacing((0.8, 0.8, 0.8))
        volume.SetOrigin((-31.0, 12.0, 47.0))
        volume.SetDirection(OBLIQUE)
        file = folder / f"volume_{number}{suffix}"
        sitk.WriteImage(volume, str(file))
        return [file]

    return write


def _write_exam_pictures(folder: Path, number: int, sample: Sample) -> list[Path]:
    files = []
    for view, pixels in sample.views.items():
        files.append(folder / f"{patient(number)}_{view}.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def _write_exam_dicom(folder: Path, number: int, sample: Sample) -> list[Path]:
    files = []
    for place, (view, pixels) in enumerate(sample.views.items(), 1):
        side, projection = view.split("-")
        files.append(
            write_dicom(
                folder / f"{patient(number)}_{view}.dcm",
                pixels,
                Modality="MG",
                StudyInstanceUID=_uid("exam", folder, number),
                SeriesInstanceUID=_uid("view", folder, number, view),
                PatientName=patient(number),
                PatientID=patient(number),
                StudyDate="20260101",
                ImageLaterality=side,
                ViewPosition=projection,
                InstanceNumber=place,
            )
        )
    return files


WRITERS: dict[str, Callable[[Path, int, Sample], list[Path]]] = {
    "picture": _write_picture,
    "histology": _write_picture,
    "still": _write_still,
    "cine": _write_cine,
    "volume_us": _write_volume(".nrrd"),
    "mr": _write_volume(".nii.gz"),
    "exam_png": _write_exam_pictures,
    "exam_dicom": _write_exam_dicom,
}


class FolderPlace:
    """A studies folder with the samples of a kind and one image of another; see `journey.Place`."""

    def __init__(self, folder: Path, kind: Kind, server: Server) -> None:
        self.kind, self.server = kind, server
        self.samples = [kind.make(seed) for seed in range(SAMPLES)]
        write = WRITERS[kind.name]
        self.files = [write(server.studies, *numbered) for numbered in enumerate(self.samples)]
        if len(self.samples[0].truth) != 1:
            Image.fromarray(np.zeros((40, 40), np.uint8)).save(server.studies / _OTHER)
        else:
            _write_volume(".nrrd")(
                server.studies, 99, Sample(pixels=np.zeros((8, 40, 50), np.uint8))
            )

    def image(self, number: int) -> str:
        name = self.files[number][0].name
        ids = self.server.images()
        return next(id for id in ids if name.startswith(f"{id}."))

    def study(self, number: int) -> str:
        return str(self._about(number)["StudyInstanceUID"])

    def places(self, number: int) -> list[tuple[str, int]]:
        study = self.study(number)
        about = self._about(number)
        query = {"SeriesInstanceUID": about["SeriesInstanceUID"]}
        reply = self.server.get(f"/proxy/dicom/qido/studies/{study}/instances", params=query)
        rows = sorted(reply.json(), key=lambda row: row["00200013"]["Value"][0])
        if self.kind.name == "still":
            rows = [row for row in rows if row["00080018"]["Value"][0] == about["SOPInstanceUID"]]
        return [
            (str(row["00080018"]["Value"][0]), frame)
            for row in rows
            for frame in range(1, int(row.get("00280008", {"Value": [1]})["Value"][0]) + 1)
        ]

    def stored(self, number: int) -> np.ndarray | str:
        labels = self.server.studies / "labels" / "final"
        if self.samples[number].density:
            names = {file.name.split(".")[0] for file in self.files[number]}
            (file,) = (file for file in labels.glob("*.json") if file.name.split(".")[0] in names)
            return str(json.loads(file.read_text())["density"])
        image = self.files[number][0]
        (file,) = labels.glob(f"{image.name.split('.')[0]}.*")
        found = read_label(file, image_geometry(image))
        return found.reshape(-1, *found.shape[-2:])

    def accept(self, number: int) -> None:
        sample = self.samples[number]
        scratch = self.server.folder / "accepted"
        scratch.mkdir(exist_ok=True)
        if sample.density:
            file = scratch / "label.json"
            file.write_text(json.dumps({"density": sample.density}))
        else:
            file = scratch / "label.nrrd"
            label = sitk.GetImageFromArray(sample.truth.astype(np.uint8))
            if len(sample.truth) > 1 and self.files[number][0].suffix != ".dcm":
                label.CopyInformation(sitk.ReadImage(str(self.files[number][0])))
            sitk.WriteImage(label, str(file))
        reply = self.server.save_label(self.image(number), file)
        assert reply.ok, reply.text

    def _about(self, number: int) -> dict[str, str]:
        params = {"image": self.image(number)}
        return dict(self.server.get("/viewer/image", params=params).json())
