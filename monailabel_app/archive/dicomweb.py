"""An archive over DICOMweb: list its series, download instances, store objects."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset

from lib.dicom.geometry import number
from lib.dicom.header import tag_value
from monailabel_app.archive.circuit import ArchiveError, Circuit, is_silence
from monailabel_app.archive.sessions import SILENT_SECONDS, new_session

logger = logging.getLogger(__name__)

_UID = re.compile(r"[0-9][0-9.]{0,63}")
_AS_STORED = (("application/dicom", "*"),)  # any other request may change the pixels
_SERIES_FIELDS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances"),
    *("PatientID", "PatientName", "StudyDate", "StudyDescription", "SeriesDescription"),
)
_INSTANCE_FIELDS = ("SOPInstanceUID", "NumberOfFrames", "ImagePositionPatient", "InstanceNumber")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series as the archive lists it.

    Attributes:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        modality: empty where the archive tells none.
        count: number of instances.
        patient: PatientID.
        facts: further DICOM attributes by keyword, for clients.
    """

    study: str
    uid: str
    modality: str
    count: int
    patient: str
    facts: dict[str, str]


class Archive:
    """A DICOMweb archive.

    Args:
        url: root of DICOMweb.
        user, password: sent with each request, unless `user` is empty.
        prefixes: paths of QIDO, WADO and STOW below the root, if the archive has such.
        silent_seconds: without a byte, after which a request is given up.
    """

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        prefixes: tuple[str | None, str | None, str | None] = (None, None, None),
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.url = url.rstrip("/")
        self._login = (user, password) if user else None
        self._prefixes, self._silent_seconds = prefixes, silent_seconds
        self._local = threading.local()
        self.circuit = Circuit(self.url, trial_seconds=2 * silent_seconds)

    @property
    def _client(self) -> DICOMwebClient:
        """A client of this thread alone: sessions are not safe to share."""
        if not hasattr(self._local, "client"):
            qido, wado, stow = self._prefixes
            client = DICOMwebClient(
                self.url,
                session=self.new_session(),
                qido_url_prefix=qido,
                wado_url_prefix=wado,
                stow_url_prefix=stow,
            )
            # its own would also repeat what was given up, and store objects twice
            client.set_http_retry_params(retry=False)
            self._local.client = client
        client = self._local.client
        assert isinstance(client, DICOMwebClient)
        return client

    def new_session(self) -> requests.Session:
        """Return a session with the archive's login and time limits."""
        return new_session(self._login, self._silent_seconds)

    def series(self) -> list[Series]:
        """Return all series; those without valid UIDs are left out and logged.

        Raises:
            ArchiveError: no answer.
        """
        with self._requesting("list its series"):
            rows = self._client.search_for_series(fields=list(_SERIES_FIELDS), get_remaining=True)
        found = []
        for row in rows:
            try:
                found.append(_series(Dataset.from_json(row)))
            except Exception as error:
                logger.warning(f"A series is left out of the list: {error}")
        return found

    def instances(self, series: Series) -> list[Dataset]:
        """Return the listed attributes of the instances of a series, by instance number."""
        with self._requesting(f"list series {series.uid}"):
            rows = self._client.search_for_instances(
                series.study, series.uid, fields=list(_INSTANCE_FIELDS), get_remaining=True
            )
        found = [Dataset.from_json(row) for row in rows]
        found = [data for data in found if is_uid(tag_value(data, "SOPInstanceUID"))]
        return sorted(
            found,
            key=lambda data: (number(data, "InstanceNumber"), data.SOPInstanceUID),
        )

    def series_of(self, instance: str) -> str:
        """Return the SeriesInstanceUID of an instance; empty where the archive lists no such one.

        Raises:
            ArchiveError: no answer.
        """
        with self._requesting(f"find instance {instance}"):
            rows = self._client.search_for_instances(
                search_filters={"SOPInstanceUID": instance},
                fields=["SOPInstanceUID", "SeriesInstanceUID"],
                limit=1,
            )
        for row in map(Dataset.from_json, rows):
            if str(tag_value(row, "SOPInstanceUID")) == instance:  # some archives do not filter
                return str(tag_value(row, "SeriesInstanceUID") or "")
        return ""

    def metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        """Return the metadata of the instances of a series, in the JSON model of DICOM.

        Raises:
            ArchiveError: no answer.
        """
        with self._requesting(f"describe series {series}"):
            return self._client.retrieve_series_metadata(study, series)

    def download(self, study: str, series: str, folder: Path, instance: str = "") -> list[Path]:
        """Write the instances of a series, or the one named, into `folder` and return their files.

        Raises:
            ArchiveError: no answer, or an empty one.
        """
        with self._requesting(f"give series {series}"):
            found: Iterable[Dataset]
            if instance:
                found = [self._client.retrieve_instance(study, series, instance, _AS_STORED)]
            else:
                found = self._client.iter_series(study, series, media_types=_AS_STORED)
            files = [_write(data, folder) for data in found]
        if not files:
            raise ArchiveError(f"the archive at {self.url} gives nothing of series {series}")
        return files

    def store(self, objects: Sequence[Dataset]) -> None:
        """Store objects, all in one request.

        Raises:
            ArchiveError: no answer, or the archive refused one of them.
        """
        with self._requesting("say whether it is there; nothing was stored"):
            self._client.search_for_series(limit=1)
        with self._requesting("store", unsure="; it may have stored it or not: look, then repeat"):
            answer = self._client.store_instances(objects)
        failed = tag_value(answer, "FailedSOPSequence") or []
        stored = len(tag_value(answer, "ReferencedSOPSequence") or [])
        if not failed and stored == len(objects):
            return
        why = tag_value(failed[0], "FailureReason") if failed else "no answer"
        names = ", ".join(dict.fromkeys(data.SOPClassUID.name for data in objects))
        kept = f"only {stored} of {len(objects)} objects were" if stored else "nothing was"
        raise ArchiveError(f"the archive at {self.url} refused {names} ({why}); {kept} stored")

    @contextmanager
    def _requesting(self, what: str, unsure: str = "") -> Iterator[None]:
        """Turn errors of HTTP into an `ArchiveError` of one line.

        Args:
            unsure: said of a request after which nothing came.
        """
        try:
            with self.circuit.request():
                yield
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            hint = "; give user and password" if status in (401, 403) else ""
            raise ArchiveError(
                f"the archive at {self.url} answered {status} when asked to {what}{hint}"
            ) from None
        except requests.ConnectTimeout:
            raise ArchiveError(self._silence(what, "no connection")) from None
        except requests.RequestException as error:
            kind = type(error).__name__
            raise ArchiveError(
                self._silence(what, kind) + (unsure if is_silence(error) else "")
            ) from None

    def _silence(self, what: str, kind: str) -> str:
        return (
            f"the archive at {self.url} does not answer when asked to {what} ({kind}); is it "
            f"running?"
        )


def is_uid(value: object) -> bool:
    """Tell whether a value is a UID, and so safe in a file name."""
    return bool(_UID.fullmatch(str(value)))


def _series(row: Dataset) -> Series:
    study, uid = str(row.StudyInstanceUID), str(row.SeriesInstanceUID)
    if not (is_uid(study) and is_uid(uid)):
        raise ValueError(f"'{study[:64]}', '{uid[:64]}' are no UIDs")
    facts = {tag: str(tag_value(row, tag) or "") for tag in _SERIES_FIELDS}
    count = int(tag_value(row, "NumberOfSeriesRelatedInstances") or 1)
    facts["Modality"] = facts["Modality"].strip().upper()
    return Series(
        study=study,
        uid=uid,
        modality=facts["Modality"],
        count=count,
        patient=facts["PatientID"].strip(),
        facts=facts,
    )


def _write(data: pydicom.Dataset, folder: Path) -> Path:
    uid = str(data.SOPInstanceUID)
    if not is_uid(uid):
        raise ArchiveError(f"the archive gave an instance of UID '{uid[:64]}'")
    path = folder / f"{uid}.dcm"
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path
