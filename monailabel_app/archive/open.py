"""Opening the archive that the server is started with."""

from __future__ import annotations

import hashlib

from dicomweb_client import DICOMwebClient
from dicomweb_client.ext.gcp.session_utils import create_session_from_gcp_credentials
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore

from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.archive.dicomweb import Archive
from monailabel_app.config import AppConfig
from monailabel_app.studies.folder import FolderStudies

_OTHER_PROTOCOLS = ("xnat", "dsa")


class GoogleArchive(FolderStudies, DICOMWebDatastore):
    """A DICOM store of Google Cloud: MONAI Label's datastore, which has its credentials."""

    is_local = False


def is_google(url: str) -> bool:
    """Tell whether an address is that of a DICOM store of Google Cloud."""
    return "googleapis.com" in url


def open_google(url: str) -> GoogleArchive:
    """Return the DICOM store at `url`, opened as MONAI Label (0.8.5) opens it."""
    client = DICOMwebClient(url=url, session=create_session_from_gcp_credentials())
    return GoogleArchive(
        client=client,
        search_filter=settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER,
        cache_path=settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip() or None,
        fetch_by_frame=settings.MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME,
        convert_to_nifti=settings.MONAI_LABEL_DICOMWEB_CONVERT_TO_NIFTI,
    )


def open_archive(url: str, config: AppConfig) -> ArchiveDatastore:
    """Return the archive at `url`; it is not asked for anything yet.

    User and password are those of ``MONAI_LABEL_DATASTORE_USERNAME`` and ``_PASSWORD``, or of the
    older names ``MONAI_LABEL_DICOMWEB_USERNAME`` and ``_PASSWORD``.

    Raises:
        InputError: MONAI Label's settings name a server that speaks another protocol.
    """
    protocol = settings.MONAI_LABEL_DATASTORE.lower()
    if protocol in _OTHER_PROTOCOLS:
        raise InputError(
            f"MONAI_LABEL_DATASTORE is '{protocol}'; this app opens a studies folder or a DICOMweb "
            f"archive: unset it, and give the address of DICOMweb with --studies"
        )
    user = settings.MONAI_LABEL_DATASTORE_USERNAME or settings.MONAI_LABEL_DICOMWEB_USERNAME
    password = settings.MONAI_LABEL_DATASTORE_PASSWORD or settings.MONAI_LABEL_DICOMWEB_PASSWORD
    prefixes = (
        settings.MONAI_LABEL_QIDO_PREFIX,
        settings.MONAI_LABEL_WADO_PREFIX,
        settings.MONAI_LABEL_STOW_PREFIX,
    )
    archive = Archive(url, user, password, prefixes, config.archive_seconds)
    cache = config.archive_cache.expanduser() / hashlib.sha256(url.encode()).hexdigest()[:16]
    tasks = [get_task(name) for name in config.models]
    limit = int(config.archive_cache_gb * 1e9)
    return ArchiveDatastore(archive, cache, limit, tasks, config.readers)
