"""Opening the archive that the server is started with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from monailabel.config import settings

from lib.tasks.spec import TaskSpec
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.archive.dicomweb import Archive

_GOOGLE = "googleapis.com"  # has credentials of its own, which upstream knows


def opens_here(url: str) -> bool:
    """Tell whether an address is opened as an archive here; XNAT, DSA and Google are upstream's."""
    return not settings.MONAI_LABEL_DATASTORE and _GOOGLE not in url


def open_archive(
    url: str, cache: Path, gigabytes: float, tasks: Sequence[TaskSpec]
) -> ArchiveDatastore:
    """Return the archive at `url`; it is not asked for anything yet.

    User and password are of ``MONAI_LABEL_DATASTORE_USERNAME`` and ``_PASSWORD``, or of the former
    names ``MONAI_LABEL_DICOMWEB_USERNAME`` and ``_PASSWORD``.
    """
    user, password = archive_login()
    prefixes = (
        settings.MONAI_LABEL_QIDO_PREFIX,
        settings.MONAI_LABEL_WADO_PREFIX,
        settings.MONAI_LABEL_STOW_PREFIX,
    )
    archive = Archive(url, user, password, prefixes)
    folder = cache.expanduser() / hashlib.sha256(url.encode()).hexdigest()[:16]
    return ArchiveDatastore(archive, folder, int(gigabytes * 1e9), tasks)


def archive_login() -> tuple[str, str]:
    """Return user and password of the archive; empty where none are set."""
    user = settings.MONAI_LABEL_DATASTORE_USERNAME or settings.MONAI_LABEL_DICOMWEB_USERNAME
    password = settings.MONAI_LABEL_DATASTORE_PASSWORD or settings.MONAI_LABEL_DICOMWEB_PASSWORD
    return user, password
