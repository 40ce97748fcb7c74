"""What the end-to-end tests share: storing studies in an archive, and asking it what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pynetdicom import AE

from lib.phantoms.dicom_studies import DemoStudy
from monailabel_app.archive.dicomweb import Archive
from monailabel_app.archive.orthanc import SENDER, TITLE, Orthanc

SILENT_SECONDS = 120  # of patience with a busy machine


def archive_of(orthanc: Orthanc) -> Archive:
    """The archive as the app asks it, with more patience."""
    return Archive(orthanc.url, silent_seconds=SILENT_SECONDS)


def client(orthanc: Orthanc) -> DICOMwebClient:
    """A DICOMweb client of the archive, with its first user where it has users."""
    session = requests.Session()
    for user in list(orthanc.users.items())[:1]:
        session.auth = user
    return DICOMwebClient(orthanc.url, session=session)


def stow(orthanc: Orthanc, datasets: Iterable[Dataset]) -> None:
    """Store objects by DICOMweb."""
    client(orthanc).store_instances(list(datasets))


def c_store(orthanc: Orthanc, datasets: Iterable[Dataset]) -> None:
    """Store objects by DIMSE, as scanners do."""
    found = list(datasets)
    sender = AE(SENDER)
    for kind in {data.SOPClassUID for data in found}:
        sender.add_requested_context(kind)
    association = sender.associate("127.0.0.1", orthanc.dicom_port, ae_title=TITLE)
    assert association.is_established, "the archive refused the association"
    try:
        for data in found:
            status = association.send_c_store(data)
            assert status and status.Status == 0, f"C-STORE of {data.SOPClassUID}: {status}"
    finally:
        association.release()


def store_all(orthanc: Orthanc, studies: Iterable[DemoStudy]) -> None:
    """Store studies, every other one by C-STORE."""
    for index, study in enumerate(studies):
        (stow, c_store)[index % 2](orthanc, study.datasets)


def objects(orthanc: Orthanc, modality: str) -> list[Any]:
    """Objects of a modality such as SEG or SR, whole."""
    web = client(orthanc)
    found = []
    for series in web.search_for_series(search_filters={"Modality": modality}):
        row = Dataset.from_json(series)
        found += web.retrieve_series(row.StudyInstanceUID, row.SeriesInstanceUID)
    return found
