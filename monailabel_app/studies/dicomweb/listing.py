"""The images of a studies folder as studies, series and instances.

A picture and a volume are each a study of their own, the pictures of one mammography exam are one
study, and DICOM files keep their own UIDs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydicom.uid import (
    DigitalMammographyXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)

from lib.dicom.web import dicom_identity
from lib.errors import InputError
from lib.io.channel_list import image_channels
from lib.io.read import image_size
from lib.io.shown_frames import is_dicom_file
from lib.isolation.calls import read_ahead
from lib.mammography.exams import Exam, group_exams
from monailabel_app.studies.dicomweb.channels import channels_of, may_have_channels
from monailabel_app.studies.dicomweb.images import ListedImage, Listing
from monailabel_app.studies.dicomweb.uids import content_of, is_uid, uid_of

logger = logging.getLogger(__name__)

_ALWAYS_VOLUMES = ("CT", "MR")
_MAMMOGRAPHY = ("MG", "CR", "DX", "OT", "SC", "")  # modalities of mammograms, also of film
OTHER, MAMMOGRAM = "OT", "MG"  # modalities of files that tell none


def list_images(files: Mapping[str, Path], patients: Mapping[str, str]) -> Listing:
    """Return the listing of a folder; what cannot be read is left out.

    Args:
        files: of the images, by id.
        patients: of images, by id.
    """
    dicoms = {id for id, path in files.items() if _is_dicom(path)}
    read_ahead(dicom_identity, [(files[id],) for id in dicoms])
    others = [(path,) for id, path in files.items() if id not in dicoms]
    read_ahead(image_size, others)
    read_ahead(image_channels, [(path,) for (path,) in others if may_have_channels(path)])
    told = {id: facts for id in dicoms if (facts := _identity(files[id])) is not None}
    mammograms = {id for id, facts in told.items() if facts["Modality"] in _MAMMOGRAPHY}
    exams = _exams([files[id] for id in sorted(files.keys() - dicoms | mammograms)], patients)
    taken: set[str] = set()
    images = []
    for id, path in sorted(files.items()):
        if id in dicoms and id not in told:
            continue
        try:
            if id in told:
                image = _dicom(id, path, told[id], taken, exams.get(path))
                taken.update(image.instances)
                images.append(image)
            else:
                image = _made(id, path, patients.get(id, ""), exams.get(path))
                images += channels_of(image)
        except (InputError, OSError) as error:
            logger.debug(f"Not shown in viewers: {error}")
    return Listing(_apart(images))


def _apart(images: list[ListedImage]) -> list[ListedImage]:
    """Return images with a series of its own for each file that a viewer would take for a slice.

    Each file of a folder is an image, with its own label, also where several are slices of one CT.
    """
    by_series: dict[str, list[ListedImage]] = {}
    for image in images:
        by_series.setdefault(image.series, []).append(image)
    slices = {uid for uid, own in by_series.items() if len(own) > 1 and _are_slices(own)}
    return [
        replace(image, series=uid_of("slice", image.series, image.id))
        if image.series in slices
        else image
        for image in images
    ]


def _are_slices(images: list[ListedImage]) -> bool:
    """Tell whether viewers join the files of a series to one volume."""
    places = {image.facts.get("ImagePositionPatient", "") for image in images}
    placed = len(places) == len(images) and "" not in places
    return placed or images[0].facts["Modality"] in _ALWAYS_VOLUMES


def _is_dicom(path: Path) -> bool:
    try:
        return is_dicom_file(path)
    except OSError:
        return False


def _identity(path: Path) -> dict[str, str] | None:
    """Return what a DICOM file is; None where it cannot be read."""
    try:
        return dicom_identity(path)
    except (InputError, OSError) as error:
        logger.debug(f"Not shown in viewers: {error}")
        return None


def _exams(files: Iterable[Path], patients: Mapping[str, str]) -> dict[Path, tuple[Exam, str]]:
    """Return the exam and the view of each file that is one of its plain views."""
    try:
        exams = group_exams(files, patients)
    except (InputError, OSError) as error:
        logger.debug(f"No exams: {error}")
        return {}
    return {path: (exam, view.name) for exam in exams for view, path in exam.views.items()}


def _dicom(
    id: str, path: Path, facts: dict[str, str], taken: set[str], exam: tuple[Exam, str] | None
) -> ListedImage:
    """Return a DICOM file with its own UIDs, and ones made where it has none, or a copy has them.

    The views of an exam that were stored as studies of their own are shown as one study.

    Args:
        facts: as `dicom_identity` tells them.
        taken: SOPInstanceUIDs of other files.
        exam: that the file is a view of, with the view.

    Raises:
        OSError: it cannot be read.
    """
    size = (int(facts["Columns"]), int(facts["Rows"]), int(facts["NumberOfFrames"]))
    content = content_of(path)

    def own(tag: str) -> str:
        return facts[tag] if is_uid(facts[tag]) else uid_of(tag, id, content)

    instance, study = own("SOPInstanceUID"), own("StudyInstanceUID")
    if exam and is_uid(exam[0].id):
        study = exam[0].id
    return ListedImage(
        id=id,
        path=path,
        study=study,
        series=own("SeriesInstanceUID"),
        instances=(uid_of("copy", id, content) if instance in taken else instance,),
        size=size if size[2] > 1 else size[:2],
        facts={
            **facts,
            "PatientName": facts["PatientName"] or id,
            "Modality": facts["Modality"] or OTHER,
        },
        is_dicom=True,
    )


def _made(id: str, path: Path, patient: str, exam: tuple[Exam, str] | None) -> ListedImage:
    """Return a picture or a volume, with UIDs made of its id and content.

    Raises:
        InputError: it cannot be read, or has more than three axes.
    """
    size = image_size(path)
    if len(size) not in (2, 3):
        raise InputError(f"{path.name}: a series of volumes; export a single time point")
    content = content_of(path)
    view = exam[1] if exam and len(size) == 2 else ""
    study = uid_of("exam", exam[0].id) if exam and view else uid_of("study", id, content)
    series = uid_of("series", id, content)
    count = size[2] if len(size) == 3 else 1
    name = exam[0].id if exam and view else id
    patient = exam[0].patient if exam and view else patient
    changed = datetime.fromtimestamp(path.stat().st_mtime)
    kind = DigitalMammographyXRayImageStorageForPresentation
    return ListedImage(
        id=id,
        path=path,
        study=study,
        series=series,
        instances=tuple(uid_of("instance", series, number) for number in range(count)),
        size=size,
        facts={
            "PatientName": name,
            "PatientID": patient or name,
            "StudyDate": changed.strftime("%Y%m%d"),
            "StudyTime": changed.strftime("%H%M%S"),
            "Modality": MAMMOGRAM if view else OTHER,
            "SeriesDescription": view or path.name,
            "SeriesNumber": "1",
            "SOPClassUID": kind if view else SecondaryCaptureImageStorage,
        },
        view=view,
        space=uid_of("frame of reference", series),
    )
