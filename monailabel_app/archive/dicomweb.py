"""An archive over DICOMweb: list its series, download instances, store objects."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from requests.adapters import HTTPAdapter

from lib.dicom.header import tag_value

logger = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 5, 120
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_AS_STORED = (("application/dicom", "*"),)  # any other request may change the pixels
_SERIES_FIELDS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances"),
    *("PatientID", "PatientName", "StudyDate", "StudyDescription", "SeriesDescription"),
)
_INSTANCE_FIELDS = ("SOPInstanceUID", "NumberOfFrames", "ImagePositionPatient", "InstanceNumber")


class ArchiveError(RuntimeError):
    """The archive does not answer, or refuses (HTTP 502)."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series as the archive lists it.

    Attributes:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
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
    """

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        prefixes: tuple[str | None, str | None, str | None] = (None, None, None),
    ) -> None:
        self.url = url.rstrip("/")
        self._login = (user, password) if user else None
        self._prefixes = prefixes
        self._local = threading.local()

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
            client.set_http_retry_params(
                retry=True, max_attempts=3, wait_exponential_multiplier=100
            )
            self._local.client = client
        client = self._local.client
        assert isinstance(client, DICOMwebClient)
        return client

    def new_session(self) -> requests.Session:
        """Return a session with the archive's login, and with nothing else of the environment.

        Only ``REQUESTS_CA_BUNDLE``, the certificates to trust, counts: netrc files and proxies are
        meant for other servers.
        """
        session = requests.Session()
        session.trust_env = False
        session.auth = self._login
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        for scheme in ("http://", "https://"):
            session.mount(scheme, _WithTimeout(max_retries=1))
        return session

    def series(self, modality: str) -> list[Series]:
        """Return the series of a modality; those without valid UIDs are left out and logged.

        Raises:
            ArchiveError: no answer.
        """
        with self._requesting(f"list {modality}"):
            rows = self._client.search_for_series(
                search_filters={"Modality": modality},
                fields=list(_SERIES_FIELDS),
                get_remaining=True,
            )
        found = []
        for row in rows:
            try:
                found.append(_series(Dataset.from_json(row), modality))
            except Exception as error:
                logger.warning(f"A series of {modality} is left out of the list: {error}")
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
            key=lambda data: (int(tag_value(data, "InstanceNumber") or 0), data.SOPInstanceUID),
        )

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

    def store(self, data: Dataset) -> None:
        """Store an object.

        Raises:
            ArchiveError: no answer, or the archive refused the object.
        """
        with self._requesting("store"):
            answer = self._client.store_instances([data])
        failed = tag_value(answer, "FailedSOPSequence") or []
        if failed or not tag_value(answer, "ReferencedSOPSequence"):
            why = tag_value(failed[0], "FailureReason") if failed else "no answer"
            raise ArchiveError(
                f"the archive at {self.url} refused {data.SOPClassUID.name} ({why}); nothing was "
                f"stored"
            )

    @contextmanager
    def _requesting(self, what: str) -> Iterator[None]:
        """Turn errors of HTTP into an `ArchiveError` of one line."""
        try:
            yield
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            hint = "; give user and password" if status in (401, 403) else ""
            raise ArchiveError(
                f"the archive at {self.url} answered {status} when asked to {what}{hint}"
            ) from None
        except requests.RequestException as error:
            raise ArchiveError(
                f"the archive at {self.url} does not answer when asked to {what} "
                f"({type(error).__name__}); is it running?"
            ) from None


class _WithTimeout(HTTPAdapter):
    """Sets a time limit for requests that have none."""

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        if options.get("timeout") is None:
            options["timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        return super().send(*arguments, **options)


def is_uid(value: object) -> bool:
    """Tell whether a value is a UID, and so safe in a file name."""
    return bool(_UID.fullmatch(str(value)))


def _series(row: Dataset, modality: str) -> Series:
    study, uid = str(row.StudyInstanceUID), str(row.SeriesInstanceUID)
    if not (is_uid(study) and is_uid(uid)):
        raise ValueError(f"'{study[:64]}', '{uid[:64]}' are no UIDs")
    facts = {tag: str(tag_value(row, tag) or "") for tag in _SERIES_FIELDS}
    count = int(tag_value(row, "NumberOfSeriesRelatedInstances") or 1)
    facts["Modality"] = modality
    return Series(
        study=study,
        uid=uid,
        modality=modality,
        count=count,
        patient=facts["PatientID"].strip(),
        facts=facts,
    )


def _write(data: pydicom.Dataset, folder: Path) -> Path:
    uid = str(data.SOPInstanceUID)
    if not is_uid(uid):
        raise ArchiveError(f"the archive gave an instance of UID '{uid[:64]}'")
    path = folder / f"{uid}.dcm"
    pydicom.dcmwrite(path, data, write_like_original=False)
    return path
